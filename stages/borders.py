"""Onset and offset of a movement, from its flanks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# the minimum-jerk step reaches 2, 25 and 75 % of its height at these shares of its time
_AT_2, _AT_25, _AT_75 = 0.1355, 0.3594, 0.6406


def _crossing(times: Array, curve: Array, apex: int, step: int, level: float) -> float:
    """Source time at which ``curve``, followed from the apex, first falls to ``level``."""
    i = apex
    while 0 <= i + step < len(curve):
        nearer, i = i, i + step
        if curve[i] <= level:
            share = (level - curve[i]) / (curve[nearer] - curve[i])
            return float(times[i] + share * (times[nearer] - times[i]))
    return float(times[i])


def drawn_out(times: Array, curve: Array, apex: int, step: int) -> float:
    """Where a minimum-jerk flank through 75 and 25 % of the height is at 2 %.

    Eq. 24's run of points ends before the movement does; its flank tells where it ends.
    Minimum jerk: Flash and Hogan, J. Neurosci. 1985.

    Args:
        times: (n,) float64 source times, s.
        curve: (n,) float64, 0 at rest.
        apex: index of the peak.
        step: -1 follows the flank before the apex, 1 the one after it.

    Returns:
        Source time, s; it may lie outside ``times``.
    """
    height = float(curve[apex])
    upper = _crossing(times, curve, apex, step, 0.75 * height)
    lower = _crossing(times, curve, apex, step, 0.25 * height)
    return lower + (lower - upper) * (_AT_25 - _AT_2) / (_AT_75 - _AT_25)
