"""The event log as the soak's accounting wants it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.soak.accounts import Message
from pipeline.event_rows import Reading, reader


def messages(path: Path) -> list[Message]:
    """Every event of the log, in order."""
    with reader(path) as connection:
        return [msgspec.msgpack.decode(row.body) for row in Reading(connection).rows(-1)]
