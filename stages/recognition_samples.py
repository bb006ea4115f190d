"""Samples to train recognisers on, made from a data set's images as live use makes them.

Every image that a network needs of an annotated expression is landmarked, aligned and
cropped as in the pipeline, and becomes tensors by the same function (``stages.prepare``), so
that training sees what serving will give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models.datasets import Annotation, Dataset
from models.errors import UserError
from models.recogniser import InputSpec
from models.recognition.enrich import Variant, plan, rotated
from models.recognition.samples import Floats, Samples
from stages.items import Evidence, Grey
from stages.landmarks import Landmarker
from stages.magnify import Magnifier
from stages.prepare import prepare
from stages.region import Similarity, crop_face, crop_whole
from stages.stills import Image, aligned_faces

ClassOf = Callable[[Annotation], str | None]
Tell = Callable[[int, int], None]  # annotations done, of how many
_RATE = 200.0  # frames a second of a set that does not say

Crops = tuple[Grey, Grey, Grey]  # eye, mouth, face


def gather(
    dataset: Dataset,
    class_of: ClassOf,
    classes: Sequence[str],
    inputs: Mapping[str, InputSpec],
    landmarker: Landmarker,
    magnifier: Magnifier,
    augmented: bool = False,
    tell: Tell = lambda done, total: None,
) -> tuple[Samples, list[str]]:
    """The samples of ``dataset`` and, a line each, the expressions left out and why.

    Args:
        dataset: annotations with frames; images, not video files.
        class_of: an annotation's class; None: in no class, not a sample.
        classes: every class, in the order of the labels.
        inputs: what the network wants.
        landmarker: finds one face in an image; may track.
        magnifier: makes magnified apexes.
        augmented: with the 70 variants of paper 003.
        tell: hears about the progress.

    Raises:
        UserError: not one usable sample.
    """
    labelled = [(note, class_of(note)) for note in dataset.annotations]
    wanted = [(note, name) for note, name in labelled if name is not None]
    maker = _Maker(dataset, inputs, landmarker, magnifier, augmented)
    tensors: list[dict[str, Floats]] = []
    kept: list[tuple[Annotation, str]] = []
    left_out: list[str] = []
    for number, (note, name) in enumerate(wanted):
        tell(number, len(wanted))
        try:
            tensors.append(maker.tensors(note))
        except UserError as error:
            left_out.append(f"row {note.row} ({note.video}): {error}")
            continue
        kept.append((note, name))
    tell(len(wanted), len(wanted))
    if not kept:
        first = left_out[0] if left_out else "no annotation is of these classes"
        raise UserError(f"{dataset.name}: no usable sample; {first}")
    return Samples(
        {name: np.stack([made[name] for made in tensors]) for name in inputs},
        np.array([classes.index(name) for _, name in kept], np.int64),
        tuple(classes),
        tuple(note.sure_aus for note, _ in kept),
        tuple(f"{dataset.name}/{note.subject}" for note, _ in kept),
        (dataset.name,) * len(kept),
        tuple(f"{dataset.name}/{note.video}@{note.row}" for note, _ in kept),
    ), left_out


class _Maker:
    """Makes the tensors of one expression after the other."""

    def __init__(
        self,
        dataset: Dataset,
        inputs: Mapping[str, InputSpec],
        landmarker: Landmarker,
        magnifier: Magnifier,
        augmented: bool,
    ) -> None:
        self._dataset = dataset
        self._inputs = dict(inputs)
        self._landmarker = landmarker
        self._magnifier = magnifier
        self._augmented = augmented
        self._needs_offset = any("offset" in spec.source for spec in inputs.values())

    def tensors(self, note: Annotation) -> dict[str, Floats]:
        """By input, (V, channels, height, width).

        Raises:
            UserError: a key frame is not annotated, missing, or without a face.
        """
        onset, variants, offset = self._moments(note)
        frames = self._dataset.frames(note)
        numbers = sorted({onset, *(variant.apex for variant in variants), offset})
        rate = frames.fps or _RATE
        crops = self._crops({number: frames.image(number) for number in numbers}, rate)
        made = [
            prepare(
                self._inputs,
                _evidence(crops[onset], crops[one.apex], crops[offset], one.degrees),
                self._magnifier,
            )
            for one in variants
        ]
        return {name: np.concatenate([one[name] for one in made]) for name in self._inputs}

    def _moments(self, note: Annotation) -> tuple[int, Sequence[Variant], int]:
        """Onset, variants of the apex, and offset (the apex, where none is needed)."""
        if note.onset is None or note.apex is None:
            which = "onset" if note.onset is None else "apex"
            raise UserError(f"{which} not annotated")
        if note.apex <= note.onset:
            raise UserError(f"apex {note.apex} is not after onset {note.onset}")
        if self._needs_offset and (note.offset is None or note.offset <= note.apex):
            raise UserError(f"offset {note.offset} is not after apex {note.apex}")
        offset = note.offset if self._needs_offset and note.offset is not None else note.apex
        if not self._augmented:
            return note.onset, [Variant(note.apex, 0)], offset
        exist = self._dataset.frames(note).numbers
        return note.onset, plan(note.onset, note.apex, note.offset, exist), offset

    def _crops(self, images: Mapping[int, Path], rate: float) -> dict[int, Crops]:
        """Aligned crops of every image; the images are in the order of time."""
        times = [(number - min(images)) / rate for number in images]
        faces = aligned_faces(list(images.values()), times, self._landmarker)
        return {number: _cut(*found) for number, found in zip(images, faces, strict=True)}


def _cut(image: Image, face: Similarity) -> Crops:
    return (*crop_face(image, face), crop_whole(image, face))


def _evidence(onset: Crops, apex: Crops, offset: Crops, degrees: int) -> Evidence:
    turned = [rotated(crop, degrees) for crops in (onset, apex, offset) for crop in crops]
    return Evidence(
        onset_eye=turned[0],
        onset_mouth=turned[1],
        onset_face=turned[2],
        apex_eye=turned[3],
        apex_mouth=turned[4],
        apex_face=turned[5],
        offset_eye=turned[6],
        offset_mouth=turned[7],
        offset_face=turned[8],
    )
