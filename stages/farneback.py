"""Farnebäck's optical flow in Numba, equal to OpenCV's (eqs 1-7 of He et al., ECAI 2023).

Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003.
Each pixel's neighbourhood is expanded in a polynomial; the change of its
coefficients from one image to the other gives the displacement, averaged over a
window and refined from coarse to fine. Pyramid images are blurred and resized by
OpenCV; expansion, update and solution are ours, planar and without the GIL.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
_BORDER = np.array([0.14, 0.14, 0.4472, 0.4472, 0.4472], np.float32)
_REGULARISER = 1e-3


@dataclass(frozen=True)
class FarnebackParams:
    """Parameters as in ``cv2.calcOpticalFlowFarneback``.

    ``levels`` counts the layers above the base; ``poly_n`` is a radius;
    ``gaussian`` weighs the window by a Gaussian instead of a box. No layer is
    smaller than ``least_size`` px; OpenCV's limit is 32.
    """

    pyr_scale: float = 0.5
    levels: int = 3
    winsize: int = 15
    iterations: int = 3
    poly_n: int = 5
    poly_sigma: float = 1.2
    gaussian: bool = False
    least_size: int = 32


@dataclass(frozen=True, eq=False)
class Basis:
    """Applicability and inverse metric of the polynomial expansion."""

    g: Floats  # (n + 1,) weights for offsets 0..n
    xg: Floats
    xxg: Floats
    metric: tuple[float, float, float, float]  # ig11, ig03, ig33, ig55

    @classmethod
    def of(cls, n: int, sigma: float) -> Basis:
        """Basis for radius ``n`` and Gaussian ``sigma`` in px."""
        x = np.arange(-n, n + 1, dtype=np.float64)
        g = np.exp(-x * x / (2 * sigma * sigma))
        g /= g.sum()
        both = np.outer(g, g)
        xs, ys = np.meshgrid(x, x)
        a = np.zeros((6, 6))
        a[0, 0] = both.sum()
        a[1, 1] = a[2, 2] = a[0, 3] = a[0, 4] = a[3, 0] = a[4, 0] = (both * xs**2).sum()
        a[3, 3] = a[4, 4] = (both * xs**4).sum()
        a[5, 5] = a[3, 4] = a[4, 3] = (both * xs**2 * ys**2).sum()
        inverse = np.linalg.inv(a)
        half = x[n:], g[n:]
        return cls(
            half[1].astype(np.float32),
            (half[0] * half[1]).astype(np.float32),
            (half[0] ** 2 * half[1]).astype(np.float32),
            (inverse[1, 1], inverse[0, 3], inverse[3, 3], inverse[5, 5]),
        )


@njit(cache=True, nogil=True, fastmath=True)
def expand(
    image: Floats,
    g: Floats,
    xg: Floats,
    xxg: Floats,
    metric: tuple[float, float, float, float],
    rows: Floats,
    out: Floats,
) -> None:
    """Polynomial expansion of ``image`` (h, w) into ``out`` (5, h, w): b_y, b_x, a_yy, a_xx, a_xy.

    ``rows`` (3, w + 2n) is scratch.
    """
    height, width = image.shape
    n = g.shape[0] - 1
    ig11 = np.float32(metric[0])
    ig03 = np.float32(metric[1])
    ig33 = np.float32(metric[2])
    ig55 = np.float32(metric[3])
    for y in range(height):
        for x in range(width):
            rows[0, n + x] = image[y, x] * g[0]
            rows[1, n + x] = np.float32(0.0)
            rows[2, n + x] = np.float32(0.0)
        for k in range(1, n + 1):
            above = max(y - k, 0)
            below = min(y + k, height - 1)
            gk, xgk, xxgk = g[k], xg[k], xxg[k]
            for x in range(width):
                p = image[above, x]
                q = image[below, x]
                rows[0, n + x] += gk * (p + q)
                rows[1, n + x] += xgk * (q - p)
                rows[2, n + x] += xxgk * (p + q)
        for c in range(3):
            first, last = rows[c, n], rows[c, n + width - 1]
            for k in range(n):
                rows[c, k] = first
                rows[c, n + width + k] = last
        for x in range(width):
            i = n + x
            b1 = rows[0, i] * g[0]
            b3 = rows[1, i] * g[0]
            b5 = rows[2, i] * g[0]
            b2 = np.float32(0.0)
            b4 = np.float32(0.0)
            b6 = np.float32(0.0)
            for k in range(1, n + 1):
                gk, xgk = g[k], xg[k]
                right, left = rows[0, i + k], rows[0, i - k]
                b1 += (right + left) * gk
                b4 += (right + left) * xxg[k]
                b2 += (right - left) * xgk
                b3 += (rows[1, i + k] + rows[1, i - k]) * gk
                b6 += (rows[1, i + k] - rows[1, i - k]) * xgk
                b5 += (rows[2, i + k] + rows[2, i - k]) * gk
            out[0, y, x] = b3 * ig11
            out[1, y, x] = b2 * ig11
            out[2, y, x] = b1 * ig03 + b5 * ig33
            out[3, y, x] = b1 * ig03 + b4 * ig33
            out[4, y, x] = b6 * ig55


@njit(cache=True, nogil=True, fastmath=True)
def _damping(i: int, size: int, border: Floats) -> np.float32:
    scale = np.float32(1.0)
    if i < 5:
        scale *= border[i]
    if i >= size - 5:
        scale *= border[size - i - 1]
    return scale


@njit(cache=True, nogil=True, fastmath=True)
def update(r0: Floats, r1: Floats, flow: Floats, border: Floats, m: Floats) -> None:
    """Normal equations ``m`` at ``flow`` (h, w, 2) of expansions ``r0``, ``r1``, all (5, h, w)."""
    height, width = flow.shape[:2]
    half = np.float32(0.5)
    quarter = np.float32(0.25)
    for y in range(height):
        along_y = _damping(y, height, border)
        for x in range(width):
            dx, dy = flow[y, x, 0], flow[y, x, 1]
            at_x, at_y = np.float32(x) + dx, np.float32(y) + dy
            x1, y1 = int(np.floor(at_x)), int(np.floor(at_y))
            if 0 <= x1 < width - 1 and 0 <= y1 < height - 1:
                fx, fy = at_x - np.float32(x1), at_y - np.float32(y1)
                a00 = (np.float32(1.0) - fx) * (np.float32(1.0) - fy)
                a01 = fx * (np.float32(1.0) - fy)
                a10 = (np.float32(1.0) - fx) * fy
                a11 = fx * fy
                r2 = a00 * r1[0, y1, x1] + a01 * r1[0, y1, x1 + 1]
                r2 += a10 * r1[0, y1 + 1, x1] + a11 * r1[0, y1 + 1, x1 + 1]
                r3 = a00 * r1[1, y1, x1] + a01 * r1[1, y1, x1 + 1]
                r3 += a10 * r1[1, y1 + 1, x1] + a11 * r1[1, y1 + 1, x1 + 1]
                r4 = a00 * r1[2, y1, x1] + a01 * r1[2, y1, x1 + 1]
                r4 += a10 * r1[2, y1 + 1, x1] + a11 * r1[2, y1 + 1, x1 + 1]
                r5 = a00 * r1[3, y1, x1] + a01 * r1[3, y1, x1 + 1]
                r5 += a10 * r1[3, y1 + 1, x1] + a11 * r1[3, y1 + 1, x1 + 1]
                r6 = a00 * r1[4, y1, x1] + a01 * r1[4, y1, x1 + 1]
                r6 += a10 * r1[4, y1 + 1, x1] + a11 * r1[4, y1 + 1, x1 + 1]
                r4 = (r0[2, y, x] + r4) * half
                r5 = (r0[3, y, x] + r5) * half
                r6 = (r0[4, y, x] + r6) * quarter
            else:
                r2 = np.float32(0.0)
                r3 = np.float32(0.0)
                r4, r5 = r0[2, y, x], r0[3, y, x]
                r6 = r0[4, y, x] * half
            r2 = (r0[0, y, x] - r2) * half
            r3 = (r0[1, y, x] - r3) * half
            r2 += r4 * dy + r6 * dx
            r3 += r6 * dy + r5 * dx
            scale = along_y * _damping(x, width, border)
            r2, r3, r4, r5, r6 = r2 * scale, r3 * scale, r4 * scale, r5 * scale, r6 * scale
            m[0, y, x] = r4 * r4 + r6 * r6
            m[1, y, x] = (r4 + r5) * r6
            m[2, y, x] = r5 * r5 + r6 * r6
            m[3, y, x] = r4 * r2 + r6 * r3
            m[4, y, x] = r6 * r2 + r5 * r3


@njit(cache=True, nogil=True, fastmath=True)
def _solve(sums: Floats, x: int, y: int, flow: Floats, eps: np.float32) -> None:
    g11, g12, g22 = sums[0, x], sums[1, x], sums[2, x]
    h1, h2 = sums[3, x], sums[4, x]
    inverse = np.float32(1.0) / (g11 * g22 - g12 * g12 + eps)
    flow[y, x, 0] = (g11 * h2 - g12 * h1) * inverse
    flow[y, x, 1] = (g22 * h1 - g12 * h2) * inverse


@njit(cache=True, nogil=True, fastmath=True)
def solve_box(
    m: Floats, winsize: int, vertical: npt.NDArray[np.float64], sums: Floats, flow: Floats
) -> None:
    """Average ``m`` (5, h, w) over a box and solve for ``flow`` (h, w, 2).

    ``vertical`` (5, w) float64 and ``sums`` (5, w) are scratch.
    """
    height, width = flow.shape[:2]
    r = winsize // 2
    size = 2 * r + 1
    share = 1.0 / (size * size)
    for c in range(5):
        for x in range(width):
            vertical[c, x] = m[c, 0, x] * (r + 1.0)
        for k in range(1, r + 1):
            row = min(k, height - 1)
            for x in range(width):
                vertical[c, x] += m[c, row, x]
    for y in range(height):
        for c in range(5):
            total = vertical[c, 0] * (r + 1.0)
            for k in range(1, r + 1):
                total += vertical[c, min(k, width - 1)]
            sums[c, 0] = np.float32(total * share)
            for x in range(1, width):
                total += vertical[c, min(x + r, width - 1)] - vertical[c, max(x - r - 1, 0)]
                sums[c, x] = np.float32(total * share)
        for x in range(width):
            _solve(sums, x, y, flow, np.float32(1e-3))
        enter, leave = min(y + r + 1, height - 1), max(y - r, 0)
        for c in range(5):
            for x in range(width):
                vertical[c, x] += m[c, enter, x] - m[c, leave, x]


@njit(cache=True, nogil=True, fastmath=True)
def solve_gaussian(m: Floats, kernel: Floats, vertical: Floats, sums: Floats, flow: Floats) -> None:
    """As ``solve_box`` with weights ``kernel`` (r + 1,); ``vertical`` (5, w + 2r) is scratch."""
    height, width = flow.shape[:2]
    r = kernel.shape[0] - 1
    for y in range(height):
        for c in range(5):
            for x in range(width):
                vertical[c, r + x] = m[c, y, x] * kernel[0]
            for k in range(1, r + 1):
                above, below = max(y - k, 0), min(y + k, height - 1)
                for x in range(width):
                    vertical[c, r + x] += (m[c, above, x] + m[c, below, x]) * kernel[k]
            for k in range(r):
                vertical[c, k] = vertical[c, r]
                vertical[c, r + width + k] = vertical[c, r + width - 1]
            for x in range(width):
                total = vertical[c, r + x] * kernel[0]
                for k in range(1, r + 1):
                    total += (vertical[c, r + x + k] + vertical[c, r + x - k]) * kernel[k]
                sums[c, x] = total
        for x in range(width):
            _solve(sums, x, y, flow, np.float32(1e-3))


def _gaussian_kernel(winsize: int) -> Floats:
    r = winsize // 2
    sigma = r * 0.3
    x = np.arange(r + 1)
    weights = np.exp(-x * x / (2 * sigma * sigma)) if r else np.ones(1)
    return np.asarray(weights / (weights[0] + 2 * weights[1:].sum()), np.float32)


def layers(size: tuple[int, int], params: FarnebackParams) -> list[tuple[float, int, int]]:
    """(scale, width, height) of each layer, base first, for an image of ``size`` (w, h)."""
    made = [(1.0, size[0], size[1])]
    scale = 1.0
    for _ in range(params.levels):
        scale *= params.pyr_scale
        if min(size) * scale < params.least_size:
            break
        made.append((scale, round(size[0] * scale), round(size[1] * scale)))
    return made


class Layer:
    """Buffers of one pyramid layer."""

    def __init__(self, scale: float, width: int, height: int, params: FarnebackParams) -> None:
        n, r = params.poly_n, params.winsize // 2
        self.scale = scale
        self.size = (width, height)
        self.reference = np.empty((5, height, width), np.float32)
        self.expansion = np.empty((5, height, width), np.float32)
        self.flow = np.zeros((height, width, 2), np.float32)
        self._image = np.empty((height, width), np.float32)
        self._rows = np.empty((3, width + 2 * n), np.float32)
        self._m = np.empty((5, height, width), np.float32)
        self._box = np.empty((5, width), np.float64)
        self._weighted = np.empty((5, width + 2 * r), np.float32)
        self._sums = np.empty((5, width), np.float32)

    def expand_into(self, image: Floats, blurred: Floats, basis: Basis, out: Floats) -> None:
        """Blur and resize the full-size ``image`` to this layer and expand it into ``out``."""
        sigma = (1 / self.scale - 1) * 0.5
        size = max(round(sigma * 5) | 1, 3)
        cv2.GaussianBlur(image, (size, size), sigma, dst=blurred, sigmaY=sigma)
        source = blurred
        if self.size != image.shape[::-1]:
            cv2.resize(blurred, self.size, dst=self._image, interpolation=cv2.INTER_LINEAR)
            source = self._image
        expand(source, basis.g, basis.xg, basis.xxg, basis.metric, self._rows, out)

    def refine(self, params: FarnebackParams, kernel: Floats) -> None:
        """Iterate ``flow`` in place."""
        for _ in range(params.iterations):
            update(self.reference, self.expansion, self.flow, _BORDER, self._m)
            if params.gaussian:
                solve_gaussian(self._m, kernel, self._weighted, self._sums, self.flow)
            else:
                solve_box(self._m, params.winsize, self._box, self._sums, self.flow)

    def start_from(self, coarse: Layer, pyr_scale: float) -> None:
        """Take the coarser layer's flow as the beginning."""
        cv2.resize(coarse.flow, self.size, dst=self.flow, interpolation=cv2.INTER_LINEAR)
        self.flow *= np.float32(1 / pyr_scale)


