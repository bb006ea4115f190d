"""Samples for recognisers from a made data set; the faces are synthetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.datasets import Annotation, Dataset, load
from models.errors import UserError
from models.recogniser import InputSpec
from models.recognition.enrich import DEGREES
from models.recognition.samples import Samples
from models.synthesis.recognition_set import plan_set
from models.synthesis.recognition_set_files import write_labels, write_sample
from stages.farneback import farneback
from stages.landmarks import FaceMeshLandmarker
from stages.magnify import FlowWarpMagnifier
from stages.recognition_samples import gather
from stages.region import crop_whole
from stages.stills import aligned_faces

MAGNIFIER = FlowWarpMagnifier(farneback)
FLOW = InputSpec("flow_onset_apex", "face", (28, 28), ["u", "v"], at=(56, 56))
OFF = InputSpec("flow_offset_apex", "face", (28, 28), ["magnitude"], at=(56, 56))
CLASSES = ("even", "odd")


def _class(note: Annotation) -> str | None:
    return CLASSES[note.row % 2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = plan_set("casme2", subjects=2, samples=2, seed=1)
    folder = tmp_path_factory.mktemp("casme2")
    for sample in made.samples:
        write_sample(sample, folder)
    write_labels(made, folder)
    return folder


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return load("casme2", root)


def _gathered(
    dataset: Dataset,
    landmarker: FaceMeshLandmarker,
    spec: InputSpec = FLOW,
    augmented: bool = False,
) -> tuple[Samples, list[str]]:
    return gather(dataset, _class, CLASSES, {"x": spec}, landmarker, MAGNIFIER, augmented)


def test_labels_aus_and_subjects_are_the_annotations(
    dataset: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    samples, left_out = _gathered(dataset, landmarker)
    assert not left_out
    assert samples.inputs["x"].shape == (4, 1, 2, 28, 28)
    assert [samples.classes[i] for i in samples.labels] == [_class(a) for a in dataset.annotations]
    assert list(samples.aus) == [a.sure_aus for a in dataset.annotations]
    assert list(samples.subjects) == [f"casme2/{a.subject}" for a in dataset.annotations]
    assert len(set(samples.names)) == 4


def test_the_flow_is_that_of_the_aligned_face_crops(
    dataset: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    """Independently: align, crop, Farnebäck at 56x56, area average."""
    import cv2

    samples, _ = _gathered(dataset, landmarker)
    note = dataset.annotations[1]
    frames = dataset.frames(note)
    assert note.onset is not None and note.apex is not None
    paths = [frames.image(note.onset), frames.image(note.apex)]
    faces = aligned_faces(paths, [0.0, (note.apex - note.onset) / 200], landmarker)
    small = [
        cv2.resize(crop_whole(image, face), (56, 56), interpolation=cv2.INTER_AREA)
        for image, face in faces
    ]
    flow = farneback(small[0], small[1])
    wanted = cv2.resize(flow, (28, 28), interpolation=cv2.INTER_AREA)
    off = np.abs(samples.inputs["x"][1, 0] - wanted.transpose(2, 0, 1))
    assert off.max() < 0.02  # the landmarker's tracking leaves a trace
    assert np.abs(wanted).max() > 0.1


def test_seventy_variants_the_first_is_the_expression_itself(
    dataset: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    plain, _ = _gathered(dataset, landmarker)
    samples, _ = _gathered(dataset, landmarker, augmented=True)
    x = samples.inputs["x"]
    assert x.shape == (4, 70, 2, 28, 28)
    # the frames between help the alignment, so that it is not quite the same
    for one, same in zip(x[:, 0], plain.inputs["x"][:, 0], strict=True):
        assert np.corrcoef(one.ravel(), same.ravel())[0, 1] > 0.8
    size = np.hypot(x[:, :, 0], x[:, :, 1]).mean(axis=(2, 3))
    turned = np.array([degrees != 0 for degrees in DEGREES] * 10)
    # a rotation keeps the length of the flow, and turns it
    assert size[:, turned].mean() == pytest.approx(size[:, ~turned].mean(), rel=0.15)
    assert np.abs(x[:, 1] - x[:, 0]).max() > 0.1


def test_an_offset_is_needed_only_by_inputs_that_look_at_it(
    dataset: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    notes = tuple(replace(note, offset=None) for note in dataset.annotations)
    without = replace(dataset, annotations=notes)
    samples, left_out = _gathered(without, landmarker)
    assert len(samples) == 4 and not left_out
    with pytest.raises(UserError, match=r"no usable sample; row .* offset None is not after"):
        _gathered(without, landmarker, OFF)


def test_what_is_left_out_is_said(dataset: Dataset, landmarker: FaceMeshLandmarker) -> None:
    first, second, *rest = dataset.annotations
    broken = replace(
        dataset,
        annotations=(replace(first, apex=None), replace(second, apex=second.onset), *rest),
    )
    samples, left_out = _gathered(broken, landmarker)
    assert len(samples) == 2
    assert "apex not annotated" in left_out[0]
    assert "is not after onset" in left_out[1]


def test_annotations_without_a_class_are_no_samples(
    dataset: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    row = dataset.annotations[0].row
    samples, left_out = gather(
        dataset,
        lambda note: "odd" if note.row == row else None,
        CLASSES,
        {"x": FLOW},
        landmarker,
        MAGNIFIER,
    )
    assert (len(samples), left_out) == (1, [])
