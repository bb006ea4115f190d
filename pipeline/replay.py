"""The replay socket: everything since a sequence number, page by page (``docs/protocol.md``)."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import zmq

from pipeline.event_rows import LogError, Reading, Row, reader
from pipeline.guard import Guard
from pipeline.journal import Journal
from pipeline.known import known
from pipeline.schema import VERSION
from pipeline.sockets import Socket

PAGE_EVENTS = 500
PAGE_BYTES = 1_000_000
PER_CLIENT = (20.0, 40.0)  # pages a second, and at once
OVER_ALL = (100.0, 200.0)
_REFUSALS = (200.0, 200.0)  # answers a second to what is refused; the rest waits unread
_CLIENTS = 256  # remembered, the newest
_POLL_MS = 100
_REST_S = 0.02

_Number = Annotated[int, msgspec.Meta(ge=-1, le=1 << 62)]


class Request(msgspec.Struct, kw_only=True):
    """What a client asks; one msgpack map."""

    v: Literal[1] = 1
    id: _Number = 0  # comes back in the answer
    since: _Number  # seq of the last event had; -1: from the start
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_EVENTS)] = PAGE_EVENTS
    log: Annotated[str, msgspec.Meta(max_length=64)] = ""  # the log that ``since`` belongs to
    run: _Number | None = None  # newest run known


class Answer(msgspec.Struct, kw_only=True):
    """One page."""

    v: int = VERSION
    type: str = "replay"
    id: int = 0
    stream: str = ""
    log: str = ""
    run: int = 0  # current
    first: int = 0  # oldest seq kept
    last: int = -1  # newest seq given
    events: list[msgspec.Raw] = []  # the bodies as published, in order
    resync: int | None = None  # where the runs after the asker's begin, when not after ``since``
    retry_after_s: float = 0.0
    error: str = ""


class Bucket:
    """So many a second, so many at once.

    Args:
        rate: a second.
        burst: at once.
        clock: seconds, injected for tests.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = burst, clock()

    def wait_s(self) -> float:
        """0 when one more may be had, else after how many seconds."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._level >= 1 else (1 - self._level) / self._rate

    def take(self) -> None:
        """Have one."""
        self._level -= 1


class Limits:
    """How often each client, and all together, may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Bucket(*OVER_ALL, clock)
        self._each: OrderedDict[bytes, Bucket] = OrderedDict()

    def wait_s(self, client: bytes) -> float:
        """0 when ``client`` may be served, which counts; else after how many seconds."""
        own = self._each.pop(client, None) or Bucket(*PER_CLIENT, self._clock)
        self._each[client] = own
        if len(self._each) > _CLIENTS:
            self._each.popitem(last=False)
        wait = max(own.wait_s(), self._all.wait_s())
        if not wait:
            own.take()
            self._all.take()
        return wait


class Pages:
    """Answers from the log and from what only memory holds; of one thread.

    Args:
        journal: what was published.
        stream: name of the stream.
    """

    def __init__(self, journal: Journal, stream: str) -> None:
        self._journal = journal
        self._stream = stream
        self._stack = contextlib.ExitStack()
        self._reading: Reading | None = None

    def answer(self, request: Request) -> Answer:
        """The page that ``request`` asks for."""
        # in this order: what leaves memory meanwhile is found in the log
        last, held = self._journal.last, self._journal.held(-1)
        answer = Answer(
            id=request.id,
            stream=self._stream,
            log=self._journal.log,
            run=self._journal.run,
            last=last,
        )
        try:
            rows, answer.first = self._rows(request, last, held)
            if request.log and request.log != answer.log:
                return answer
            answer.resync = self._resync(request, last, held)
        except (LogError, sqlite3.Error) as error:
            self.close()
            answer.error = f"the log cannot be read: {error}"
            answer.retry_after_s = 1.0
            return answer
        if answer.resync is None:
            answer.events = _page(rows, request.limit, last)
        return answer

    def _rows(self, request: Request, last: int, held: list[Row]) -> tuple[list[Row], int]:
        """Rows that fit, without a hole between them that is none; and the oldest seq."""
        waiting = [row for row in held if row.seq > request.since]
        first = held[0].seq if held else last + 1
        reading = self._open()
        if reading is None:
            return waiting, first
        begin, end = reading.ends()
        rows = reading.rows(request.since, request.limit, PAGE_BYTES)
        reached = rows[-1].seq if rows else request.since
        if reached >= end:
            rows += [row for row in waiting if row.seq > reached]
        return rows, min(first, begin) if end >= 0 else first

    def _open(self) -> Reading | None:
        if self._reading is None and self._journal.path is not None:
            self._reading = Reading(self._stack.enter_context(reader(self._journal.path)))
        return self._reading

    def _resync(self, request: Request, last: int, held: list[Row]) -> int | None:
        """Where later runs begin, when they gave numbers that the asker has from elsewhere."""
        if request.run is None:
            return last + 1 if request.since > last else None
        reading = self._open()
        in_log = last + 1 if reading is None else reading.begin_after(request.run)
        in_memory = next((row.seq for row in held if row.run > request.run), last + 1)
        begin = min(in_log, in_memory)
        return begin if begin <= request.since else None

    def close(self) -> None:
        """Close the connection; the next answer opens it anew."""
        self._reading = None
        self._stack.close()


