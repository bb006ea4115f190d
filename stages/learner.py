"""Which frames of a window the face's noise is learned from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.frames import Frames
from stages.noise import Noise

Array = npt.NDArray[np.float64]

_TICK = 1e-6


class Learner:
    """Learns frames that are old enough and belong to no expression.

    Args:
        noise: the face's.
        frames: the window's.
    """

    def __init__(self, noise: Noise, frames: Frames) -> None:
        self._noise = noise
        self._frames = frames
        self._next = 0
        self._excluded: set[int] = set()

    def exclude(self, first: int, last: int) -> None:
        """Frames first..last belong to an expression."""
        self._excluded.update(range(first, last + 1))

    def learn(self, i: int, undecided: int) -> None:
        """Frame ``i`` is there; ``undecided`` and those after it may become an expression."""
        times, noise = self._frames.times, self._noise
        newest = times[i] - noise.params.delay_s + _TICK
        while self._next < undecided and times[self._next] <= newest:
            j = self._next
            self._next += 1
            if j > 1 and noise.due(times[j]) and self._is_noise(j):
                noise.learn(float(times[j]), self._differences(j))

    def _is_noise(self, j: int) -> bool:
        return not self._frames.held[j] and j not in self._excluded

    def _differences(self, j: int) -> Array:
        """(n, K) of the frame to those of some time before."""
        times, x = self._frames.times[:j], self._frames.x
        lags = np.array(self._noise.params.lags_s)
        earlier = times.searchsorted(self._frames.times[j] - lags + _TICK, side="right") - 1
        usable = [k for k in earlier.tolist() if k >= 1 and self._is_noise(k)]
        differences: Array = x[j] - x[usable]
        return differences
