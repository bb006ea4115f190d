"""The loops of Farnebäck's flow, compiled for one row stride, expansion and window.

Images, expansions, flow and normal equations are flat arrays of rows that all have the same
stride, a constant of the compiled code: so the compiler knows which accesses cannot overlap, and
makes every loop over a row a loop over vectors. A row of several planes holds them one behind the
other. ``pad`` columns on each side belong to nobody; loops run over their edge into them.

A pixel's displaced place in the other image lies between four neighbours. Pixels of a row that
are displaced by the same whole number of px, give or take one, are a *run*: their neighbours lie
side by side as well, and nothing has to be gathered. Three along each axis hold the two that count,
whatever the sign of the fraction; the third gets weight 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import int32, njit, uint64

Floats = npt.NDArray[np.float32]
Kernel = Callable[..., None]

SLACK = 64  # floats behind the last row, for loops that run over its edge
PLANES = 5
_LANES = 16
_ZERO, _QUARTER, _HALF, _ONE = (np.float32(v) for v in (0.0, 0.25, 0.5, 1.0))
_REGULARISER = np.float32(1e-3)


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
        return _floats(g), _floats(x * g), _floats(x * x * g), _floats(metric)


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
        return _floats(w / (w[0] + 2 * w[1:].sum()))


@dataclass(frozen=True, eq=False)
class Kernels:
    """Compiled loops and the layout they want."""

    stride: int  # floats from a plane's row to the next plane's
    pad: int  # columns before the first pixel
    ring: int  # rows of normal equations that are kept
    expand: Kernel
    refine: Kernel


def layout(width: int, expansion: Expansion, window: Window) -> tuple[int, int]:
    """(stride, pad) for images of ``width``; few strides, because each is compiled anew."""
    edge = max(_LANES, 2 * expansion.n, 2 * window.r)  # a row's end is the next one's beginning
    pad = -(-max(_LANES, expansion.n, window.r) // _LANES) * _LANES
    return -(-(width + edge) // 32) * 32, pad


def kernels(width: int, expansion: Expansion, window: Window) -> Kernels:
    """Kernels for images of at most ``width`` px."""
    stride, pad = layout(width, expansion, window)
    return _compiled(stride, pad, expansion, window)


@lru_cache
def _compiled(stride: int, pad: int, expansion: Expansion, window: Window) -> Kernels:
    expand = _expander(stride, pad, expansion)
    refine = (_weighted if window.gaussian else _boxed)(stride, pad, window)
    return Kernels(stride, pad, 2 * window.r + 2, expand, refine)


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float32)


# Every helper below is pasted into the kernel that calls it: only there are strides constants.
# They may not be closures, which the cache on disk could not tell apart.
_paste = njit(inline="always")
_options: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


# ---------------------------------------------------------------- expansion


@_paste
def _replicate(plane, first, width, n):  # type: ignore[no-untyped-def]
    """Continue a row over ``n`` columns beyond both ends."""
    for k in range(uint64(n)):
        plane[first - uint64(1) - k] = plane[first]
        plane[first + width + k] = plane[first + width - uint64(1)]


def _expander(stride: int, pad: int, expansion: Expansion) -> Kernel:
    n, (g, xg, xxg, metric) = expansion.n, expansion.weights()
    ig11, ig03, ig33, ig55 = metric

    @njit(**_options)
    def expand(image, rows, out, height, width):  # type: ignore[no-untyped-def]
        """b_y, b_x, a_yy, a_xx, a_xy of ``image``.

        image: rows of one plane, n of them above and below the picture; rows: three planes,
        scratch; out: rows of five planes, one above and one below the picture.
        """
        w = uint64(width)
        for y in range(uint64(height)):
            top = y * uint64(stride) + uint64(pad)
            for x in range(w):
                i = top + x
                v0, v1, v2 = image[i + uint64(n * stride)] * g[0], _ZERO, _ZERO
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
                _replicate(rows, c * uint64(stride) + uint64(pad), w, n)
            o = (y + uint64(1)) * uint64(PLANES * stride) + uint64(pad)
            for x in range(w):
                i = x + uint64(pad)
                b1, b2, b4 = rows[i] * g[0], _ZERO, _ZERO
                b3, b6 = rows[i + uint64(stride)] * g[0], _ZERO
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
                out[o + x] = b3 * ig11
                out[o + x + uint64(stride)] = b2 * ig11
                out[o + x + uint64(2 * stride)] = b1 * ig03 + b5 * ig33
                out[o + x + uint64(3 * stride)] = b1 * ig03 + b4 * ig33
                out[o + x + uint64(4 * stride)] = b6 * ig55

    return expand  # type: ignore[no-any-return]


# ---------------------------------------------------------------- normal equations


@_paste
def _between(r1, i, row, left, centre, right, up, middle, down):  # type: ignore[no-untyped-def]
    """Bilinear value at a fraction of -1..1 from i + 1 + row, ``row`` floats a row."""
    a, b = i + uint64(row), i + uint64(2 * row)
    above = left * r1[i] + centre * r1[i + uint64(1)] + right * r1[i + uint64(2)]
    at = left * r1[a] + centre * r1[a + uint64(1)] + right * r1[a + uint64(2)]
    below = left * r1[b] + centre * r1[b + uint64(1)] + right * r1[b + uint64(2)]
    return up * above + middle * at + down * below


@_paste
def _store(m, o, stride, scale, r2, r3, r4, r5, r6):  # type: ignore[no-untyped-def]
    r2, r3, r4, r5, r6 = r2 * scale, r3 * scale, r4 * scale, r5 * scale, r6 * scale
    m[o] = r4 * r4 + r6 * r6
    m[o + uint64(stride)] = (r4 + r5) * r6
    m[o + uint64(2 * stride)] = r5 * r5 + r6 * r6
    m[o + uint64(3 * stride)] = r4 * r2 + r6 * r3
    m[o + uint64(4 * stride)] = r6 * r2 + r5 * r3


@_paste
def _inside(r0, r1, flow, damping, along, y, a, b, ix, iy, h, w, m, o, stride, pad):  # type: ignore[no-untyped-def]
    """Columns a..b-1 of row y, all displaced by (ix, iy) whole px to within the image.

    Runs on to full vectors: what it spoils behind b is written after it.
    """
    row = PLANES * stride
    at0, at1 = uint64((y + 1) * row + pad + a), uint64((y + iy) * row + pad + a + ix - 1)
    at_flow, at_m = uint64(2 * y * stride + pad + a), uint64(o + pad + a)
    whole_x, whole_y = np.float32(ix), np.float32(iy)
    first, top = np.float32(a + ix), np.float32(y + iy)
    last_x, last_y = np.float32(w - 1), np.float32(h - 1)
    for t in range(uint64((b - a + _LANES - 1) & -_LANES)):
        dx, dy = flow[at_flow + t], flow[at_flow + t + uint64(stride)]
        fx, fy = dx - whole_x, dy - whole_y
        px, py = first + np.float32(int32(t)) + fx, top + fy
        inside = (px >= _ZERO) & (px < last_x) & (py >= _ZERO) & (py < last_y)
        left, right = max(-fx, _ZERO), max(fx, _ZERO)
        up, down = max(-fy, _ZERO), max(fy, _ZERO)
        centre, middle = _ONE - left - right, _ONE - up - down
        i, j = at1 + t, at0 + t
        r2 = _between(r1, i, row, left, centre, right, up, middle, down)
        r3 = _between(r1, i + uint64(stride), row, left, centre, right, up, middle, down)
        r4 = _between(r1, i + uint64(2 * stride), row, left, centre, right, up, middle, down)
        r5 = _between(r1, i + uint64(3 * stride), row, left, centre, right, up, middle, down)
        r6 = _between(r1, i + uint64(4 * stride), row, left, centre, right, up, middle, down)
        q4, q5, q6 = (
            r0[j + uint64(2 * stride)],
            r0[j + uint64(3 * stride)],
            r0[j + uint64(4 * stride)],
        )
        r2, r3 = r2 if inside else _ZERO, r3 if inside else _ZERO
        r4 = (q4 + r4) * _HALF if inside else q4
        r5 = (q5 + r5) * _HALF if inside else q5
        r6 = (q6 + r6) * _QUARTER if inside else q6 * _HALF
        r2 = (r0[j] - r2) * _HALF + r4 * dy + r6 * dx
        r3 = (r0[j + uint64(stride)] - r3) * _HALF + r6 * dy + r5 * dx
        scale = along * damping[uint64(pad + a) + t]
        _store(m, at_m + t, stride, scale, r2, r3, r4, r5, r6)


@_paste
def _outside(r0, flow, damping, along, y, a, b, m, o, stride, pad):  # type: ignore[no-untyped-def]
    """Columns a..b-1 of row y, displaced to beyond the image."""
    at0, at_flow = uint64((y + 1) * PLANES * stride + pad + a), uint64(2 * y * stride + pad + a)
    at_m = uint64(o + pad + a)
    for t in range(uint64(max(b - a, 0))):
        dx, dy = flow[at_flow + t], flow[at_flow + t + uint64(stride)]
        j = at0 + t
        r4, r5 = r0[j + uint64(2 * stride)], r0[j + uint64(3 * stride)]
        r6 = r0[j + uint64(4 * stride)] * _HALF
        r2 = r0[j] * _HALF + r4 * dy + r6 * dx
        r3 = r0[j + uint64(stride)] * _HALF + r6 * dy + r5 * dx
        scale = along * damping[uint64(pad + a) + t]
        _store(m, at_m + t, stride, scale, r2, r3, r4, r5, r6)


@_paste
def _reach(flow, x, end, whole_x, whole_y, stride):  # type: ignore[no-untyped-def]
    """The first column from x on whose displacement is more than 1 px from (ix, iy)."""
    while x + _LANES <= end:
        most = _ZERO
        for t in range(uint64(_LANES)):
            most = max(most, abs(flow[uint64(x) + t] - whole_x))
            most = max(most, abs(flow[uint64(x + stride) + t] - whole_y))
        if most > _ONE:
            break
        x += _LANES
    while x < end:
        if abs(flow[uint64(x)] - whole_x) > _ONE:
            break
        if abs(flow[uint64(x + stride)] - whole_y) > _ONE:
            break
        x += 1
    return x


@_paste
def _equations(r0, r1, flow, damping, along, y, h, w, m, o, stride, pad):  # type: ignore[no-untyped-def]
    """Normal equations of row y, run by run, into the row of ``m`` that begins at ``o``."""
    first = 2 * y * stride + pad
    x0 = 0
    while x0 < w:
        whole_x = np.rint(flow[uint64(first + x0)])
        whole_y = np.rint(flow[uint64(first + x0 + stride)])
        x1 = _reach(flow, first + x0 + 1, first + w, whole_x, whole_y, stride) - first
        ix, iy = int(whole_x), int(whole_y)
        a, b = max(x0, -ix), min(x1, w - ix)
        if y + iy < 0 or y + iy >= h or a >= b:
            a = b = x1
        else:
            _inside(r0, r1, flow, damping, along, y, a, b, ix, iy, h, w, m, o, stride, pad)
        for begin, end in ((x0, a), (b, x1)):
            _outside(r0, flow, damping, along, y, begin, end, m, o, stride, pad)
        x0 = x1


@_paste
def _solve(sums, flow, y, width, stride, pad):  # type: ignore[no-untyped-def]
    """Row y of the flow from its averaged equations."""
    first = uint64(2 * y * stride + pad)
    for x in range(width):
        g11, g12, g22 = sums[x], sums[x + uint64(stride)], sums[x + uint64(2 * stride)]
        h1, h2 = sums[x + uint64(3 * stride)], sums[x + uint64(4 * stride)]
        inverse = _ONE / (g11 * g22 - g12 * g12 + _REGULARISER)
        flow[first + x] = (g11 * h2 - g12 * h1) * inverse
        flow[first + x + uint64(stride)] = (g22 * h1 - g12 * h2) * inverse


@njit(**_options)
def interleave(planes, scale, out):  # type: ignore[no-untyped-def]
    """``planes`` (h, 2, w) times ``scale`` into ``out`` (h, w, 2)."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x, 0] = planes[y, 0, x] * scale
            out[y, x, 1] = planes[y, 1, x] * scale


