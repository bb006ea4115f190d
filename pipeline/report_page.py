"""A report as one HTML page that names no other address, with its own style and script."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from importlib import resources
from typing import IO

import numpy as np

from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.pages import table
from pipeline.report_event import PLACE
from pipeline.report_lanes import around, lane_aus, lane_name
from pipeline.report_picture import ceiling, lane_order, lanes, overview
from pipeline.report_run import Seen
from pipeline.report_tables import (
    AU_HEAD,
    EACH_HEAD,
    FACE_HEAD,
    KIND_HEAD,
    READING_HEAD,
    WITHDRAWN_HEAD,
    au_table,
    clock,
    each_withdrawn,
    face_rows,
    kind_rows,
    protocol_rows,
    rate,
    reading_rows,
    shown,
    withdrawn_rows,
)
from stages.items import Interval, Stamp

_NONE = 65535  # in the packed curves: the face was not seen
_PARTS = 256  # of theta

_CAVEAT = (
    "An event says which facial movement was seen, when, and what the coding guide calls it; it is "
    "no fact about what a person felt. mespot's accuracy has been measured on synthetic video only "
    "(<code>docs/spotting.md</code>, <code>docs/recognition.md</code>); the shipped recognisers "
    "are trained on synthetic faces. Look at crops and curves before you rely on an event."
)
_LANES = (
    "How far each action unit's curve stands above the higher of its two lowest points, in the "
    "{0:g} s before and in the {1:g} s after (eq. 24), in units of its threshold θ; "
    "height by its square root. Above θ (dotted) it is a candidate; whether that becomes an event "
    "is for the vetoes. Shaded: the intervals of events. Empty: no face."
)


def pieces(seen: Seen, config: Config, spool: IO[bytes]) -> Iterator[bytes]:
    """The page, piece by piece.

    Args:
        seen: what became of the recording.
        config: of the run.
        spool: the events' cards.
    """
    title = f"{shown(config.source)}: expressions"
    yield _head(title).encode()
    yield "\n".join(_summary(seen, config, title)).encode()
    yield b'<section id="events"><h2>Events</h2>\n'
    if not seen.events:
        yield b"<p>No expression was spotted.</p>"
    for told in seen.events:
        yield f'<article id="e{told.number}" class="{told.interval.kind}" tabindex="-1">'.encode()
        spool.seek(told.place[0])
        yield spool.read(told.place[1]).replace(PLACE.encode(), str(told.number).encode())
        yield b"</article>\n"
    yield b"</section>\n"
    yield "\n".join(_rest(seen, config)).encode()
    yield _tail(seen, config).encode()


def _asset(name: str) -> str:
    return resources.files("pipeline").joinpath("assets", name).read_text(encoding="utf-8")


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title>\n<style>{_asset('report.css')}</style></head>\n<body>"
    )


def _summary(seen: Seen, config: Config, title: str) -> Iterator[str]:
    yield f"<header><h1>{html.escape(title)}</h1>"
    if config.source.startswith("synthetic:"):
        yield '<p class="notice"><b>Synthetic.</b> A made face, no person.</p>'
    if seen.partial:
        yield f'<p class="notice warning"><b>Partial.</b> {html.escape(seen.partial)}.</p>'
    if seen.warning:
        yield f'<p class="notice warning">{html.escape(seen.warning)}</p>'
    yield f"{_tiles(seen)}</header>"
    picture = overview(seen)
    yield f'<section><h2>Timeline</h2><div class="wide">{picture}</div>{_legend()}</section>'
    yield from _curves(seen, config)
    yield '<section><h2>Summary</h2><div class="tables">'
    for name, head, rows in (
        ("Expressions", KIND_HEAD, kind_rows(seen)),
        ("Faces", FACE_HEAD, face_rows(seen)),
        ("Action units", AU_HEAD, au_table(seen, config)),
        ("Readings", READING_HEAD, reading_rows(seen)),
    ):
        if rows:
            yield f"<div><h3>{name}</h3>{table(head, rows)}</div>"
    yield f"</div><p><small>{_CAVEAT}</small></p></section>"


def _tiles(seen: Seen) -> str:
    kinds = [told.interval.kind for told in seen.events]
    blinks = sum(closed.au == 45 for closed in seen.blinks)
    tiles = (
        (str(kinds.count("micro")), "micro-expressions"),
        (str(kinds.count("macro")), "macro-expressions"),
        (rate(len(kinds), seen.seen_s()), "expressions a minute"),
        (str(blinks), "blinks"),
        (clock(seen.seen_s()), "of face seen"),
        (clock(seen.until_s), "looked at"),
    )
    made = "".join(f"<div><b>{value}</b> {words}</div>" for value, words in tiles)
    return f'<div class="tiles">{made}</div>'


def _legend() -> str:
    marks = (("micro", "micro"), ("macro", "macro"), ("blinks", "blink"), ("shut", "eyes shut"))
    made = "".join(f'<span><i class="{name}"></i>{words}</span>' for name, words in marks)
    return f'<p class="legend">{made}<span><i class="lost"></i>no face</span></p>'


def _curves(seen: Seen, config: Config) -> Iterator[str]:
    aus = lane_aus(prototypes(config), config)
    faces = seen.lanes.faces()
    yield '<section id="curves"><h2>Curves</h2>'
    if not faces:
        yield "<p>No curves: no face was seen for long enough.</p></section>"
        return
    choice = "".join(f'<option value="{face}">face {face}</option>' for face in faces)
    yield (
        f'<div id="chart" hidden><p class="controls"><select aria-label="face">{choice}</select>'
        '<button data-do="left" title="left">←</button><button data-do="right" title="right">→'
        '</button><button data-do="in" title="nearer">+</button><button data-do="out" '
        'title="further">−</button><button data-do="all">whole</button><button data-do="before">'
        'previous event</button><button data-do="after">next event</button></p>'
        '<canvas tabindex="0" role="application" aria-label="Curves. Arrow keys move, plus and '
        "minus zoom, 0 shows the whole, n and p go to the next and the previous event, Enter opens "
        'it."></canvas><p id="readout" role="status"></p><p class="keys"><small>Drag or ← → to '
        "move, Ctrl and wheel or + − to zoom, 0 for the whole, n and p for the next and previous "
        "event, Enter to read about it.</small></p></div>"
    )
    for face in faces:
        name = f"<h3>face {face}</h3>" if len(faces) > 1 else ""
        yield f'<div class="still wide">{name}{lanes(seen, face, aus)}</div>'
    yield f"<p><small>{_LANES.format(*around(config))}</small></p></section>"


def _rest(seen: Seen, config: Config) -> Iterator[str]:
    if seen.withdrawn:
        each = table(EACH_HEAD, each_withdrawn(seen))
        yield "<section><h2>Announced and withdrawn</h2>"
        yield table(WITHDRAWN_HEAD, withdrawn_rows(seen))
        yield f"<details><summary>Every one of them</summary>{each}</details></section>"
    yield "<section><h2>Protocol and versions</h2>"
    yield table(("what", "how"), protocol_rows(seen, config))
    yield "</section>"


def _tail(seen: Seen, config: Config) -> str:
    aus = lane_aus(prototypes(config), config)
    order = lane_order(aus)
    data = {
        "end": round(seen.until_s, 4),
        "step": seen.lanes.step_s,
        "parts": _PARTS,
        "top": ceiling(seen),
        "aus": [lane_name(aus[place]) for place in order],
        "curves": {str(face): _packed(seen, face, order) for face in seen.lanes.faces()},
        "events": [
            [
                told.number,
                told.interval.face,
                told.interval.kind,
                *(round(s.pts, 4) if s is not None else None for s in _moments(told.interval)),
                " + ".join(f"AU {a.au}" for a in told.interval.aus),
            ]
            for told in seen.events
        ],
        "blinks": [[c.face, round(c.onset_s, 3), round(c.offset_s, 3)] for c in seen.blinks],
    }
    # no text may close the element early
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<script type="application/json" id="data">{text}</script>\n'
        f"<script>{_asset('report.js')}</script>\n</body></html>\n"
    )


def _moments(interval: Interval) -> tuple[Stamp | None, ...]:
    return interval.onset, interval.apex, interval.offset


def _packed(seen: Seen, face: int, order: list[int]) -> str:
    """Lane by lane little-endian uint16, so many parts of theta; base64."""
    values = seen.lanes.of(face)[:, order].T
    parts = np.clip(np.nan_to_num(values) * _PARTS, 0, _NONE - 1).astype("<u2")
    parts[np.isnan(values)] = _NONE
    return base64.b64encode(np.ascontiguousarray(parts).tobytes()).decode()
