"""Flow against the window's reference and matching curves, with the adaptive stride.

Eqs 8, 19-23 of He et al., ECAI 2023. The paper's window is redone from its next
reference once it is closed; live, that would be a burst of seconds. Here the
window that would follow if nothing more were found is computed *alongside*
(the standby): it begins at half the window, or, once an expression is final,
right after it. A closed window therefore finds its successor ready.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.prototypes import Prototype, PrototypeSet, without_joint
from stages.blinks import Blinks
from stages.flow import WindowFlow
from stages.items import (
    Blink,
    Column,
    Curves,
    Face,
    FaceState,
    Floats,
    Grey,
    Stamp,
    Stride,
    WindowEnd,
    WindowReason,
)
from stages.lids import Lids
from stages.match import Matcher
from stages.pooling import EYE_GRID, MOUTH_GRID, pool
from stages.window import PATIENCE_S, reference_of

EYE_SIZE = (280, 240)
MOUTH_SIZE = (260, 160)
Method = Literal["mespot", "paper"]


@dataclass(frozen=True)
class _Held:
    stamp: Stamp
    eye: Grey
    mouth: Grey
    shut: bool = False


class _Flows:
    """Flow of both regions against one reference; reused from window to window."""

    def __init__(self, preset: Literal["exact", "fast"], beside: _Flows | None) -> None:
        self.eye: WindowFlow = WindowFlow(EYE_SIZE, preset, None if beside is None else beside.eye)
        self.mouth: WindowFlow = WindowFlow(
            MOUTH_SIZE, preset, None if beside is None else beside.mouth
        )

    def set_reference(self, held: _Held) -> None:
        self.eye.set_reference(held.eye)
        self.mouth.set_reference(held.mouth)

    @property
    def last(self) -> tuple[Floats, Floats] | None:
        eye, mouth = self.eye.last, self.mouth.last
        return None if eye is None or mouth is None else (eye, mouth)


class _Paper:
    """Matching indices of full-size prototypes (eq. 22)."""

    def __init__(self, prototypes: PrototypeSet, flows: _Flows) -> None:
        chosen = prototypes.prototypes
        self._flows = flows
        self._rows = {
            region: [i for i, p in enumerate(chosen) if p.region == region]
            for region in ("eye", "mouth")
        }
        fields = {region: [chosen[i].field for i in rows] for region, rows in self._rows.items()}
        self._eye = Matcher(fields["eye"], flows.eye.shape[:2])
        self._mouth = Matcher(fields["mouth"], flows.mouth.shape[:2])
        self._size = len(chosen)

    def blank(self, reference: int) -> Column:
        return Column(reference, np.zeros(self._size, np.float32))

    def column(self, reference: int, held: _Held) -> Column:
        values = np.zeros(self._size, np.float32)
        values[self._rows["eye"]] = self._eye(self._flows.eye.flow(held.eye))
        values[self._rows["mouth"]] = self._mouth(self._flows.mouth.flow(held.mouth))
        return Column(reference, values)


class _Joint:
    """Projections for the joint explanation, and matching indices on the coarse grid."""

    def __init__(self, prototypes: PrototypeSet, flows: _Flows) -> None:
        assert prototypes.joint is not None
        self._model = prototypes.joint
        self._flows = flows
        self._matrix = np.stack([_pooled(p) for p in prototypes.prototypes])

    def blank(self, reference: int) -> Column:
        parts = np.zeros((2, self._model.size), np.float32)
        return Column(reference, np.zeros(len(self._matrix), np.float32), parts)

    def column(self, reference: int, held: _Held) -> Column:
        flow = pool(self._flows.eye.flow(held.eye), self._flows.mouth.flow(held.mouth))
        return Column(reference, self._matrix @ flow, self._model.project(flow))


def _pooled(prototype: Prototype) -> Floats:
    """The prototype on the coarse grid, weighted by the area of a cell."""
    fields = {
        "eye": np.zeros((EYE_SIZE[1], EYE_SIZE[0], 2), np.float32),
        "mouth": np.zeros((MOUTH_SIZE[1], MOUTH_SIZE[0], 2), np.float32),
    }
    fields[prototype.region] = prototype.field
    cells = EYE_GRID if prototype.region == "eye" else MOUTH_GRID
    height, width = prototype.field.shape[:2]
    area = np.float32(height * width / (cells[0] * cells[1]))
    return np.asarray(pool(fields["eye"], fields["mouth"]) * area, np.float32)


class _Engine:
    """Both regions against one reference."""

    def __init__(
        self,
        prototypes: PrototypeSet,
        preset: Literal["exact", "fast"],
        method: Method,
        beside: _Engine | None,
    ) -> None:
        self._flows: _Flows = _Flows(preset, None if beside is None else beside._flows)
        kind = _Paper if method == "paper" else _Joint
        self._match: _Paper | _Joint = kind(prototypes, self._flows)

    def set_reference(self, held: _Held) -> Column:
        self._flows.set_reference(held)
        return self._match.blank(held.stamp.frame)

    def column(self, reference: int, held: _Held) -> Column:
        return self._match.column(reference, held)

    @property
    def last(self) -> tuple[Floats, Floats] | None:
        return self._flows.last


@dataclass
class _Window:
    """A window that begins at the first frame at or after ``start``."""

    start: int
    engine: _Engine
    reference: Stamp | None = None
    ended: bool = False
    first: float | None = None  # source time of the first frame offered

    def offer(self, held: _Held, length_s: float) -> Column | Literal["full"] | None:
        """The column of ``held``; "full" when it lies beyond; None when not for this window."""
        if self.ended or held.stamp.frame < self.start:
            return None
        if self.reference is None:
            if self.first is None:
                self.first = held.stamp.pts
            if held.shut and held.stamp.pts < self.first + PATIENCE_S:
                return None
            self.reference = held.stamp
            return self.engine.set_reference(held)
        if held.stamp.pts >= self.reference.pts + length_s:
            self.ended = True
            return "full"
        return self.engine.column(self.reference.frame, held)


@dataclass
class _FaceMotion:
    held: deque[_Held] = field(default_factory=deque)
    lids: Lids = field(default_factory=Lids)
    blinks: Blinks = field(default_factory=Blinks)
    current: _Window | None = None
    standby: _Window | None = None


class MotionStage:
    """Faces and strides in, curves and window ends out.

    Args:
        prototypes: the set to match; fixes the order of every column.
        preset: Farnebäck preset, see ``stages.flow``.
        method: ``mespot`` adds the projections of the set's joint model and keeps shut
            eyes out of the references; ``paper`` gives full-size matching indices alone.
        window_s: window length in seconds (N of the paper, 7 s).
        max_gap_s: a longer gap in source time, or time going backward, ends the window.

    Raises:
        PrototypeError: ``mespot`` without a joint model.
    """

    def __init__(
        self,
        prototypes: PrototypeSet,
        preset: Literal["exact", "fast"] = "fast",
        window_s: float = 7.0,
        max_gap_s: float = 0.5,
        method: Method = "mespot",
    ) -> None:
        if method == "mespot" and prototypes.joint is None:
            raise without_joint(prototypes)
        self._method: Method = method
        self._prototypes = prototypes
        self._preset: Literal["exact", "fast"] = preset
        self._window_s = window_s
        self._max_gap_s = max_gap_s
        self._faces: dict[int, _FaceMotion] = {}
        self._free: list[_Engine] = []
        self._newest: _Engine | None = None
        self._ending = False

    def flow_of(self, face: int) -> tuple[Floats, Floats] | None:
        """The newest flow of the eye and the mouth region against the window's reference.

        (h, w, 2) each, at the preset's size, px of the crop; the next item overwrites them. None
        without a window, and at its reference.
        """
        state = self._faces.get(face)
        if state is None or state.current is None or state.current.reference is None:
            return None
        return state.current.engine.last

    def process(self, item: Face | FaceState | Stride) -> Iterable[Curves | WindowEnd | Blink]:
        """Columns for one face, or the consequence of a stride or a lost face."""
        if isinstance(item, Face):
            return list(self._frame(item))
        if isinstance(item, Stride):
            return list(self._stride(item))
        if item.visible:
            return []
        reason: WindowReason = "camera lost" if item.camera else "lost"
        return list(self._forget(item.face, item.stamp, reason))

    def flush(self) -> Iterable[WindowEnd]:
        """End every current window; strides that follow end their windows likewise."""
        self._ending = True
        return [end for face, state in self._faces.items() for end in self._end(face, state)]

    def break_off(self) -> Iterable[WindowEnd]:
        """End every window as at a gap; each face's next frame begins a new one."""
        last = {face: state.held[-1].stamp for face, state in self._faces.items()}
        return [end for face, stamp in last.items() for end in self._forget(face, stamp, "gap")]

    def reset(self) -> None:
        """Forget every face."""
        for state in self._faces.values():
            self._release(state.current)
            self._release(state.standby)
        self._faces.clear()
        self._ending = False

    def warm_up(self) -> None:
        """Compile and touch the kernels, so that the first frame is not late."""
        engine = self._take()
        blank = _Held(
            Stamp("", 0, 0.0, 0, 0),
            np.zeros(EYE_SIZE[::-1], np.uint8),
            np.zeros(MOUTH_SIZE[::-1], np.uint8),
        )
        engine.set_reference(blank)
        engine.column(0, blank)
        self._free.append(engine)

    def _take(self) -> _Engine:
        if self._free:
            return self._free.pop()
        self._newest = _Engine(self._prototypes, self._preset, self._method, self._newest)
        return self._newest

    def _release(self, window: _Window | None) -> None:
        if window is not None:
            self._free.append(window.engine)

    def _window(self, start: int) -> _Window:
        return _Window(start, self._take())

    def _frame(self, face: Face) -> Iterator[Curves | WindowEnd | Blink]:
        state = self._faces.get(face.face)
        if state is not None and self._is_gap(state.held, face.stamp):
            yield from self._forget(face.face, face.stamp, "gap")
            state = None
        if state is None:
            state = self._faces[face.face] = _FaceMotion()
        shut = False
        if self._method == "mespot":
            shut = state.lids(face.eye_openness, face.stamp.pts)
            blink = state.blinks(face.stamp, shut, state.lids.opening, face.face)
            if blink is not None:
                yield blink
        held = _Held(face.stamp, face.eye, face.mouth, shut)
        state.held.append(held)
        if state.current is None:
            state.current = self._window(face.stamp.frame)
        self._begin_standby(state, held)
        yield from self._columns(face, state, held)

    def _is_gap(self, held: deque[_Held], now: Stamp) -> bool:
        # a spotter that never answers must not make the held frames grow without bound
        unanswered = now.pts - held[0].stamp.pts > 3 * self._window_s
        return unanswered or not 0 < now.pts - held[-1].stamp.pts <= self._max_gap_s

    def _begin_standby(self, state: _FaceMotion, held: _Held) -> None:
        """Eq. 19: without a find the next reference is half a window on."""
        current = state.current
        if state.standby is not None or current is None or current.reference is None:
            return
        if held.stamp.pts >= current.reference.pts + self._window_s / 2:
            state.standby = self._window(held.stamp.frame)

    def _columns(self, face: Face, state: _FaceMotion, held: _Held) -> Iterator[Curves | WindowEnd]:
        columns = []
        for window in (state.current, state.standby):
            offer = window.offer(held, self._window_s) if window is not None else None
            if isinstance(offer, Column):
                columns.append(offer)
            elif offer == "full" and window is not None and window.reference is not None:
                yield WindowEnd(held.stamp, face.face, window.reference.frame, "full")
        yield Curves(face.stamp, face.face, columns, held.shut, face.eye, face.mouth, face.whole)

    def _stride(self, stride: Stride) -> Iterator[Curves | WindowEnd]:
        state = self._faces.get(stride.face)
        if state is None or state.current is None or state.current.reference is None:
            return
        if state.current.reference.frame != stride.reference:
            return
        yield from self._stand_by_at(stride.face, state, stride.next)
        if stride.closed:
            yield from self._promote(stride.face, state)

    def _stand_by_at(
        self, face: int, state: _FaceMotion, start: int
    ) -> Iterator[Curves | WindowEnd]:
        if state.standby is not None:
            if self._begins_at(state, state.standby, start):
                return
            self._release(state.standby)
        state.standby = self._window(start)
        yield from self._catch_up(face, state, state.standby)

    @staticmethod
    def _begins_at(state: _FaceMotion, window: _Window, start: int) -> bool:
        if window.reference is None:
            return window.start == start
        frames = ((held.stamp, held.shut) for held in state.held)
        return reference_of(frames, start) == window.reference.frame

    def _catch_up(
        self, face: int, state: _FaceMotion, window: _Window
    ) -> Iterator[Curves | WindowEnd]:
        for held in state.held:
            offer = window.offer(held, self._window_s)
            if isinstance(offer, Column):
                yield Curves(held.stamp, face, [offer], held.shut)
            elif offer == "full" and window.reference is not None:
                yield WindowEnd(held.stamp, face, window.reference.frame, "full")
                return

    def _promote(self, face: int, state: _FaceMotion) -> Iterator[Curves | WindowEnd]:
        self._release(state.current)
        state.current, state.standby = state.standby, None
        assert state.current is not None
        while len(state.held) > 1 and state.held[0].stamp.frame < state.current.start:
            state.held.popleft()
        reference = state.current.reference
        if reference is None:
            return
        half = reference.pts + self._window_s / 2
        start = next((h.stamp.frame for h in state.held if h.stamp.pts >= half), None)
        if start is not None:
            yield from self._stand_by_at(face, state, start)
        if self._ending:
            yield from self._end(face, state)

    @staticmethod
    def _end(face: int, state: _FaceMotion) -> Iterator[WindowEnd]:
        window = state.current
        if window is None or window.reference is None or window.ended:
            return
        window.ended = True
        yield WindowEnd(state.held[-1].stamp, face, window.reference.frame, "end")

    def _forget(self, face: int, stamp: Stamp, reason: WindowReason) -> Iterator[WindowEnd]:
        state = self._faces.pop(face, None)
        if state is None:
            return
        for window in (state.current, state.standby):
            if window is not None and window.reference is not None and not window.ended:
                yield WindowEnd(stamp, face, window.reference.frame, reason)
            self._release(window)
