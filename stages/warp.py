"""Turned and scaled windows of a grey image: OpenCV's ``warpAffine``, bit for bit.

In half the time, for windows that lie inside the image, which is nearly always so. Positions
are OpenCV's, in 1/32 px. Each row is done in three plain loops (where, what, how much of
each), of which the compiler vectorises the first and the last; the four neighbours of a
position are packed in one number beforehand, so that the loop between them reads once.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from stages.items import Grey

Ints = npt.NDArray[np.int32]
Matrix = npt.NDArray[np.float64]

_FINE = 1024.0  # OpenCV counts positions in 1/1024 px and rounds them to 1/32 px
_WORTH = 3.0  # a larger image, in windows, costs more to make ready than that saves


@njit(cache=True, nogil=True)
def _pack(image: Grey, out: Ints) -> None:
    """Each pixel of ``out`` with its right, lower and lower right neighbours, 8 bits each."""
    rows, columns = out.shape
    for i in range(rows):
        upper, lower, packed = image[i], image[i + 1], out[i]
        for j in range(columns):
            first = np.int32(upper[j]) | (np.int32(upper[j + 1]) << np.int32(8))
            second = np.int32(lower[j]) | (np.int32(lower[j + 1]) << np.int32(8))
            packed[j] = first | (second << np.int32(16))


@njit(cache=True, nogil=True)
def _where(x0: int, y0: int, across: Ints, columns: int, index: Ints, share: Ints) -> None:
    """Place in the packed image and shares of the neighbours, 1/32 px, of one row."""
    for x in range(index.shape[0]):
        u = (np.int32(x0) + across[0, x]) >> np.int32(5)
        v = (np.int32(y0) + across[1, x]) >> np.int32(5)
        index[x] = (v >> np.int32(5)) * np.int32(columns) + (u >> np.int32(5))
        share[x] = ((v & np.int32(31)) << np.int32(5)) | (u & np.int32(31))


@njit(cache=True, nogil=True)
def _gather(packed: Ints, index: Ints, out: Ints) -> None:
    for x in range(index.shape[0]):
        out[x] = packed[np.uint64(index[x])]


@njit(cache=True, nogil=True)
def _blend(neighbours: Ints, share: Ints, out: Grey) -> None:
    byte = np.int32(255)
    for x in range(out.shape[0]):
        p, s = neighbours[x], share[x]
        fx, fy = s & np.int32(31), s >> np.int32(5)
        a, b = p & byte, (p >> np.int32(8)) & byte
        c, d = (p >> np.int32(16)) & byte, (p >> np.int32(24)) & byte
        upper = (a << np.int32(5)) + fx * (b - a)
        lower = (c << np.int32(5)) + fx * (d - c)
        whole = (upper << np.int32(5)) + fy * (lower - upper)
        out[x] = np.uint8((whole + np.int32(512)) >> np.int32(10))


@njit(cache=True, nogil=True)
def _inside(packed: Ints, matrix: Matrix, rows: Ints, out: Grey) -> None:
    """Fill ``out``; ``rows`` (5, width) is scratch."""
    height, width = out.shape
    columns, flat = packed.shape[1], packed.ravel()
    across, index, share, neighbours = rows[:2], rows[2], rows[3], rows[4]
    for x in range(width):
        across[0, x] = np.int32(np.rint(matrix[0, 0] * x * _FINE))
        across[1, x] = np.int32(np.rint(matrix[1, 0] * x * _FINE))
    for y in range(height):
        x0 = int(np.rint((matrix[0, 1] * y + matrix[0, 2]) * _FINE)) + 16
        y0 = int(np.rint((matrix[1, 1] * y + matrix[1, 2]) * _FINE)) + 16
        _where(x0, y0, across, columns, index, share)
        _gather(flat, index, neighbours)
        _blend(neighbours, share, out[y])


class Cutter:
    """Windows of one grey image.

    Args:
        image: (rows, columns) uint8, contiguous, hardly larger than what is cut out of it.
    """

    def __init__(self, image: Grey) -> None:
        self._image = image
        self._packed: Ints | None = None

    def __call__(self, matrix: Matrix, size: tuple[int, int]) -> Grey:
        """The window (h, w) uint8 whose pixel (x, y) is ``matrix`` (x, y, 1) of the image.

        Bilinear; what lies beyond the image repeats its border.

        Args:
            matrix: 2x3, px of the window to px of the image.
            size: (w, h) of the window.
        """
        if not self._contains(matrix, size):
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            made = cv2.warpAffine(
                self._image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
            return np.asarray(made, np.uint8)
        if self._packed is None:
            rows, columns = self._image.shape
            self._packed = np.empty((rows - 1, columns - 1), np.int32)
            _pack(self._image, self._packed)
        out = np.empty(size[::-1], np.uint8)
        _inside(self._packed, matrix, np.empty((5, size[0]), np.int32), out)
        return out

    def _contains(self, matrix: Matrix, size: tuple[int, int]) -> bool:
        """Whether every position lies 1 px or more inside the image."""
        (width, height), (rows, columns) = size, self._image.shape
        if rows * columns > _WORTH * width * height:
            return False
        ends = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        low, high = ends.min(axis=1), ends.max(axis=1)
        return bool(low.min() >= 1 and high[0] < columns - 2 and high[1] < rows - 2)
