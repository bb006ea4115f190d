"""The event log: one SQLite file a stream, append-only, verified when it is opened.

A row is an event as it was published. Rows have no gap but those that damage or a full disk
tore; the oldest go as whole rows. One process writes, anybody may read meanwhile.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import UserError
from pipeline.event_rows import BUSY_S, Damaged, LogError, Reading, Row, is_damage, told

_APPLICATION = 0x6D657370  # "mesp"
_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, id TEXT NOT NULL, phase TEXT NOT NULL,
    utc_ns INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL
);
"""
_WAL_BYTES = 8_000_000
_KEPT = 1000  # rows that size alone never removes: what is open is among them
_AT_ONCE = 256  # rows removed in one transaction at work, so that no event waits for long
_AT_START = 20_000
_MARK_BYTES = 128
_DAY_NS = 86_400 * 10**9


def connect(path: Path, sync: str = "normal") -> sqlite3.Connection:
    """A connection that writes; an empty file gets its tables with ``found``."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text
    try:
        _no_strangers(path, connection)
        if not path.stat().st_size:  # it would write to one that is not
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {sync}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _text(raw: bytes) -> str:
    """Overwritten text is found by its checksum, and no error of its own."""
    return raw.decode(errors="replace")


def _no_strangers(path: Path, connection: sqlite3.Connection) -> None:
    """Raise a UserError before anything is written to somebody else's database."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if tables and application != _APPLICATION:
        raise UserError(f"log: {path} is a database, but no event log")
    if connection.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
        raise UserError(f"log: {path} was made by a newer mespot")


