"""Eye and mouth regions, normalised (He et al., ECAI 2023, eqs 9-12), and the whole face.

Eyes and mouth share one ruler, the outer-eye-corner distance d, which becomes
200 px. The paper leaves the mouth region open; here it is 1.3 d x 0.8 d. Its
centre lies on the face's axis at a fixed distance below the nose base, so that
a moving mouth moves neither its ruler nor its frame. Recognisers may also see
the whole face, 2 d x 2 d at 112 px per d, with half height between eyes and mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.items import Floats, Grey
from stages.landmarks import LEFT_OUTER_EYE, NOSE_BASE, RIGHT_OUTER_EYE
from stages.warp import Cutter

EYE_SIZE = (280, 240)  # w, h
MOUTH_SIZE = (260, 160)
FACE_SIZE = (224, 224)
PX_PER_D = 200.0
FACE_PX_PER_D = 112.0
GAMMAS = (0.2, 0.6, 0.2, 0.6)
_MOUTH_BELOW_NOSE = 0.25  # d; lip line to nose base of a neutral frontal face
_FACE_BELOW_EYES = 0.45  # d; centre of the face crop: brows to chin
_MARGIN = 4
_ALIASES = 1.5  # source px per px of a crop from which on it is blurred before


@dataclass(frozen=True)
class Similarity:
    """Eye-corner frame of a face: origin between the outer corners, x along them.

    ``nose`` is how far the nose base lies below the origin, in d.
    """

    origin: tuple[float, float]  # source px
    d: float  # source px
    roll: float  # radians, positive clockwise in the image
    nose: float


def eye_box(
    left_corner: tuple[float, float],
    right_corner: tuple[float, float],
    gammas: tuple[float, float, float, float] = GAMMAS,
) -> tuple[float, float, float, float]:
    """Eqs 9-12: (x_ls, y_ls, x_rx, y_rx) in px from the outer corners, image left first."""
    (xl, yl), (xr, yr) = left_corner, right_corner
    width, middle = xr - xl, (yl + yr) / 2
    g1, g2, g3, g4 = gammas
    return xl - g1 * width, middle - g2 * width, xr + g3 * width, middle + g4 * width


def similarity(landmarks: Floats, roll: bool = True) -> Similarity:
    """The face's eye-corner frame.

    Args:
        landmarks: (468, 2) x, y in source px.
        roll: follow the head's roll; False gives the paper's axis-aligned boxes
            with d = x_reye - x_leye.
    """
    a, b = (landmarks[i].astype(np.float64) for i in (RIGHT_OUTER_EYE, LEFT_OUTER_EYE))
    dx, dy = b - a
    angle = float(np.arctan2(dy, dx)) if roll else 0.0
    d = float(np.hypot(dx, dy)) if roll else float(dx)
    middle = (a + b) / 2
    down = np.array([-np.sin(angle), np.cos(angle)])
    nose = float((landmarks[NOSE_BASE] - middle) @ down) / d
    return Similarity((float(middle[0]), float(middle[1])), d, angle, nose)


@dataclass(frozen=True, eq=False)
class _Window:
    """One crop: its map to the image, its size (w, h), source px per px of it."""

    matrix: npt.NDArray[np.float64]  # 2x3, crop px (pixel centres) to source px
    size: tuple[int, int]
    scale: float

    @classmethod
    def of(cls, face: Similarity, size: tuple[int, int], below: float, px_per_d: float) -> _Window:
        """``below``: the crop's centre lies so many d below the origin."""
        scale = face.d / px_per_d
        cos, sin = np.cos(face.roll) * scale, np.sin(face.roll) * scale
        rotation = np.array([[cos, -sin], [sin, cos]])
        # continuous crop coordinate u stands for pixel index u - 0.5
        centre = np.array([size[0] / 2 - 0.5, size[1] / 2 - 0.5 - below * px_per_d])
        shift = np.array(face.origin) - rotation @ centre
        return cls(np.column_stack([rotation, shift]), size, scale)

    def corners(self) -> npt.NDArray[np.float64]:
        """(4, 2) source px."""
        width, height = self.size
        ends = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        return np.asarray(ends @ self.matrix.T)

    def moved(self, low: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
        """The map into the patch that begins at ``low``."""
        matrix = self.matrix.copy()
        matrix[:, 2] -= low
        return matrix


def _patch(
    image: npt.NDArray[np.uint8], windows: Sequence[_Window]
) -> tuple[Grey, npt.NDArray[np.int_]]:
    """The part of ``image`` under the windows as grey, and its upper left corner."""
    reached = np.concatenate([window.corners() for window in windows])
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(reached.min(axis=0)) - _MARGIN, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + _MARGIN, low + 1, limit).astype(int)
    patch = image[low[1] : high[1], low[0] : high[0]]
    if patch.ndim == 3:
        patch = np.asarray(cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.ascontiguousarray(patch), low


def _cut(image: npt.NDArray[np.uint8], windows: Sequence[_Window]) -> list[Grey]:
    """The windows, from one patch of ``image``."""
    patch, low = _patch(image, windows)
    cutter = Cutter(patch)
    return [cutter(window.moved(low), window.size) for window in windows]


def _blurred(image: npt.NDArray[np.uint8], window: _Window) -> Grey:
    """A window that shrinks the image, which would alias."""
    patch, low = _patch(image, [window])
    sigma = 0.5 * np.sqrt(window.scale * window.scale - 1)
    patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma), np.uint8)
    return Cutter(patch)(window.moved(low), window.size)


