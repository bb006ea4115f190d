"""The spotting stage: windows, adaptive stride, ids, retraction, evidence.

All curves here are synthetic: an AU's displacement over time is scripted, and a
window's curve is that displacement less its value at the window's reference.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.items import Column, Curves, FaceState, Frame, Interval, Stamp, Stride, WindowEnd
from stages.peaks import SpotParams
from stages.rules import PaperRules
from stages.spot import SpotStage

FPS = 30
AUS = (4, 12)
THETAS = (1.0, 2.0)
Move = Callable[[float], np.ndarray]


def stamp(frame: int, fps: float = FPS) -> Stamp:
    return Stamp("cam", frame, frame / fps, 1000 + frame, 2000 + frame)


def moves(*bumps: tuple[int, float, float]) -> Move:
    """Raised cosines: (row, centre in s, length in s), each 10 high."""

    def at(time: float) -> np.ndarray:
        out = np.zeros(len(AUS))
        for row, centre, length in bumps:
            if abs(time - centre) < length / 2:
                out[row] += 5 * (1 + math.cos(2 * math.pi * (time - centre) / length))
        return out

    return at


def crop(frame: int) -> np.ndarray:
    return np.full((2, 2), frame % 251, dtype=np.uint8)


def curves(frame: int, references: Iterable[int], move: Move, new: bool = True) -> Curves:
    columns = [
        Column(r, (move(frame / FPS) - move(r / FPS)).astype(np.float32)) for r in references
    ]
    eye, mouth = (crop(frame), crop(frame)) if new else (None, None)
    return Curves(stamp(frame), 0, columns, eye=eye, mouth=mouth)


def stage(window_s: float = 7.0, **rules: float | None) -> SpotStage:
    params = SpotParams(**rules)  # type: ignore[arg-type]
    return SpotStage(PaperRules(AUS, THETAS, params), window_s=window_s)


def feed(spot: SpotStage, items: Iterable[object]) -> list[Interval | Stride]:
    return [out for item in items for out in spot.process(item)]  # type: ignore[arg-type]


def intervals(items: Iterable[object], phase: str | None = None) -> list[Interval]:
    return [i for i in items if isinstance(i, Interval) and phase in (None, i.phase)]


def strides(items: Iterable[object], closed: bool) -> list[Stride]:
    return [i for i in items if isinstance(i, Stride) and i.closed == closed]


def plain(items: Iterable[object]) -> list[Interval]:
    """Intervals without crops, which do not compare."""
    return [msgspec.structs.replace(i, evidence=None) for i in intervals(items)]


class FakeMotion:
    """The motion stage's side of the stride, with strides that arrive ``lag`` items late."""

    def __init__(self, move: Move, window_s: float, kept: list[int], lag: int) -> None:
        self.move, self.window_s, self.kept, self.lag = move, window_s, kept, lag
        self.held: list[int] = []
        self.fresh = True  # the next frame begins a window
        self.current: int | None = None
        self.standby: int | None = None
        self.sent: dict[int, int] = {}
        self.over: set[int] = set()
        self.strides: deque[tuple[int, Stride]] = deque()
        self.clock = 0

    def run(self, spot: SpotStage) -> list[Interval | Stride]:
        out: list[Interval | Stride] = []
        for frame in self.kept:
            for item in self.frame(frame):
                out += self.give(spot, item)
            while self.strides and self.strides[0][0] <= self.clock:
                for item in self.obey(self.strides.popleft()[1]):
                    out += self.give(spot, item)
        while self.strides:
            for item in self.obey(self.strides.popleft()[1]):
                out += self.give(spot, item)
        if self.current is not None:
            out += self.give(spot, WindowEnd(stamp(self.held[-1]), 0, self.current, "end"))
        return out + list(spot.flush())

    def give(self, spot: SpotStage, item: Curves | WindowEnd) -> list[Interval | Stride]:
        self.clock += 1
        made = list(spot.process(item))
        self.strides += [(self.clock + self.lag, s) for s in made if isinstance(s, Stride)]
        return made

    def frame(self, frame: int) -> Iterator[Curves | WindowEnd]:
        self.held.append(frame)
        if self.fresh:
            self.current, self.fresh = frame, False
            self.sent[frame] = -1
        elif (
            self.standby is None
            and self.current is not None
            and frame / FPS >= self.current / FPS + self.window_s / 2
        ):
            self.standby = frame
            self.sent[frame] = -1
        columns = []
        for ref in sorted({r for r in (self.current, self.standby) if r is not None}):
            if ref in self.over or frame < ref:
                continue
            if frame / FPS >= ref / FPS + self.window_s:
                self.over.add(ref)
                yield WindowEnd(stamp(frame), 0, ref, "full")
            else:
                columns.append(ref)
                self.sent[ref] = frame
        yield curves(frame, columns, self.move)

    def obey(self, stride: Stride) -> Iterator[Curves | WindowEnd]:
        ref = next((f for f in self.held if f >= stride.next), None)
        if self.standby is not None and ref != self.standby:
            self.sent.pop(self.standby)  # spotting drops it too
            self.over.discard(self.standby)
            self.standby = None
        if stride.closed:
            self.current, self.standby, self.fresh = ref, None, ref is None
        else:
            self.standby = ref
        if ref is not None:
            yield from self.redo(ref)

    def redo(self, ref: int) -> Iterator[Curves | WindowEnd]:
        done = self.sent.setdefault(ref, -1)
        for frame in self.held:
            if frame < ref or frame <= done or ref in self.over:
                continue
            if frame / FPS >= ref / FPS + self.window_s:
                self.over.add(ref)
                yield WindowEnd(stamp(frame), 0, ref, "full")
            else:
                self.sent[ref] = frame
                yield curves(frame, [ref], self.move, new=False)


