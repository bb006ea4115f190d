"""Flow without the head's own motion: what is left of it after alignment by landmarks.

Landmarks jitter by tenths of a pixel, and a whole face that shifts by 0.3 px hides an
expression of 1 px: networks that see the *magnitude* of the flow cannot tell them apart.
"""

from __future__ import annotations

import numpy as np

from stages.items import Floats

_GRID = 28  # at most so many sampled rows and columns
_ROUNDS = 10
_LEAST_PX = 1e-3


def rigid_motion(flow: Floats) -> Floats:
    """The similarity that most of the flow agrees on, as a flow of the same shape.

    Least squares of shift, turn and growth, weighted by 1 / (1 + (r / s)^2)^2 (Geman and
    McClure) with r the residual and s 1.5 times its median, so that moving parts of the
    face do not count.

    Args:
        flow: (h, w, 2) float32 px.
    """
    height, width = flow.shape[:2]
    rows = np.arange(height) - (height - 1) / 2
    columns = np.arange(width) - (width - 1) / 2
    picked = _picked(height), _picked(width)
    place = columns[picked[1]][None, :] + 1j * rows[picked[0]][:, None]
    sampled = flow[np.ix_(*picked)].astype(np.float64)
    shift, turn = _fitted(place.ravel(), (sampled[..., 0] + 1j * sampled[..., 1]).ravel())
    across = shift.real + turn.real * columns[None, :] - turn.imag * rows[:, None]
    down = shift.imag + turn.imag * columns[None, :] + turn.real * rows[:, None]
    return np.stack([across, down], axis=-1).astype(np.float32)


def without_rigid(flow: Floats) -> Floats:
    """``flow`` (h, w, 2) less ``rigid_motion``."""
    return np.asarray(flow - rigid_motion(flow), np.float32)


def _picked(size: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    step = max(1, size // _GRID)
    return np.arange(step // 2, size, step)


def _fitted(
    place: np.ndarray[tuple[int], np.dtype[np.complex128]],
    moved: np.ndarray[tuple[int], np.dtype[np.complex128]],
) -> tuple[complex, complex]:
    """``moved`` ~ shift + turn * ``place``, as complex numbers."""
    weight = np.ones(place.shape)
    shift = turn = 0j
    for _ in range(_ROUNDS):
        total = weight.sum()
        middle, mean = (weight @ place) / total, (weight @ moved) / total
        off = place - middle
        turn = complex((weight * off.conj()) @ (moved - mean) / (weight @ np.abs(off) ** 2))
        shift = complex(mean - turn * middle)
        far = np.abs(moved - shift - turn * place)
        scale = max(1.5 * float(np.median(far)), _LEAST_PX)
        weight = 1 / (1 + (far / scale) ** 2) ** 2
    return shift, turn
