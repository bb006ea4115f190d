"""Classification of intervals; crops and models here are synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import pytest

from stages.classify import ClassifyStage
from stages.items import Event, Evidence, FaceState, Grey, Interval, Reading
from tests.stages.crops import evidence, interval, stamp


class Stub:
    """A scorer that says what it was given."""

    def __init__(self) -> None:
        self.models = ["stub@1"]
        self.given: list[Evidence | None] = []

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        self.given += events
        return [[Reading("stub", "positive", scores={"positive": 1.0})] for _ in events]


def the_event(stage: ClassifyStage, item: Interval) -> Event:
    (event,) = stage.process(item)
    assert isinstance(event, Event)
    return event


def with_stub() -> tuple[ClassifyStage, Stub]:
    stub = Stub()
    return ClassifyStage("p@1", stub), stub  # type: ignore[arg-type]


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


def test_an_apex_is_read_by_its_aus_so_far_and_a_retraction_not_at_all() -> None:
    stage, stub = with_stub()
    apex = the_event(stage, interval(2, phase="apex"))
    gone = the_event(stage, interval(2, phase="retracted"))
    assert [(r.source, r.label) for r in apex.readings] == [("coding-guide", "surprise")]
    assert gone.readings == []
    assert stub.given == []


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


# ---------------------------------------------------------------- the recognisers


def test_a_final_event_has_the_recognisers_readings_behind_the_guides() -> None:
    stage, stub = with_stub()
    crops = evidence()
    event = the_event(stage, interval(12, crops=crops))
    assert [r.source for r in event.readings] == ["coding-guide", "stub"]
    assert event.models == ["stub@1"]
    assert stub.given == [crops]


def test_a_recogniser_that_cannot_prepare_an_event_costs_neither_it_nor_the_others(
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from models.recogniser import Recogniser
    from stages.magnify import FlowWarpMagnifier
    from stages.score import Scorer
    from tests.models.test_recogniser import GREY, card, save

    class Broken(FlowWarpMagnifier):
        def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
            raise cv2.error("no remap")

    loaded = []
    for source in ("apex", "magnified"):
        metadata = card(name=source, inputs={"grey": GREY | {"source": source}})
        path = save(tmp_path / f"{source}.onnx", metadata, {"grey": ["n", 1, 4, 5]})
        loaded.append(Recogniser(path))
    stage = ClassifyStage("p@1", Scorer(loaded, Broken()))
    event = the_event(stage, interval(12, crops=evidence()))
    assert [r.source for r in event.readings] == ["coding-guide", "apex", "magnified"]
    assert event.readings[1].label
    assert event.readings[2].rule == "not scored: error: no remap"


def test_the_guide_can_be_asked_alone_and_completed_later() -> None:
    stage, stub = with_stub()
    item = interval(12, crops=evidence())
    early = stage.read(item)
    assert [r.source for r in early.readings] == ["coding-guide"]
    assert early.models == ["stub@1"]  # whose reading is still to come
    assert early.interval.evidence is None
    (readings,) = stub.score([item.evidence])
    assert stage.complete(early, readings) == the_event(stage, item)
    assert [r.source for r in early.readings] == ["coding-guide"]


def test_the_stage_holds_no_state() -> None:
    stage, _ = with_stub()
    item = interval(12, crops=evidence())
    first = the_event(stage, item)
    the_event(stage, interval(4, 7, crops=evidence(-3.0, 1.0)))
    assert the_event(stage, item) == first
    stage.reset()
    assert the_event(stage, item) == first


def test_an_event_survives_as_plain_json() -> None:
    event = the_event(with_stub()[0], interval(12, crops=evidence()))
    raw = msgspec.json.decode(msgspec.json.encode(event))
    assert raw["readings"][1]["scores"] == {"positive": 1.0}
