"""The eye-corner frame of a face from frame to frame, with less landmark jitter.

Two corners alone carry their full jitter into the crop, and 0.2 px of it
competes with a micro-expression of 1 px. The frame is therefore fitted, by
least squares, to landmarks that no action unit moves much, held against the
face's own running shape; the first frame is eqs 9-12 exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.items import Floats
from stages.region import Similarity, similarity

# forehead and temples, sides of the face, nose bridge, eye corners
STABLE = np.array(
    [
        *(10, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389),
        *(127, 356, 234, 454, 93, 323),
        *(168, 6, 197, 195, 5, 4),
        *(33, 133, 362, 263),
    ]
)

_Points = npt.NDArray[np.float64]


def fit_similarity(shape: _Points, points: _Points) -> tuple[_Points, float, float]:
    """Least-squares similarity from ``shape`` to ``points``, both (n, 2).

    Returns:
        (translation, scale, angle): points ~ translation + scale R(angle) shape.
    """
    z = shape[:, 0] + 1j * shape[:, 1]
    w = points[:, 0] + 1j * points[:, 1]
    z_mean, w_mean = z.mean(), w.mean()
    turn = np.vdot(z - z_mean, w - w_mean) / np.vdot(z - z_mean, z - z_mean).real
    shift = w_mean - turn * z_mean
    return np.array([shift.real, shift.imag]), float(abs(turn)), float(np.angle(turn))


class Alignment:
    """Eye-corner frames of one face.

    Args:
        memory_s: time constant with which the running shape follows the face, seconds.
    """

    def __init__(self, memory_s: float = 2.0) -> None:
        self._memory_s = memory_s
        self._shape: _Points | None = None
        self._nose = 0.0
        self._last = 0.0

    def __call__(self, landmarks: Floats, pts: float) -> Similarity:
        """The frame for ``landmarks`` (468, 2) in source px at ``pts`` seconds."""
        own = similarity(landmarks)
        points = landmarks[STABLE].astype(np.float64)
        if self._shape is None:
            self._shape, self._nose, self._last = _normalised(points, own), own.nose, pts
            return own
        origin, d, roll = fit_similarity(self._shape, points)
        found = Similarity((float(origin[0]), float(origin[1])), d, roll, self._nose)
        self._follow(points, own, found, pts)
        return found

    def _follow(self, points: _Points, own: Similarity, found: Similarity, pts: float) -> None:
        assert self._shape is not None
        weight = 1 - np.exp(-max(pts - self._last, 0.0) / self._memory_s)
        self._shape = self._shape + weight * (_normalised(points, found) - self._shape)
        self._nose += weight * (own.nose - self._nose)
        self._last = pts


def _normalised(points: _Points, frame: Similarity) -> _Points:
    """``points`` in the eye-corner frame, units of d."""
    cos, sin = np.cos(frame.roll) / frame.d, np.sin(frame.roll) / frame.d
    shape: _Points = (points - np.array(frame.origin)) @ np.array([[cos, -sin], [sin, cos]])
    return shape