# ---------------------------------------------------------------- windows


@_paste
def _first_totals(m, total, w, height, r, stride, pad):  # type: ignore[no-untyped-def]
    """Sums over the window's rows about row 0, which stands for those above it too."""
    for c in range(uint64(PLANES)):
        o = c * uint64(stride) + uint64(pad)
        for x in range(w):
            total[o + x] = m[o + x] * (r + 1.0)
        for k in range(1, r + 1):
            b = uint64(min(k, height - 1) * PLANES * stride) + o
            for x in range(w):
                total[o + x] += m[b + x]


@_paste
def _slide(m, total, gain, loss, w, stride, pad):  # type: ignore[no-untyped-def]
    """The window moves down: a row of equations comes, another goes."""
    for c in range(uint64(PLANES)):
        o = c * uint64(stride) + uint64(pad)
        for x in range(w):
            total[o + x] += m[gain + o + x] - m[loss + o + x]


@_paste
def _box_along(total, t, sums, w, r, steps, share, stride, pad):  # type: ignore[no-untyped-def]
    """Sums along the row: of 2 columns, of 4, of 8, ..., and of those that make up the window."""
    side = 2 * r + 1
    for c in range(uint64(PLANES)):
        o = c * uint64(stride) + uint64(pad)
        for x in range(w):
            t[x + uint64(pad)] = np.float32(total[o + x] * share)
        _replicate(t, uint64(pad), w, r)
        for k in range(1, steps):
            half = 1 << (k - 1)
            a = uint64((k - 1) * stride + pad - r)
            for x in range(w + uint64(side - 2 * half)):
                t[a + x + uint64(stride)] = t[a + x] + t[a + x + uint64(half)]
        for x in range(w):
            value, at = _ZERO, pad - r
            for k in range(steps):
                if side >> k & 1:
                    value += t[x + uint64(k * stride + at)]
                    at += 1 << k
            sums[c * uint64(stride) + x] = value


