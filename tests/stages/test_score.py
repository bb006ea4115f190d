"""Recognisers on events, in batches; models are random, crops synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import stages.prepare
from stages.items import Evidence, Floats, Grey, Reading
from stages.magnify import FlowWarpMagnifier
from stages.prepare import prepare
from stages.score import Scorer
from tests.stages.crops import evidence, opencv_flow

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from models.onnx_session import OnnxSession
from models.recogniser import Recogniser
from tests.models.test_recogniser import CLASSES, FLOW, GREY, card, save, softmax, weights

DYNAMIC = {"flow": ["n", 2, 6, 8]}


@pytest.fixture
def flow_model(tmp_path: Path) -> Recogniser:
    return Recogniser(save(tmp_path / "flow.onnx", card(), DYNAMIC))


@pytest.fixture
def face_model(tmp_path: Path) -> Recogniser:
    face = {"source": "magnified", "region": "face", "size": [5, 4], "channels": ["grey"]}
    inputs = {"face": face | {"scale": 0.004}}
    metadata = card(name="map", version="2", inputs=inputs, aus=[4, 12])
    return Recogniser(save(tmp_path / "face.onnx", metadata, {"face": ["n", 1, 4, 5]}, aus=2))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of every inference."""
    seen: list[int] = []
    inner = OnnxSession.run

    def run(self: Any, outputs: Any, inputs: Any) -> Any:
        seen.append(len(next(iter(inputs.values()))))
        return inner(self, outputs, inputs)

    monkeypatch.setattr(OnnxSession, "run", run)
    return seen


def scorer(*recognisers: Recogniser, batch: int = 16) -> Scorer:
    return Scorer(recognisers, FlowWarpMagnifier(), batch)


def numbers(readings: Sequence[Reading]) -> list[list[float]]:
    return [list(reading.scores.values()) for reading in readings]


def test_a_reading_has_the_scores_that_numpy_gives(flow_model: Recogniser) -> None:
    crops = evidence()
    ((reading,),) = scorer(flow_model).score([crops])
    flow = opencv_flow(crops.onset_eye, crops.apex_eye)
    means = [
        cv2.resize(flow[..., i], (8, 6), interpolation=cv2.INTER_AREA).mean() * 0.5
        for i in range(2)
    ]
    means = [(m - FLOW["mean"][i]) / FLOW["std"][i] for i, m in enumerate(means)]
    expected = softmax(np.array(means) @ weights(2))
    np.testing.assert_allclose(list(reading.scores.values()), expected, rtol=1e-3)
    assert list(reading.scores) == CLASSES
    assert reading.label == reading.category == CLASSES[int(np.argmax(expected))]


def test_a_reading_says_whose_it_is_and_what_that_was_trained_on(
    flow_model: Recogniser, face_model: Recogniser
) -> None:
    both = scorer(flow_model, face_model)
    (readings,) = both.score([evidence()])
    assert [r.source for r in readings] == ["tiny", "map"]
    assert both.models == ["tiny@3", "map@2"]
    assert all(r.training == "synthetic: random weights" for r in readings)
    assert all(r.device.endswith("ExecutionProvider") for r in readings)
    assert [list(r.aus) for r in readings] == [[], ["4", "12"]]
    assert all(0 < p < 1 for p in readings[1].aus.values())
    assert both.about[1].startswith("map@2 on ")
    assert both.about[1].endswith("trained on: synthetic: random weights")