def _page(rows: list[Row], limit: int, last: int) -> list[msgspec.Raw]:
    bodies: list[msgspec.Raw] = []
    size = 0
    for row in rows[:limit]:
        size += len(row.body)
        if row.seq > last or (bodies and size > PAGE_BYTES):
            break
        bodies.append(msgspec.Raw(row.body))
    return bodies


class ReplayServer(threading.Thread):
    """Serves pages in a thread of its own until ``stop``.

    Args:
        link: a bound ROUTER socket, which is the thread's from now on.
        address: where it is bound.
        guard: who may ask; the thread's from now on.
        journal: what was published.
        stream: name of the stream.

    Attributes:
        counts: pages served; requests malformed, refused, turned away and failed.
    """

    def __init__(
        self, link: Socket, address: str, guard: Guard, journal: Journal, stream: str
    ) -> None:
        super().__init__(name="replay", daemon=True)
        self._link, self._address, self._guard = link, address, guard
        self._pages = Pages(journal, stream)
        self._limits = Limits()
        self._refusals = Bucket(*_REFUSALS, time.monotonic)
        self._over = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Answer until told to stop."""
        with contextlib.closing(self._pages), self._link:
            while not self._over.is_set():
                try:
                    self._guard.tend(self._link, self._address)
                except zmq.ZMQError:  # the address is not free yet: again at the next turn
                    self.counts["failed"] += 1
                if self._refusals.wait_s():
                    self._over.wait(_REST_S)  # a flood waits in its senders
                elif self._link.poll(_POLL_MS):
                    try:
                        self._take(self._link.recv_multipart(zmq.NOBLOCK, copy=False))
                    except zmq.Again:  # announced, and turned away
                        continue
                    except Exception:  # noqa: BLE001  no request may end the service
                        self.counts["failed"] += 1

    def _take(self, frames: list[zmq.Frame]) -> None:
        """Serve whoever is still let in."""
        if self._guard.admits(self._link, frames[-1]):
            self._serve([frame.bytes for frame in frames])
        else:
            self.counts["turned away"] += 1

    def _serve(self, parts: list[bytes]) -> None:
        client = parts[0]
        wait = self._limits.wait_s(client)
        if wait:
            self.counts["refused"] += 1
            self._refusals.take()
            answer = Answer(retry_after_s=round(wait, 3), error="too many requests")
        else:
            answer = self._answer(parts)
        # REQ sockets put an empty part in between
        envelope = parts[:2] if len(parts) == 3 and not parts[1] else parts[:1]
        with contextlib.suppress(zmq.Again):  # a client that does not read
            self._link.send_multipart([*envelope, msgspec.msgpack.encode(answer)], zmq.NOBLOCK)

    def _answer(self, parts: list[bytes]) -> Answer:
        try:
            if len(parts) != 2 and (len(parts) != 3 or parts[1]):
                raise msgspec.ValidationError("a request is one part")
            request = msgspec.msgpack.decode(parts[-1], type=known(Request))
        except (msgspec.MsgspecError, RecursionError) as error:
            self.counts["malformed"] += 1
            return Answer(error=f"malformed: {error}"[:200])
        self.counts["pages"] += 1
        return self._pages.answer(request)

    def stop(self) -> None:
        """End the thread; its socket is closed."""
        self._over.set()
        if self.ident is None:
            self._link.close()
        else:
            self.join(timeout=5)