def _boxed(stride: int, pad: int, window: Window) -> Kernel:
    """``refine`` with a box: running sums down the image, sums of powers of two along it."""
    r, side = window.r, 2 * window.r + 1
    ring, row, steps = side + 1, PLANES * stride, side.bit_length()
    share = 1.0 / (side * side)

    @njit(**_options)
    def refine(r0, r1, flow, damping, along, height, width, iterations, m, total, t, sums):  # type: ignore[no-untyped-def]
        """Iterate ``flow``, rows of two planes x and y, of two expansions.

        damping, along: weights of columns (stride,) and rows (height,); the rest is scratch:
        m (``ring`` rows of 5 planes), total (5 planes) float64, t (6 planes), sums (5 planes).
        """
        w = uint64(width)
        for _ in range(iterations):
            for y in range(-r - 1, height):
                new = y + r + 1
                if y == 0:
                    _first_totals(m, total, w, height, r, stride, pad)
                if y >= 0:
                    _box_along(total, t, sums, w, r, steps, share, stride, pad)
                    _solve(sums, flow, y, w, stride, pad)
                if new < height:
                    o, e = new % ring * row, along[new]
                    _equations(r0, r1, flow, damping, e, new, height, width, m, o, stride, pad)
                if y >= 0:
                    gain = uint64(min(new, height - 1) % ring * row)
                    _slide(m, total, gain, uint64(max(y - r, 0) % ring * row), w, stride, pad)

    return refine  # type: ignore[no-any-return]


