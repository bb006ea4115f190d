"""What a face looks like, in a few numbers: enough to tell those in one picture apart.

A small grey patch of the aligned face, its contrast made alike everywhere, so that light counts
for little. No biometric: it holds for minutes, not for people who look alike.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stages.items import Floats
from stages.region import Similarity

_SIZE = (16, 18)  # w, h
_PX_PER_D = 12.0
_BELOW = 0.25  # d; the patch's middle below the eyes
_AROUND = 4.0  # px of the patch over which contrast is made alike
_LEAST = 4.0  # grey values; less contrast than this is noise


def likeness(image: npt.NDArray[np.uint8], face: Similarity) -> Floats:
    """A unit vector; the dot product of two is 1 for the same picture, less the less alike.

    Args:
        image: (h, w) grey or (h, w, 3) BGR uint8.
        face: the eye-corner frame.
    """
    scale = face.d / _PX_PER_D
    cos, sin = np.cos(face.roll) * scale, np.sin(face.roll) * scale
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([_SIZE[0] / 2 - 0.5, _SIZE[1] / 2 - 0.5 - _BELOW * _PX_PER_D])
    shift = np.array(face.origin) - turn @ middle
    ends = np.array([[0, 0], [_SIZE[0], 0], [0, _SIZE[1]], _SIZE])
    reached = ends @ turn.T + shift
    limit = np.array(image.shape[1::-1])
    shrink = min(max(1, round(scale)), *image.shape[:2])  # whole numbers shrink faster
    low = np.clip(np.floor(reached.min(axis=0)) - scale, 0, limit - shrink).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + scale, low + shrink, limit).astype(int)
    width, height = (high - low) // shrink
    part = image[low[1] :, low[0] :][: shrink * height, : shrink * width]
    if shrink > 1:
        size = (int(width), int(height))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    if part.ndim == 3:
        part = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8)
    matrix = np.column_stack([turn, shift - low + 0.5]) / shrink
    matrix[:, 2] -= 0.5
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(part, matrix, _SIZE, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return _alike(np.asarray(patch, np.float32))


def _alike(patch: Floats) -> Floats:
    """The patch with equal contrast everywhere, as a unit vector."""
    above = patch - cv2.GaussianBlur(patch, (0, 0), _AROUND)
    contrast = np.sqrt(cv2.GaussianBlur(above * above, (0, 0), _AROUND))
    return unit((above / (contrast + _LEAST)).ravel())


def unit(vector: Floats) -> Floats:
    """``vector`` without its mean, of length 1."""
    level = vector - vector.mean()
    return np.asarray(level / (np.linalg.norm(level) + 1e-6), np.float32)
