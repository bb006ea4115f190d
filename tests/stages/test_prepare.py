"""What recognisers are given; crops are synthetic."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import stages.prepare
from models.errors import ModelError
from models.recogniser import InputSpec
from stages.items import Floats, Grey
from stages.prepare import Preparation, prepare
from tests.stages.crops import evidence, opencv_flow


class Doubler:
    """A magnifier that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], float]] = []

    def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
        self.asked.append((onset.shape, factor))
        made = onset.astype(float) + factor * (apex.astype(float) - onset)
        return np.clip(made, 0, 255).astype(np.uint8)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """Every flow that is computed: its method and the size of its crops."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    def counted(name: Any) -> Any:
        def flow(reference: Grey, image: Grey) -> Floats:
            seen.append((name, reference.shape))
            return opencv_flow(reference, image)

        return flow

    monkeypatch.setattr(
        stages.prepare, "_FLOWS", {name: counted(name) for name in ("farneback", "tvl1")}
    )
    return seen


def one(spec: InputSpec, **crops: Any) -> Floats:
    return prepare({"x": spec}, evidence(**crops), Doubler())["x"]


@pytest.mark.parametrize("flow", ["farneback", "tvl1"])
def test_flow_goes_from_the_named_frame_to_the_apex(flow: Any) -> None:
    specs = {
        "rise": InputSpec("flow_onset_apex", "eye", (280, 240), ["u"], flow=flow),
        "fall": InputSpec("flow_offset_apex", "eye", (280, 240), ["u"], flow=flow),
        "mouth": InputSpec("flow_onset_apex", "mouth", (260, 160), ["u"], flow=flow),
        "face": InputSpec("flow_onset_apex", "face", (224, 224), ["u"], flow=flow),
    }
    made = prepare(specs, evidence(), Doubler())
    middle = {name: float(np.median(tensor[0, 0, 40:-40, 40:-40])) for name, tensor in made.items()}
    assert middle["rise"] == pytest.approx(2.0, abs=0.25)
    assert middle["fall"] == pytest.approx(1.0, abs=0.25)  # the offset is moved by 1 already
    assert middle["mouth"] == pytest.approx(-1.5, abs=0.25)
    assert middle["face"] == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("source", ["onset", "apex", "offset"])
@pytest.mark.parametrize("region", ["eye", "mouth", "face"])
def test_crops_are_taken_from_the_named_moment_and_region(source: Any, region: Any) -> None:
    crop: Grey = getattr(evidence(), f"{source}_{region}")
    made = one(InputSpec(source, region, crop.shape[::-1], ["grey"]))
    np.testing.assert_array_equal(made[0, 0], crop)


def test_the_farneback_of_an_input_is_opencvs() -> None:
    crops = evidence()
    made = one(InputSpec("flow_onset_apex", "eye", (280, 240), ["u", "v"]))
    want = opencv_flow(crops.onset_eye, crops.apex_eye)
    assert np.abs(made[0].transpose(1, 2, 0) - want).mean() < 1e-3


def test_crops_are_shrunk_before_flow_is_taken_and_it_stays_in_px_of_that_size() -> None:
    small = one(InputSpec("flow_onset_apex", "face", (56, 56), ["u"], flow="tvl1", at=(112, 112)))
    full = one(InputSpec("flow_onset_apex", "face", (56, 56), ["u"], flow="tvl1"))
    inner = (0, 0, slice(10, -10), slice(10, -10))
    assert np.median(small[inner]) == pytest.approx(1.0, abs=0.1)
    assert np.median(full[inner]) == pytest.approx(2.0, abs=0.1)


def test_a_crop_is_shrunk_by_area_first() -> None:
    crop = evidence().apex_face
    assert crop is not None
    made = one(InputSpec("apex", "face", (56, 56), ["grey"], at=(112, 112)))
    half = np.floor(crop.reshape(112, 2, 112, 2).mean(axis=(1, 3)) + 0.5)
    want = half.reshape(56, 2, 56, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(made[0, 0], want, atol=1e-4)


def test_the_magnified_frame_is_shrunk_after_it_is_made() -> None:
    magnifier = Doubler()
    spec = InputSpec("magnified", "face", (56, 56), ["grey"], at=(56, 56), factor=2.0)
    crops = evidence()
    made = prepare({"x": spec}, crops, magnifier)["x"]
    assert magnifier.asked == [((224, 224), 2.0)]
    assert crops.onset_face is not None and crops.apex_face is not None
    whole = Doubler().magnify(crops.onset_face, crops.apex_face, 2.0)
    want = cv2.resize(whole, (56, 56), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(made[0, 0], want)


def test_flow_goes_to_the_magnified_frame_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs: list[tuple[Grey, Grey]] = []

    def flow(reference: Grey, image: Grey) -> Floats:
        pairs.append((reference, image))
        return np.zeros((*reference.shape, 2), np.float32)

    monkeypatch.setattr(stages.prepare, "_FLOWS", {"tvl1": flow})
    crops = evidence()
    specs = {
        f"{i}": InputSpec(source, "eye", (8, 8), ["u"], flow="tvl1", factor=2.0)
        for i, source in enumerate(("flow_onset_magnified", "flow_offset_magnified"))
    }
    prepare(specs, crops, Doubler())
    magnified = Doubler().magnify(crops.onset_eye, crops.apex_eye, 2.0)
    for (begin, end), want in zip(pairs, (crops.onset_eye, crops.offset_eye), strict=True):
        np.testing.assert_array_equal(begin, want)
        np.testing.assert_array_equal(end, magnified)


def test_each_flow_and_each_magnified_frame_is_made_once(calls: Any) -> None:
    magnifier = Doubler()
    map_like = {
        "frame": InputSpec("magnified", "face", (224, 224), ["grey"]),
        "rise": InputSpec("flow_onset_magnified", "face", (224, 224), ["magnitude"], flow="tvl1"),
        "fall": InputSpec("flow_offset_magnified", "face", (224, 224), ["magnitude"], flow="tvl1"),
    }
    gcn_like = {
        "a": InputSpec("flow_onset_apex", "face", (28, 28), ["u", "v"], flow="tvl1", at=(56, 56)),
        "b": InputSpec("flow_onset_apex", "face", (14, 14), ["u"], flow="tvl1", at=(56, 56)),
        "c": InputSpec("flow_onset_apex", "face", (28, 28), ["u"], at=(56, 56)),
        "d": InputSpec("flow_onset_magnified", "face", (28, 28), ["u"], flow="tvl1", factor=3.0),
    }
    both = Preparation(evidence(), magnifier)
    both.tensors(map_like)
    both.tensors(map_like)  # another model that wants the same
    both.tensors(gcn_like)
    assert magnifier.asked == [((224, 224), 6.0), ((224, 224), 3.0)]
    assert calls == [
        ("tvl1", (224, 224)),
        ("tvl1", (224, 224)),
        ("tvl1", (56, 56)),
        ("farneback", (56, 56)),
        ("tvl1", (224, 224)),
    ]


def test_steady_flow_is_flow_less_what_the_whole_face_does() -> None:
    plain, steady = (
        InputSpec("flow_onset_apex", "face", (28, 28), ["u"], flow="tvl1", steady=s)
        for s in (False, True)
    )
    both = prepare({"plain": plain, "steady": steady}, evidence(), Doubler())
    assert np.median(both["plain"]) == pytest.approx(2.0, abs=0.1)
    assert np.median(np.abs(both["steady"])) < 0.05


def test_without_magnified_inputs_nothing_is_magnified() -> None:
    magnifier = Doubler()
    prepare({"x": InputSpec("flow_onset_apex", "eye", (8, 6), ["u"])}, evidence(), magnifier)
    assert magnifier.asked == []


def test_a_missing_face_crop_is_named() -> None:
    spec = InputSpec("flow_onset_apex", "face", (28, 28), ["u"])
    with pytest.raises(ModelError, match="the face crop of the onset is missing"):
        one(spec, whole=False)


def test_crops_from_the_wire_are_read_only_and_will_do() -> None:
    crops = evidence()
    for name in crops.__struct_fields__:
        getattr(crops, name).flags.writeable = False
    from stages.magnify import FlowWarpMagnifier

    specs = {
        "m": InputSpec("magnified", "face", (28, 28), ["grey"]),
        "f": InputSpec("flow_onset_apex", "face", (28, 28), ["u"]),
        "t": InputSpec("flow_onset_apex", "face", (28, 28), ["u"], flow="tvl1"),
    }
    assert all(np.isfinite(t).all() for t in prepare(specs, crops, FlowWarpMagnifier()).values())
