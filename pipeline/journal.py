"""What was published: the log behind it, and memory where the log cannot be written."""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import UserError
from pipeline.config import Config
from pipeline.event_log import EventLog
from pipeline.event_rows import LogError, Row

_HELD = 10_000  # events in memory
_HELD_BYTES = 32_000_000
_PAGE = 500  # events of one transaction, or of one step of a long read


def default_path(stream: str) -> Path:
    """``<XDG_STATE_HOME or ~/.local/state>/mespot/<stream>.db``."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "mespot" / f"{stream[:200]}.db"


def open_journal(config: Config, stream: str) -> Journal:
    """The journal that ``config`` asks for.

    A default log that cannot be opened is done without: ``Journal.changes`` says so.

    Raises:
        UserError: the log is another's, or one that was asked for cannot be opened.
    """
    if not config.log.enabled:
        return Journal(None)
    path = config.log.path or default_path(stream)
    try:
        made = EventLog(path, stream, config.log.sync, config.log.max_mb, config.log.max_days)
    except LogError as error:
        if config.log.path is not None:
            raise UserError(f"log: cannot open {path}: {error}") from None
        journal = Journal(None)
        journal.changes.append(("log_failed", f"{path}: {error}; this run has no log"))
        return journal
    return Journal(made)


class Journal:
    """Numbers belong to it: what it has taken is never numbered again.

    Args:
        file: the log; None keeps the newest events in memory alone.

    Attributes:
        log: the identity of what is numbered; new with every start without a file.
        run: this start's, after ``begin``; 0 without a file.
        logged_run: the newest run in the log; before it everything is closed there.
        last: newest seq that was given; -1 before the first.
        changes: ``(state, detail)`` that subscribers must be told; taken by the reader.
    """

    def __init__(self, file: EventLog | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._held: deque[Row] = deque()
        self._bytes = 0
        self._failed = False
        self._lost = 0
        self.changes: list[tuple[str, str]] = []
        self.log = uuid.uuid4().hex if file is None else file.log
        self.run = 0 if file is None else file.run
        self.logged_run = 0 if file is None else file.logged_run
        self.last = -1 if file is None else file.last
        self.notes = [] if file is None else file.notes

    @property
    def path(self) -> Path | None:
        """The log's file."""
        return None if self._file is None else self._file.path

    def limit(self, max_mb: float, max_days: float) -> None:
        """Other limits of the log from now on."""
        if self._file is not None:
            self._file.limit(max_mb, max_days)

    def begin(self) -> None:
        """A new run: its number is never given again, its events may be."""
        if self._file is not None:
            self.run += 1
            try:
                self._file.begin(self.run)
            except LogError as error:
                self._fail(error)

    def of_runs(self, first: int) -> Iterator[Row]:
        """Everything from run ``first`` on that is still there, in order.

        Raises:
            LogError: the log cannot be read.
        """
        return self.rows(-1 if self._file is None else self._file.begin_after(first - 1) - 1)

    def rows(self, since: int) -> Iterator[Row]:
        """Everything after ``since`` that is still there, in order.

        Raises:
            LogError: the log cannot be read.
        """
        if self._file is not None:
            while page := self._file.page(since, _PAGE):
                yield from page
                since = page[-1].seq
        yield from self.held(since)

    def held(self, since: int) -> list[Row]:
        """What is in memory after ``since``; may be asked in any thread."""
        with self._lock:
            return [row for row in self._held if row.seq > since]

    def append(self, rows: Sequence[Row]) -> None:
        """Take ``rows``: in the log, or else in memory, when it returns."""
        if self._file is None or self._failed:
            self._hold(rows)
        else:
            try:
                self._file.append(rows, self.run)
            except LogError as error:
                self._fail(error)
                self._hold(rows)
        if rows:
            self.last = rows[-1].seq
        if self._file is not None:
            self._file.mark(self.run, self.last)

    def tend(self) -> None:
        """From time to time: write what waits, remove what is old."""
        if self._file is None:
            return
        try:
            if self._failed:
                self._write_held()
            else:
                self._file.prune()
        except LogError as error:
            self._fail(error)

    def _fail(self, error: LogError) -> None:
        if not self._failed:
            self._failed = True
            self.changes.append(("log_failed", str(error)))

    def _hold(self, rows: Sequence[Row]) -> None:
        with self._lock:
            for row in rows:
                self._held.append(row)
                self._bytes += len(row.body)
            while len(self._held) > _HELD or self._bytes > _HELD_BYTES:
                self._bytes -= len(self._held.popleft().body)
                self._lost += self._file is not None

    def _write_held(self) -> None:
        assert self._file is not None
        written = 0
        while True:
            rows = self.held(-1)[:_PAGE]
            self._file.append(rows, self.run)
            with self._lock:
                for row in rows:
                    self._bytes -= len(row.body)
                    self._held.popleft()
            written += len(rows)
            if not self._held:
                break
        lost = f"; {self._lost} events were not kept" if self._lost else ""
        self._failed, self._lost = False, 0
        self.changes.append(("log_back", f"{written} events written{lost}"))

    def close(self) -> None:
        """Write what waits, if it can be written, and close the log."""
        self.tend()
        if self._file is not None:
            self._file.close()
