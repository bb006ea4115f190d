"""The one table that every export is made of: a row an event, or a row an action unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import UserError
from models.frame_ruler import FrameRuler
from pipeline.event_columns import AU_COLUMNS, EVENT_COLUMNS
from pipeline.event_input import Told
from pipeline.export_rows import NS, Column, Row, Ruler, run_of
from pipeline.schema import EventMessage


@dataclass(frozen=True)
class EventTable:
    """Rows and columns, and what to know of all of them."""

    rows: Sequence[Row]
    columns: Sequence[Column]
    ruler: Ruler
    by_au: bool

    def values(self, column: Column) -> list[Any]:
        """A column's values."""
        return [column.value(row, self.ruler) for row in self.rows]

    @property
    def events(self) -> list[EventMessage]:
        """The events, each once."""
        return list(dict((id(row.event), row.event) for row in self.rows).values())

    @property
    def streams(self) -> list[str]:
        """Names of the streams, in order of appearance."""
        return list(dict.fromkeys(row.event.stream for row in self.rows))

    @property
    def frames(self) -> FrameRuler | None:
        """Frames against source time, where the table holds one stream and one run."""
        if len({(event.stream, run_of(event)) for event in self.events}) != 1:
            return None
        return FrameRuler.measured(
            (moment.frame, moment.pts)
            for event in self.events
            for moment in (event.onset, event.apex, event.offset)
            if moment is not None
        )


@dataclass(frozen=True)
class Choice:
    """Which events, and how."""

    streams: Sequence[str] = ()  # empty: all
    faces: Sequence[int] = ()
    retracted: bool = False
    by_au: bool = False
    ruler: Literal["pts", "utc"] = "pts"
    start_ns: int | None = None  # utc: where 0 is; None: at the first frame


def event_table(told: Told, choice: Choice) -> EventTable:
    """The table of what was told.

    Raises:
        UserError: a stream or face that is chosen does not occur.
    """
    every = [*told.finals, *(told.retracted if choice.retracted else [])]
    every.sort(key=lambda event: (run_of(event), event.seq))
    _known("--stream", choice.streams, {e.stream for e in [*told.finals, *told.retracted]})
    _known("--face", choice.faces, {e.face for e in [*told.finals, *told.retracted]})
    events = [
        event
        for event in every
        if (not choice.streams or event.stream in choice.streams)
        and (not choice.faces or event.face in choice.faces)
    ]
    rows = [Row(event) for event in events]
    if choice.by_au:
        rows = [row for event in events for row in _by_au(event)]
    ruler = Ruler()
    if choice.ruler == "utc":
        start = first_frame_ns(events) if choice.start_ns is None else choice.start_ns
        ruler = Ruler("utc", start)
    return EventTable(rows, AU_COLUMNS if choice.by_au else EVENT_COLUMNS, ruler, choice.by_au)


def _by_au(event: EventMessage) -> list[Row]:
    return [Row(event, au) for au in event.aus] or [Row(event)]


def _known(option: str, chosen: Iterable[Any], there: Iterable[Any]) -> None:
    known = sorted(there)
    for name in chosen:
        if name not in known:
            raise UserError(f"{option} {name}: not in the file; it has {_few(known)}")


def _few(names: Sequence[Any]) -> str:
    return (", ".join(map(str, names[:8])) or "none") + (", ..." if len(names) > 8 else "")


def first_frame_ns(events: Iterable[EventMessage]) -> int:
    """UTC of the first frame, by the earliest that a moment implies, ns; 0 without events."""
    implied = (
        moment.utc_ns - round(moment.pts * NS)
        for event in events
        for moment in (event.onset, event.apex, event.offset)
        if moment is not None
    )
    return min(implied, default=0)
