"""Decoders of what comes in besides items: reports, commands, and messages of the event socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from pipeline.known import known
from pipeline.messages import Command, Report
from pipeline.schema import (
    VERSION,
    BeatMessage,
    BlinkMessage,
    CurvesMessage,
    EventMessage,
    StateMessage,
)
from pipeline.sockets import NODES
from pipeline.wire import WireError

_MOST_BYTES = 16 * 1024 * 1024  # of a report
_MOST_PUBLISHED = 1024 * 1024  # of a published message
_MOST_TOPIC = 4096
_LONGEST_REASON = 200  # it may quote the message
_KINDS: dict[str, type[msgspec.Struct]] = {
    "event": EventMessage,
    "blink": BlinkMessage,
    "state": StateMessage,
    "curves": CurvesMessage,
    "beat": BeatMessage,
}
_T = TypeVar("_T")


def report(parts: Sequence[bytes]) -> Report:
    """A node's word to the supervisor; what it says was published is a message, too.

    Raises:
        WireError: anything else.
    """
    if len(parts) != 1 or len(parts[0]) > _MOST_BYTES:
        raise WireError("not one part of a report's size")
    found = _decoded(parts[0], Report)
    if found.node not in NODES:
        raise WireError("a report of no node")
    if found.kind == "published" and body(found.payload)["type"] not in ("event", "state"):
        raise WireError("a report of what is not reported")
    return found


def command(parts: Sequence[bytes]) -> Command:
    """The supervisor's word.

    Raises:
        WireError: anything else.
    """
    if len(parts) != 1 or len(parts[0]) > _MOST_TOPIC:
        raise WireError("not one part of a command's size")
    return _decoded(parts[0], Command)


def published(parts: Sequence[bytes]) -> tuple[str, dict[str, Any]]:
    """Topic and body of a message of the event socket, as ``docs/protocol.md`` has it.

    Types and fields that this version does not know are kept: later ones may add some.

    Raises:
        WireError: it is none, or of another schema version.
    """
    if len(parts) != 2 or len(parts[0]) > _MOST_TOPIC:
        raise WireError("not a topic and a body")
    try:
        return bytes(parts[0]).decode(), body(parts[1])
    except UnicodeDecodeError:
        raise WireError("a topic that is no text") from None


def body(data: bytes) -> dict[str, Any]:
    """A published message as builtin types: of a known type with all its fields, or of a later one.

    Raises:
        WireError: it is none.
    """
    if len(data) > _MOST_PUBLISHED:
        raise WireError("larger than a message can be")
    found = _decoded(data, dict[str, Any])
    name = found.get("type")
    if not isinstance(name, str) or found.get("v") != VERSION:
        raise WireError("no message of this schema version")
    if name in _KINDS:
        try:
            msgspec.convert(found, known(_KINDS[name]))
        except (msgspec.ValidationError, RecursionError) as error:
            raise WireError(str(error)[:_LONGEST_REASON]) from None
    return found


def _decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(data, type=known(kind))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(str(error)[:_LONGEST_REASON]) from None
