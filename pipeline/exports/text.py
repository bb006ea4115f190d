"""The table as text: CSV, JSON Lines, WebVTT."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec

from pipeline.event_table import EventTable
from pipeline.export_rows import Column, facs, utc_text
from pipeline.exports.files import whole
from pipeline.schema import EventMessage

_CUE_MS = 1500  # a micro-expression's cue would be gone before it is read


def cell(column: Column, value: Any, unknown: str = "") -> str:
    """A value as text: UTC in ISO 8601, lists with blanks, records as JSON."""
    if value is None:
        return unknown
    if column.type == "utc":
        return utc_text(value)
    if column.type == "list":
        return " ".join(value) or unknown
    if column.type == "records":
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return repr(value) if isinstance(value, float) else str(value)


def write_csv(table: EventTable, path: Path) -> None:
    """Comma-separated, UTF-8, one header line."""
    with whole(path) as (part,), part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column.name for column in table.columns)
        for row in table.rows:
            writer.writerow(cell(c, c.value(row, table.ruler)) for c in table.columns)


def write_json_lines(table: EventTable, path: Path) -> None:
    """One message an event, as ``--out`` writes it, with its last readings."""
    with whole(path) as (part,), part.open("wb") as file:
        for event in table.events:
            file.write(msgspec.json.encode(event) + b"\n")


def write_vtt(table: EventTable, path: Path) -> None:
    """WebVTT: a cue an event, held long enough to be read; the true times are in its text."""
    cues = [_cue(event, table) for event in table.events if event.onset and event.offset]
    cues.sort()
    with whole(path) as (part,), part.open("w", encoding="utf-8", newline="\n") as file:
        file.write("WEBVTT\n\nNOTE\nWritten by mespot. Times: " + table.ruler.meaning)
        file.write(
            f".\nA cue stays for {_CUE_MS / 1000:g} s at least; its text has the true times.\n"
        )
        for begin, end, name, text in cues:
            file.write(f"\n{name}\n{_clock(begin)} --> {_clock(end)}\n{text}\n")


def _cue(event: EventMessage, table: EventTable) -> tuple[int, int, str, str]:
    assert event.onset is not None and event.offset is not None
    begin, end = (table.ruler.milliseconds(moment) for moment in (event.onset, event.offset))
    words = [f"{event.kind} {begin / 1000:.3f}–{end / 1000:.3f} s"]
    words += ["AU " + "+".join(map(facs, event.aus))] if event.aus else []
    words += [event.emotions[0].label] if event.emotions else []
    words += [f"face {event.face}"] if event.face else []
    text = " · ".join(_plain(word) for word in words)
    return begin, max(end, begin + _CUE_MS), _plain(event.id), text


def _plain(text: str) -> str:
    """Text that means nothing to WebVTT, on one line."""
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, name)
    return " ".join(text.split())


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