def run(
    move: Move, seconds: float, window_s: float = 7.0, lag: int = 0, kept: list[int] | None = None
) -> list[Interval | Stride]:
    frames = list(range(round(seconds * FPS))) if kept is None else kept
    return FakeMotion(move, window_s, frames, lag).run(stage(window_s))


# ------------------------------------------------------------------ intervals


def test_a_bump_is_announced_then_final_with_its_crops():
    out = run(moves((0, 2.0, 0.4)), 7.0)
    apex, final = intervals(out)
    assert (apex.phase, apex.kind, apex.onset, apex.offset) == ("apex", "unknown", None, None)
    assert apex.id == final.id == "cam/0/0-0"
    assert (final.phase, final.kind) == ("final", "micro")
    assert final.onset is not None and final.offset is not None
    assert final.onset.frame < final.apex.frame == 60 < final.offset.frame
    assert abs(final.onset.pts - 1.8) < 0.1 and abs(final.offset.pts - 2.2) < 0.1
    assert [a.au for a in final.aus] == [4]
    assert apex.decided.frame < final.decided.frame <= final.offset.frame + 5
    assert final.evidence is not None
    assert final.evidence.onset_eye[0, 0] == final.onset.frame
    assert final.evidence.apex_mouth[0, 0] == 60
    assert final.evidence.offset_eye[0, 0] == final.offset.frame


def test_whole_faces_are_evidence_where_they_were_cropped():
    move, n = moves((0, 2.0, 0.35)), 150
    for crops in (True, False):
        items = [curves(f, [0], move) for f in range(n)]
        wholes = [np.full((224, 224), f, np.uint8) if crops else None for f in range(n)]
        given = [msgspec.structs.replace(i, whole=w) for i, w in zip(items, wholes, strict=True)]
        (final,) = intervals(feed(stage(), given), "final")
        found = final.evidence
        faces = [found.onset_face, found.apex_face, found.offset_face]
        frames = [final.onset.frame, final.apex.frame, final.offset.frame]
        if crops:
            assert [face[0, 0] for face in faces] == frames
        else:
            assert faces == [None] * 3
            assert found.apex_eye[0, 0] == final.apex.frame


def test_a_long_movement_of_both_aus_is_one_macro_expression():
    (final,) = intervals(run(moves((0, 2.5, 1.4), (1, 2.6, 1.4)), 7.0), "final")
    assert final.kind == "macro"
    assert [a.au for a in final.aus] == [4, 12]
    assert {a.side for a in final.aus} == {"both"}


