"""Whether an event log is whole, and what to do with one that is not.

Nothing is deleted: a damaged file is moved aside, what can be read of it begins the new one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline import event_log
from pipeline.event_rows import Damaged, Reading, Row
from pipeline.known import known

_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = (0x377F0682, 0x377F0683)


class _Origin(msgspec.Struct):
    """What a body says of where it comes from."""

    log: str
    run: int


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def begun_frames(path: Path) -> int:
    """Frames that were begun in the log's write-ahead file since it was last emptied."""
    wal = _beside(path, "-wal")
    if not wal.exists() or wal.stat().st_size <= _WAL_HEADER:
        return 0
    with wal.open("rb") as file:
        magic, _, page, _, salts, _ = struct.unpack(">IIII8s8s", file.read(_WAL_HEADER))
        size = wal.stat().st_size - _WAL_HEADER
        if magic not in _WAL_MAGIC or not 512 <= page <= 65536:
            return max(1, size // (4096 + _FRAME_HEADER))
        begun = 0
        while head := file.read(_FRAME_HEADER):
            if len(head) == _FRAME_HEADER and head[8:16] != salts:
                break  # of an earlier round, to be overwritten
            begun += 1
            file.seek(page, 1)
    return begun


def examine(path: Path, connection: sqlite3.Connection, begun: int) -> str:
    """Verify the whole log; what was torn off its end in words, "" for nothing.

    Args:
        path: the log.
        connection: to it, with nothing written yet.
        begun: ``begun_frames`` before it was opened.

    Raises:
        Damaged: what was committed is broken.
    """
    reading = Reading(connection)
    _, last = reading.ends()
    whole = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise Damaged(answer.splitlines()[-1])
    if not reading.meta("log") or not reading.meta("run").isdecimal():
        raise Damaged("its identity is gone")
    bad = [seq for seq, row in _each(connection) if row is None]
    if bad:
        raise Damaged(f"{len(bad)} events are overwritten, the first is {bad[0]}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if begun > max(whole, 0):
        return f"the log {path} ended in a torn entry, which is dropped; it goes on after {last}"
    return ""


def _each(
    connection: sqlite3.Connection, backwards: bool = False
) -> Iterator[tuple[int, Row | None]]:
    """Every event; None for one whose bytes are not those that were written."""
    order = "DESC" if backwards else "ASC"
    select = "SELECT seq, run, id, phase, utc_ns, body, crc FROM events ORDER BY seq "
    for *values, crc in connection.execute(select + order):
        yield values[0], _sound(values, crc)


def _sound(values: list[object], crc: object) -> Row | None:
    kinds = (int, int, str, str, int, bytes)
    if not all(isinstance(v, kind) for v, kind in zip(values, kinds, strict=True)):
        return None
    row = Row(*values)  # type: ignore[arg-type]
    return row if row.crc == crc else None


def _readable(path: Path) -> dict[int, Row]:
    """What can be read, from either end to the damage."""
    rows: dict[int, Row] = {}
    for backwards in (False, True):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as link:
            link.text_factory = lambda raw: raw.decode(errors="replace")
            for seq, row in _each(link, backwards):
                if backwards and seq in rows:
                    break
                if row is not None:
                    rows[seq] = row
    return dict(sorted(rows.items()))


def _identity(path: Path, rows: dict[int, Row]) -> tuple[str, int]:
    """The log's name and last run; a new name where no event tells the old one."""
    log, run = "", 0
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as link:
        link.text_factory = lambda raw: raw.decode(errors="replace")
        reading = Reading(link)
        log, told = reading.meta("log"), reading.meta("run")
        run = int(told) if told.isdecimal() else 0
    for row in reversed(rows.values()):
        with contextlib.suppress(msgspec.MsgspecError):
            origin = msgspec.msgpack.decode(row.body, type=known(_Origin))
            return origin.log, max(run, origin.run)
    return log or uuid.uuid4().hex, run


def repair(path: Path, stream: str, why: str) -> str:
    """Begin a new file with what can be read; what was done in words.

    A new file keeps the log's name where that can be read.
    """
    rows = _readable(path)
    log, run = _identity(path, rows)
    part, whole = _beside(path, ".part"), _beside(path, ".salvaged")
    part.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as link:
        link.execute("PRAGMA auto_vacuum = INCREMENTAL")
        event_log.found(link, log, stream, run)
        event_log.insert(link, list(rows.values()), run)
    part.rename(whole)
    aside = finish_repair(path)
    kept = f"{len(rows)} events, up to {max(rows)}," if rows else "no events"
    return f"the log {path} was damaged ({why}): {kept} could be kept; the old file is {aside}"


def finish_repair(path: Path) -> Path | None:
    """Swap a salvaged log in, also one that a kill kept from its place."""
    whole = _beside(path, ".salvaged")
    if not whole.exists():
        return None
    aside = _aside(path)
    for ending in ("-wal", "-shm", ""):
        old = _beside(path, ending)
        if old.exists():
            old.rename(_beside(aside, ending))
    whole.rename(path)
    return aside


def _aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside, count = _beside(path, f".corrupt-{stamp}"), 1
    while aside.exists():
        count += 1
        aside = _beside(path, f".corrupt-{stamp}-{count}")
    return aside
