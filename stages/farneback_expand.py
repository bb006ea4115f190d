"""From an image to the polynomial expansions of its pyramid, in one call.

Farnebäck 2003, section 3; the pyramid is that of ``cv2.calcOpticalFlowFarneback``: each layer is
the full image, blurred and resized. Blur and resize are one linear map along each axis.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit, uint64

from stages.farneback_layout import (
    DIGEST,
    HALF,
    ONE,
    PLANES,
    QUARTER,
    ZERO,
    Along,
    Expansion,
    Floats,
    Kernel,
    Layout,
    options,
    paste,
    replicate,
    resample,
)


class Expander:
    """Expands images of one size.

    Args:
        sizes: (w, h) of the layers, the full image's first.
        scales: their sizes relative to it.
        layout: of rows.
        expansion: which.
        halve: images come at twice the size and are averaged over 2 x 2 px.
    """

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        scales: list[float],
        layout: Layout,
        expansion: Expansion,
        halve: bool = False,
    ) -> None:
        (width, height), n = sizes[0], expansion.n
        self._layout, self._sizes = layout, sizes
        self._kernel = _compiled(layout.stride, layout.pad, expansion, halve)
        self._heights = np.array([size[::-1] for size in sizes], np.int64)
        self._grey = np.zeros((height + 2, width + 2), np.float32)
        self._row = np.zeros(width + 2, np.float32)
        maps = [
            tuple(
                Along.resizing(full, part, _blur(scale))
                for full, part in zip(sizes[0], size, strict=True)
            )
            for size, scale in zip(sizes, scales, strict=True)
        ]
        self._maps = (
            tuple(y.first for _, y in maps),
            tuple(y.weights for _, y in maps),
            tuple(x.first for x, _ in maps),
            tuple(x.weights for x, _ in maps),
        )
        self._padded = tuple(layout.rows(h + 2 * n) for _, h in sizes)
        self._rows = layout.rows(3)

    def blank(self) -> tuple[Floats, ...]:
        """Room for the expansions of an image, a layer each."""
        return tuple(self._layout.rows((h + 2) * PLANES) for _, h in self._sizes)

    def __call__(self, image: npt.NDArray[np.generic], out: tuple[Floats, ...]) -> None:
        """Expand ``image`` (h, w), uint8 or float32, into ``out``."""
        grey = np.ascontiguousarray(image)
        work = self._grey, self._row, self._heights, *self._maps, self._padded, self._rows
        self._kernel(grey, *work, out)


def _blur(scale: float) -> Floats:
    """OpenCV's blur of a layer, (taps,)."""
    sigma = (1 / scale - 1) * 0.5
    taps = max(round(sigma * 5) | 1, 3)
    return np.asarray(cv2.getGaussianKernel(taps, sigma, cv2.CV_32F)[:, 0], np.float32)


@paste
def _halve(image, grey):  # type: ignore[no-untyped-def]
    """Means of 2 x 2 px, rounded as OpenCV's INTER_AREA rounds them."""
    for y in range(uint64(grey.shape[0] - 2)):
        for x in range(uint64(grey.shape[1] - 2)):
            i, j = uint64(2) * y, uint64(2) * x
            above = np.int32(image[i, j]) + np.int32(image[i, j + uint64(1)])
            below = np.int32(image[i + uint64(1), j]) + np.int32(
                image[i + uint64(1), j + uint64(1)]
            )
            grey[y + uint64(1), x + uint64(1)] = np.float32((above + below + 2) >> 2)


@paste
def _copy(image, grey):  # type: ignore[no-untyped-def]
    for y in range(uint64(grey.shape[0] - 2)):
        for x in range(uint64(grey.shape[1] - 2)):
            grey[y + uint64(1), x + uint64(1)] = image[y, x]


@paste
def _reflect(grey):  # type: ignore[no-untyped-def]
    """The border that OpenCV's blur sees: 101-reflected."""
    h, w = grey.shape
    for x in range(1, w - 1):
        grey[0, x], grey[h - 1, x] = grey[2, x], grey[h - 3, x]
    for y in range(h):
        grey[y, 0], grey[y, w - 1] = grey[y, 2], grey[y, w - 3]


@paste
def _blurred(grey, row, out, height, width, n, stride, pad):  # type: ignore[no-untyped-def]
    """The full image, blurred by 1/4, 1/2, 1/4 along both axes."""
    for y in range(uint64(height)):
        for x in range(uint64(width + 2)):
            sides = grey[y, x] + grey[y + uint64(2), x]
            row[x] = HALF * grey[y + uint64(1), x] + QUARTER * sides
        at = (y + uint64(n)) * uint64(stride) + uint64(pad)
        for x in range(uint64(width)):
            out[at + x] = HALF * row[x + uint64(1)] + QUARTER * (row[x] + row[x + uint64(2)])


