"""The spotting stage with joint explanation: what intervals carry, and what windows share.

Columns are synthetic: movements are scripted (``scripted``), and a window's columns are
what they project less its value at the window's reference.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import pytest

from stages.items import Column, Curves, Interval, Stamp, Stride, WindowEnd
from stages.joint import JointParams, Memory
from stages.noise import NoiseParams
from stages.rules import JointRules
from stages.spot import SpotStage
from tests.stages.scripted import PARAMS, SIZE, Move, columns, model

FPS = 30
BROWS = Move(1, 1.5, 1.7, 1.9)


class _Rules(JointRules):
    """Joint rules that show the memories they made."""

    def __init__(self) -> None:
        super().__init__(model(), JointParams(**PARAMS), NoiseParams())
        self.made: list[Memory] = []

    def memory(self) -> Memory:
        self.made.append(super().memory())
        return self.made[-1]


def _stage(window_s: float = 4.0) -> SpotStage:
    return SpotStage(_Rules(), window_s=window_s)


def stamp(frame: int, stream: str = "cam") -> Stamp:
    return Stamp(stream, frame, frame / FPS, 1000 + frame, 2000 + frame)


def crop(frame: int) -> np.ndarray:
    return np.full((2, 2), frame % 251, np.uint8)


class Script:
    """What a face does, as curves against any reference."""

    def __init__(self, *moves: Move, seconds: float = 12.0) -> None:
        self.parts = columns(moves, seconds=seconds)[1].astype(np.float32)

    def curves(
        self, frame: int, references: Iterable[int], shut: bool = False, new: bool = True
    ) -> Curves:
        made = [
            Column(r, np.zeros(2, np.float32), self.parts[frame] - self.parts[r])
            for r in references
            if frame >= r
        ]
        eye, mouth = (crop(frame), crop(frame)) if new else (None, None)
        return Curves(stamp(frame), 0, made, shut, eye, mouth)


def feed(spot: SpotStage, items: Iterable[object]) -> list[Interval | Stride]:
    return [out for item in items for out in spot.process(item)]  # type: ignore[arg-type]


def intervals(items: Iterable[object], phase: str | None = None) -> list[Interval]:
    return [i for i in items if isinstance(i, Interval) and phase in (None, i.phase)]


def plain(items: Iterable[object]) -> list[object]:
    """Without crops, which do not compare."""
    return [
        msgspec.structs.replace(i, evidence=None) if isinstance(i, Interval) else i for i in items
    ]


# ---------------------------------------------------------------- what intervals carry


def test_an_expression_carries_its_aus_sides_heights_and_vetoes() -> None:
    both = Script(Move(1, 1.5, 1.7, 1.9, 4.0), Move(12, 1.5, 1.7, 1.9, 2.5, ("left",)))
    out = feed(_stage(), [both.curves(f, [0]) for f in range(90)])
    apex, final = intervals(out)
    assert (apex.phase, apex.kind, apex.onset, apex.offset) == ("apex", "unknown", None, None)
    assert (final.phase, final.kind, final.id) == ("final", "micro", apex.id)
    assert [(a.au, a.side) for a in final.aus] == [(1, "both"), (12, "left")]
    assert final.aus[0].index == pytest.approx(4.0, rel=0.15)  # px of the crop
    assert [a.au for a in apex.aus] == [1, 12]
    assert final.height > 8
    assert 0.9 < final.explained <= 1
    assert {"explained", "height", "blink", "speech"} <= {veto.name for veto in final.vetoes}
    seen = {veto.name: veto for veto in final.vetoes}
    assert seen["explained"].value == final.explained > seen["explained"].limit
    assert seen["height"].value == final.height > seen["height"].limit


def test_an_expression_has_its_key_frames_crops() -> None:
    out = feed(_stage(), [Script(BROWS).curves(f, [0]) for f in range(90)])
    (final,) = intervals(out, "final")
    assert final.onset is not None
    assert final.offset is not None
    assert final.evidence is not None
    assert final.evidence.onset_eye[0, 0] == final.onset.frame
    assert final.evidence.apex_eye[0, 0] == final.apex.frame
    assert abs(final.apex.frame - 51) <= 1
    assert final.evidence.offset_mouth[0, 0] == final.offset.frame


def test_a_find_prepares_the_window_after_it() -> None:  # eq. 20
    out = feed(_stage(), [Script(BROWS).curves(f, [0]) for f in range(90)])
    (final,) = intervals(out, "final")
    assert final.offset is not None
    assert [i for i in out if isinstance(i, Stride)] == [
        Stride(0, 0, final.offset.frame + 1, closed=False)
    ]


def test_shut_eyes_reach_the_rules() -> None:
    script = Script(Move(1, 1.5, 1.6, 1.7, 8.0))
    seen = feed(_stage(), [script.curves(f, [0]) for f in range(90)])
    assert intervals(seen, "final")
    shut = [script.curves(f, [0], shut=45 <= f < 52) for f in range(90)]
    assert not intervals(feed(_stage(), shut))


def test_a_train_of_mouth_movements_is_withdrawn_as_speech() -> None:
    talk = Script(*(Move(12, 1 + 0.28 * k, 1.12 + 0.28 * k, 1.26 + 0.28 * k) for k in range(4)))
    spot = _stage()
    out = feed(spot, [talk.curves(f, [0]) for f in range(110)]) + list(spot.flush())
    assert intervals(out, "apex")
    assert not intervals(out, "final")
    assert {i.reason for i in intervals(out, "retracted")} == {"speech"}


# ---------------------------------------------------------------- from window to window


def _across(batch: bool) -> list[Interval | Stride]:
    """A movement that the first window, of 4 s, sees only the beginning of."""
    script, spot = Script(Move(1, 3.6, 3.8, 4.2)), _stage()
    out = feed(spot, [script.curves(f, [0, 60] if f >= 60 else [0]) for f in range(120)])
    out += feed(spot, [WindowEnd(stamp(120), 0, 0, "full")])
    if batch:  # the columns came before the window was due
        return out + feed(spot, [script.curves(f, [60]) for f in range(120, 180)])
    return out + feed(spot, [script.curves(f, [60], new=f >= 120) for f in range(60, 180)])


def test_a_movement_cut_by_a_window_is_found_whole_by_the_next() -> None:
    out = _across(batch=True)
    (final,) = intervals(out, "final")
    assert final.reference == 60
    assert final.onset is not None
    assert final.offset is not None
    assert abs(final.apex.frame - 114) <= 1
    assert final.offset.frame > 120
    assert [s.next for s in out if isinstance(s, Stride) and s.closed] == [60]


def test_columns_that_came_early_or_again_give_the_same() -> None:
    assert plain(_across(batch=True)) == plain(_across(batch=False))


@pytest.mark.parametrize(("reason", "phase"), [("full", "retracted"), ("end", "final")])
def test_what_is_open_at_the_end_of_a_window_is_left_to_the_next_if_one_follows(
    reason: str, phase: str
) -> None:
    script, spot = Script(Move(1, 3.4, 3.55, 4.0)), _stage()
    out = feed(spot, [script.curves(f, [0]) for f in range(117)])
    assert [i.phase for i in intervals(out)] == ["apex"]
    closing = intervals(feed(spot, [WindowEnd(stamp(117), 0, 0, reason)]))  # type: ignore[arg-type]
    assert [i.phase for i in closing] == [phase]
    assert closing[0].id == intervals(out)[0].id
    if phase == "retracted":
        assert closing[0].reason == "left to the next window"


def test_a_faces_windows_share_one_memory_and_faces_do_not() -> None:
    rules, script = _Rules(), Script(BROWS, seconds=20.0)
    spot = SpotStage(rules, window_s=4.0)
    for start in (0, 60, 120):
        feed(spot, [script.curves(f, [start]) for f in range(start, start + 120)])
        feed(spot, [WindowEnd(stamp(start + 120), 0, start, "gap")])
    assert len(rules.made) == 1
    (known,) = rules.made
    assert known.first == 0.0
    assert known.noise.newest > 4.0  # learned in a later window
    item = script.curves(300, [300])
    feed(spot, [Curves(stamp(300), 1, item.columns), Curves(stamp(300, "door"), 0, item.columns)])
    assert len(rules.made) == 3


@pytest.mark.parametrize("reason", ["lost", "gap"])
def test_a_broken_window_withdraws_what_is_open(reason: str) -> None:
    spot = _stage()
    out = feed(spot, [Script(BROWS).curves(f, [0]) for f in range(58)])
    (apex,) = intervals(out)
    (gone,) = feed(spot, [WindowEnd(stamp(59), 0, 0, reason)])  # type: ignore[arg-type]
    assert isinstance(gone, Interval)
    assert (gone.id, gone.phase, gone.reason) == (apex.id, "retracted", reason)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (None, "no projections"),
        (np.zeros((2, SIZE + 1), np.float32), "shape"),
        (np.full((2, SIZE), np.nan, np.float32), "not finite"),
    ],
)
def test_a_bad_column_is_refused_and_changes_nothing(parts: np.ndarray | None, said: str) -> None:
    script, spot = Script(BROWS), _stage()
    out = feed(spot, [script.curves(f, [0]) for f in range(40)])
    bad = Curves(stamp(40), 0, [Column(0, np.zeros(2, np.float32), parts)], False, crop(1), crop(1))
    with pytest.raises(ValueError, match=f"frame 40: .*{said}"):
        spot.process(bad)
    out += feed(spot, [script.curves(f, [0]) for f in range(40, 90)])
    assert len(intervals(out)) == 2
    assert plain(out) == plain(feed(_stage(), [script.curves(f, [0]) for f in range(90)]))