class Farneback:
    """Flow of many images against one reference; all buffers are made once.

    Args:
        size: (w, h) of the images.
        params: see ``FarnebackParams``.
    """

    def __init__(self, size: tuple[int, int], params: FarnebackParams) -> None:
        if min(size) < 2 * len(_BORDER):
            raise ValueError(f"images of {size} px are too small for Farnebäck flow")
        self._params = params
        self._basis = Basis.of(params.poly_n, params.poly_sigma)
        self._kernel = _gaussian_kernel(params.winsize)
        self._layers = [Layer(*layer, params) for layer in layers(size, params)]
        self._image = np.empty(size[::-1], np.float32)
        self._blurred = np.empty(size[::-1], np.float32)

    def set_reference(self, image: npt.NDArray[np.generic]) -> None:
        """Expand the reference: (h, w), uint8 or float32."""
        np.copyto(self._image, image)
        for layer in self._layers:
            layer.expand_into(self._image, self._blurred, self._basis, layer.reference)

    def flow(self, image: npt.NDArray[np.generic]) -> Floats:
        """Flow from the reference to ``image`` (h, w, 2) px; valid until the next call."""
        np.copyto(self._image, image)
        coarse: Layer | None = None
        for layer in reversed(self._layers):
            layer.expand_into(self._image, self._blurred, self._basis, layer.expansion)
            if coarse is None:
                layer.flow[...] = 0
            else:
                layer.start_from(coarse, self._params.pyr_scale)
            layer.refine(self._params, self._kernel)
            coarse = layer
        return self._layers[0].flow