def _weighted(stride: int, pad: int, window: Window) -> Kernel:
    """``refine`` with weights along both axes."""
    r, weights = window.r, window.weights()
    ring, row = 2 * r + 2, PLANES * stride

    @njit(**_options)
    def refine(r0, r1, flow, damping, along, height, width, iterations, m, total, t, sums):  # type: ignore[no-untyped-def]
        """As with a box."""
        w = uint64(width)
        for _ in range(iterations):
            for y in range(-r, height):
                new = y + r
                if new < height:
                    o, e = new % ring * row, along[new]
                    _equations(r0, r1, flow, damping, e, new, height, width, m, o, stride, pad)
                if y < 0:
                    continue
                for c in range(uint64(PLANES)):
                    o = c * uint64(stride) + uint64(pad)
                    for x in range(w):
                        t[x + uint64(pad)] = _ZERO
                    for k in range(-r, r + 1):
                        b = uint64(min(max(y + k, 0), height - 1) % ring * row) + o
                        weight = weights[abs(k)]
                        for x in range(w):
                            t[x + uint64(pad)] += weight * m[b + x]
                    _replicate(t, uint64(pad), w, r)
                    for x in range(w):
                        value = weights[0] * t[x + uint64(pad)]
                        for k in range(1, r + 1):
                            value += weights[k] * (t[x + uint64(pad + k)] + t[x + uint64(pad - k)])
                        sums[c * uint64(stride) + x] = value
                _solve(sums, flow, y, w, stride, pad)

    return refine  # type: ignore[no-any-return]
