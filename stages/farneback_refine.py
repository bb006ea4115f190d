"""From two pyramids of expansions to the flow between them, in one call.

A pixel's displaced place in the other image lies between four neighbours. Pixels of a row that
are displaced by the same whole number of px, give or take one, are a *run*: their neighbours lie
side by side as well, and nothing has to be gathered. Three along each axis hold the two that count,
whatever the sign of the fraction; the third gets weight 0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import int32, njit, uint64

from stages.farneback_layout import (
    DIGEST,
    HALF,
    LANES,
    ONE,
    PLANES,
    QUARTER,
    ZERO,
    Along,
    Floats,
    Kernel,
    Layout,
    Window,
    options,
    paste,
    replicate,
    resample,
)

_BORDER = np.array([0.14, 0.14, 0.4472, 0.4472, 0.4472], np.float32)
LEAST_SIZE = 2 * len(_BORDER)
_REGULARISER = np.float32(1e-3)


class Refiner:
    """Flow between expansions, from the coarsest layer to the finest.

    Args:
        sizes: (w, h) of the layers, the full image's first.
        pyr_scale: size of each relative to the one before.
        layout: of rows.
        window: for averaging.
        iterations: in each layer.
        scale: the flow is multiplied by this.
    """

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        pyr_scale: float,
        layout: Layout,
        window: Window,
        iterations: int,
        scale: float,
    ) -> None:
        self._kernel = _compiled(layout.stride, layout.pad, window)
        coarser = [*sizes[1:], sizes[-1]]
        maps = [
            tuple(Along.resizing(a, b) for a, b in zip(coarse, size, strict=True))
            for size, coarse in zip(sizes, coarser, strict=True)
        ]
        self._given = (
            np.array([size[::-1] for size in sizes], np.int64),
            tuple(_damping(w, layout) for w, _ in sizes),
            tuple(_damping(h) for _, h in sizes),
            tuple(y.first for _, y in maps),
            tuple(y.weights for _, y in maps),
            tuple(x.first for x, _ in maps),
            tuple(x.weights for x, _ in maps),
            np.float32(1 / pyr_scale),
            iterations,
            np.float32(scale),
        )
        self._flows = tuple(layout.rows(2 * h) for _, h in sizes)
        ring, totals = layout.rows((2 * window.r + 2) * PLANES), np.zeros(PLANES * layout.stride)
        self._scratch = ring, totals, layout.rows(6), layout.rows(PLANES)
        self.flow: Floats = np.zeros((*sizes[0][::-1], 2), np.float32)

    def __call__(self, reference: tuple[Floats, ...], expansions: tuple[Floats, ...]) -> None:
        """Leaves the flow (h, w, 2) px, times ``scale``, in ``flow``."""
        self._kernel(reference, expansions, self._flows, *self._given, *self._scratch, self.flow)


def _damping(size: int, layout: Layout | None = None) -> npt.NDArray[np.float32]:
    """(size,) weight of each row, or of each column as a padded row: little near the border."""
    weights = np.ones(size, np.float32)
    weights[: len(_BORDER)] *= _BORDER
    weights[-len(_BORDER) :] *= _BORDER[::-1]
    if layout is None:
        return weights
    row = layout.rows(1)
    row[layout.pad : layout.pad + size] = weights
    return row


# ---------------------------------------------------------------- normal equations


@paste
def _between(r1, i, row, left, centre, right, up, middle, down):  # type: ignore[no-untyped-def]
    """Bilinear value at a fraction of -1..1 from i + 1 + row, ``row`` floats a row."""
    a, b = i + uint64(row), i + uint64(2 * row)
    above = left * r1[i] + centre * r1[i + uint64(1)] + right * r1[i + uint64(2)]
    at = left * r1[a] + centre * r1[a + uint64(1)] + right * r1[a + uint64(2)]
    below = left * r1[b] + centre * r1[b + uint64(1)] + right * r1[b + uint64(2)]
    return up * above + middle * at + down * below


@paste
def _store(m, o, stride, scale, r2, r3, r4, r5, r6):  # type: ignore[no-untyped-def]
    r2, r3, r4, r5, r6 = r2 * scale, r3 * scale, r4 * scale, r5 * scale, r6 * scale
    m[o] = r4 * r4 + r6 * r6
    m[o + uint64(stride)] = (r4 + r5) * r6
    m[o + uint64(2 * stride)] = r5 * r5 + r6 * r6
    m[o + uint64(3 * stride)] = r4 * r2 + r6 * r3
    m[o + uint64(4 * stride)] = r6 * r2 + r5 * r3


@paste
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
    for t in range(uint64((b - a + LANES - 1) & -LANES)):
        dx, dy = flow[at_flow + t], flow[at_flow + t + uint64(stride)]
        fx, fy = dx - whole_x, dy - whole_y
        px, py = first + np.float32(int32(t)) + fx, top + fy
        inside = (px >= ZERO) & (px < last_x) & (py >= ZERO) & (py < last_y)
        left, right = max(-fx, ZERO), max(fx, ZERO)
        up, down = max(-fy, ZERO), max(fy, ZERO)
        centre, middle = ONE - left - right, ONE - up - down
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
        r2, r3 = r2 if inside else ZERO, r3 if inside else ZERO
        r4 = (q4 + r4) * HALF if inside else q4
        r5 = (q5 + r5) * HALF if inside else q5
        r6 = (q6 + r6) * QUARTER if inside else q6 * HALF
        r2 = (r0[j] - r2) * HALF + r4 * dy + r6 * dx
        r3 = (r0[j + uint64(stride)] - r3) * HALF + r6 * dy + r5 * dx
        scale = along * damping[uint64(pad + a) + t]
        _store(m, at_m + t, stride, scale, r2, r3, r4, r5, r6)


@paste
def _outside(r0, flow, damping, along, y, a, b, m, o, stride, pad):  # type: ignore[no-untyped-def]
    """Columns a..b-1 of row y, displaced to beyond the image."""
    at0, at_flow = uint64((y + 1) * PLANES * stride + pad + a), uint64(2 * y * stride + pad + a)
    at_m = uint64(o + pad + a)
    for t in range(uint64(max(b - a, 0))):
        dx, dy = flow[at_flow + t], flow[at_flow + t + uint64(stride)]
        j = at0 + t
        r4, r5 = r0[j + uint64(2 * stride)], r0[j + uint64(3 * stride)]
        r6 = r0[j + uint64(4 * stride)] * HALF
        r2 = r0[j] * HALF + r4 * dy + r6 * dx
        r3 = r0[j + uint64(stride)] * HALF + r6 * dy + r5 * dx
        scale = along * damping[uint64(pad + a) + t]
        _store(m, at_m + t, stride, scale, r2, r3, r4, r5, r6)


@paste
def _reach(flow, x, end, whole_x, whole_y, stride):  # type: ignore[no-untyped-def]
    """The first column from x on whose displacement is more than 1 px from (ix, iy)."""
    while x + LANES <= end:
        most = ZERO
        for t in range(uint64(LANES)):
            most = max(most, abs(flow[uint64(x) + t] - whole_x))
            most = max(most, abs(flow[uint64(x + stride) + t] - whole_y))
        if most > ONE:
            break
        x += LANES
    while x < end:
        if abs(flow[uint64(x)] - whole_x) > ONE:
            break
        if abs(flow[uint64(x + stride)] - whole_y) > ONE:
            break
        x += 1
    return x


@paste
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


@paste
def _solve(sums, flow, y, width, stride, pad):  # type: ignore[no-untyped-def]
    """Row y of the flow from its averaged equations."""
    first = uint64(2 * y * stride + pad)
    for x in range(width):
        g11, g12, g22 = sums[x], sums[x + uint64(stride)], sums[x + uint64(2 * stride)]
        h1, h2 = sums[x + uint64(3 * stride)], sums[x + uint64(4 * stride)]
        inverse = ONE / (g11 * g22 - g12 * g12 + _REGULARISER)
        flow[first + x] = (g11 * h2 - g12 * h1) * inverse
        flow[first + x + uint64(stride)] = (g22 * h1 - g12 * h2) * inverse


# ---------------------------------------------------------------- windows


@paste
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


@paste
def _slide(m, total, gain, loss, w, stride, pad):  # type: ignore[no-untyped-def]
    """The window moves down: a row of equations comes, another goes."""
    for c in range(uint64(PLANES)):
        o = c * uint64(stride) + uint64(pad)
        for x in range(w):
            total[o + x] += m[gain + o + x] - m[loss + o + x]


@paste
def _box_along(total, t, sums, w, r, share, stride, pad):  # type: ignore[no-untyped-def]
    """Sums along the row: of 2 columns, of 4, of 8, ..., and of those that make up the window."""
    side = 2 * r + 1
    steps = 0
    while side >> steps:
        steps += 1
    for c in range(uint64(PLANES)):
        o = c * uint64(stride) + uint64(pad)
        for x in range(w):
            t[x + uint64(pad)] = np.float32(total[o + x] * share)
        replicate(t, uint64(pad), w, r)
        for k in range(1, steps):
            half = 1 << (k - 1)
            a = uint64((k - 1) * stride + pad - r)
            for x in range(w + uint64(side - 2 * half)):
                t[a + x + uint64(stride)] = t[a + x] + t[a + x + uint64(half)]
        for x in range(w):
            value, at = ZERO, pad - r
            for k in range(steps):
                if side >> k & 1:
                    value += t[x + uint64(k * stride + at)]
                    at += 1 << k
            sums[c * uint64(stride) + x] = value


@paste
def _boxed(r0, r1, flow, damping, along, h, w, r, m, total, t, sums, stride, pad):  # type: ignore[no-untyped-def]
    """An iteration with a box: running sums down the image, sums of powers of two along it."""
    side, row = 2 * r + 1, PLANES * stride
    ring, share = side + 1, 1.0 / (side * side)
    for y in range(-r - 1, h):
        new = y + r + 1
        if y == 0:
            _first_totals(m, total, uint64(w), h, r, stride, pad)
        if y >= 0:
            _box_along(total, t, sums, uint64(w), r, share, stride, pad)
            _solve(sums, flow, y, uint64(w), stride, pad)
        if new < h:
            o, e = new % ring * row, along[new]
            _equations(r0, r1, flow, damping, e, new, h, w, m, o, stride, pad)
        if y >= 0:
            gain, loss = min(new, h - 1) % ring * row, max(y - r, 0) % ring * row
            _slide(m, total, uint64(gain), uint64(loss), uint64(w), stride, pad)


@paste
def _weighted(r0, r1, flow, damping, along, h, w, r, weights, m, t, sums, stride, pad):  # type: ignore[no-untyped-def]
    """An iteration with weights along both axes."""
    ring, row = 2 * r + 2, PLANES * stride
    for y in range(-r, h):
        new = y + r
        if new < h:
            o, e = new % ring * row, along[new]
            _equations(r0, r1, flow, damping, e, new, h, w, m, o, stride, pad)
        if y < 0:
            continue
        for c in range(uint64(PLANES)):
            o = c * uint64(stride) + uint64(pad)
            for x in range(uint64(w)):
                t[x + uint64(pad)] = ZERO
            for k in range(-r, r + 1):
                b = uint64(min(max(y + k, 0), h - 1) % ring * row) + o
                weight = weights[abs(k)]
                for x in range(uint64(w)):
                    t[x + uint64(pad)] += weight * m[b + x]
            replicate(t, uint64(pad), uint64(w), r)
            for x in range(uint64(w)):
                value = weights[0] * t[x + uint64(pad)]
                for k in range(1, r + 1):
                    value += weights[k] * (t[x + uint64(pad + k)] + t[x + uint64(pad - k)])
                sums[c * uint64(stride) + x] = value
        _solve(sums, flow, y, uint64(w), stride, pad)


# ---------------------------------------------------------------- layers


@paste
def _doubled(coarse, fine, height, width, factor, t, stride, pad):  # type: ignore[no-untyped-def]
    """``resample`` to twice the size, both planes."""
    low = height // 2
    for y in range(height):
        near = y // 2
        far = min(max(near - 1 + 2 * (y % 2), 0), low - 1)
        for c in range(2):
            a, b = uint64((2 * near + c) * stride + pad), uint64((2 * far + c) * stride + pad)
            for x in range(uint64(width // 2)):
                value = np.float32(0.75) * coarse[a + x] + QUARTER * coarse[b + x]
                t[x + uint64(pad)] = value * factor
            replicate(t, uint64(pad), uint64(width // 2), 1)
            o = uint64((2 * y + c) * stride + pad)
            for x in range(uint64(width // 2)):
                value = np.float32(0.75) * t[x + uint64(pad)]
                fine[o + uint64(2) * x] = value + QUARTER * t[x + uint64(pad - 1)]
                fine[o + uint64(2) * x + uint64(1)] = value + QUARTER * t[x + uint64(pad + 1)]


@lru_cache
def _compiled(stride: int, pad: int, window: Window) -> Kernel:
    r, weights, gaussian, digest = window.r, window.weights(), window.gaussian, DIGEST

    @njit(**options)
    def refine(  # type: ignore[no-untyped-def]
        reference,
        expansions,
        flows,
        sizes,
        damping,
        along,
        y_first,
        y_weights,
        x_first,
        x_weights,
        factor,
        iterations,
        scale,
        m,
        total,
        t,
        sums,
        out,
    ):
        """Every tuple has an entry for each layer.

        damping, along: weights of columns (stride,) and rows (height,); y_first and those that
        follow: from the coarser layer; the rest but ``out`` is scratch: m (2 r + 2 rows of 5
        planes), total (5 planes) float64, t (6 planes), sums (5 planes).
        """
        if digest < 0:
            return
        coarsest = len(flows) - 1
        for back in range(len(flows)):
            k = coarsest - back
            h, w, flow = sizes[k, 0], sizes[k, 1], flows[k]
            if k == coarsest:
                flow[:] = ZERO
            elif h == 2 * sizes[k + 1, 0] and w == 2 * sizes[k + 1, 1]:
                _doubled(flows[k + 1], flow, h, w, factor, t, stride, pad)
            else:
                for c in range(2):
                    at = c * stride + pad
                    o = (at, 2 * stride, sizes[k + 1, 1])
                    resample(
                        flows[k + 1],
                        at,
                        2 * stride,
                        h,
                        y_first[k],
                        y_weights[k],
                        x_first[k],
                        x_weights[k],
                        factor,
                        flow,
                        o,
                        t,
                    )
            for _ in range(iterations):
                r0, r1, across, down = reference[k], expansions[k], damping[k], along[k]
                if gaussian:
                    _weighted(r0, r1, flow, across, down, h, w, r, weights, m, t, sums, stride, pad)
                else:
                    _boxed(r0, r1, flow, across, down, h, w, r, m, total, t, sums, stride, pad)
        flow = flows[0]
        for y in range(out.shape[0]):
            for x in range(uint64(out.shape[1])):
                i = uint64(2 * y * stride + pad) + x
                out[uint64(y), x, 0] = flow[i] * scale
                out[uint64(y), x, 1] = flow[i + uint64(stride)] * scale

    return refine  # type: ignore[no-any-return]
