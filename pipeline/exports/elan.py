"""ELAN: tiers of kinds, apexes, AUs and emotions, which ``models.tiers`` reads back.

An annotation ends with ``#n``, the number of its expression in the file: the marks of one
expression stay together, also where expressions overlap.
"""

from __future__ import annotations

import mimetypes
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from models.elan import BEGIN_PROPERTY, FPS_PROPERTY, NO_BEGIN, STREAM_PROPERTY
from models.errors import UserError
from pipeline.event_table import EventTable
from pipeline.export_rows import Ruler
from pipeline.exports.files import whole
from pipeline.exports.version import version
from pipeline.schema import AUMessage, EventMessage, Moment

_GROUPS = ("kind", "apex", "au", "emotion", "retracted")
_SIDES = {"both": "", "left": " L", "right": " R"}
_APART_S = 0.1  # a webcam's pace against UTC; a replay at another pace is seconds apart
_APEX_MS = 40  # an annotation needs a length; that of a frame where the rate is not known


class _Mark(NamedTuple):
    group: str  # linguistic type
    tier: str
    face: int
    begin: int  # ms
    end: int  # ms
    text: str


def write_elan(table: EventTable, path: Path, media: Path | None = None) -> None:
    """An ``.eaf`` document of one stream, linked to ``media`` where it is given.

    Raises:
        UserError: pympi is missing, an event lies before 0 on the ruler, or the file cannot
            be written.
    """
    try:
        import pympi
    except ImportError as error:
        raise UserError(f"ELAN needs pympi ({error}): pip install 'mespot[lab]'") from None
    frames = table.frames
    document = pympi.Eaf(author=f"mespot {version()}")
    document.remove_tier("default")
    document.remove_linguistic_type("default-lt")
    document.properties = [("lastUsedAnnotationId", 0)]
    if frames is not None:
        document.add_property(FPS_PROPERTY, f"{frames.fps:.9g}")
    if table.streams:
        document.add_property(STREAM_PROPERTY, table.streams[0])
    document.add_property("mespot-times", table.ruler.meaning)
    if table.ruler.name != "pts":
        document.add_property(BEGIN_PROPERTY, _begin(table))
    document.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    if media is not None:
        _link(document, media, path)
    apex_ms = round(1000 / frames.fps) if frames is not None else _APEX_MS
    _fill(document, list(_marks(table, max(apex_ms, 1))))
    with whole(path) as (part,):
        _in_order(document)
        document.to_file(str(part))


def _begin(table: EventTable) -> str:
    """Source time at the ruler's 0, s; where the two keep no distance, there is no such time."""
    distances = [
        moment.pts - table.ruler.seconds(moment)
        for event in table.events
        for moment in (event.onset, event.apex, event.offset)
        if moment is not None
    ]
    if not distances:
        return "0"
    if max(distances) - min(distances) > _APART_S:
        return NO_BEGIN
    return f"{median(distances):.6f}"


def _link(document: Any, media: Path, path: Path) -> None:
    kind = mimetypes.guess_type(media.name)[0] or "application/octet-stream"
    whole_path = media.resolve()
    try:
        relative = whole_path.relative_to(path.resolve().parent).as_posix()
    except ValueError:
        relative = media.name
    document.add_linked_file(whole_path.as_uri(), relpath=f"./{relative}", mimetype=kind)


def _fill(document: Any, marks: Sequence[_Mark]) -> None:
    several = len({mark.face for mark in marks}) > 1
    by_tier: dict[tuple[str, str, int], list[_Mark]] = defaultdict(list)
    for mark in marks:
        by_tier[mark.group, mark.tier, mark.face].append(mark)
    for group in _GROUPS:
        document.add_linguistic_type(group)
    for (group, tier, face), found in by_tier.items():
        name = f"{tier}@face{face}" if several else tier
        for number, lane in enumerate(_lanes(found), start=1):
            called = name if number == 1 else f"{name} ({number})"
            document.add_tier(called, ling=group, part=f"face {face}", ann="mespot")
            for mark in lane:
                document.add_annotation(called, mark.begin, mark.end, mark.text)
    document.properties[0] = ("lastUsedAnnotationId", document.maxaid)


def _in_order(document: Any) -> None:
    """Number the time slots by time, as ELAN does."""
    slots = sorted(document.timeslots.items(), key=lambda slot: (slot[1], int(slot[0][2:])))
    names = {name: f"ts{n}" for n, (name, _) in enumerate(slots, start=1)}
    document.timeslots = {names[name]: ms for name, ms in slots}
    for aligned, *_ in document.tiers.values():
        for key, (begin, end, text, picture) in aligned.items():
            aligned[key] = (names[begin], names[end], text, picture)


def _lanes(marks: Sequence[_Mark]) -> list[list[_Mark]]:
    """Marks that share no time in one lane: a tier's annotations must not overlap."""
    lanes: list[list[_Mark]] = []
    for mark in sorted(marks, key=lambda mark: (mark.begin, mark.end)):
        free = next((lane for lane in lanes if lane[-1].end <= mark.begin), None)
        if free is None:
            lanes.append(free := [])
        free.append(mark)
    return lanes


def _marks(table: EventTable, apex_ms: int) -> Iterator[_Mark]:
    for number, event in enumerate(table.events, start=1):
        spans = _Spans(table.ruler, event)
        if event.onset is None or event.offset is None:
            label = f"{event.reason} #{number}"
            yield spans.mark("retracted", "retracted", event.apex, None, label, apex_ms)
            continue
        yield spans.mark(
            "kind", event.kind, event.onset, event.offset, f"{event.kind} #{number}", 1
        )
        yield spans.mark("apex", "apex", event.apex, None, f"#{number}", apex_ms)
        for au in event.aus:
            text = f"{_au_text(au)} #{number}"
            begin, end = au.onset or event.onset, au.offset or event.offset
            yield spans.mark("au", f"AU{au.au}{_SIDES[au.side]}", begin, end, text, 1)
        for place, reading in enumerate(event.emotions):
            tier = "emotion" if not place else f"emotion: {reading.source}"
            text = f"{reading.label} #{number}"
            yield spans.mark("emotion", tier, event.onset, event.offset, text, 1)


def _au_text(au: AUMessage) -> str:
    return f"AU{au.au} {au.side} {au.index:.2f}"


class _Spans(NamedTuple):
    """Marks of one event, in whole ms of the ruler."""

    ruler: Ruler
    event: EventMessage

    def mark(
        self, group: str, tier: str, begin: Moment, end: Moment | None, text: str, least_ms: int
    ) -> _Mark:
        first = self.ruler.milliseconds(begin)
        last = first + least_ms
        if end is not None:
            last = max(self.ruler.milliseconds(end), last)
        return _Mark(group, tier, self.event.face, first, last, text)
