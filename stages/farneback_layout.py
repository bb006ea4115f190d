"""What the kernels of Farnebäck's flow share: layout of rows, expansion, window.

Images, expansions, flow and normal equations are flat arrays of rows that all have the same
stride, a constant of the compiled code: so the compiler knows which accesses cannot overlap, and
makes every loop over a row a loop over vectors. A row of several planes holds them one behind the
other. ``pad`` columns before each belong to nobody; loops run over their edge into them.

Whatever a frame needs runs in one call without the GIL: to take it back between small steps can
cost more than the steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit, uint64

Floats = npt.NDArray[np.float32]
Kernel = Callable[..., None]

SLACK = 64  # floats behind the last row, for loops that run over its edge
PLANES = 5
LANES = 16
ZERO, QUARTER, HALF, ONE = (np.float32(v) for v in (0.0, 0.25, 0.5, 1.0))

# The cache on disk knows a kernel's own file and what it closes over, not what is pasted from here:
# kernels close over this, so that a change here compiles them anew.
DIGEST = zlib.crc32(Path(__file__).read_bytes())

# Every helper marked so is pasted into the kernel that calls it: only there are strides constants.
# Kernels are closures over numbers and arrays; over other kernels, the cache on disk could not
# tell them apart.
paste = njit(inline="always")
# no other order of sums, no estimate for a division: which of a loop's two forms runs, in vectors
# or not, depends on where arrays happen to lie, and both must give the same
EXACT_ORDER = {"nnan", "ninf", "nsz", "contract"}
options: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": EXACT_ORDER,
    "error_model": "numpy",
}


@dataclass(frozen=True)
class Expansion:
    """Polynomial expansion of radius ``n`` and Gaussian ``sigma`` px (Farnebäck 2003, sec. 3)."""

    n: int
    sigma: float

    def weights(self) -> tuple[Floats, Floats, Floats, Floats]:
        """g, x g and x x g for offsets 0..n, each (n + 1,); ig11, ig03, ig33, ig55 (4,)."""
        x = np.arange(-self.n, self.n + 1, dtype=np.float64)
        g = np.exp(-x * x / (2 * self.sigma * self.sigma))
        g /= g.sum()
        both = np.outer(g, g)
        xs, ys = np.meshgrid(x, x)
        a = np.zeros((6, 6))
        a[0, 0] = both.sum()
        a[1, 1] = a[2, 2] = a[0, 3] = a[0, 4] = a[3, 0] = a[4, 0] = (both * xs**2).sum()
        a[3, 3] = a[4, 4] = (both * xs**4).sum()
        a[5, 5] = a[3, 4] = a[4, 3] = (both * xs**2 * ys**2).sum()
        inverse = np.linalg.inv(a)
        metric = [inverse[1, 1], inverse[0, 3], inverse[3, 3], inverse[5, 5]]
        x, g = x[self.n :], g[self.n :]
        return floats(g), floats(x * g), floats(x * x * g), floats(metric)


@dataclass(frozen=True)
class Window:
    """Averaging window of ``2 r + 1`` px a side: a box, or a Gaussian of sigma 0.3 r."""

    r: int
    gaussian: bool = False

    def weights(self) -> Floats:
        """(r + 1,) along one axis, from the middle outward; they sum to 1 over the axis."""
        x = np.arange(self.r + 1)
        shaped = self.gaussian and self.r > 0
        w = np.exp(-x * x / (2 * (0.3 * self.r) ** 2)) if shaped else np.ones(self.r + 1)
        return floats(w / (w[0] + 2 * w[1:].sum()))


@dataclass(frozen=True)
class Layout:
    """Rows of ``stride`` floats; the first pixel of each is at column ``pad``."""

    stride: int
    pad: int

    @classmethod
    def of(cls, width: int, expansion: Expansion, window: Window) -> Layout:
        """For images of ``width`` px; few strides, because each is compiled anew."""
        edge = max(LANES, 2 * expansion.n, 2 * window.r)  # a row's end is the next one's beginning
        pad = -(-max(LANES, expansion.n, window.r) // LANES) * LANES
        return cls(-(-(width + edge) // 32) * 32, pad)

    def rows(self, count: int) -> Floats:
        """(count x stride,) zeros, and some more."""
        return np.zeros(count * self.stride + SLACK, np.float32)


@dataclass(frozen=True, eq=False)
class Along:
    """A linear map along one axis, of few and neighbouring weights for each of its values.

    Attributes:
        first: (n,) int32, where the weights of each value begin.
        weights: (n, T) float32.
    """

    first: npt.NDArray[np.int32]
    weights: Floats

    @classmethod
    def resizing(cls, source: int, size: int, blur: Floats | None = None) -> Along:
        """OpenCV's linear resize from ``source`` to ``size`` values, after ``blur`` (taps,)."""
        matrix = np.eye(source, dtype=np.float64)
        if blur is not None:
            matrix = cv2.sepFilter2D(matrix, -1, np.ones(1), blur.astype(np.float64))
        if size != source:
            columns = [np.interp(_places(source, size), np.arange(source), c) for c in matrix.T]
            matrix = np.stack(columns, axis=1)
        used = [np.flatnonzero(row) for row in matrix]
        taps = max(int(u[-1] - u[0]) + 1 for u in used)
        first = np.array([min(int(u[0]), source - taps) for u in used], np.int32)
        weights = [row[i : i + taps] for i, row in zip(first, matrix, strict=True)]
        return cls(first, floats(np.stack(weights)))


def _places(source: int, size: int) -> npt.NDArray[np.float64]:
    """Where OpenCV takes the values of a resize from."""
    return (np.arange(size) + 0.5) * (source / size) - 0.5


def floats(values: npt.ArrayLike) -> Floats:
    """As float32."""
    return np.ascontiguousarray(values, np.float32)


@paste
def replicate(plane, first, width, n):  # type: ignore[no-untyped-def]
    """Continue a row over ``n`` columns beyond both ends."""
    for k in range(uint64(n)):
        plane[first - uint64(1) - k] = plane[first]
        plane[first + width + k] = plane[first + width - uint64(1)]


@paste
def resample(  # type: ignore[no-untyped-def]
    source, first, stride, height, y_first, y_weights, x_first, x_weights, factor, to, o, t
):
    """Row after row of a resized plane.

    source: rows of ``stride``, beginning at ``first``; to: likewise, of the row length ``o[1]``,
    beginning at o[0]; t: scratch, a row of the source.
    """
    width = o[2]
    for y in range(uint64(height)):
        for x in range(uint64(width)):
            t[x] = ZERO
        for k in range(uint64(y_weights.shape[1])):
            weight = y_weights[y, k] * factor
            row = uint64(first + (y_first[y] + k) * stride)
            for x in range(uint64(width)):
                t[x] += weight * source[row + x]
        at = uint64(o[0]) + y * uint64(o[1])
        for x in range(uint64(x_first.shape[0])):
            value = ZERO
            for k in range(uint64(x_weights.shape[1])):
                value += x_weights[x, k] * t[uint64(x_first[x]) + k]
            to[at + x] = value