def _crops(image: npt.NDArray[np.uint8], windows: Sequence[_Window]) -> list[Grey]:
    fine = [window for window in windows if window.scale <= _ALIASES]
    cut = iter(_cut(image, fine) if fine else [])
    return [
        next(cut) if window.scale <= _ALIASES else _blurred(image, window) for window in windows
    ]


def _eye(face: Similarity) -> _Window:
    g1, g2, g3, g4 = GAMMAS
    assert g1 == g3, "the crop is centred on the eyes"
    return _Window.of(face, EYE_SIZE, (g4 - g2) / 2, PX_PER_D)


def _mouth(face: Similarity) -> _Window:
    return _Window.of(face, MOUTH_SIZE, face.nose + _MOUTH_BELOW_NOSE, PX_PER_D)


def _whole(face: Similarity) -> _Window:
    return _Window.of(face, FACE_SIZE, _FACE_BELOW_EYES, FACE_PX_PER_D)


def crop_face(image: npt.NDArray[np.uint8], face: Similarity) -> tuple[Grey, Grey]:
    """Eye (240, 280) and mouth (160, 260) crops, uint8, at 200 px per d.

    Args:
        image: (h, w) grey or (h, w, 3) BGR uint8.
        face: the eye-corner frame.
    """
    eye, mouth = _crops(image, [_eye(face), _mouth(face)])
    return eye, mouth


def outlines(face: Similarity) -> Floats:
    """The eye and the mouth region as quadrangles in the image, (2, 4, 2) source px.

    Args:
        face: the eye-corner frame.
    """
    around = [0, 1, 3, 2]
    ends = [window.corners()[around] for window in (_eye(face), _mouth(face))]
    return np.asarray(ends, np.float32)


def crop_whole(image: npt.NDArray[np.uint8], face: Similarity) -> Grey:
    """The whole face (224, 224), uint8, at 112 px per d.

    The axis of the face is the middle column; eyes and brows lie in the upper half, mouth
    and chin in the lower one.

    Args:
        image: (h, w) grey or (h, w, 3) BGR uint8.
        face: the eye-corner frame.
    """
    return _crops(image, [_whole(face)])[0]


def crop_all(image: npt.NDArray[np.uint8], face: Similarity) -> tuple[Grey, Grey, Grey]:
    """``crop_face`` and ``crop_whole`` in one go, which costs less."""
    eye, mouth, whole = _crops(image, [_eye(face), _mouth(face), _whole(face)])
    return eye, mouth, whole


def crop_regions(
    image: npt.NDArray[np.uint8], landmarks: Floats, roll: bool = True
) -> tuple[Grey, Grey]:
    """``crop_face`` straight from landmarks (468, 2)."""
    return crop_face(image, similarity(landmarks, roll))
