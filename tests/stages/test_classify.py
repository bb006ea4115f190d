"""Classification of intervals; crops and models here are synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stages.classify import ClassifyStage, prepare
from stages.items import (
    AUInterval,
    Event,
    Evidence,
    FaceState,
    Floats,
    Grey,
    Interval,
    Phase,
    Stamp,
)

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from models.recogniser import InputSpec, Recogniser
from tests.models.test_recogniser import FLOW, GREY, card, save, softmax, weights


def stamp(frame: int) -> Stamp:
    return Stamp("cam", frame, frame / 30, frame, frame)


def texture(shape: tuple[int, int], seed: int, shift: float = 0.0) -> Grey:
    """A smooth random texture, moved ``shift`` px to the right."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 4)
    field = 128 + 60 * field / np.abs(field).max()
    move = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(field, move, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def evidence(eye_shift: float = 2.0, mouth_shift: float = -1.5) -> Evidence:
    """At the apex the textures are moved; at onset and offset they rest."""
    eye, mouth = (240, 280), (160, 260)
    return Evidence(
        onset_eye=texture(eye, 1),
        onset_mouth=texture(mouth, 2),
        apex_eye=texture(eye, 1, eye_shift),
        apex_mouth=texture(mouth, 2, mouth_shift),
        offset_eye=texture(eye, 1, 1.0),
        offset_mouth=texture(mouth, 2, 1.0),
    )


def interval(*aus: int, phase: Phase = "final", crops: Evidence | None = None) -> Interval:
    return Interval(
        id="cam/0/0-0",
        face=0,
        phase=phase,
        kind="micro",
        onset=stamp(10),
        apex=stamp(14),
        offset=stamp(19),
        aus=[AUInterval(au, "both", 5.0, stamp(10), stamp(14), stamp(19)) for au in aus],
        decided=stamp(40),
        reference=0,
        evidence=crops,
    )


def opencv_flow(reference: Grey, image: Grey) -> Floats:
    """The reference implementation of the stage's own flow."""
    start = np.zeros((*reference.shape, 2), np.float32)
    made = cv2.calcOpticalFlowFarneback(reference, image, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(made, np.float32)


def the_event(stage: ClassifyStage, item: Interval) -> Event:
    (event,) = stage.process(item)
    assert isinstance(event, Event)
    return event


@pytest.fixture
def flow_model(tmp_path: Path) -> Recogniser:
    return Recogniser(save(tmp_path / "flow.onnx", card()))


# ---------------------------------------------------------------- the coding guide


def test_a_final_event_carries_the_rule_that_fired() -> None:
    event = the_event(ClassifyStage("synthetic@1"), interval(12))
    (reading,) = event.readings
    assert reading.source == "coding-guide"
    assert (reading.label, reading.category) == ("happiness", "positive")
    assert reading.rule == "rule 1: AU12 corners of lips pulled up"
    assert event.prototypes == "synthetic@1"
    assert event.models == []


def test_conflicting_readings_are_all_told_primary_first() -> None:
    event = the_event(ClassifyStage("p@1"), interval(4, 12, 14))
    assert [r.label for r in event.readings] == ["happiness", "negative"]


def test_aus_without_a_rule_are_others() -> None:
    event = the_event(ClassifyStage("p@1"), interval(14, 17))
    assert [r.category for r in event.readings] == ["others"]


def test_an_apex_is_read_by_its_aus_so_far_and_a_retraction_not_at_all(
    flow_model: Recogniser,
) -> None:
    stage = ClassifyStage("p@1", flow_model, opencv_flow)
    apex = the_event(stage, interval(2, phase="apex"))
    gone = the_event(stage, interval(2, phase="retracted"))
    assert [(r.source, r.label) for r in apex.readings] == [("coding-guide", "surprise")]
    assert gone.readings == []


def test_crops_never_leave_and_the_rest_of_the_interval_does() -> None:
    given = interval(12, crops=evidence())
    left = the_event(ClassifyStage("p@1"), given).interval
    assert left == interval(12)
    assert given.evidence is not None


def test_other_items_pass_unchanged() -> None:
    item = FaceState(stamp(3), 0, visible=False)
    stage = ClassifyStage("p@1")
    (passed,) = stage.process(item)
    assert passed is item
    assert list(stage.flush()) == []


def test_an_unknown_au_is_refused() -> None:
    with pytest.raises(ValueError, match="no AU 3"):
        ClassifyStage("p@1").process(interval(3))


def test_without_a_recogniser_no_device_is_named() -> None:
    assert ClassifyStage("p@1").device == ""


# ---------------------------------------------------------------- the recogniser


def plane(field: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    return cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def test_a_final_event_has_the_scores_that_numpy_gives(flow_model: Recogniser) -> None:
    crops = evidence()
    event = the_event(ClassifyStage("p@1", flow_model, opencv_flow), interval(12, crops=crops))
    field = opencv_flow(crops.onset_eye, crops.apex_eye)
    means = [
        ((plane(field[..., i], (8, 6)) * 0.5 - FLOW["mean"][i]) / FLOW["std"][i]).mean()
        for i in range(2)
    ]
    expected = softmax(np.array(means) @ weights(2))
    guide, learned = event.readings
    assert guide.source == "coding-guide"
    assert learned.source == "tiny"
    np.testing.assert_allclose(list(learned.scores.values()), expected, rtol=1e-4)
    best = max(learned.scores, key=learned.scores.__getitem__)
    assert learned.label == learned.category == best
    assert learned.device == flow_model.device
    assert event.models == ["tiny@3"]


def test_the_stage_names_the_device(flow_model: Recogniser) -> None:
    assert ClassifyStage("p@1", flow_model, opencv_flow).device == flow_model.device
    assert flow_model.device.endswith("ExecutionProvider")


def test_flow_goes_from_the_named_frame_to_the_apex() -> None:
    specs = {
        "rise": InputSpec("flow_onset_apex", "eye", (280, 240), ["u"]),
        "fall": InputSpec("flow_offset_apex", "eye", (280, 240), ["u"]),
        "mouth": InputSpec("flow_onset_apex", "mouth", (260, 160), ["u"]),
    }
    made = prepare(specs, evidence(), opencv_flow)
    middle = {name: float(np.median(tensor[0, 0, 40:-40, 40:-40])) for name, tensor in made.items()}
    assert middle["rise"] == pytest.approx(2.0, abs=0.25)
    assert middle["fall"] == pytest.approx(1.0, abs=0.25)  # the offset is moved by 1 already
    assert middle["mouth"] == pytest.approx(-1.5, abs=0.25)


@pytest.mark.parametrize("source", ["onset", "apex", "offset"])
@pytest.mark.parametrize("region", ["eye", "mouth"])
def test_crops_are_taken_from_the_named_moment_and_region(source: Any, region: Any) -> None:
    crops = evidence()
    crop: Grey = getattr(crops, f"{source}_{region}")
    size = crop.shape[::-1]
    made = prepare({"x": InputSpec(source, region, size, ["grey"])}, crops, opencv_flow)
    np.testing.assert_array_equal(made["x"][0, 0], crop)


def test_the_stages_own_flow_is_the_default(flow_model: Recogniser) -> None:
    item = interval(12, crops=evidence())
    own = the_event(ClassifyStage("p@1", flow_model), item).readings[1]
    opencv = the_event(ClassifyStage("p@1", flow_model, opencv_flow), item).readings[1]
    assert own.scores == pytest.approx(opencv.scores, abs=1e-4)


def test_one_flow_serves_all_inputs_that_use_it() -> None:
    calls: list[tuple[int, ...]] = []

    def counted(reference: Grey, image: Grey) -> Floats:
        calls.append(reference.shape)
        return opencv_flow(reference, image)

    specs = {
        "a": InputSpec("flow_onset_apex", "eye", (8, 6), ["u"]),
        "b": InputSpec("flow_onset_apex", "eye", (4, 4), ["v"]),
        "c": InputSpec("apex", "eye", (4, 4), ["grey"]),
        "d": InputSpec("flow_onset_apex", "mouth", (4, 4), ["v"]),
    }
    prepare(specs, evidence(), counted)
    assert calls == [(240, 280), (160, 260)]


def test_an_event_without_crops_still_goes_out(flow_model: Recogniser) -> None:
    event = the_event(ClassifyStage("p@1", flow_model, opencv_flow), interval(12))
    guide, learned = event.readings
    assert guide.label == "happiness"
    assert (learned.label, learned.scores) == ("", {})
    assert learned.rule.startswith("not scored: the crops")


def test_an_event_still_goes_out_when_the_model_fails(tmp_path: Path) -> None:
    # the "probabilities" of this model are not; only real input shows it
    metadata = card(output="probabilities", inputs={"grey": GREY})
    path = save(tmp_path / "wrong.onnx", metadata, {"grey": [1, 1, 4, 5]})
    stage = ClassifyStage("p@1", Recogniser(path), opencv_flow)
    guide, learned = the_event(stage, interval(12, crops=evidence())).readings
    assert guide.label == "happiness"
    assert learned.label == ""
    assert "says probabilities" in learned.rule


def test_the_stage_holds_no_state(flow_model: Recogniser) -> None:
    stage = ClassifyStage("p@1", flow_model, opencv_flow)
    item = interval(12, crops=evidence())
    first = the_event(stage, item)
    the_event(stage, interval(4, 7, crops=evidence(-3.0, 1.0)))
    assert the_event(stage, item) == first
    stage.reset()
    assert the_event(stage, item) == first
