"""The frames of one window as joint explanation sees them: held over blinks, low-passed.

While the eyes are shut, and a moment before and after, the projections hold their last value;
a Hann low-pass follows. Both look a little ahead, so that a frame is ready some frames late.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_Kind = TypeVar("_Kind", bound=np.generic)

_TICK = 1e-6
_FIRST_ROOM = 64


class Frames:
    """Columns in, frames that are ready to be judged out.

    Args:
        size: K, projections of a column.
        smooth_s: half width of the Hann low-pass, s.
        before_s: values are held so long before the lids are seen shut, s.
        after_s: and so long after.
    """

    def __init__(self, size: int, smooth_s: float, before_s: float, after_s: float) -> None:
        self._spans = (float(smooth_s), float(before_s), float(after_s))
        self.times: Array = np.zeros(_FIRST_ROOM)  # source time, s
        self.x: Array = np.zeros((_FIRST_ROOM, size))  # low-passed, of the frames ready
        self.held: Flags = np.zeros(_FIRST_ROOM, np.bool_)  # the value is that of an earlier frame
        self._shut: Flags = np.zeros(_FIRST_ROOM, np.bool_)
        self._seen: Array = np.zeros((_FIRST_ROOM, size))  # both regions together; then bridged
        self.count = 0  # frames taken
        self._bridged = 0  # of which the first so many are held where the eyes are shut
        self.ready = 0  # frames low-passed

    def push(self, time: float, parts: npt.ArrayLike, shut: bool) -> None:
        """Take a column: source time, (2, K) projections of both regions, the eyes are shut.

        Raises:
            ValueError: wrong shape, not finite, or not after the last one; the column
                is then not taken.
        """
        array = np.array(parts, np.float64, order="C")
        wanted = (2, self.x.shape[1])
        if array.shape != wanted:
            raise ValueError(f"a column has shape {array.shape}, not {wanted}")
        n = self.count
        if n == len(self.times):
            self._grow()
        if not (_fold(array, self._seen[n]) and -np.inf < time < np.inf):
            raise ValueError("time and column must be finite")
        if n and time <= self.times[n - 1]:
            raise ValueError(f"times must increase strictly: {time} s came too late")
        self.times[n], self._shut[n] = time, shut
        self.count = n + 1

    def advance(self, closing: bool) -> int:
        """Low-pass every frame whose neighbours are complete; ``closing``: none will come.

        Returns:
            ``ready``.
        """
        self._bridged, self.ready = _advance(
            self.times,
            self._seen,
            self._shut,
            self.held,
            self.x,
            (self.count, self._bridged, self.ready),
            self._spans,
            closing,
        )
        return self.ready

    def _grow(self) -> None:
        self.times, self.x, self.held = twice(self.times), twice(self.x), twice(self.held)
        self._shut, self._seen = twice(self._shut), twice(self._seen)


def twice(array: npt.NDArray[_Kind]) -> npt.NDArray[_Kind]:
    """``array`` with as many rows more; these take no memory yet."""
    room = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    room[: len(array)] = array
    return room


@njit(cache=True, nogil=True)
def _fold(parts: Array, out: Array) -> bool:
    """The sum of both rows, and whether all of it is finite."""
    finite = True
    for k in range(len(out)):
        finite &= np.isfinite(parts[0, k]) & np.isfinite(parts[1, k])
        out[k] = parts[0, k] + parts[1, k]
    return finite


@njit(cache=True, nogil=True)
def _advance(
    times: Array,
    seen: Array,
    shut: Flags,
    held: Flags,
    x: Array,
    counts: tuple[int, int, int],
    spans: tuple[float, float, float],
    closing: bool,
) -> tuple[int, int]:
    """``Frames.advance``; ``counts``: frames taken, bridged (in place), ready."""
    count, done, ready = counts
    smooth_s, before_s, after_s = spans
    while done < count and (closing or times[count - 1] - times[done] + _TICK >= before_s):
        held[done] = _shut_about(times[:count], shut, done, before_s, after_s)
        if done == 1:  # the reference against itself has no noise at all: it is no frame
            seen[0] = seen[1]
        elif done > 1 and held[done]:
            seen[done] = seen[done - 1]
        done += 1
    while ready < done and (ready > 0 or done > 1 or closing):
        high = ready + 1
        while high < done and times[high] - times[ready] + _TICK < smooth_s:
            high += 1
        if high == done and not closing:
            break
        low = ready
        while low > 0 and times[ready] - times[low - 1] + _TICK < smooth_s:
            low -= 1
        _low_pass(times, seen, low, ready, high, smooth_s, x[ready])
        ready += 1
    return done, ready


@njit(cache=True, nogil=True)
def _shut_about(times: Array, shut: Flags, i: int, before_s: float, after_s: float) -> bool:
    k = i
    while k >= 0 and times[i] - times[k] <= after_s + _TICK:
        if shut[k]:
            return True
        k -= 1
    k = i + 1
    while k < len(times) and times[k] - times[i] <= before_s + _TICK:
        if shut[k]:
            return True
        k += 1
    return False


@njit(cache=True, nogil=True)
def _low_pass(
    times: Array, values: Array, low: int, i: int, high: int, half: float, out: Array
) -> None:
    """Row ``i`` from the rows low..high-1."""
    if high - low == 1:
        out[:] = values[low]
        return
    out[:] = 0.0
    total = 0.0
    for k in range(low, high):
        weight = 1.0 + np.cos((times[k] - times[i]) * (np.pi / half))
        total += weight
        for j in range(len(out)):
            out[j] += weight * values[k, j]
    for j in range(len(out)):
        out[j] /= total
