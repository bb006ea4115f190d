"""Which detection curves have risen and fallen by more than theta (eq. 24), frame by frame.

A curve is a filter times the low-passed projections. The filters change now and then, as the
face's noise is learned; the curves since the earliest frame that still counts are then drawn
again, so that a rise is always measured with one filter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from stages.frames import Frames, twice
from stages.noise import Filters

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

_TICK = 1e-6
_SAME = 1e-9  # where a blink is held the curves stand still, but for rounding: the first counts


class Candidates:
    """Per detection curve: risen, not yet fallen.

    Args:
        frames: the window's frames.
        count: V, detection curves.
        theta: a curve must rise and fall by more than this.
        search_s: the rise is measured from the lowest point within, s.
        hold_s: a rise is given up so long after its peak, s.
        fall: a curve must fall by more than this share of its rise.
    """

    def __init__(
        self,
        frames: Frames,
        count: int,
        *,
        theta: float,
        search_s: float,
        hold_s: float,
        fall: float,
    ) -> None:
        self._frames = frames
        self._rules = (float(theta), float(hold_s), float(fall))
        self._search_s = search_s
        self.risen: Flags = np.zeros(count, np.bool_)
        self.height: Array = np.zeros(count)
        self.peak: Places = np.zeros(count, np.int64)
        self.base: Places = np.zeros(count, np.int64)
        self._filters: Filters | None = None
        self._detect: Array = np.zeros((0, count))  # (K, V)
        self._curves: Array = np.zeros((len(frames.times), count))
        self._first, self._end = 0, 0  # rows of ``_curves`` that are drawn with ``_filters``
        self._lowest: Array = np.zeros(count)

    def follow(self, i: int, filters: Filters, after: int, looking: bool, over: float) -> float:
        """Take frame ``i``.

        Args:
            i: its index; the frames come one by one.
            filters: the face's, now.
            after: nothing begins before this frame.
            looking: curves may rise.
            over: the height above which a fall counts.

        Returns:
            The largest share of the fall asked for that a curve higher than ``over`` has
            done; 0 for none.
        """
        times = self._frames.times
        low = int(times[:i].searchsorted(times[i] - self._search_s - _TICK))
        low = max(after, low)
        if not looking or low >= i:
            low = -1
        self._draw(i, filters, low)
        return float(
            _follow(
                times,
                self._curves,
                i,
                low,
                self.risen,
                self.height,
                self.peak,
                self.base,
                self._lowest,
                self._rules,
                over,
            )
        )

    def fallen(self, i: int, share: float) -> Flags:
        """Which curves have risen and done this share of the fall that proves a peak."""
        theta, _, fall = self._rules
        v = np.arange(len(self.risen))
        drop = np.where(self.risen, self._curves[self.peak, v] - self._curves[i], 0.0)
        asked = np.maximum(theta, fall * self.height)
        fallen: Flags = self.risen & (drop > share * asked)
        return fallen

    def rise_since(self, start: int, i: int, of: Flags) -> float:
        """How far the curves ``of`` have risen, the most of them, from their lowest since."""
        if start < self._first:
            _project(self._detect, self._frames.x, self._curves, start, self._first)
            self._first = start
        seen = self._curves[start : i + 1, of]
        return float((seen[-1] - seen[:-1].min(axis=0)).max())

    def rises(self, i: int, after: int) -> Array:
        """How far each curve stands at ``i`` above its lowest of the search before, in theta (V,).

        ``i`` was the last followed; ``after`` as there.
        """
        searched = self._frames.times[:i].searchsorted(
            self._frames.times[i] - self._search_s - _TICK
        )
        low = max(after, int(searched), self._first)
        if low >= i:
            return np.zeros(len(self.risen))
        above = self._curves[i] - self._curves[low:i].min(axis=0)
        return np.asarray(above.clip(min=0.0) / self._rules[0])

    def _draw(self, i: int, filters: Filters, low: int) -> None:
        """Draw the curves up to ``i``, with these filters since the first frame that counts."""
        while len(self._curves) < len(self._frames.times):
            self._curves = twice(self._curves)
        if filters is not self._filters:
            self._filters = filters
            self._detect = np.ascontiguousarray(filters.detect.T)
            bases = self.base[self.risen]
            self._first = self._end = int(min(bases.min(initial=i), i if low < 0 else low))
        elif 0 <= low < self._first:
            _project(self._detect, self._frames.x, self._curves, low, self._first)
            self._first = low
        _project(self._detect, self._frames.x, self._curves, self._end, i + 1)
        self._end = i + 1


@njit(cache=True, nogil=True)
def _project(detect: Array, x: Array, curves: Array, start: int, stop: int) -> None:
    """Rows start..stop-1 of ``x`` (n, K) times ``detect`` (K, V)."""
    for i in range(start, stop):
        row = curves[i]
        row[:] = 0.0
        for k in range(detect.shape[0]):
            value = x[i, k]
            for v in range(len(row)):
                row[v] += value * detect[k, v]


@njit(cache=True, nogil=True)
def _follow(
    times: Array,
    curves: Array,
    i: int,
    low: int,
    risen: Flags,
    height: Array,
    peak: Places,
    base: Places,
    lowest: Array,
    rules: tuple[float, float, float],
    over: float,
) -> float:
    """``Candidates.follow``; ``low``: where the search begins, -1 for none."""
    theta, hold_s, fall = rules
    now = curves[i]
    if low >= 0:
        _lowest(curves, low, i, lowest)
        for v in range(len(risen)):
            if risen[v]:
                above = now[v] - curves[base[v], v]
                if above > height[v] + _SAME:
                    height[v], peak[v] = above, i
            elif now[v] - lowest[v] > theta:
                risen[v], height[v], peak[v] = True, now[v] - lowest[v], i
                base[v] = low
                while curves[base[v], v] > lowest[v] + _SAME:
                    base[v] += 1
            if times[i] - times[peak[v]] > hold_s + _TICK:
                risen[v] = False
    most = 0.0
    for v in range(len(risen)):
        if risen[v] and height[v] > over:
            most = max(most, (curves[peak[v], v] - now[v]) / max(theta, fall * height[v]))
    return most


@njit(cache=True, nogil=True)
def _lowest(curves: Array, low: int, stop: int, out: Array) -> None:
    """Per curve, its least value in low..stop-1."""
    out[:] = curves[low]
    for k in range(low + 1, stop):
        for v in range(len(out)):
            out[v] = min(out[v], curves[k, v])