def test_an_apex_that_turns_out_to_belong_to_another_is_retracted_into_it():
    # the second AU's plateau is judged only when it falls, after the first's two bumps
    rules = SpotParams(search_s=3.0, smooth_s=0.0, border=None)
    spot = SpotStage(PaperRules((1, 2), (1.0, 1.0), rules))
    bumps, plateau = set(range(15, 25)) | set(range(60, 70)), range(18, 80)
    out = []
    for f in range(100):
        values = np.array([5.0 * (f in bumps), 3.0 * (f in plateau)], dtype=np.float32)
        out += spot.process(Curves(stamp(f), 0, [Column(0, values)]))
    out += spot.flush()
    assert [(i.phase, i.id, i.reason) for i in intervals(out)] == [
        ("apex", "cam/0/0-0", ""),
        ("apex", "cam/0/0-1", ""),
        ("final", "cam/0/0-0", ""),
        ("retracted", "cam/0/0-1", "merged into cam/0/0-0"),
    ]
    assert [a.au for a in intervals(out, "final")[0].aus] == [1, 2]


def test_evidence_is_absent_where_crops_were_not_held():
    spot = stage()
    move = moves((0, 1.0, 0.4))
    out = feed(spot, [curves(f, [0], move, new=f != 30) for f in range(90)])
    (final,) = intervals(out, "final")
    assert final.apex.frame == 30 and final.evidence is None


# -------------------------------------------------------------- adaptive stride


def test_nothing_found_steps_half_a_window():  # eq. 19
    out = run(moves(), 16.0)
    assert not intervals(out)
    steps = [(s.reference, s.next) for s in strides(out, closed=True)]
    # the last window is cut by the end of the source, and half a window is left after it
    assert steps == [(0, 105), (105, 210), (210, 315), (315, 420)]


def test_a_find_steps_to_the_frame_after_its_end():  # eq. 20
    out = run(moves((0, 2.0, 0.4), (0, 4.0, 0.4)), 16.0)
    first, second = intervals(out, "final")
    assert first.offset is not None and second.offset is not None
    early = strides(out, closed=False)
    assert [(s.reference, s.next) for s in early] == [
        (0, first.offset.frame + 1),
        (0, second.offset.frame + 1),
    ]
    late = strides(out, closed=True)
    assert late[0].next == second.offset.frame + 1
    assert late[1].reference == late[0].next


def test_an_expression_across_the_window_end_is_found_by_the_next_window():
    out = run(moves((1, 7.1, 0.4)), 16.0)
    assert any(i.reference == 105 for i in intervals(out, "final"))


def test_half_a_window_is_measured_in_seconds_when_frames_were_dropped():
    kept = [f for f in range(400) if not 80 <= f < 120]
    out = run(moves(), 0, kept=kept)
    assert strides(out, closed=True)[0].next == 120


def test_every_stride_moves_on():
    out = run(moves(*((row, 0.7 * k, 0.4) for k in range(1, 40) for row in (0, 1))), 30.0)
    steps = strides(out, closed=True)
    assert len(steps) > 3
    assert all(s.next > s.reference for s in steps)


def test_columns_kept_for_the_next_window_are_replayed_at_once():
    spot, move = stage(), moves((0, 5.0, 0.4))
    still = moves()
    # the first window sees nothing; the standby window, from frame 105, sees the bump
    items: list[object] = []
    for f in range(210):
        columns = curves(f, [0], still).columns
        if f >= 105:
            columns = columns + curves(f, [105], move).columns
        items.append(Curves(stamp(f), 0, columns, eye=crop(f), mouth=crop(f)))
    assert not feed(spot, items)
    out = feed(spot, [WindowEnd(stamp(210), 0, 0, "full")])
    assert [s.next for s in strides(out, closed=True)] == [105]
    final = intervals(out, "final")[0]
    assert final.reference == 105 and final.apex.frame == 150
    assert final.decided.frame == 210  # not before the frame that made the window current
    assert final.evidence is not None


def test_a_waiting_window_that_has_ended_is_closed_in_the_same_step():
    spot, still = stage(window_s=1.0), moves()
    feed(spot, [curves(f, [0] if f < 15 else [0, 15], still) for f in range(30)])
    feed(spot, [curves(f, [15], still) for f in range(30, 45)])
    feed(spot, [WindowEnd(stamp(45), 0, 15, "full")])
    out = feed(spot, [WindowEnd(stamp(30), 0, 0, "full")])
    assert [(s.reference, s.next) for s in strides(out, closed=True)] == [(0, 15), (15, 30)]


