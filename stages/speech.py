"""Movements of the mouth: a train of them is speech, and no expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.candidates import Candidates
from stages.frames import Frames
from stages.joint_params import JointParams
from stages.memory import Memory
from stages.peaks import Expression, Final, Retraction, Update

MOUTH = frozenset((10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28))

_TICK = 1e-6


@dataclass
class Held:
    """An expression of the mouth that waits for what follows: ``end`` is its last frame."""

    expression: Expression
    number: int
    end: int
    height: float


class Speech:
    """Holds expressions of the mouth back to see whether the mouth goes on moving.

    Args:
        memory: what the mouth did before; changed.
        params: the rules' parameters.
        frames: the window's.
        candidates: its detection curves.
        curves: (V,) which of them are of the mouth.
    """

    def __init__(
        self,
        memory: Memory,
        params: JointParams,
        frames: Frames,
        candidates: Candidates,
        curves: npt.NDArray[np.bool_],
    ) -> None:
        self._memory = memory
        self._params = params
        self._frames = frames
        self._candidates = candidates
        self._curves = curves
        self._held: Held | None = None

    def waiting_since(self, i: int) -> int:
        """Onset of the expression held back; ``i`` without one."""
        return i if self._held is None else self._held.expression.onset

    def goes_on(self, expression: Expression, height: float) -> bool:
        """Whether this movement of the mouth follows so soon on another that it is speech."""
        last, params = self._memory.last, self._params
        soon = bool(self._frames.times[expression.onset] - last.until < params.speech_s)
        return soon and (last.speaking or last.height > params.train * height)

    def remember(self, end: int, height: float, speech: bool) -> None:
        """The mouth has moved until frame ``end``."""
        time, last = float(self._frames.times[end]), self._memory.last
        late = time - last.until > self._params.search_s
        if late or height > self._params.train * last.height:
            self._memory.moved(time, height, speech)

    def hold(self, held: Held) -> None:
        """Let an expression wait; none does."""
        self._held = held

    def hear(self, i: int) -> list[Update]:
        """Let go of the expression held back, or see that the mouth goes on moving."""
        held, params, times = self._held, self._params, self._frames.times
        if held is None:
            return []
        if times[i] - times[held.end] > params.wait_s + _TICK:
            return self.release()
        if i <= held.end:
            return []
        rise = self._candidates.rise_since(held.end, i, self._curves)
        if rise <= max(params.theta, params.train * held.height):
            return []
        self._held = None
        if self._memory.mouth:
            self._memory.last.speaking = True
        return [Retraction(held.number, None, "speech", held.expression.vetoes)]

    def release(self) -> list[Update]:
        """Let go of the expression held back, if there is one."""
        held, self._held = self._held, None
        return [] if held is None else [Final(held.number, held.expression)]
