"""Spotting as a stage: windows, the adaptive stride (eqs 19-20), intervals with ids.

He, Wang, Ma, Li: "Micro-Expression Spotting Method Based on AU Prototype",
ECAI 2023, section 2.4. The rules inside one window are in ``stages.peaks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.items import (
    AUInterval,
    Column,
    Curves,
    Evidence,
    FaceState,
    Grey,
    Interval,
    Item,
    Stamp,
    Stride,
    Veto,
    WindowEnd,
)
from stages.joint import Memory
from stages.peaks import Announcement, Expression, Final, Update
from stages.rules import Rules, WindowSpotter
from stages.window import reference_of

_LONG_LOST_S = 60.0


@dataclass(frozen=True)
class _Held:
    """A frame of the current window: where it was, and its crops."""

    stamp: Stamp
    eye: Grey | None
    mouth: Grey | None
    whole: Grey | None
    shut: bool


@dataclass
class _Window:
    """Columns of one window in frame order; waits, then is spotted."""

    reference: int
    stamps: list[Stamp] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    shut: list[bool] = field(default_factory=list)
    end: WindowEnd | None = None

    def append(self, stamp: Stamp, column: Column, shut: bool) -> None:
        self.stamps.append(stamp)
        self.columns.append(column)
        self.shut.append(shut)


@dataclass
class _Current:
    """The window that is being spotted."""

    window: _Window
    spotter: WindowSpotter
    since: Stamp | None  # the frame that made it current, where it was known before
    said: dict[int, Interval] = field(default_factory=dict)  # open, by the spotter's number
    ids: dict[int, str] = field(default_factory=dict)
    last: int = -1  # frame index of the last offset found (end_last)
    taken: int = 0  # columns given to the spotter


@dataclass
class _Face:
    """What is known of one face."""

    stream: str
    face: int
    memory: Memory | None
    count: int = 0  # announcements, for ids
    current: _Current | None = None
    waiting: dict[int, _Window] = field(default_factory=dict)
    held: dict[int, _Held] = field(default_factory=dict)
    next: int | None = None  # the frame that the last closing stride asked for
    target: int | None = None  # the first frame held at or after it, once there is one
    since: Stamp | None = None  # the frame that closed the last window
    newest: float = -np.inf  # source time seen so far, s
    progress: float = -np.inf  # the same, when the current window last grew, s

    def forget(self) -> None:
        """Drop every window; the next one seen becomes current."""
        self.current = None
        self.waiting.clear()
        self.held.clear()
        self.next = self.target = self.since = None

    def aim(self) -> None:
        """Settle on the reference of the window to come, as soon as its frame is held."""
        if self.next is not None and self.target is None:
            frames = ((self.held[k].stamp, self.held[k].shut) for k in sorted(self.held))
            self.target = reference_of(frames, self.next)


class SpotStage:
    """Matching curves in, intervals and strides out.

    Takes ``Curves``, ``WindowEnd`` and ``FaceState``; gives ``Interval`` (each
    ``apex`` is closed by exactly one ``final`` or ``retracted``) and ``Stride``.
    State is kept per stream and face.

    A face's first window becomes current; windows with a later reference wait.
    When the current one is full, the next begins after its last interval
    (eq. 20), or, without any, half a window on (eq. 19), and a ``Stride`` says
    so to the motion stage. The window at the first frame held at or after that
    one becomes current, with the columns that already came; the others are
    dropped. Should the expected window never come (a stage upstream was
    restarted), it is given up as a gap after ``window_s``.

    Args:
        rules: how a window is spotted.
        window_s: length N of the sliding window, seconds.
        epoch: distinguishes the ids of a restarted stage.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, rules: Rules, window_s: float = 7.0, epoch: int = 0) -> None:
        if not window_s > 0:
            raise ValueError(f"window_s must be above 0 s, not {window_s}")
        self._rules = rules
        self._window_s = window_s
        self._epoch = epoch
        self._faces: dict[tuple[str, int], _Face] = {}

    def process(self, item: Item) -> Iterable[Interval | Stride]:
        """Take one item.

        Raises:
            ValueError: a column of another length, a value that is not finite, or
                source time that does not increase; the item changes nothing.
            TypeError: an item that spotting does not take.
        """
        if isinstance(item, Curves):
            return self._curves(item)
        if isinstance(item, WindowEnd):
            return list(self._window_end(self._face(item.stamp, item.face), item))
        if isinstance(item, FaceState):
            known = self._faces.get((item.stamp.stream, item.face))
            if item.visible or known is None:
                return []
            return self._abandon(known, item.stamp, "camera lost" if item.camera else "lost")
        raise TypeError(
            f"spotting takes Curves, WindowEnd and FaceState, not {type(item).__name__}"
        )

    def rises(self, stream: str, face: int) -> tuple[float, npt.NDArray[np.float64]] | None:
        """How far the curves of a face have risen in its window (``stages.rules``)."""
        known = self._faces.get((stream, face))
        return None if known is None or known.current is None else known.current.spotter.rises

    def flush(self) -> Iterable[Interval | Stride]:
        """Close every window, as at the end of the source."""
        out: list[Interval | Stride] = []
        for face in self._faces.values():
            current = face.current
            if current is not None:
                stamp = _later(current.window.stamps[-1], current.since)
                out.extend(self._close(face, current, stamp, True))
            face.forget()
        return out

    def reset(self) -> None:
        """Forget all, the ids included."""
        self._faces.clear()

    def restart(self) -> None:
        """Forget all after a stage upstream was lost; no id is given twice."""
        self._faces.clear()
        self._epoch += 1

    # ------------------------------------------------------------ input

    def _face(self, stamp: Stamp, face: int) -> _Face:
        key = (stamp.stream, face)
        if key not in self._faces:
            self._forget_the_long_lost(stamp)
            self._faces[key] = _Face(stamp.stream, face, self._rules.memory())
        return self._faces[key]

    def _forget_the_long_lost(self, now: Stamp) -> None:
        """What is known of faces that cannot come back under their old id (``stages.face``)."""
        self._faces = {
            key: face
            for key, face in self._faces.items()
            if face.stream != now.stream or not now.pts - face.newest > _LONG_LOST_S
        }

    def _curves(self, item: Curves) -> list[Interval | Stride]:
        face = self._face(item.stamp, item.face)
        columns = sorted(item.columns, key=lambda column: column.reference)
        for column in columns:
            self._check(face, item.stamp, column)
        face.newest = max(face.newest, item.stamp.pts)
        out: list[Interval | Stride] = []
        self._hold(face, item)
        if self._stalled(face, columns):
            out.extend(self._abandon(face, item.stamp, "gap"))
            self._hold(face, item)
        for column in columns:
            out.extend(self._column(face, item, column))
        return out

    def _check(self, face: _Face, stamp: Stamp, column: Column) -> None:
        fault = self._rules.check(column)
        if fault or not np.isfinite(stamp.pts):
            raise ValueError(f"the curves of frame {stamp.frame}: {fault or 'time is not finite'}")
        window = _known(face, column.reference)
        if window is None or not window.stamps or stamp.frame <= window.stamps[-1].frame:
            return
        if stamp.pts <= window.stamps[-1].pts:
            raise ValueError(f"source time does not increase at frame {stamp.frame}")

    def _stalled(self, face: _Face, columns: Sequence[Column]) -> bool:
        """Whether other windows grow while the one that is due has stood still too long."""
        if face.newest - face.progress <= self._window_s or not columns:
            return False
        if face.current is not None:
            return all(column.reference > face.current.window.reference for column in columns)
        return not any(self._expected(face, column.reference) for column in columns)

    def _hold(self, face: _Face, item: Curves) -> None:
        stamp = item.stamp
        old = face.held.get(stamp.frame)
        if old is None or item.eye is not None:
            face.held[stamp.frame] = _Held(stamp, item.eye, item.mouth, item.whole, item.shut)
        face.aim()
        if face.current is None:
            # a window begins at most its length before the last one closed, and is
            # waited for no longer than that
            oldest = face.newest - 2 * self._window_s
            face.held = {k: held for k, held in face.held.items() if held.stamp.pts >= oldest}

    def _column(self, face: _Face, item: Curves, column: Column) -> Iterator[Interval | Stride]:
        stamp, reference = item.stamp, column.reference
        current = face.current
        if current is None and self._expected(face, reference):
            current = self._enter(face, face.waiting.pop(reference, _Window(reference)))
        window = _known(face, reference)
        if window is None:
            if current is None or reference < current.window.reference:
                return  # late: that window is past or was dropped
            window = face.waiting[reference] = _Window(reference)
        if window.stamps and stamp.frame <= window.stamps[-1].frame:
            return  # a repetition
        window.append(stamp, column, item.shut)
        if current is not None and window is current.window:
            yield from self._catch_up(face, current)

    def _expected(self, face: _Face, reference: int) -> bool:
        """Whether a window is the one that the last stride asked for; any is, at the start."""
        return face.next is None or reference == face.target

    def _enter(self, face: _Face, window: _Window) -> _Current:
        """Make a window current."""
        spotter = self._rules.spotter(face.memory)
        face.current = _Current(window, spotter, face.since)
        face.progress = face.newest
        face.waiting.clear()
        face.held = {k: held for k, held in face.held.items() if k >= window.reference}
        face.next = face.target = None
        return face.current

    def _catch_up(self, face: _Face, current: _Current) -> Iterator[Interval | Stride]:
        """Give the spotter the columns that it has not had."""
        window = current.window
        while current.taken < len(window.stamps):
            k = current.taken
            current.taken += 1
            stamp = window.stamps[k]
            updates = current.spotter.push(stamp.pts, window.columns[k], window.shut[k])
            yield from self._tell(face, current, updates, _later(stamp, current.since), True)
        face.progress = face.newest

    # ------------------------------------------------------------ windows

    def _window_end(self, face: _Face, item: WindowEnd) -> Iterator[Interval | Stride]:
        face.newest = max(face.newest, item.stamp.pts)
        if item.reason in ("lost", "gap", "camera lost"):
            yield from self._abandon(face, item.stamp, item.reason)
            return
        if face.current is not None and item.reference == face.current.window.reference:
            face.current.window.end = item
            yield from self._turn(face)
        elif face.current is None or item.reference > face.current.window.reference:
            window = face.waiting.setdefault(item.reference, _Window(item.reference))
            window.end = item

    def _turn(self, face: _Face) -> Iterator[Interval | Stride]:
        """Close windows that have ended, enter the next ones, until one is still open."""
        while (current := face.current) is not None and (end := current.window.end) is not None:
            stamp = _later(end.stamp, current.since)
            yield from self._close(face, current, stamp, end.reason == "end")
            face.next = self._next(face, current, end.stamp)
            if end.reason == "end" and face.next > end.stamp.frame:
                face.forget()
                return
            face.since = stamp
            face.progress = face.newest
            face.current = None
            face.held = {k: held for k, held in face.held.items() if k >= face.next}
            face.target = None
            face.aim()
            yield Stride(face.face, current.window.reference, face.next, closed=True)
            yield from self._enter_waiting(face)

    def _enter_waiting(self, face: _Face) -> Iterator[Interval | Stride]:
        found = [w for ref, w in face.waiting.items() if w.stamps and self._expected(face, ref)]
        face.waiting.clear()
        if found:
            yield from self._catch_up(face, self._enter(face, found[0]))

    def _next(self, face: _Face, current: _Current, end: Stamp) -> int:
        """Where the next window begins: eq. 20 after a find, eq. 19 without."""
        if current.last >= 0:
            return current.last + 1
        window = current.window
        begun = face.held.get(window.reference)
        start = begun.stamp.pts if begun is not None else window.stamps[0].pts
        half = start + self._window_s / 2
        return min(
            (k for k, held in face.held.items() if held.stamp.pts >= half), default=end.frame + 1
        )

    def _close(
        self, face: _Face, current: _Current, stamp: Stamp, complete: bool
    ) -> Iterator[Interval | Stride]:
        yield from self._tell(face, current, current.spotter.close(complete), stamp, False)

    def _abandon(self, face: _Face, stamp: Stamp, reason: str) -> list[Interval | Stride]:
        """Break off the current window and forget the others."""
        current = face.current
        out: list[Interval | Stride] = []
        if current is not None:
            out += self._tell(face, current, current.spotter.abandon(), stamp, False, reason)
        face.forget()
        face.progress = face.newest
        return out

    # ------------------------------------------------------------ output

    def _tell(
        self,
        face: _Face,
        current: _Current,
        updates: Iterable[Update],
        decided: Stamp,
        stride: bool,
        broken_off: str = "",
    ) -> Iterator[Interval | Stride]:
        before = current.last
        for update in updates:
            if isinstance(update, Announcement):
                yield self._apex(face, current, update, decided)
            elif isinstance(update, Final):
                yield self._final(face, current, update, decided)
            else:
                into = update.merged_into
                why = update.reason if into is None else f"merged into {current.ids[into]}"
                said = current.said.pop(update.number)
                yield _withdrawn(said, decided, why or broken_off, update.vetoes)
        if stride and current.last > before:
            yield Stride(face.face, current.window.reference, current.last + 1, closed=False)

    def _apex(
        self, face: _Face, current: _Current, update: Announcement, decided: Stamp
    ) -> Interval:
        stamps = current.window.stamps
        name = f"{face.stream}/{face.face}/{self._epoch}-{face.count}"
        face.count += 1
        made = Interval(
            id=name,
            face=face.face,
            phase="apex",
            kind="unknown",
            onset=None,
            apex=stamps[update.apex],
            offset=None,
            aus=[
                AUInterval(self._rules.aus[p.au], p.side, p.value, None, stamps[p.apex], None)
                for p in update.aus
            ],
            decided=decided,
            reference=current.window.reference,
        )
        current.ids[update.number] = name
        current.said[update.number] = made
        return made

    def _final(self, face: _Face, current: _Current, update: Final, decided: Stamp) -> Interval:
        stamps, found = current.window.stamps, update.expression
        del current.said[update.number]
        current.last = max(current.last, stamps[found.offset].frame)
        return Interval(
            id=current.ids[update.number],
            face=face.face,
            phase="final",
            kind=found.kind,
            onset=stamps[found.onset],
            apex=stamps[found.apex],
            offset=stamps[found.offset],
            aus=[
                AUInterval(
                    self._rules.aus[span.au],
                    span.side,
                    span.value,
                    stamps[span.onset],
                    stamps[span.apex],
                    stamps[span.offset],
                )
                for span in found.aus
            ],
            decided=decided,
            reference=current.window.reference,
            evidence=_evidence(face, stamps, found),
            height=found.height,
            explained=found.explained,
            vetoes=[Veto(*veto) for veto in found.vetoes],
        )


def _known(face: _Face, reference: int) -> _Window | None:
    if face.current is not None and face.current.window.reference == reference:
        return face.current.window
    return face.waiting.get(reference)


def _later(stamp: Stamp, other: Stamp | None) -> Stamp:
    return other if other is not None and other.frame > stamp.frame else stamp


def _withdrawn(
    said: Interval, decided: Stamp, reason: str, vetoes: Sequence[tuple[str, float, float]]
) -> Interval:
    return Interval(
        id=said.id,
        face=said.face,
        phase="retracted",
        kind="unknown",
        onset=None,
        apex=said.apex,
        offset=None,
        aus=said.aus,
        decided=decided,
        reference=said.reference,
        reason=reason,
        vetoes=[Veto(*veto) for veto in vetoes],
    )


def _evidence(face: _Face, stamps: Sequence[Stamp], found: Expression) -> Evidence | None:
    frames = [face.held.get(stamps[i].frame) for i in (found.onset, found.apex, found.offset)]
    crops: list[Grey] = []
    wholes: list[Grey | None] = []
    for held in frames:
        if held is None or held.eye is None or held.mouth is None:
            return None
        crops += [held.eye, held.mouth]
        wholes.append(held.whole)
    return Evidence(*crops, *wholes)
