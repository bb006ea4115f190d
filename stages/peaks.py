"""Peaks and fusion on the matching curves of one window (eqs 24-26).

He, Wang, Ma, Li: "Micro-Expression Spotting Method Based on AU Prototype",
ECAI 2023, section 2.4.2. All rules are in seconds, so that variable frame
rates work; all indices count the samples of one window from 0.

Two roads lead to the same expressions, bit for bit: ``spot_window`` reads a
whole window, ``StreamingSpotter`` takes one column at a time, announces an
expression as soon as eq. 24 holds for one of its points, and gives it as final
as soon as no later sample can change it.

Rules beyond the paper
----------------------
*Smoothing.* A Hann kernel in time, normalised where a window begins and ends.

*Borders.* Eq. 24 marks the top of a peak only. With ``border`` = rho, a run
[s, e] of peak points is widened to the level L = base + rho (P - base), where
P is the run's maximum and base the minimum of the ``search_s`` before s:
the onset is the last point before s at or below L (but after the AU's previous
peak point), the offset the first point after e at or below L, or the point
before the AU's next peak point if that comes first, or, where neither comes
within ``search_s``, the lowest point of that span.

Why a streamed expression is final
----------------------------------
Let a be AU j's first index that is undecided: the first pending point, or the
start of a run whose offset is not known yet, or the next index to come. Let B
be the minimum of y over the ``search_s`` before a, and z the last index below a
with y_z <= B + rho theta. No interval of AU j still to come starts before z:

    Such an interval has a run that starts at some s >= a. Let b <= s - 1 be the
    last place of its base, the minimum over the ``search_s`` before s. Since
    y_b <= L, the onset is at or after b. If b >= a, it is after z. Otherwise b
    is also within ``search_s`` before a, and the part of s's span that lies
    below a is contained in a's span, so B <= base. s is a peak point, hence
    P - base > theta and L >= base + rho theta >= B + rho theta >= y_z: z is a
    point before s at or below L, so the onset, the last such point, is >= z.
    Stopping after the AU's previous peak point only moves the onset later.

Rounding keeps each step, because float addition, subtraction and multiplication
by a positive number are monotone. A span that is too long makes B lower and z
earlier, which stays safe; that is used where the next index has no time yet.
Resolved intervals that end before the smallest z of all AUs are therefore cut
off in time from all that follow, and fusion needs overlap in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from stages.items import Side

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# source times are rounded to a container's ticks: 30 frames may be 0.9999999 s
_TICK = 1e-6
_PENDING, _PEAK, _NOT = 0, 1, 2


@dataclass(frozen=True)
class SpotParams:
    """Parameters of spotting; times in seconds.

    Attributes:
        search_s: search radius m of eq. 24.
        overlap: delta, the overlap index above which two intervals fuse (eq. 25).
        smooth_s: half width of the Hann low-pass; 0 for none.
        border: rho, the share of a peak's height at which its borders lie;
            None for the runs of eq. 24 as they are (the paper's borders).
        micro_s: an expression shorter than this is micro.

    Raises:
        ValueError: a value out of range.
    """

    search_s: float = 1.0
    overlap: float = 0.33
    smooth_s: float = 0.1
    border: float | None = 0.1
    micro_s: float = 0.5

    def __post_init__(self) -> None:
        if not self.search_s > 0:
            raise ValueError(f"search_s must be above 0 s, not {self.search_s}")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"overlap must lie in 0..1, not {self.overlap}")
        if not self.smooth_s >= 0:
            raise ValueError(f"smooth_s must be 0 s or more, not {self.smooth_s}")
        if self.border is not None and not 0 <= self.border <= 1:
            raise ValueError(f"border must lie in 0..1 or be absent, not {self.border}")
        if not self.micro_s > 0:
            raise ValueError(f"micro_s must be above 0 s, not {self.micro_s}")


class AUSpan(NamedTuple):
    """One AU inside an expression: column of the curves, indices, smoothed apex value."""

    au: int
    onset: int
    apex: int
    offset: int
    value: float
    side: Side = "both"


class AUPeak(NamedTuple):
    """An AU's highest peak point so far: column, index, smoothed value."""

    au: int
    apex: int
    value: float
    side: Side = "both"


class Veto(NamedTuple):
    """What could have kept an expression from being one: what was seen, and the limit."""

    name: str
    value: float
    limit: float


@dataclass(frozen=True)
class Expression:
    """A fused interval [onset, offset] of a window, indices inclusive (eq. 26).

    ``apex`` is where the sum of y_j / theta_j over its AUs is greatest; ``aus``
    is sorted by column, one entry an AU. Joint explanation adds its ``height`` in standard
    deviations of the face's noise, the share of the movement ``explained``, and what each
    veto saw.
    """

    onset: int
    apex: int
    offset: int
    kind: Literal["micro", "macro"]
    aus: tuple[AUSpan, ...]
    height: float = 0.0
    explained: float = 0.0
    vetoes: tuple[Veto, ...] = ()


@dataclass(frozen=True)
class Announcement:
    """Eq. 24 holds for point ``apex`` of AU column ``au``; ``number`` counts from 0."""

    number: int
    au: int
    apex: int
    aus: tuple[AUPeak, ...]


@dataclass(frozen=True)
class Final:
    """The announced expression ``number``, which no later sample can change."""

    number: int
    expression: Expression


@dataclass(frozen=True)
class Retraction:
    """Announcement ``number`` is withdrawn: merged into another, or abandoned (None)."""

    number: int
    merged_into: int | None
    reason: str = ""
    vetoes: tuple[Veto, ...] = ()


Update = Announcement | Final | Retraction


class _Span(NamedTuple):
    """An AU's interval before fusion; ``first`` and ``last`` are its run of eq. 24."""

    onset: int
    offset: int
    au: int
    apex: int
    value: float
    first: int
    last: int


# ---------------------------------------------------------------- primitives


def check_thetas(thetas: npt.ArrayLike) -> Array:
    """``thetas`` as (V,) float64.

    Raises:
        ValueError: not a vector of finite numbers above 0.
    """
    array = np.array(thetas, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"thetas must have shape (V,), V >= 1, not {array.shape}")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("every theta must be a finite number above 0")
    return array


def _smooth_point(times: Array, values: Array, low: int, i: int, high: int, half: float) -> Array:
    """One row of ``smooth``; both roads use it, so that they agree to the bit."""
    weight = 1.0 + np.cos((times[low:high] - times[i]) * (np.pi / half))
    row = np.add.reduce(weight[:, None] * values[low:high], axis=0) / np.add.reduce(weight)
    return np.asarray(np.maximum(row, 0.0))


def smooth(times: Array, values: Array, smooth_s: float) -> Array:
    """Low-pass the curves and set what is negative to 0 (section 3.2).

    y_i = sum_k w(t_k - t_i) x_k / sum_k w(t_k - t_i), with the Hann kernel
    w(d) = (1 + cos(pi d / h)) / 2 for abs(d) < h.

    Args:
        times: (n,) float64, seconds, increasing.
        values: (n, V) float64 matching indices.
        smooth_s: h, seconds; 0 for no smoothing.

    Returns:
        (n, V) float64.
    """
    if smooth_s <= _TICK:
        return np.asarray(np.maximum(values, 0.0))
    out = np.empty_like(values)
    low = high = 0
    for i in range(len(times)):
        while times[i] - times[low] + _TICK >= smooth_s:
            low += 1
        while high < len(times) and times[high] - times[i] + _TICK < smooth_s:
            high += 1
        out[i] = _smooth_point(times, values, low, i, high, smooth_s)
    return out


def peak_mask(times: Array, smoothed: Array, thetas: Array, search_s: float) -> Flags:
    """Points that belong to a peak (eq. 24), both spans cut at the window's ends.

    Args:
        times: (n,) float64, seconds, increasing.
        smoothed: (n, V) float64, not negative.
        thetas: (V,) float64.
        search_s: m, seconds.

    Returns:
        (n, V) bool; a point with an empty span on either side belongs to none.
    """
    n = len(times)
    reach = search_s + _TICK
    mask = np.zeros(smoothed.shape, dtype=np.bool_)
    low = stop = 0
    for i in range(n):
        while times[i] - times[low] > reach:
            low += 1
        while stop < n and times[stop] - times[i] <= reach:
            stop += 1
        if low < i and i + 1 < stop:
            past = smoothed[low:i].min(axis=0)
            future = smoothed[i + 1 : stop].min(axis=0)
            mask[i] = (smoothed[i] - past > thetas) & (smoothed[i] - future > thetas)
    return mask


def overlap_index(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Overlap index mu of two intervals in seconds (eq. 25).

    Eq. 25 divides by the shorter length. Where that is 0, mu is 1 for an
    interval inside the other and 0 elsewhere.
    """
    start, end = max(first[0], second[0]), min(first[1], second[1])
    shorter = min(first[1] - first[0], second[1] - second[0])
    if shorter <= 0:
        return 1.0 if start <= end else 0.0
    return max(end - start, 0.0) / shorter


class _Group(NamedTuple):
    """Spans fused into one interval; compares by start, end, AUs."""

    start: int
    end: int
    spans: tuple[_Span, ...]


def _union(first: _Group, second: _Group) -> _Group:
    """Eq. 26."""
    spans = tuple(sorted(first.spans + second.spans, key=lambda s: (s.au, s.onset, s.first)))
    return _Group(min(first.start, second.start), max(first.end, second.end), spans)


def _order(group: _Group) -> tuple[int, int, tuple[int, ...]]:
    return group.start, group.end, tuple(span.au for span in group.spans)


def _first_pair(groups: list[_Group], times: Array, overlap: float) -> tuple[int, int] | None:
    for i, one in enumerate(groups):
        for k in range(i + 1, len(groups)):
            other = groups[k]
            if other.start > one.end:
                break
            spans = [(float(times[g.start]), float(times[g.end])) for g in (one, other)]
            if overlap_index(spans[0], spans[1]) > overlap:
                return i, k
    return None


def _fuse(spans: Iterable[_Span], times: Array, overlap: float) -> list[_Group]:
    """Fuse the first pair with mu > delta, in order, until none is left (eqs 25-26)."""
    groups = sorted((_Group(s.onset, s.offset, (s,)) for s in spans), key=_order)
    while pair := _first_pair(groups, times, overlap):
        second = groups.pop(pair[1])
        groups.append(_union(groups.pop(pair[0]), second))
        groups.sort(key=_order)
    return groups


def _merge_au(spans: Sequence[_Span]) -> AUSpan:
    """The union of one AU's spans, with the apex of the larger."""
    best = max(spans, key=lambda s: (s.value, -s.apex))
    onset, offset = min(s.onset for s in spans), max(s.offset for s in spans)
    return AUSpan(best.au, onset, best.apex, offset, best.value)


def _express(
    group: _Group, times: Array, smoothed: Array, thetas: Array, micro_s: float
) -> Expression:
    by_au: dict[int, list[_Span]] = {}
    for span in group.spans:
        by_au.setdefault(span.au, []).append(span)
    columns = list(by_au)
    part = smoothed[group.start : group.end + 1, columns] / thetas[columns]
    apex = group.start + int(part.sum(axis=1).argmax())
    lasted = float(times[group.end] - times[group.start])
    kind: Literal["micro", "macro"] = "micro" if lasted + _TICK < micro_s else "macro"
    aus = tuple(_merge_au(spans) for spans in by_au.values())
    return Expression(group.start, apex, group.end, kind, aus)


def _last_at_or_below(curve: Array, low: int, stop: int, level: float) -> int:
    """Last index in low..stop-1 with curve <= level; there is one."""
    return low + int(np.flatnonzero(curve[low:stop] <= level)[-1])


# ---------------------------------------------------------------- whole array


def spot_window(
    times: npt.ArrayLike, values: npt.ArrayLike, thetas: npt.ArrayLike, params: SpotParams
) -> list[Expression]:
    """Spot the expressions of one whole window.

    Args:
        times: (n,) float64 source times, seconds, strictly increasing.
        values: (n, V) float matching indices, row i at times[i] (W of eq. 23, transposed).
        thetas: (V,) peak detection thresholds, in the matching index's unit.
        params: the rules' parameters.

    Returns:
        Expressions sorted by onset, offset, AUs.

    Raises:
        ValueError: shapes disagree, times do not increase, a number is not finite.
    """
    limits = check_thetas(thetas)
    clock, curves = _check_window(times, values, limits.size)
    if not len(clock):
        return []
    smoothed = smooth(clock, curves, params.smooth_s)
    mask = peak_mask(clock, smoothed, limits, params.search_s)
    spans = [
        span
        for au in range(limits.size)
        for span in _whole_spans(clock, smoothed[:, au], mask[:, au], au, params)
    ]
    groups = _fuse(spans, clock, params.overlap)
    return [_express(g, clock, smoothed, limits, params.micro_s) for g in groups]


def _check_window(times: npt.ArrayLike, values: npt.ArrayLike, width: int) -> tuple[Array, Array]:
    clock = np.array(times, dtype=np.float64)
    curves = np.array(values, dtype=np.float64)
    if clock.ndim != 1 or curves.shape != (len(clock), width):
        raise ValueError(f"{clock.shape} times and {width} thetas do not fit {curves.shape} values")
    if not (np.isfinite(clock).all() and np.isfinite(curves).all()):
        raise ValueError("times and values must be finite")
    if (np.diff(clock) <= 0).any():
        raise ValueError("times must increase strictly")
    return clock, curves


def _runs(mask: Flags) -> list[tuple[int, int]]:
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return list(
        zip(
            np.flatnonzero(edges == 1).tolist(),
            (np.flatnonzero(edges == -1) - 1).tolist(),
            strict=True,
        )
    )


def _whole_spans(
    times: Array, curve: Array, mask: Flags, au: int, params: SpotParams
) -> list[_Span]:
    spans = []
    previous = -1
    for first, last in _runs(mask):
        apex = first + int(curve[first : last + 1].argmax())
        onset, offset = first, last
        if params.border is not None:
            reach = params.search_s + _TICK
            near = np.flatnonzero(times[first] - times[:first] <= reach)
            base = curve[near].min()
            level = base + params.border * (curve[apex] - base)
            onset = max(_last_at_or_below(curve, 0, first, level), previous + 1)
            offset = _whole_offset(times, curve, mask, last, level, reach)
        spans.append(_Span(onset, offset, au, apex, float(curve[apex]), first, last))
        previous = last
    return spans


def _whole_offset(
    times: Array, curve: Array, mask: Flags, last: int, level: float, reach: float
) -> int:
    after = last + 1 + np.flatnonzero(times[last + 1 :] - times[last] <= reach)
    stops = after[(curve[after] <= level) | mask[after]]
    if not stops.size:
        return int(after[curve[after].argmin()])
    stop = int(stops[0])
    return stop if curve[stop] <= level else stop - 1


# ---------------------------------------------------------------- streaming


class _Track:
    """The samples of one window so far: raw, smoothed and judged; grows by doubling."""

    times: Array
    raw: Array
    smoothed: Array
    status: npt.NDArray[np.int8]
    left: npt.NDArray[np.int64]  # first index within search_s before

    def __init__(self, thetas: Array, params: SpotParams) -> None:
        self.thetas = thetas
        self.params = params
        self.reach = params.search_s + _TICK
        self.count = 0  # samples taken
        self.known = 0  # samples smoothed and judged
        self._allocate(256)
        self._smooth_low = self._smooth_high = 0
        self._left = 0
        self._pending = 0  # no pending point lies below

    def _allocate(self, size: int) -> None:
        width = self.thetas.size
        for name, shape, kind in (
            ("times", (size,), np.float64),
            ("raw", (size, width), np.float64),
            ("smoothed", (size, width), np.float64),
            ("status", (size, width), np.int8),
            ("left", (size,), np.int64),
        ):
            grown = np.zeros(shape, dtype=kind)
            if self.count:
                grown[: self.count] = getattr(self, name)[: self.count]
            setattr(self, name, grown)

    def take(self, time: float, column: npt.ArrayLike) -> None:
        row = np.asarray(column, dtype=np.float64)
        if row.shape != self.thetas.shape:
            raise ValueError(f"a column must have shape {self.thetas.shape}, not {row.shape}")
        if not (np.isfinite(time) and np.isfinite(row).all()):
            raise ValueError("time and column must be finite")
        if self.count and time <= self.times[self.count - 1]:
            raise ValueError(f"times must increase strictly: {time} s came too late")
        if self.count == len(self.times):
            self._allocate(2 * self.count)
        self.times[self.count] = time
        self.raw[self.count] = row
        self.count += 1

    def judge(self, closing: bool) -> bool:
        """Smooth and judge every sample whose neighbours are complete; True if any was."""
        before = self.known
        while self.known < self.count and self._smooth_next(closing):
            self._judge_next()
            self.known += 1
        return self.known > before

    def _smooth_next(self, closing: bool) -> bool:
        i, half, times = self.known, self.params.smooth_s, self.times
        if half <= _TICK:
            np.maximum(self.raw[i], 0.0, out=self.smoothed[i])
            return True
        low, high = self._smooth_low, self._smooth_high
        while times[i] - times[low] + _TICK >= half:
            low += 1
        while high < self.count and times[high] - times[i] + _TICK < half:
            high += 1
        self._smooth_low, self._smooth_high = low, high
        if high == self.count and not closing:
            return False
        self.smoothed[i] = _smooth_point(times, self.raw, low, i, high, half)
        return True

    def _judge_next(self) -> None:
        """Eq. 24: the newest point's past, and the future of the pending ones."""
        i, left = self.known, self._left
        while self.times[i] - self.times[left] > self.reach:
            left += 1
        self._left = self.left[i] = left
        row = self.smoothed[i]
        if self._pending < i:
            self._judge_pending(i, left, row)
        if left == i:
            self.status[i] = _NOT
        else:
            past = np.minimum.reduce(self.smoothed[left:i], axis=0)
            self.status[i] = np.where(row - past > self.thetas, _PENDING, _NOT)
        if self._pending == i and self._decided(i):
            self._pending += 1

    def _judge_pending(self, i: int, left: int, row: Array) -> None:
        if self._pending < left:
            self._refuse(self._pending, left)
            self._pending = left
        part = self.status[self._pending : i]
        fallen = self.smoothed[self._pending : i] - row > self.thetas
        part[fallen & (part == _PENDING)] = _PEAK
        while self._pending < i and self._decided(self._pending):
            self._pending += 1

    def _decided(self, i: int) -> bool:
        return _PENDING not in self.status[i].tolist()

    def _refuse(self, low: int, stop: int) -> None:
        part = self.status[low:stop]
        part[part == _PENDING] = _NOT

    def close(self) -> None:
        """Judge what is left; no point stays pending."""
        self.judge(closing=True)
        self._refuse(self._pending, self.known)
        self._pending = self.known


class _Unit:
    """One AU's walk over the judged points, from left to right: runs and their borders."""

    def __init__(self, track: _Track, au: int) -> None:
        self.track = track
        self.au = au
        self.theta = float(track.thetas[au])
        self.first = -1  # the open run, if any; its end, once known
        self.last = -1
        self._cursor = 0
        self._scan = 0
        self._level = 0.0
        self._previous = -1  # last peak point of the resolved runs

    @property
    def undecided(self) -> int:
        """First index that may belong to an interval still to come (``a`` above)."""
        return self.first if self.first >= 0 else self._cursor

    def advance(self, closing: bool) -> list[_Span]:
        """Intervals that have become known."""
        spans: list[_Span] = []
        while (self.first >= 0 or self._find_first()) and (self.last >= 0 or self._find_last()):
            offset = self._find_offset(closing)
            if offset < 0:
                break
            spans.append(self._resolve(offset))
        return spans

    def _find_first(self) -> bool:
        track, au, k = self.track, self.au, self._cursor
        while k < track.known and track.status[k, au] == _NOT:
            k += 1
        self._cursor = k
        if k == track.known or track.status[k, au] == _PENDING:
            return False
        self.first = k
        return True

    def _find_last(self) -> bool:
        track, au, k = self.track, self.au, self._cursor
        while k < track.known and track.status[k, au] == _PEAK:
            k += 1
        self._cursor = k
        # the newest point has no future yet, so no run ends with it
        if k == track.known or track.status[k, au] == _PENDING:
            return False
        self.last = k - 1
        self._scan = k
        if track.params.border is not None:
            curve = track.smoothed[:, au]
            base = curve[track.left[self.first] : self.first].min()
            top = curve[self.first : k].max()
            self._level = float(base + track.params.border * (top - base))
        return True

    def _find_offset(self, closing: bool) -> int:
        """The offset, or -1 while it can still change."""
        track, au, k = self.track, self.au, self._scan
        if track.params.border is None:
            return self.last
        while k < track.known and track.times[k] - track.times[self.last] <= track.reach:
            if track.smoothed[k, au] <= self._level:
                return k
            if track.status[k, au] == _PEAK:
                return k - 1
            if track.status[k, au] == _PENDING:
                break
            k += 1
        self._scan = k
        passed = k < track.known and track.times[k] - track.times[self.last] > track.reach
        if not (passed or closing):
            return -1
        return self.last + 1 + int(track.smoothed[self.last + 1 : k, au].argmin())

    def _resolve(self, offset: int) -> _Span:
        curve = self.track.smoothed[:, self.au]
        first, last = self.first, self.last
        apex = first + int(curve[first : last + 1].argmax())
        onset = first
        if self.track.params.border is not None:
            low = int(self.track.left[first])
            onset = max(_last_at_or_below(curve, low, first, self._level), self._previous + 1)
        self._previous = last
        self.first = self.last = -1
        return _Span(onset, offset, self.au, apex, float(curve[apex]), first, last)

    def zone(self) -> int:
        """No interval still to come starts before this index (proof in the module)."""
        track, at = self.track, self.undecided
        if track.params.border is None:
            return at
        # the next index has no time yet: its predecessor's span is long enough
        low = int(track.left[min(at, track.known - 1)])
        past = track.smoothed[low:at, self.au]
        level = past.min() + track.params.border * self.theta
        return max(low + int(np.flatnonzero(past <= level)[-1]), self._previous + 1)

    def peak(self) -> AUPeak | None:
        """The highest point so far of the first run that is not resolved, if there is one."""
        track, at = self.track, self.undecided
        if at >= track.known:
            return None
        flags = track.status[at : track.known, self.au] == _PEAK
        skip = int(flags.argmax())
        if not flags[skip]:
            return None
        gap = ~flags[skip:]
        length = int(gap.argmax()) if gap.any() else len(gap)
        run = track.smoothed[at + skip : at + skip + length, self.au]
        apex = int(run.argmax())
        return AUPeak(self.au, at + skip + apex, float(run[apex]))


class _Part(NamedTuple):
    """Part of a component: a resolved span, or an AU's hull of what is not resolved."""

    low: int
    high: int
    peak: AUPeak
    first: int  # peak points first..last belong to it
    last: int


_Timed = TypeVar("_Timed", _Span, _Part)  # both begin with their first and last index


class StreamingSpotter:
    """``spot_window``, one column at a time.

    Every ``Announcement`` is closed by exactly one ``Final`` or ``Retraction``
    with its number, unless neither ``close`` nor ``abandon`` is ever called.
    The expressions of all finals, in order, equal those of ``spot_window``.

    Args:
        thetas: (V,) peak detection thresholds.
        params: the rules' parameters.

    Raises:
        ValueError: a theta is not above 0.
    """

    def __init__(self, thetas: npt.ArrayLike, params: SpotParams) -> None:
        self._track = _Track(check_thetas(thetas), params)
        self._units = [_Unit(self._track, au) for au in range(self._track.thetas.size)]
        self._spans: list[_Span] = []  # resolved, not yet final
        self._open: list[Announcement] = []
        self._numbers = 0
        self._closed = False

    def push(self, time: float, column: npt.ArrayLike) -> list[Update]:
        """Take the next column: (V,) matching indices at ``time`` seconds.

        Raises:
            ValueError: wrong shape, not finite, or not after the last one; the
                column is then not taken.
        """
        self._demand_open()
        self._track.take(time, column)
        return self._settle(closing=False) if self._track.judge(closing=False) else []

    @property
    def rises(self) -> tuple[float, Array] | None:
        """Source time of the point judged last, and how far each curve has risen, in theta (V,).

        Above its lowest point of the ``search_s`` before (eq. 24's first half).
        """
        track = self._track
        i = track.known - 1
        if i < 1:
            return None
        lowest = track.smoothed[track.left[i] : i + 1].min(axis=0)
        return float(track.times[i]), (track.smoothed[i] - lowest) / track.thetas

    def close(self) -> list[Update]:
        """The window ends here: everything still open becomes final."""
        self._demand_open()
        self._closed = True
        self._track.close()
        return self._settle(closing=True) if self._track.known else []

    def abandon(self) -> list[Retraction]:
        """The window is broken off: every open announcement is withdrawn."""
        self._demand_open()
        self._closed = True
        gone = [Retraction(a.number, None) for a in self._open]
        self._open.clear()
        return gone

    def _demand_open(self) -> None:
        if self._closed:
            raise ValueError("this window was closed; make a new StreamingSpotter")

    def _settle(self, closing: bool) -> list[Update]:
        for unit in self._units:
            self._spans.extend(unit.advance(closing))
        updates: list[Update] = [*self._announce()]
        if self._spans:
            updates.extend(self._finish(closing))
        return updates

    def _announce(self) -> list[Announcement]:
        parts = [
            _Part(s.onset, s.offset, AUPeak(s.au, s.apex, s.value), s.first, s.last)
            for s in self._spans
        ]
        newest = self._track.known - 1
        for unit in self._units:
            peak = unit.peak()
            if peak is not None:
                parts.append(_Part(unit.zone(), newest, peak, unit.undecided, newest))
        return [
            self._announce_one([part.peak for part in component])
            for component in _components(parts)
            if not any(_holds(part, a) for part in component for a in self._open)
        ]

    def _announce_one(self, peaks: Sequence[AUPeak]) -> Announcement:
        best: dict[int, AUPeak] = {}
        for peak in sorted(peaks, key=lambda p: (p.au, -p.value, p.apex)):
            best.setdefault(peak.au, peak)
        thetas = self._track.thetas
        anchor = max(best.values(), key=lambda p: p.value / thetas[p.au])
        made = Announcement(self._numbers, anchor.au, anchor.apex, tuple(best.values()))
        self._numbers += 1
        self._open.append(made)
        return made

    def _finish(self, closing: bool) -> list[Update]:
        track = self._track
        updates: list[Update] = []
        for component in self._cut_off(closing):
            for group in _fuse(component, track.times, track.params.overlap):
                updates.extend(self._finish_one(group))
        return updates

    def _cut_off(self, closing: bool) -> list[list[_Span]]:
        """Components of resolved spans that nothing to come can touch, taken out."""
        bound = self._track.known if closing else min(unit.undecided for unit in self._units)
        # a zone lies before what is undecided: look closer only where that can help
        if min(span.offset for span in self._spans) >= bound:
            return []
        if not closing:
            bound = min(unit.zone() for unit in self._units)
        done: list[list[_Span]] = []
        rest: list[_Span] = []
        for component in _components(self._spans):
            if max(span.offset for span in component) < bound:
                done.append(component)
            else:
                rest.extend(component)
        self._spans = rest
        return done

    def _finish_one(self, group: _Group) -> list[Update]:
        track = self._track
        result = _express(group, track.times, track.smoothed, track.thetas, track.params.micro_s)
        updates: list[Update] = []
        mine = [a for a in self._open if any(_anchors(span, a) for span in group.spans)]
        if not mine:
            peaks = [AUPeak(s.au, s.apex, s.value) for s in group.spans]
            mine = [self._announce_one(peaks)]
            updates.extend(mine)
        kept, *others = mine
        updates.append(Final(kept.number, result))
        updates.extend(Retraction(other.number, kept.number) for other in others)
        self._open = [a for a in self._open if a not in mine]
        return updates


def _anchors(span: _Span, announcement: Announcement) -> bool:
    return span.au == announcement.au and span.first <= announcement.apex <= span.last


def _holds(part: _Part, announcement: Announcement) -> bool:
    return part.peak.au == announcement.au and part.first <= announcement.apex <= part.last


def _components(parts: Iterable[_Timed]) -> list[list[_Timed]]:
    """Spans or parts that touch in time, directly or through others."""
    found: list[list[_Timed]] = []
    high = -1
    for part in sorted(parts):
        if found and part[0] <= high:
            found[-1].append(part)
        else:
            found.append([part])
        high = max(high, part[1])
    return found
