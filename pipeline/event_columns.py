"""The columns of an export, described: of a row an event, and of a row an action unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.export_rows import Column, Row, Ruler, facs, run_of
from pipeline.schema import EventMessage, Moment

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