def test_waiting_events_are_one_batch_a_model(
    flow_model: Recogniser, face_model: Recogniser, runs: list[int]
) -> None:
    events = [evidence(shift) for shift in (2.0, -1.0, 0.5)]
    together = scorer(flow_model, face_model).score(events)
    assert runs == [3, 3]
    for crops, readings in zip(events, together, strict=True):
        (alone,) = scorer(flow_model, face_model).score([crops])
        for a, b in zip(numbers(alone), numbers(readings), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    assert numbers(together[0])[0] != pytest.approx(numbers(together[1])[0], rel=1e-3)


def test_a_batch_is_no_larger_than_it_may_be(flow_model: Recogniser, runs: list[int]) -> None:
    scorer(flow_model, batch=2).score([evidence()] * 5)
    assert runs == [2, 2, 1]


def test_no_events_give_no_readings(flow_model: Recogniser) -> None:
    assert scorer(flow_model).score([]) == []


def test_models_share_flows_and_magnified_frames(
    flow_model: Recogniser, face_model: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(reference: Grey, image: Grey) -> Floats:
        calls.append(reference.shape)
        return opencv_flow(reference, image)

    monkeypatch.setattr(stages.prepare, "_FLOWS", {"farneback": counted})
    magnifier = FlowWarpMagnifier(counted)
    Scorer([flow_model, face_model, flow_model, face_model], magnifier).score([evidence()])
    assert calls == [(240, 280), (224, 224)]


def test_an_event_without_crops_has_a_reading_that_says_so(flow_model: Recogniser) -> None:
    (gone,), (there,) = scorer(flow_model).score([None, evidence()])
    assert (gone.label, gone.scores, gone.source) == ("", {}, "tiny")
    assert gone.rule == "not scored: the crops of the key frames are gone"
    assert there.label


def test_a_model_that_lacks_its_crop_does_not_cost_the_others(
    flow_model: Recogniser, face_model: Recogniser
) -> None:
    ((flow, face),) = scorer(flow_model, face_model).score([evidence(whole=False)])
    assert flow.label
    assert face.rule == "not scored: the face crop of the onset is missing"


def test_one_event_that_fails_does_not_cost_the_rest_of_its_batch(tmp_path: Path) -> None:
    # the "probabilities" of this model are none on a bright mouth; only real input shows it
    metadata = card(output="probabilities", inputs={"grey": GREY})
    path = save(tmp_path / "wrong.onnx", metadata, {"grey": ["n", 1, 4, 5]}, last="Abs")
    crops = evidence()
    dark, bright = (_mouth(crops, np.full((160, 260), grey, np.uint8)) for grey in (0, 255))
    (first,), (second,), (third,) = scorer(Recogniser(path)).score([dark, bright, dark])
    assert first.label == third.label != ""
    assert second.label == ""
    assert "says probabilities" in second.rule


class BrightMagnifier(FlowWarpMagnifier):
    """Raises what OpenCV does, on dark crops."""

    def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
        if apex.max() == 0:
            raise cv2.error("cannot\nremap")
        return super().magnify(onset, apex, factor)


def test_whatever_preparing_an_event_raises_costs_no_other_reading(
    flow_model: Recogniser, face_model: Recogniser
) -> None:
    crops = evidence()
    dark = _with(crops, apex_face=np.zeros((224, 224), np.uint8))
    both = Scorer([flow_model, face_model], BrightMagnifier())
    rows = both.score([crops, dark, crops])
    done = [[bool(reading.label) for reading in row] for row in rows]
    assert done == [[True, True], [True, False], [True, True]]
    assert rows[1][1].rule == "not scored: error: cannot remap"


def test_whatever_an_inference_raises_costs_its_own_event_alone(
    flow_model: Recogniser, face_model: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = flow_model.score_batch

    def picky(batch: Sequence[Any]) -> Any:
        if any(np.array_equal(tensors["flow"], bad["flow"]) for tensors in batch):
            raise ArithmeticError("no luck")
        return inner(batch)

    monkeypatch.setattr(flow_model, "score_batch", picky)
    crops = evidence()
    other = evidence(eye_shift=-1.0)
    bad = prepare(flow_model.inputs, other, FlowWarpMagnifier())
    rows = scorer(flow_model, face_model).score([crops, other, crops])
    assert [bool(row[0].label) for row in rows] == [True, False, True]
    assert rows[1][0].rule == "not scored: ArithmeticError: no luck"
    assert all(row[1].label for row in rows)


def test_without_a_gpu_two_events_are_handed_over_at_once(
    flow_model: Recogniser, face_model: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = scorer(flow_model, face_model, batch=8)
    assert both.at_once == 2
    assert scorer(flow_model, batch=1).at_once == 1
    monkeypatch.setattr(face_model._session, "device", "CUDAExecutionProvider")
    assert both.at_once == 8


def _mouth(crops: Evidence, apex: Grey) -> Evidence:
    return _with(crops, apex_mouth=apex)


def _with(crops: Evidence, **changed: Grey) -> Evidence:
    fields = {n: getattr(crops, n) for n in crops.__struct_fields__}
    return Evidence(**(fields | changed))


def test_every_recogniser_says_why_there_is_no_score(
    flow_model: Recogniser, face_model: Recogniser
) -> None:
    readings = scorer(flow_model, face_model).unscored("the thread died")
    assert [(r.source, r.label, r.rule) for r in readings] == [
        ("tiny", "", "not scored: the thread died"),
        ("map", "", "not scored: the thread died"),
    ]


def test_warming_up_touches_every_model(
    flow_model: Recogniser, face_model: Recogniser, runs: list[int]
) -> None:
    scorer(flow_model, face_model).warm_up()
    assert runs == [1, 1]
