"""The whole recording as pictures: what happened when, and every AU's curve with theta."""

from __future__ import annotations

import html
from collections.abc import Iterable
from math import ceil, log10, sqrt

import numpy as np
import numpy.typing as npt

from models.prototypes import AU_REGIONS
from pipeline.report_lanes import TOGETHER, Values, lane_name
from pipeline.report_run import Seen, Told
from pipeline.report_tables import clock

_WIDTH, _LEFT = 1000.0, 70.0
_BAND, _GAP = 44.0, 12.0
_LANE = 26.0
_LEAST = 3.0  # px of an event's mark
_TICKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


class Scale:
    """Source time in s to px of the picture."""

    def __init__(self, end_s: float) -> None:
        self.end_s = max(end_s, 1e-3)

    def __call__(self, time: float) -> float:
        """Where ``time`` is."""
        share = min(max(time / self.end_s, 0.0), 1.0)
        return round(_LEFT + share * (_WIDTH - _LEFT - 10), 1)

    def ticks(self) -> list[float]:
        """About ten round times."""
        step = next((t for t in _TICKS if self.end_s / t <= 12), 10 ** ceil(log10(self.end_s)) / 10)
        return [i * step for i in range(int(self.end_s / step) + 1)]


def overview(seen: Seen) -> str:
    """One band for each face: when it was seen, its expressions and blinks."""
    scale = Scale(seen.until_s)
    faces = sorted(seen.faces)
    height = max(len(faces), 1) * (_BAND + _GAP) + 26
    parts = [_grid(scale, height)]
    for row, face in enumerate(faces):
        top = 4 + row * (_BAND + _GAP)
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 20}" class="name">face {face}</text>')
        parts += _band(seen, face, top, scale)
    if not faces:
        parts.append(f'<text x="{_LEFT}" y="24">no face was seen</text>')
    return _svg("overview", height, "the whole recording: expressions, blinks, face lost", parts)


def _svg(name: str, height: float, words: str, parts: Iterable[str]) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
        f'aria-label="{html.escape(words)}">{"".join(parts)}</svg>'
    )


def _grid(scale: Scale, height: float) -> str:
    made = []
    for time in scale.ticks():
        x = scale(time)
        words = clock(time) if scale.end_s >= 60 else f"{time:g} s"
        made.append(f'<path class="grid" d="M{x} 0V{height - 20:g}"/>')
        made.append(f'<text class="tick" x="{x}" y="{height - 6:g}">{words}</text>')
    return "".join(made)


def _band(seen: Seen, face: int, top: float, scale: Scale) -> Iterable[str]:
    middle = top + 16
    begun, done = scale(0), scale(seen.until_s)
    yield f'<rect class="lost" x="{begun}" y="{top}" width="{done - begun:.1f}" height="32"/>'
    for begin, end in seen.faces[face]:
        x, width = scale(begin), max(scale(end) - scale(begin), 0.5)
        yield f'<rect class="seen" x="{x}" y="{top}" width="{width:.1f}" height="32"/>'
    yield f'<path class="axis" d="M{begun} {middle + 16}H{done}"/>'
    for told in seen.events:
        if told.interval.face == face:
            yield mark(told, top, 32, scale)
    for au, name in ((45, "blinks"), (43, "shut")):
        own = [c for c in seen.blinks if c.face == face and (c.au == 45) == (au == 45)]
        ticks = (
            f"M{scale(c.onset_s)} {top + 38}h{max(scale(c.offset_s) - scale(c.onset_s), 1.6):.1f}"
            for c in own
        )
        if own:
            yield f'<path class="{name}" d="{"".join(ticks)}"/>'


def mark(told: Told, top: float, height: float, scale: Scale) -> str:
    """An event's interval with its apex, as a link to its card."""
    interval = told.interval
    assert interval.onset is not None and interval.offset is not None
    first, last = scale(interval.onset.pts), scale(interval.offset.pts)
    width = max(last - first, _LEAST)
    apex = min(max(scale(interval.apex.pts), first + 0.5), first + width - 0.5)
    aus = " + ".join(f"AU {a.au}" for a in interval.aus)
    words = f"{told.number}: {interval.kind}, {aus}, apex at {interval.apex.pts:.2f} s"
    return (
        f'<a href="#e{told.number}"><rect class="{interval.kind}" x="{first}" y="{top:g}" '
        f'width="{width:.1f}" height="{height:g}"><title>{html.escape(words)}</title></rect>'
        f'<path class="apex" d="M{apex:.1f} {top:g}v{height:g}"/></a>'
    )


