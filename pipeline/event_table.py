"""The one table that every export is made of: a row an event, or a row an action unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from models.errors import UserError
from models.frame_ruler import FrameRuler
from pipeline.event_input import Told
from pipeline.schema import AUMessage, EventMessage, Moment

_NS = 10**9
_LETTERS = {"both": "", "left": "L", "right": "R"}
_START = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)", re.ASCII
)

Type = Literal["text", "integer", "number", "utc", "list", "records"]


@dataclass(frozen=True)
class Ruler:
    """Seconds of a moment: of source time (``pts``), or of UTC since ``start_ns``."""

    name: Literal["pts", "utc"] = "pts"
    start_ns: int = 0

    def seconds(self, moment: Moment) -> float:
        """Where ``moment`` stands, s."""
        if self.name == "pts":
            return moment.pts
        return (moment.utc_ns - self.start_ns) / _NS

    def milliseconds(self, moment: Moment) -> int:
        """Where ``moment`` stands in a medium, ms.

        Raises:
            UserError: before its beginning.
        """
        ms = round(self.seconds(moment) * 1000)
        if ms < 0:
            raise UserError(
                f"an event is {-ms / 1000:g} s before the ruler's 0; give an earlier --start"
            )
        return ms

    @property
    def meaning(self) -> str:
        """The ruler in words."""
        if self.name == "pts":
            return "source time since the first frame"
        return f"UTC since {utc_text(self.start_ns)}"


def utc_text(ns: int) -> str:
    """ISO 8601 with nine decimals."""
    whole = datetime.fromtimestamp(ns // _NS, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % _NS:09d}Z"


def utc_ns(text: str) -> int:
    """The time that ISO 8601 with a zone says, ns.

    Raises:
        ValueError: it is none.
    """
    found = _START.fullmatch(text.strip())
    if not found:
        raise ValueError("write 2026-05-04T09:30:00Z, with the time zone")
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * _NS + int((found[2] or "0").ljust(9, "0"))


@dataclass(frozen=True)
class Row:
    """One row: an event, or one of its action units."""

    event: EventMessage
    au: AUMessage | None = None


@dataclass(frozen=True)
class Column:
    """One column, described."""

    name: str
    type: Type
    unit: str  # "" where it has none
    meaning: str
    value: Callable[[Row, Ruler], Any] = field(repr=False)  # None: not known


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


def run_of(event: EventMessage) -> int:
    """The run of the event log that an event is of; 0 where it is of no log."""
    return int(getattr(event, "run", 0))


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
        moment.utc_ns - round(moment.pts * _NS)
        for event in events
        for moment in (event.onset, event.apex, event.offset)
        if moment is not None
    )
    return min(implied, default=0)


def facs(au: AUMessage) -> str:
    """An action unit as coders write it: 12, L12, R12."""
    return f"{_LETTERS[au.side]}{au.au}"


# --- columns

_Moments = Callable[[Row], Moment | None]


def _event(name: str) -> _Moments:
    return lambda row: getattr(row.event, name)


def _of_au(name: str) -> _Moments:
    return lambda row: None if row.au is None else getattr(row.au, name)


def _at(name: str, what: str, moments: _Moments) -> list[Column]:
    """A moment on its three rulers."""

    def on(read: Callable[[Moment, Ruler], Any]) -> Callable[[Row, Ruler], Any]:
        def value(row: Row, ruler: Ruler) -> Any:
            moment = moments(row)
            return None if moment is None else read(moment, ruler)

        return value

    return [
        Column(f"{name}_s", "number", "s", f"{what}", on(lambda m, r: r.seconds(m))),
        Column(
            f"{name}_frame", "integer", "frames", f"{what}: index in the source, from 0",
            on(lambda m, r: m.frame),
        ),
        Column(f"{name}_utc", "utc", "UTC", f"{what}: at capture", on(lambda m, r: m.utc_ns)),
    ]  # fmt: skip


def _lasts(begin: _Moments, end: _Moments) -> Callable[[Row, Ruler], float | None]:
    def value(row: Row, ruler: Ruler) -> float | None:
        first, last = begin(row), end(row)
        return None if first is None or last is None else last.pts - first.pts

    return value


def _text(name: str, meaning: str, value: Callable[[EventMessage], str], unit: str = "") -> Column:
    return Column(name, "text", unit, meaning, lambda row, ruler: value(row.event) or None)


def _number(name: str, unit: str, meaning: str, value: Callable[[EventMessage], Any]) -> Column:
    return Column(name, "number", unit, meaning, lambda row, ruler: value(row.event))


def _integer(name: str, meaning: str, value: Callable[[EventMessage], int]) -> Column:
    return Column(name, "integer", "", meaning, lambda row, ruler: value(row.event))


def _records(name: str, meaning: str, value: Callable[[EventMessage], Any]) -> Column:
    return Column(
        name, "records", "", meaning, lambda row, ruler: msgspec.to_builtins(value(row.event))
    )


def _primary(event: EventMessage, key: str) -> str:
    return str(getattr(event.emotions[0], key)) if event.emotions else ""


_IDENTITY = [
    _text("stream", "name of the source", lambda e: e.stream),
    _integer("face", "stable id of the face within the stream", lambda e: e.face),
    _integer("run", "run of the event log, from 1; 0: of no log", run_of),
    _integer("seq", "sequence number of the message", lambda e: e.seq),
    _text("id", "one of every event of a run", lambda e: e.id),
    _text("phase", "final, or retracted: announced and withdrawn", lambda e: e.phase),
    _text("kind", "micro: shorter than spot.micro_s, as a rule 0.5 s; macro", lambda e: e.kind),
]
_READING = [
    _text("emotion", "label of the primary reading", lambda e: _primary(e, "label")),
    _text("category", "positive, negative, surprise or others", lambda e: _primary(e, "category")),
    _text("emotion_source", "who gave the primary reading", lambda e: _primary(e, "source")),
]
_REST = [
    _number(
        "height", "standard deviations", "movement against the face's own noise", lambda e: e.height
    ),
    _number("explained", "share", "of the movement, that the AUs explain", lambda e: e.explained),
    _text("reason", "why it was retracted", lambda e: e.reason),
    _number(
        "decision_s", "s", "source time from apex to decision", lambda e: e.delays.decision_s
    ),
    _number(
        "processing_ms", "ms", "capture of the deciding frame to publication",
        lambda e: e.delays.processing_ms,
    ),
    Column("published_utc", "utc", "UTC", "publication", lambda r, _: r.event.published_utc_ns),
    _text("prototypes", "prototype set, name@version", lambda e: e.prototypes),
    Column(
        "models", "list", "", "recognisers that read the event", lambda r, _: list(r.event.models)
    ),
]  # fmt: skip

EVENT_COLUMNS: Sequence[Column] = (
    *_IDENTITY,
    *_at("onset", "onset", _event("onset")),
    *_at("apex", "apex", _event("apex")),
    *_at("offset", "offset", _event("offset")),
    Column(
        "duration_s", "number", "s", "offset - onset, source time",
        _lasts(_event("onset"), _event("offset")),
    ),
    _text(
        "aus", "action units in FACS notation, L and R: of the subject's left and right side alone",
        lambda e: "+".join(map(facs, e.aus)),
    ),
    *_READING,
    *_REST,
    _records("au_intervals", "the action units as in docs/protocol.md", lambda e: e.aus),
    _records("emotions", "all readings, as in docs/protocol.md", lambda e: e.emotions),
    _records("vetoes", "what could have kept it back, as in docs/protocol.md", lambda e: e.vetoes),
)  # fmt: skip

AU_COLUMNS: Sequence[Column] = (
    *_IDENTITY,
    Column("au", "integer", "", "FACS action unit", lambda r, _: r.au.au if r.au else None),
    Column(
        "side", "text", "", "both, left or right: the subject's",
        lambda r, _: r.au.side if r.au else None,
    ),
    Column(
        "index", "number", "px", "movement at the apex, eye corners 200 px apart; method paper: "
        "matching index (eq. 22)", lambda r, _: r.au.index if r.au else None,
    ),
    *_at("onset", "onset of the AU", _of_au("onset")),
    *_at("apex", "apex of the AU", _of_au("apex")),
    *_at("offset", "offset of the AU", _of_au("offset")),
    Column(
        "duration_s", "number", "s", "of the AU: offset - onset, source time",
        _lasts(_of_au("onset"), _of_au("offset")),
    ),
    *_at("event_onset", "onset of the event", _event("onset")),
    *_at("event_apex", "apex of the event", _event("apex")),
    *_at("event_offset", "offset of the event", _event("offset")),
    Column(
        "event_duration_s", "number", "s", "of the event: offset - onset, source time",
        _lasts(_event("onset"), _event("offset")),
    ),
    *_READING,
    *_REST,
)  # fmt: skip
