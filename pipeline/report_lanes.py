"""How far each AU's curve stands out, over a whole recording and in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.explain_profile import matching
from pipeline.explain_words import au_name
from stages.joint import JointParams

if TYPE_CHECKING:
    from models.prototypes import PrototypeSet
    from pipeline.config import Config
    from pipeline.explain_account import Window

Array = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]

MOST_BINS = 36_000  # of a face: 20 minutes at 30 frames a second; beyond, bins grow
TOGETHER = 0  # in the place of an AU: the curves of several at once, such as 1 + 2
_ALL = slice(None)
_TICK = 1e-6
_BRIDGE_S = 0.25  # a shorter time without a frame is no gap


def lane_aus(known: PrototypeSet, config: Config) -> tuple[int, ...]:
    """The AUs that have a lane, in order; ``TOGETHER`` for those that are matched as one."""
    if config.method == "paper" or known.joint is None:
        return known.aus
    return (*dict.fromkeys(au for au, _ in known.joint.templates()[0]), TOGETHER)


def lane_name(au: int) -> tuple[str, str]:
    """A lane's name, short and in words."""
    return ("several", "AUs that go together") if au == TOGETHER else (f"AU {au}", au_name(au))


def around(config: Config) -> tuple[float, float]:
    """How long before and after a point its lows are looked for, s."""
    search_s = config.spot.search_s
    return search_s, search_s if config.method == "paper" else JointParams.hold_s


def standing_out(
    times: Array, curves: Array, before_s: float, after_s: float, of: slice = _ALL
) -> Array:
    """How far each point ``of`` curves (n, V) stands above the higher of two lows (eq. 24).

    They are the lowest points of the ``before_s`` before it and of the ``after_s`` after it.
    """
    asked = np.arange(len(times))[of]
    first = np.searchsorted(times, times[of] - before_s - _TICK)
    stop = np.searchsorted(times, times[of] + after_s + _TICK)
    made = np.empty((len(asked), curves.shape[1]))
    for row, i in enumerate(asked):
        before = curves[first[row] : i + 1].min(axis=0)
        after = curves[i : stop[row]].min(axis=0)
        made[row] = curves[i] - np.maximum(before, after)
    return made


def rises(window: Window, known: PrototypeSet, config: Config) -> tuple[Array, Array]:
    """Times (n,) and, for each AU with a lane, how far it stands out, in theta (n, A).

    In the noise as it was known at each frame; of an AU's sides the larger counts.
    """
    if config.method == "paper":
        times, curves = matching(window, known, config)
        return times, standing_out(times, curves, *around(config))
    model = known.joint
    if model is None or not window.noise or window.projections is None:
        return np.empty(0), np.empty((0, len(lane_aus(known, config))))
    times, x = window.projections
    names = model.detectors()[0]
    sides = np.zeros((len(times), len(names)))
    ends = [first for first, _ in window.noise[1:]]
    for (first, noise), stop in zip(window.noise, [*ends, len(times)], strict=True):
        own = slice(first, stop)  # the whole curve with these filters, of which this part counts
        curves = x @ noise.detect.T
        sides[own] = standing_out(times, curves, *around(config), of=own)
    theta = JointParams.theta * config.spot.threshold_scale
    of = np.array([aus[0] if len(aus) == 1 else TOGETHER for aus in names])
    lanes = [sides[:, of == au].max(axis=1, initial=0) for au in lane_aus(known, config)]
    return times, np.stack(lanes, axis=1) / theta


class Lanes:
    """The highest value of each AU in each short time, by face.

    Args:
        count: A, AUs.
        step_s: length of a bin at first; it doubles whenever ``most`` bins are full.
        most: bins of a face.
    """

    def __init__(self, count: int, step_s: float, most: int = MOST_BINS) -> None:
        self.step_s = step_s
        self._count = count
        self._most = most
        self._bins: dict[int, Values] = {}

    def add(self, face: int, times: Array, values: Array) -> None:
        """Take values (n, A) at ``times``; where there are some already the larger stay."""
        if not len(times):
            return
        while float(times[-1]) / self.step_s >= self._most:
            self._halve()
        at = (times / self.step_s + _TICK).astype(np.int64)
        held = self._room(face, int(at[-1]) + 1)
        np.fmax.at(held, at, values.astype(np.float32))

    def faces(self) -> list[int]:
        """Who has values."""
        return sorted(self._bins)

    def of(self, face: int) -> Values:
        """(bins, A); NaN where the face was not seen. Single missing frames are bridged."""
        held = self._bins[face].copy()
        seen = np.flatnonzero(~np.isnan(held[:, 0]))
        longest = max(round(_BRIDGE_S / self.step_s), 2)
        for left, right in pairwise(seen):
            if 1 < right - left <= longest:
                held[left + 1 : right] = np.fmax(held[left], held[right])
        return held[: seen[-1] + 1] if len(seen) else held[:0]

    def highest(self) -> float:
        """Of all values; 0 without any."""
        tops = [float(np.nanmax(held, initial=-inf)) for held in self._bins.values()]
        return max([0.0, *tops])

    def _room(self, face: int, bins: int) -> Values:
        held = self._bins.get(face)
        if held is None or len(held) < bins:
            wider = np.full((max(2 * bins, 1024), self._count), np.nan, np.float32)
            if held is not None:
                wider[: len(held)] = held
            self._bins[face] = held = wider
        return held

    def _halve(self) -> None:
        self.step_s *= 2
        for face, held in self._bins.items():
            odd = np.full((len(held) % 2, self._count), np.nan, np.float32)
            even = np.concatenate([held, odd])
            self._bins[face] = np.fmax(even[::2], even[1::2])