def test_columns_of_a_window_that_was_not_asked_for_are_ignored():
    spot, still, move = stage(window_s=1.0), moves(), moves((0, 1.5, 0.2))
    feed(spot, [curves(f, [0], moves((0, 0.3, 0.2))) for f in range(30)])
    (stride,) = strides(feed(spot, [WindowEnd(stamp(30), 0, 0, "full")]), closed=True)
    assert stride.next < 15
    # the old standby window, still in flight, would show a bump
    late = feed(spot, [curves(f, [15], move) for f in range(30, 60)])
    redone = feed(spot, [curves(f, [stride.next], still, new=False) for f in range(12, 40)])
    assert not late and not redone
    out = feed(spot, [WindowEnd(stamp(45), 0, stride.next, "full")])
    assert [s.reference for s in strides(out, closed=True)] == [stride.next]


# the displacement's script, the drop-outs and the delay of the strides are all free
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 40]))
def test_late_strides_change_no_interval(seed, lag):
    rng = np.random.default_rng(seed)
    bumps = [
        (int(rng.integers(2)), float(rng.uniform(0, 9)), float(rng.uniform(0.2, 1.2)))
        for _ in range(int(rng.integers(0, 7)))
    ]
    kept = [f for f in range(270) if rng.random() > 0.1]
    prompt = run(moves(*bumps), 0, 2.0, 0, kept)
    late = run(moves(*bumps), 0, 2.0, lag, kept)
    assert plain(prompt) == plain(late)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_apex_is_closed_exactly_once_and_ids_are_unique(seed):
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.normal(0, 1, (300, 2)), axis=0)
    out = run(lambda t: noise[round(t * FPS)], 10.0, 2.0)
    said = [i.id for i in intervals(out, "apex")]
    done = [i.id for i in intervals(out) if i.phase != "apex"]
    assert said == [f"cam/0/0-{n}" for n in range(len(said))]
    assert sorted(said) == sorted(done)
    for closing in (i for i in intervals(out) if i.phase != "apex"):
        opened = next(i for i in intervals(out, "apex") if i.id == closing.id)
        assert out.index(opened) < out.index(closing)
        assert closing.decided.frame >= opened.decided.frame


# ------------------------------------------------------- short, lost, broken off


def test_a_clip_shorter_than_a_window_is_spotted_at_its_end():
    out = run(moves((0, 0.6, 0.4)), 0.9)
    assert [i.phase for i in intervals(out)] == ["apex", "final"]
    # two frames are left after the find: they are a window of their own (eq. 20)
    assert [(s.reference, s.next) for s in strides(out, closed=True)] == [(0, 25)]


def test_flush_closes_what_no_window_end_has_closed():
    spot = stage()
    out = feed(spot, [curves(f, [0], moves((0, 0.6, 0.4))) for f in range(22)])
    assert not intervals(out, "final")
    assert [i.phase for i in spot.flush()][-1] == "final"
    assert list(spot.flush()) == []


@pytest.mark.parametrize("reason", ["lost", "gap"])
def test_a_broken_window_retracts_what_is_open(reason):
    spot = stage()
    rise = moves((0, 1.0, 0.6))
    out = feed(spot, [curves(f, [0], rise) for f in range(38)])
    (apex,) = intervals(out)
    (gone,) = feed(spot, [WindowEnd(stamp(39), 0, 0, reason)])
    assert isinstance(gone, Interval)
    assert (gone.id, gone.phase, gone.reason) == (apex.id, "retracted", reason)
    assert gone.decided.frame == 39 and gone.apex == apex.apex
    # a fresh window afterwards, whatever its reference; ids go on counting
    fresh = moves((0, 4.0, 0.4))
    again = feed(spot, [curves(f, [90], fresh) for f in range(90, 180)])
    assert [i.id for i in intervals(again, "final")] == ["cam/0/0-1"]


def test_a_lost_face_retracts_what_is_open():
    spot = stage()
    feed(spot, [curves(f, [0], moves((0, 1.0, 0.6))) for f in range(38)])
    assert feed(spot, [FaceState(stamp(38), 0, True)]) == []
    (gone,) = feed(spot, [FaceState(stamp(38), 0, False)])
    assert isinstance(gone, Interval) and gone.phase == "retracted" and gone.reason == "lost"
    assert feed(spot, [FaceState(stamp(39), 0, False), FaceState(stamp(39), 7, False)]) == []
    assert list(spot.flush()) == []