def farneback(
    reference: npt.NDArray[np.generic],
    image: npt.NDArray[np.generic],
    params: FarnebackParams | None = None,
) -> Floats:
    """Flow from ``reference`` to ``image``, as ``cv2.calcOpticalFlowFarneback`` gives it.

    Args:
        reference, image: (h, w), uint8 or float32, of one size.
        params: default: OpenCV's customary (0.5, 3, 15, 3, 5, 1.2).

    Returns:
        (h, w, 2) float32, px, x right, y down.

    Raises:
        ValueError: shapes or types do not fit.
    """
    check(reference)
    check(image, reference.shape)
    height, width = reference.shape
    engine = Farneback((width, height), params or FarnebackParams())
    engine.set_reference(reference)
    return engine.flow(image)


def check(image: npt.NDArray[np.generic], shape: tuple[int, ...] | None = None) -> None:
    """Refuse what is no grey image of ``shape``."""
    if image.ndim != 2:
        raise ValueError(f"flow needs a grey image (h, w), not an array of shape {image.shape}")
    if image.dtype not in (np.uint8, np.float32):
        raise ValueError(f"flow needs uint8 or float32, not {image.dtype}")
    if shape is not None and image.shape != shape:
        raise ValueError(f"flow needs an image of shape {shape}, not {image.shape}")