@paste
def _continue_rows(image, height, n, stride):  # type: ignore[no-untyped-def]
    """Repeat the first and the last row n times."""
    top, bottom = n * stride, (n + height - 1) * stride
    for k in range(n):
        for x in range(uint64(stride)):
            image[uint64(k * stride) + x] = image[uint64(top) + x]
            image[uint64(bottom + (k + 1) * stride) + x] = image[uint64(bottom) + x]


@paste
def _expand(image, rows, out, height, width, g, xg, xxg, metric, n, stride, pad):  # type: ignore[no-untyped-def]
    """b_y, b_x, a_yy, a_xx, a_xy of ``image``.

    image: rows of one plane, n of them above and below the picture; rows: three planes, scratch;
    out: rows of five planes, one above and one below the picture.
    """
    w = uint64(width)
    for y in range(uint64(height)):
        top = y * uint64(stride) + uint64(pad)
        for x in range(w):
            i = top + x
            v0, v1, v2 = image[i + uint64(n * stride)] * g[0], ZERO, ZERO
            for k in range(1, n + 1):
                above = image[i + uint64((n - k) * stride)]
                below = image[i + uint64((n + k) * stride)]
                v0 += g[k] * (above + below)
                v1 += xg[k] * (below - above)
                v2 += xxg[k] * (above + below)
            rows[x + uint64(pad)] = v0
            rows[x + uint64(stride + pad)] = v1
            rows[x + uint64(2 * stride + pad)] = v2
        for c in range(uint64(3)):
            replicate(rows, c * uint64(stride) + uint64(pad), w, n)
        o = (y + uint64(1)) * uint64(PLANES * stride) + uint64(pad)
        for x in range(w):
            i = x + uint64(pad)
            b1, b2, b4 = rows[i] * g[0], ZERO, ZERO
            b3, b6 = rows[i + uint64(stride)] * g[0], ZERO
            b5 = rows[i + uint64(2 * stride)] * g[0]
            for k in range(1, n + 1):
                right, left = rows[i + uint64(k)], rows[i - uint64(k)]
                b1 += (right + left) * g[k]
                b2 += (right - left) * xg[k]
                b4 += (right + left) * xxg[k]
                right, left = rows[i + uint64(stride + k)], rows[i + uint64(stride - k)]
                b3 += (right + left) * g[k]
                b6 += (right - left) * xg[k]
                right = rows[i + uint64(2 * stride + k)]
                b5 += (right + rows[i + uint64(2 * stride - k)]) * g[k]
            out[o + x] = b3 * metric[0]
            out[o + x + uint64(stride)] = b2 * metric[0]
            out[o + x + uint64(2 * stride)] = b1 * metric[1] + b5 * metric[2]
            out[o + x + uint64(3 * stride)] = b1 * metric[1] + b4 * metric[2]
            out[o + x + uint64(4 * stride)] = b6 * metric[3]


@lru_cache
def _compiled(stride: int, pad: int, expansion: Expansion, halve: bool) -> Kernel:
    n, (g, xg, xxg, metric), digest = expansion.n, expansion.weights(), DIGEST

    @njit(**options)
    def expand(image, grey, row, sizes, y_first, y_weights, x_first, x_weights, padded, rows, out):  # type: ignore[no-untyped-def]
        """All layers of ``image``; every tuple has an entry for each."""
        if digest < 0:
            return
        if halve:
            _halve(image, grey)
        else:
            _copy(image, grey)
        _reflect(grey)
        inner = grey.reshape(-1)
        across = grey.shape[1]
        for k in range(len(padded)):
            height, width, plane = sizes[k, 0], sizes[k, 1], padded[k]
            if k == 0:
                _blurred(grey, row, plane, height, width, n, stride, pad)
            else:
                o = (n * stride + pad, stride, across - 2)
                resample(
                    inner,
                    across + 1,
                    across,
                    height,
                    y_first[k],
                    y_weights[k],
                    x_first[k],
                    x_weights[k],
                    ONE,
                    plane,
                    o,
                    row,
                )
            _continue_rows(plane, height, n, stride)
            _expand(plane, rows, out[k], height, width, g, xg, xxg, metric, n, stride, pad)

    return expand  # type: ignore[no-any-return]