def test_a_window_that_stopped_growing_is_given_up_as_a_gap():
    spot = stage(window_s=2.0)
    feed(spot, [curves(f, [0], moves((0, 1.0, 0.6))) for f in range(38)])
    # the motion stage was restarted and knows nothing of the window at 0
    fresh = moves((0, 5.0, 0.4))
    out = feed(spot, [curves(f, [60], fresh) for f in range(60, 170)])
    assert next((i.phase, i.reason) for i in intervals(out) if i.phase != "apex") == (
        "retracted",
        "gap",
    )
    assert [i.reference for i in intervals(out, "final")] == [60]


def test_faces_and_streams_are_kept_apart():
    spot, move = stage(), moves((0, 1.0, 0.4))
    out: list[Interval | Stride] = []
    for f in range(90):
        item = curves(f, [0], move)
        for stream, face in (("cam", 0), ("cam", 1), ("door", 0)):
            moved = Stamp(stream, f, f / FPS, 0, 0)
            out += spot.process(Curves(moved, face, item.columns, eye=item.eye, mouth=item.mouth))
    assert sorted(i.id for i in intervals(out, "final")) == ["cam/0/0-0", "cam/1/0-0", "door/0/0-0"]


def test_reset_forgets_windows_and_ids():
    spot, items = stage(), [curves(f, [0], moves((0, 1.0, 0.4))) for f in range(90)]
    first = feed(spot, items)
    spot.reset()
    assert [i.id for i in intervals(feed(spot, items))] == [i.id for i in intervals(first)]


def test_an_epoch_tells_the_ids_of_a_restarted_stage_apart():
    spot = SpotStage(PaperRules(AUS, THETAS, SpotParams()), epoch=3)
    out = feed(spot, [curves(f, [0], moves((0, 1.0, 0.4))) for f in range(90)])
    assert {i.id for i in intervals(out)} == {"cam/0/3-0"}


# ----------------------------------------------------------------- refused input


@pytest.mark.parametrize("values", [[0.0], [0.0, math.nan]])
def test_a_bad_column_is_refused_and_changes_nothing(values):
    spot, move = stage(), moves((0, 1.0, 0.4))
    out = feed(spot, [curves(f, [0], move) for f in range(20)])
    column = Column(0, np.array(values, dtype=np.float32))
    bad = Curves(stamp(20), 0, [column], eye=crop(1), mouth=crop(1))
    with pytest.raises(ValueError):
        spot.process(bad)
    out += feed(spot, [curves(f, [0], move) for f in range(20, 90)])
    assert plain(out) == plain(feed(stage(), [curves(f, [0], move) for f in range(90)]))


def test_source_time_that_does_not_increase_is_refused():
    spot = stage()
    feed(spot, [curves(f, [0], moves()) for f in range(5)])
    still = Curves(Stamp("cam", 5, 4 / FPS, 0, 0), 0, curves(5, [0], moves()).columns)
    with pytest.raises(ValueError, match="frame 5"):
        spot.process(still)


def test_a_repeated_frame_is_ignored():
    spot, move = stage(), moves((0, 1.0, 0.4))
    twice = [curves(f, [0], move) for f in range(90) for _ in range(2)]
    once = [curves(f, [0], move) for f in range(90)]
    assert [i.id for i in intervals(feed(spot, twice))] == [
        i.id for i in intervals(feed(stage(), once))
    ]


def test_items_that_are_not_for_spotting_are_refused():
    with pytest.raises(TypeError, match="Frame"):
        stage().process(Frame(stamp(0), np.zeros((2, 2), dtype=np.uint8)))


def test_aus_and_thetas_must_agree():
    with pytest.raises(ValueError, match="thetas"):
        PaperRules((1, 2), (1.0,), SpotParams())
    with pytest.raises(ValueError, match="theta"):
        PaperRules((1,), (0.0,), SpotParams())
    with pytest.raises(ValueError, match="window_s"):
        SpotStage(PaperRules((1,), (1.0,), SpotParams()), window_s=0)
