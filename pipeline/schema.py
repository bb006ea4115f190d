"""Schema v1 of what the event socket carries (``docs/protocol.md``)."""

from __future__ import annotations

from typing import Any

import msgspec

from stages.items import Blink, Event, Kind, Phase, Reading, Side, Stamp, Veto

VERSION = 1
# which clock, log and run: nothing of what was seen
RUN_KEYS = frozenset({"utc_ns", "published_utc_ns", "processing_ms", "log", "run"})


class Moment(msgspec.Struct, frozen=True):
    """A frame on three rulers."""

    frame: int  # index in the source
    pts: float  # source time, s
    utc_ns: int  # UTC at capture, ns


class AUMessage(msgspec.Struct, frozen=True):
    """One action unit of an event."""

    au: int
    side: Side
    index: float  # at the AU's apex: px of the crop, or matching index (method paper)
    onset: Moment | None
    apex: Moment
    offset: Moment | None


class Delays(msgspec.Struct, frozen=True):
    """How late the word is."""

    decision_s: float  # source time from the apex frame to the deciding frame
    processing_ms: float  # wall time from the deciding frame's capture to publication


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of an ``event.<stream>.<phase>`` topic."""

    v: int = VERSION
    type: str = "event"
    log: str = ""  # identity of the event log that numbered it
    run: int = 0  # of the log, from 1; 0: no log
    seq: int
    id: str
    stream: str
    face: int
    phase: Phase
    kind: Kind
    onset: Moment | None
    apex: Moment
    offset: Moment | None
    aus: list[AUMessage]
    height: float  # in standard deviations of the face's noise
    explained: float  # share of the movement that the AUs explain
    vetoes: list[Veto]
    emotions: list[Reading]
    prototypes: str
    models: list[str]
    delays: Delays
    reason: str
    published_utc_ns: int


class BlinkMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a ``blink.<stream>`` topic."""

    v: int = VERSION
    type: str = "blink"
    stream: str
    face: int
    au: int  # 45, or 43: the eyes stayed shut
    onset: Moment
    apex: Moment
    offset: Moment
    depth: float  # 1 - opening / its running median
    published_utc_ns: int


class StateMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a ``state.<stream>`` topic."""

    v: int = VERSION
    type: str = "state"
    stream: str
    state: str
    face: int | None = None
    at: Moment | None = None
    detail: str = ""
    published_utc_ns: int


class CurvesMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a ``curves.<stream>`` topic (opt-in)."""

    v: int = VERSION
    type: str = "curves"
    stream: str
    face: int
    at: Moment
    reference: int
    aus: list[int]
    values: list[float]


class BeatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a ``beat.<stream>`` topic: what a subscriber must have had by now."""

    v: int = VERSION
    type: str = "beat"
    stream: str
    log: str
    run: int
    seq: int  # of the last event published; -1: none in this log yet
    replay: str  # address of the replay socket
    published_utc_ns: int


Message = EventMessage | BlinkMessage | StateMessage | CurvesMessage | BeatMessage


def moment(stamp: Stamp) -> Moment:
    """The public part of a stamp."""
    return Moment(stamp.frame, stamp.pts, stamp.utc_ns)


def _optional(stamp: Stamp | None) -> Moment | None:
    return None if stamp is None else moment(stamp)


def event_message(
    event: Event, seq: int, mono_ns: int, utc_ns: int, log: str = "", run: int = 0
) -> EventMessage:
    """``event`` as published at ``mono_ns`` / ``utc_ns`` with sequence number ``seq``."""
    interval = event.interval
    return EventMessage(
        log=log,
        run=run,
        seq=seq,
        id=interval.id,
        stream=interval.apex.stream,
        face=interval.face,
        phase=interval.phase,
        kind=interval.kind,
        onset=_optional(interval.onset),
        apex=moment(interval.apex),
        offset=_optional(interval.offset),
        aus=[
            AUMessage(
                a.au, a.side, a.index, _optional(a.onset), moment(a.apex), _optional(a.offset)
            )
            for a in interval.aus
        ],
        height=interval.height,
        explained=interval.explained,
        vetoes=interval.vetoes,
        emotions=event.readings,
        prototypes=event.prototypes,
        models=event.models,
        delays=Delays(
            decision_s=interval.decided.pts - interval.apex.pts,
            processing_ms=(mono_ns - interval.decided.mono_ns) / 1e6,
        ),
        reason=interval.reason,
        published_utc_ns=utc_ns,
    )


def blink_message(blink: Blink, utc_ns: int) -> BlinkMessage:
    """``blink`` as published at ``utc_ns``."""
    return BlinkMessage(
        stream=blink.apex.stream,
        face=blink.face,
        au=blink.au,
        onset=moment(blink.onset),
        apex=moment(blink.apex),
        offset=moment(blink.offset),
        depth=blink.depth,
        published_utc_ns=utc_ns,
    )


def topic(message: Message) -> bytes:
    """The message's topic, first part on the socket."""
    if isinstance(message, EventMessage):
        return f"event.{message.stream}.{message.phase}".encode()
    return f"{message.type}.{message.stream}".encode()


def without_wall_clock(message: Any) -> Any:
    """``message`` (builtin types) less the fields that two runs may not share."""
    if isinstance(message, dict):
        return {
            key: without_wall_clock(value) for key, value in message.items() if key not in RUN_KEYS
        }
    if isinstance(message, list):
        return [without_wall_clock(value) for value in message]
    return message
