"""One movement, followed from the peak of its curve to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.noise import Filters

Array = npt.NDArray[np.float64]

_SAME = 1e-9  # values that rounding alone may tell apart: the first counts


@dataclass(eq=False)
class Movement:
    """A movement that has been found and is followed to its end.

    Its curve is that of the mixture of AUs that made it, less its value at the base.

    Attributes:
        base: frame before the rise.
        peak: frame of the highest value of the detection curve that found it.
        height: of that curve, standard deviations.
        filters: of the face's noise when it was found.
        curve: (K,) the mixture's filter.
        number: of its announcement, -1 without one.
        top: frame of the highest value so far.
        low: frame of the lowest value since ``top``.
        highest: value at ``top``.
        lowest: value at ``low``.
        now: value at the last frame followed.
    """

    base: int
    peak: int
    height: float
    filters: Filters
    curve: Array
    number: int = -1
    top: int = field(init=False)
    low: int = field(init=False)
    highest: float = -np.inf
    lowest: float = -np.inf
    now: float = 0.0
    _next: int = field(init=False)

    def __post_init__(self) -> None:
        self.top = self.low = self._next = self.base

    def follow(self, x: Array, i: int) -> None:
        """Take the frames up to ``i`` of the low-passed projections ``x`` (n, K)."""
        values = (x[self._next : i + 1] - x[self.base]) @ self.curve
        for k, value in enumerate(values.tolist(), self._next):
            if value > self.highest + _SAME:
                self.top = self.low = k
                self.highest = self.lowest = value
            elif value < self.lowest - _SAME:
                self.low, self.lowest = k, value
            self.now = value
        self._next = i + 1
