"""Rows of the event log, and what may be asked of it by anybody."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

BUSY_S = 1.0  # somebody else's lock, such as a VACUUM by hand
_COLUMNS = "seq, run, id, phase, utc_ns, body"


class LogError(Exception):
    """The log cannot be read or written as things are; the text says why."""


class Damaged(Exception):
    """The file is torn or overwritten; the text says where."""


class Row(NamedTuple):
    """One event of the log."""

    seq: int
    run: int
    id: str
    phase: str
    utc_ns: int
    body: bytes

    @property
    def crc(self) -> int:
        """Tells a row that was overwritten on the disk."""
        head = f"{self.seq} {self.run} {self.id} {self.phase} {self.utc_ns}"
        return crc32(self.body, crc32(head.encode()))


def _reason(error: sqlite3.Error | OSError) -> str:
    return str(getattr(error, "strerror", None) or error)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, and not the disk or who may write."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return False
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ)
    return code in damage or (code & 0xFF) in damage[:2]


@contextlib.contextmanager
def told() -> Iterator[None]:
    """SQLite's and the system's errors as a LogError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogError(_reason(error)) from None


class Reading:
    """Questions that any connection to the log may ask."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, since: int, limit: int = -1, max_bytes: int = 1 << 62) -> list[Row]:
        """Rows after ``since`` in order, at most so many and so large; at least one if any."""
        select = f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        found: list[Row] = []
        size = 0
        for values in self._connection.execute(select, (since, limit)):
            size += len(values[5])
            if found and size > max_bytes:
                break
            found.append(Row(*values))
        return found

    def ends(self) -> tuple[int, int]:
        """The oldest and the newest seq; (0, -1) of an empty log."""
        first, last = self._connection.execute("SELECT MIN(seq), MAX(seq) FROM events").fetchone()
        return (0, -1) if last is None else (first, last)

    def run_at(self, seq: int) -> int | None:
        """The run that wrote the first row from ``seq`` on."""
        select = "SELECT run FROM events WHERE seq >= ? ORDER BY seq LIMIT 1"
        row = self._connection.execute(select, (seq,)).fetchone()
        return None if row is None else int(row[0])

    def begin_after(self, run: int) -> int:
        """The seq with which the runs after ``run`` begin; one past the end without any."""
        low, last = self.ends()
        high = last + 1
        while low < high:  # runs only grow with seq
            middle = (low + high) // 2
            at = self.run_at(middle)
            low, high = (low, middle) if at is None or at > run else (middle + 1, high)
        return low

    def meta(self, key: str) -> str:
        """One of ``log``, ``run``, ``stream``; "" when it is not there."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])


def reader(path: Path) -> contextlib.closing[sqlite3.Connection]:
    """A connection that cannot write, for ``Reading``.

    Raises:
        LogError: the file cannot be opened.
    """
    with told():
        address = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
        return contextlib.closing(connection)