# ---------------------------------------------------------------- lanes


def lanes(seen: Seen, face: int, aus: tuple[int, ...]) -> str:
    """A lane for each AU: how far it stands out, dark where by more than theta."""
    scale, values = Scale(seen.until_s), seen.lanes.of(face)
    top = ceiling(seen)
    height = len(aus) * _LANE + 26
    parts = [_grid(scale, height)]
    parts += [mark(t, 0, height - 22, scale) for t in seen.events if t.interval.face == face]
    drawn = _pooled(values, seen.lanes.step_s, scale)
    for row, place in enumerate(lane_order(aus)):
        base = (row + 1) * _LANE
        level = base - (_LANE - 4) * sqrt(1 / top)
        short, long = lane_name(aus[place])
        parts.append(f'<text class="name" x="{_LEFT - 8}" y="{base - 8}">{short}')
        parts.append(f"<title>{html.escape(long)}</title></text>")
        parts.append(_area(drawn[:, place], base, top))
        parts.append(f'<path class="theta" d="M{_LEFT} {level:.1f}H{_WIDTH - 10}"/>')
    return _svg("lanes", height, f"curves of face {face}, one lane for each AU", parts)


def lane_order(aus: tuple[int, ...]) -> list[int]:
    """Places of ``aus`` as they are drawn: the eye region's, then the mouth's."""

    def rank(place: int) -> tuple[bool, str, int]:
        au = aus[place]
        return au == TOGETHER, AU_REGIONS.get(au, "mouth"), au

    return sorted(range(len(aus)), key=rank)


def ceiling(seen: Seen) -> float:
    """Theta at the top of a lane."""
    return max(4.0, seen.lanes.highest())


def _pooled(values: Values, step_s: float, scale: Scale) -> Values:
    """The highest of each px, NaN where there is none."""
    count = int(_WIDTH - _LEFT - 10)
    made = np.full((count + 1, values.shape[1]), np.nan, np.float32)
    if len(values):
        time = (np.arange(len(values)) + 0.5) * step_s
        at = np.minimum(time / scale.end_s * count, count).astype(np.int64)
        np.fmax.at(made, at, values)
        if len(values) < count:  # more px than bins: each px shows the bin that it lies in
            own = ((np.arange(count + 1) + 0.5) / count * scale.end_s / step_s).astype(np.int64)
            inside = own < len(values)
            made[inside] = values[own[inside]]
    return made


def _area(column: Values, base: float, top: float) -> str:
    """A filled curve, broken where the face was not seen; the part above theta in colour."""
    heights = (_LANE - 4) * np.sqrt(np.clip(column, 0, top) / top)
    level = (_LANE - 4) * sqrt(1 / top)
    made = ""
    for name, shown in (
        ("curve", ~np.isnan(column)),
        ("above", np.nan_to_num(column) > 1),
    ):
        made += f'<path class="{name}" d="{_filled(shown, heights, base, level, name)}"/>'
    return made


def _filled(
    shown: npt.NDArray[np.bool_], heights: Values, base: float, level: float, name: str
) -> str:
    floor = base - level if name == "above" else base
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(np.int8), [0]])))
    made = []
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        points = [
            f"{_LEFT + i:.0f} {base - heights[i]:.1f}" for i in _corners(heights, first, stop)
        ]
        ends = (f"{_LEFT + i:.0f} {floor:.1f}" for i in (first, stop - 1))
        made.append(f"M{'L'.join([next(ends), *points, next(ends)])}Z")
    return "".join(made)


def _corners(heights: Values, first: int, stop: int) -> list[int]:
    """Places of a run at which the curve, to a tenth of a px, turns."""
    shown = np.round(heights[first:stop], 1)
    same = np.concatenate([[False], (shown[1:-1] == shown[:-2]) & (shown[1:-1] == shown[2:])])
    keep = np.ones(len(shown), np.bool_)
    keep[: len(same)] &= ~same
    return [int(first + i) for i in np.flatnonzero(keep)]
