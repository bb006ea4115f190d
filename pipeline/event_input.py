"""Events out of files: what ``--out`` and ``mespot subscribe`` wrote, and the event log."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from models.errors import UserError
from pipeline.known import known
from pipeline.schema import VERSION, EventMessage

_SQLITE = b"SQLite format 3\x00"
_WHAT = "give a file that --out wrote, or an event log (docs/lab.md)"


class _Head(msgspec.Struct):
    """What every message says of itself."""

    v: int
    type: str


def read_events(path: Path) -> Iterator[EventMessage]:
    """The event messages of ``path``, in order; other messages are passed over.

    Raises:
        UserError: the file cannot be read or holds something else; names file and line.
    """
    try:
        with path.open("rb") as file:
            is_log = file.read(len(_SQLITE)) == _SQLITE
            if not is_log:
                file.seek(0)
                yield from _lines(path, file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if is_log:
        yield from _log(path)


def _lines(path: Path, lines: Iterable[bytes]) -> Iterator[EventMessage]:
    head = msgspec.json.Decoder(known(_Head))
    event = msgspec.json.Decoder(known(EventMessage))
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield from _event(f"{path} line {number}", line, head, event)


def _log(path: Path) -> Iterator[EventMessage]:
    head = msgspec.msgpack.Decoder(known(_Head))
    event = msgspec.msgpack.Decoder(known(EventMessage))
    address = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as log:
            for seq, body in log.execute("SELECT seq, body FROM events ORDER BY seq"):
                yield from _event(f"{path} seq {seq}", body, head, event)
    except sqlite3.Error as error:
        raise UserError(f"{path}: not an event log that can be read: {error}") from None


def _event(place: str, body: bytes, head: Any, event: Any) -> Iterator[EventMessage]:
    try:
        about = head.decode(body)
        if about.v != VERSION:
            raise UserError(
                f"{place}: schema version {about.v}; this mespot reads version {VERSION}"
            )
        if about.type == "event":
            yield event.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{place}: not a message of mespot's ({error}); {_WHAT}") from None


@dataclass(frozen=True)
class Told:
    """What the messages come to, event by event."""

    finals: list[EventMessage]  # each with the emotions of its last update
    retracted: list[EventMessage]
    open: int  # announced, and never closed: the file ends before

    @classmethod
    def of(cls, messages: Iterable[EventMessage]) -> Told:
        """Join the phases of each event.

        Raises:
            UserError: two final events of one run have one id.
        """
        finals: dict[tuple[int, str], EventMessage] = {}
        retracted: dict[tuple[int, str], EventMessage] = {}
        announced: set[tuple[int, str]] = set()
        for message in messages:
            key = (getattr(message, "run", 0), message.id)
            if message.phase == "apex":
                announced.add(key)
            elif message.phase == "retracted":
                retracted[key] = message
            elif message.phase == "update" and key in finals:
                finals[key] = msgspec.structs.replace(finals[key], emotions=message.emotions)
            elif key in finals:
                raise UserError(f"a second final event with the id {message.id!r}")
            else:  # an update whose final is not in the file repeats it
                finals[key] = msgspec.structs.replace(message, phase="final")
        unclosed = announced - finals.keys() - retracted.keys()
        return cls(list(finals.values()), list(retracted.values()), len(unclosed))