def found(connection: sqlite3.Connection, log: str, stream: str, run: int = 0) -> None:
    """Lay out a new log."""
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION};"
        f"PRAGMA user_version = {_VERSION}; {_SCHEMA}"
    )
    values = [("log", log), ("stream", stream), ("run", run)]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", values)
    connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, rows: Sequence[Row], run: int) -> None:
    """Append ``rows`` in one transaction; rows that are there already stay as they are."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(
            "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*row, row.crc) for row in rows],
        )
        connection.execute("UPDATE meta SET value = ? WHERE key = 'run' AND value < ?", (run, run))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class EventLog:
    """The one writer of a log.

    Args:
        path: the file; made with its folder when it is not there.
        stream: whose events it holds.
        sync: ``full``, ``normal`` or ``off``, SQLite's ``synchronous``.
        max_mb, max_days: older rows go when the log is larger, or they are older.
        utc_ns: the clock, injected for tests.

    Attributes:
        log: the log's identity, random.
        run: the last run that was begun; 0 for none.
        logged_run: the last run of which something is in the file.
        last: the newest seq that was given when it was opened; -1 for none.
        notes: what was found and mended when it was opened.

    Raises:
        UserError: another mespot writes to it, or it is no log of this stream.
        LogError: it cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        stream: str,
        sync: str = "normal",
        max_mb: float = 100.0,
        max_days: float = 90.0,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self._sync = sync
        self.limit(max_mb, max_days)
        self._utc_ns = utc_ns
        self._lock = -1
        self._connection: sqlite3.Connection | None = None
        try:
            with told():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._take_lock()
                self._open(stream)
                while self._removed(_AT_START):
                    pass
        except BaseException:
            self.close()
            raise

    def limit(self, max_mb: float, max_days: float) -> None:
        """Set how large and how old the log may become; ``prune`` sees to it."""
        self._max_bytes = int(max_mb * 1e6)
        self._max_ns = int(max_days * _DAY_NS)

    def _take_lock(self) -> None:
        import fcntl  # not everywhere: clients elsewhere need no log

        name = self.path.with_name(self.path.name + ".lock")
        self._lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"log: another mespot writes to {self.path}; give this one --log FILE, "
                "capture.name or --no-log"
            ) from None

    def _marked(self) -> tuple[str, int, int]:
        """Log, run and seq of the last event that was numbered, as far as is known."""
        try:
            log, run, seq = os.pread(self._lock, _MARK_BYTES, 0).decode("ascii").split()
            return log, int(run), int(seq)
        except (OSError, ValueError):
            return "", 0, -1

    def mark(self, run: int, seq: int) -> None:
        """Note what was numbered, beside the log, so that no number is given twice.

        It takes no room on a full disk, and holds where the log's own end is torn off.
        """
        with contextlib.suppress(OSError):
            os.pwrite(self._lock, f"{self.log} {run:20d} {seq:20d}\n".encode(), 0)

    def _open(self, stream: str) -> None:
        from pipeline.event_log_repair import finish_repair, repair

        finish_repair(self.path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            self._connection = self._checked(stream)
        except Damaged as damage:
            self.notes.append(repair(self.path, stream, str(damage)))
            self._connection = self._checked(stream)
        self._inode = self.path.stat().st_ino
        self._number_on()

    def _number_on(self) -> None:
        """Where the numbers stand, by the log and by the mark beside it."""
        self.log = self.reading.meta("log")
        self.logged_run = int(self.reading.meta("run"))
        self.run = max(self.logged_run, int(self.reading.meta("begun") or 0))
        self.last = self.reading.ends()[1]
        log, run, seq = self._marked()
        if log != self.log:
            return
        if seq > self.last:
            lost = f"events {self.last + 1} to {seq} were given, but are not in the log {self.path}"
            self.notes.append(lost)
        self.run, self.last = max(self.run, run), max(self.last, seq)

    def _checked(self, stream: str) -> sqlite3.Connection:
        """An open connection to a log that is whole; raises Damaged when it is not."""
        from pipeline.event_log_repair import begun_frames, examine

        connection: sqlite3.Connection | None = None
        begun = begun_frames(self.path)
        try:
            connection = connect(self.path, self._sync)
            self._ours(connection, stream)
            note = examine(self.path, connection, begun)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise Damaged(str(error)) from None
            raise
        if note:
            self.notes.append(note)
        return connection

    def _ours(self, connection: sqlite3.Connection, stream: str) -> None:
        """Lay out a new file; raise a UserError when it is another stream's."""
        if not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            found(connection, uuid.uuid4().hex, stream)
        held = Reading(connection).meta("stream")
        if held and held != stream:
            raise UserError(f"log: {self.path} holds the events of {held}, not of {stream}")

    @property
    def reading(self) -> Reading:
        """Questions on the writer's own connection."""
        return Reading(self._connected())

    def _in_place(self) -> None:
        """A file that was removed or hidden by a mount would take rows to nowhere."""
        if self.path.stat().st_ino != self._inode:
            raise LogError("another file is in its place")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._in_place()
            self._connection = connect(self.path, self._sync)
        return self._connection

    def page(self, since: int, limit: int) -> list[Row]:
        """Rows after ``since``, at most ``limit``.

        Raises:
            LogError: the log cannot be read.
        """
        with told():
            return self.reading.rows(since, limit)

    def begin_after(self, run: int) -> int:
        """The seq with which the runs after ``run`` begin."""
        with told():
            return self.reading.begin_after(run)

    def begin(self, run: int) -> None:
        """Note that ``run`` begins; a power cut does not undo it, whatever ``sync`` says.

        Raises:
            LogError: it cannot be written.
        """
        with told():
            connection = self._connected()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('begun', ?)", (run,))
            connection.execute(f"PRAGMA synchronous = {self._sync}")

    def append(self, rows: Sequence[Row], run: int) -> None:
        """Write ``rows`` of ``run``, all or none; on the disk when it returns.

        Raises:
            LogError: nothing was written.
        """
        with told():
            try:
                self._in_place()
                insert(self._connected(), rows, run)
            except BaseException:
                self._disconnect()  # after an error of the disk nothing of it is trusted
                raise

    def prune(self) -> None:
        """Remove some of what is too old or too much.

        Raises:
            LogError: the log cannot be written.
        """
        if self._connection is not None:
            with told():
                self._removed(_AT_ONCE)

    def _removed(self, most: int) -> int:
        """Rows removed, the oldest first; the last row stays, so that the numbers go on."""
        assert self._connection is not None
        ask = self._connection.execute
        first, last = Reading(self._connection).ends()
        before: int = max(self._aged(last, most), self._oversized(first, last, most))
        if before <= first:
            return 0
        ask("DELETE FROM events WHERE seq < ?", (before,))
        self._connection.executescript(f"PRAGMA incremental_vacuum({most})")
        return before - first

    def _aged(self, last: int, most: int) -> int:
        """The first seq that is young enough, as far as one transaction goes."""
        assert self._connection is not None
        select = "SELECT seq, utc_ns FROM events WHERE seq < ? ORDER BY seq LIMIT ?"
        limit = self._utc_ns() - self._max_ns
        before = -1
        for seq, utc_ns in self._connection.execute(select, (last, most)).fetchall():
            if utc_ns >= limit:
                break
            before = seq + 1
        return before

    def _oversized(self, first: int, last: int, most: int) -> int:
        assert self._connection is not None
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        excess = 1 - self._max_bytes / ((pages - free) * size)
        if excess <= 0:
            return -1
        share: int = math.ceil(excess * (last + 1 - first))
        return min(first + min(share, most), last + 1 - _KEPT)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the file and let another mespot write."""
        self._disconnect()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
