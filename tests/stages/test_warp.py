"""Windows of an image against OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np

from stages.warp import Cutter

IMAGE = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)


def _matrix(middle: np.ndarray, scale: float, turn: float, size: tuple[int, int]) -> np.ndarray:
    """The map of a window of ``size`` that is turned about its middle."""
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    rotation = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([rotation, middle - rotation @ (np.array(size) / 2)])


def _opencv(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def test_windows_are_opencvs_bit_for_bit_wherever_they_lie() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for i in range(400):
        scale, size = rng.uniform(0.2, 1.2), ((280, 240), (130, 80), (9, 200))[i % 3]
        turn = rng.normal(0, 0.3) if i % 4 else 0.0
        middle = rng.uniform(0.2, 0.8, 2) * IMAGE.shape[::-1]
        matrix = _matrix(middle, scale, turn, size)
        cutter = Cutter(IMAGE)
        assert np.array_equal(cutter(matrix, size), _opencv(IMAGE, matrix, size))
        inside += cutter._contains(matrix, size)
    assert 40 < inside < 360  # both ways were taken


def test_one_image_gives_many_windows() -> None:
    cutter = Cutter(IMAGE)
    for x in (150.0, 160.25, 170.5):
        matrix = _matrix(np.array([x, 120.0]), 0.9, 0.05, (200, 160))
        assert cutter._contains(matrix, (200, 160))
        assert np.array_equal(cutter(matrix, (200, 160)), _opencv(IMAGE, matrix, (200, 160)))
