"""What a window hands on to the next, and what it must not (synthetic; ``scripted``)."""

from __future__ import annotations

from stages.items import Curves, FaceState, Stamp
from stages.joint import JointParams
from stages.noise import NoiseParams
from stages.rules import JointRules
from stages.spot import SpotStage
from tests.stages.scripted import (
    PARAMS,
    STRANGE,
    Move,
    aus,
    columns,
    finals,
    memory,
    model,
    retractions,
    spot,
    spotter,
)

SMILE = Move(12, 1.5, 1.7, 1.9)


def test_what_a_window_sees_again_is_no_speech_that_follows_on_itself() -> None:
    known = memory()
    # a strange movement hides the smile in the first window; the next one sees it clean
    hidden = columns([SMILE, Move(STRANGE, 1.5, 1.7, 1.9)])
    assert not finals(spot(hidden, known=known, explained=0.8, explained_large=0.8))
    assert known.mouth
    again = spot(columns([SMILE]), known=known)
    assert [aus(final) for final in finals(again)] == [{12: "both"}]


def test_a_smile_that_is_over_stays_final_when_the_face_is_lost() -> None:
    times, parts = columns([SMILE])
    it = spotter(wait_s=1.0)
    updates = []
    for time, column in zip(times, parts, strict=True):
        if time < 2.3:
            updates += it.push(float(time), column, False)
    assert not finals(updates)
    assert [aus(final) for final in finals(it.abandon())] == [{12: "both"}]


def test_a_withdrawn_expression_says_what_the_veto_saw() -> None:
    train = [Move(12, 1.0 + 0.35 * k, 1.15 + 0.35 * k, 1.3 + 0.35 * k) for k in range(5)]
    speech = [r for r in retractions(spot(columns(train))) if r.reason == "speech" and r.vetoes]
    assert speech
    for retraction in speech:
        assert {"explained", "height", "blink", "shut", "speech"} == {
            veto.name for veto in retraction.vetoes
        }


def test_a_stronger_blink_takes_no_ones_place() -> None:
    frown = Move(4, 1.5, 1.7, 3.0, px=3.0)
    blink = Move(45, 1.9, 2.0, 2.15, px=9.0)
    said = [r.reason for r in retractions(spot(columns([frown, blink])))]
    assert "part of a stronger movement" not in said


def test_source_time_that_begins_again_does_not_silence_the_face() -> None:
    known = memory()
    times, parts = columns([SMILE])
    late = spotter(known)
    for time, column in zip(times + 100, parts, strict=True):
        late.push(float(time), column, False)
    assert finals(spot(columns([SMILE]), known=known, calibrate_s=1.0))


def _curves(frame: int, face: int) -> Curves:
    return Curves(Stamp("cam", frame, frame / 30, 0, 0), face, [])


def test_faces_lost_for_long_are_forgotten_and_those_of_late_are_not() -> None:
    rules = JointRules(model(), JointParams(**PARAMS), NoiseParams())
    stage = SpotStage(rules)
    for number in range(50):
        frame = 3000 * number  # a new face every 100 s
        stage.process(_curves(frame, number))
        list(
            stage.process(FaceState(Stamp("cam", frame + 1, (frame + 1) / 30, 0, 0), number, False))
        )
    assert len(stage._faces) <= 2
    recent = SpotStage(rules)
    for number in range(5):
        recent.process(_curves(300 * number, number))
    assert len(recent._faces) == 5
