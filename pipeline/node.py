"""What all nodes share: sockets, reports, a life of their own."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from pipeline import arrived, sockets
from pipeline.begun import Begun
from pipeline.config import Config
from pipeline.guard import Turned
from pipeline.machine import give_back_holes
from pipeline.messages import Command, Report
from pipeline.parcels import Parcels
from pipeline.redaction import redacted
from pipeline.reload import overlaid
from pipeline.routing import check_place
from pipeline.sockets import Addresses, Socket
from pipeline.wire import Wire, WireError, decode, encode
from stages.items import Curves, Event, Stamp

if TYPE_CHECKING:
    from pipeline.clips import Clips

POLL_MS = 100
_WORD_MS = 2000  # a report that matters waits so long for room
NEWER_WON = "capture: newer frame won"
_MOST_NOTES = 100
_SMALL_S = 60.0
_LONGEST_TEXT = 2000
_LOOKED_AT = 5 * _LONGEST_TEXT  # for secrets
_AFTER = {"capture": "face", "face": "motion", "motion": "spot", "spot": "classify"}
_AFTER["classify"] = "publish"


class Abandoned(Exception):
    """The supervisor wants the node gone at once."""


@dataclass
class Links:
    """What a node needs to reach the others."""

    addresses: Addresses
    context: zmq.Context[Any]
    abandon: threading.Event = field(default_factory=threading.Event)
    parcels: Parcels | None = None  # where the nodes are threads of one process
    begun: Begun = field(default_factory=Begun)
    clips: Clips | None = None  # where clips of events are kept


def stamp_of(item: Wire) -> Stamp | None:
    """The stamp by which latency is counted, when ``item`` has one.

    Columns redone against a later reference belong to frames long past, and an update
    repeats an event that is out already.
    """
    if isinstance(item, Curves) and item.eye is None:
        return None
    if isinstance(item, Event):
        return None if item.interval.phase == "update" else item.interval.decided
    return getattr(item, "stamp", None)


class Reporter:
    """Counts what a node does and tells the supervisor from time to time."""

    def __init__(self, name: str, epoch: int, link: Socket, every_s: float) -> None:
        self._name = name
        self._epoch = epoch
        self._link = link
        self.every_s = every_s
        self._last = time.monotonic()
        self._latencies: list[float] = []
        self._work: list[float] = []
        self._noted: set[str] = set()
        self.received = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self.revision = 0  # of the configuration that was heard
        self.idle = False  # the last look into the inbox found nothing

    def item(self, stamp: Stamp | None, work_s: float) -> None:
        """One item handled: its age since capture and the time spent on it."""
        self.received += 1
        self._work.append(work_s * 1e3)
        if stamp is not None:
            self._latencies.append((time.monotonic_ns() - stamp.mono_ns) / 1e6)

    def beat(self) -> None:
        """Report, when it is time to."""
        if time.monotonic() - self._last >= self.every_s:
            self.send("beat")

    def once(self, text: str) -> None:
        """A note that is sent the first time only."""
        if text not in self._noted and len(self._noted) < _MOST_NOTES:
            self._noted.add(text)
            self.send("note", text=text)

    def send(self, kind: Any, text: str = "", exit_code: int = 1, payload: bytes = b"") -> None:
        """Send a report with all counters."""
        report = Report(
            node=self._name,
            epoch=self._epoch,
            kind=kind,
            received=self.received,
            sent=self.sent,
            dropped=dict(self.dropped),
            latencies_ms=self._latencies,
            work_ms=self._work,
            idle=self.idle,
            text=redacted(text[:_LOOKED_AT])[:_LONGEST_TEXT],
            exit_code=exit_code,
            payload=payload,
            revision=self.revision,
        )
        self._latencies, self._work = [], []
        self._last = time.monotonic()
        if kind != "beat":  # the first ones come before the connection stands
            self._link.poll(_WORD_MS, zmq.POLLOUT)
        with contextlib.suppress(zmq.Again):
            self._link.send(msgspec.msgpack.encode(report), zmq.NOBLOCK)


class Node(ABC):
    """What all nodes share: an inbox, an outbox, reports.

    Sockets live as long as the node object; ``run`` may be called again after a
    failure, with a new stage and the next epoch.
    """

    name: str

    def __init__(self, name: str, config: Config, links: Links, epoch: int = 0) -> None:
        self.name = name
        self.config = config
        self.links = links
        self.epoch = epoch
        self.queue = 2 if is_live(config.source) else config.graph.queue
        self._stack = contextlib.ExitStack()
        self.reports = self._own(
            sockets.push(links.context, links.addresses["reports"], sockets.REPORTS)
        )
        self.inbox: Socket | None = None
        self.outbox: Socket | None = None
        if name != "capture":
            self.inbox = self._own(sockets.pull(links.context, links.addresses[name], self.queue))
        if name in _AFTER:
            address = links.addresses[_AFTER[name]]
            self.outbox = self._own(sockets.push(links.context, address, self.queue))
        self._commands = self._own(sockets.commands(links.context, links.addresses["commands"]))
        self._tap: Socket | None = None
        if config.tapped:
            self._tap = self._own(
                sockets.push(links.context, links.addresses["tap"], sockets.REPORTS)
            )
        self.reporter = self._reporter()
        self._turned = Turned(links.context)
        self._small_until = time.monotonic() + _SMALL_S

    def _own(self, opened: Socket) -> Socket:
        self._stack.callback(opened.close)
        return opened

    def _reporter(self) -> Reporter:
        return Reporter(self.name, self.epoch, self.reports, self.config.graph.heartbeat_s)

    def close(self) -> None:
        """Close every socket."""
        self._stack.close()

    def next_epoch(self) -> None:
        """Begin again after a death."""
        self.epoch += 1
        heard = self.reporter.revision
        self.reporter = self._reporter()
        self.reporter.revision = heard

    def check(self) -> None:
        """Beat, and leave when told to."""
        if self.links.abandon.is_set():
            raise Abandoned
        if self.name == "publish" or self.links.parcels is None:  # of threads, one counts for all
            self._count_turned()
            self._keep_small()
        self.hear()
        self.reporter.beat()

    def hear(self, wait_ms: int = 0) -> None:
        """Obey what the supervisor has said; wait for a word of its where asked to."""
        while self._commands.poll(wait_ms):
            wait_ms = 0
            try:
                command = arrived.command(self._commands.recv_multipart())
            except WireError:
                self.reporter.dropped["malformed"] += 1
                continue
            self.obey(command)

    def obey(self, command: Command) -> None:
        """Do as the supervisor says."""
        if command.kind != "reload" or command.revision <= self.reporter.revision:
            return
        try:
            self.config = overlaid(self.config, command.settings)
        except ValueError:
            self.reporter.dropped["malformed"] += 1
            return
        self.reporter.revision = command.revision
        self.reloaded()

    def reloaded(self) -> None:
        """``config`` has changed: pass on what is not looked up when it is needed."""
        self.reporter.every_s = self.config.graph.heartbeat_s

    def _keep_small(self) -> None:
        """What windows and cameras leave behind is no memory of ours; once for each process."""
        if time.monotonic() >= self._small_until:
            self._small_until = time.monotonic() + _SMALL_S
            give_back_holes()

    def _count_turned(self) -> None:
        refused, note = self._turned.take()
        self.reporter.dropped.update(refused)
        if note:
            self.reporter.send("note", text=note)

    def send(self, item: Wire, to: Socket | None = None) -> None:
        """Send one item, waiting for room."""
        target = to or self.outbox
        if target is None:
            return
        while not target.poll(POLL_MS, zmq.POLLOUT):
            self.check()
        if self.links.parcels is not None:
            target.send(self.links.parcels.put(item))
        else:
            target.send_multipart(encode(item), copy=False)
        self.reporter.sent += 1

    def tap(self, parts: Sequence[bytes]) -> None:
        """Let those hear ``parts`` who look on, if there is room."""
        if self._tap is not None:
            with contextlib.suppress(zmq.Again):
                self._tap.send_multipart(parts, zmq.NOBLOCK)

    def take(self, socket: Socket) -> Wire | None:
        """The next item waiting on ``socket``; None when there is none, or none of ours."""
        # NOBLOCK: a stranger who is turned away makes ZeroMQ announce what never comes
        try:
            if self.links.parcels is None:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
                item = decode([part.buffer for part in frames])
                check_place(item, self.name if socket is self.inbox else "feedback")
                return item
            parts = socket.recv_multipart(zmq.NOBLOCK)
            return self.links.parcels.take(parts[0]) if Parcels.is_one(parts[0]) else decode(parts)
        except zmq.Again:
            return None
        except WireError as error:
            self.reporter.dropped["malformed"] += 1
            self.reporter.once(f"dropped a malformed message: {error}")
            return None

    def receive(self) -> Wire | None:
        """The next item, or None after a while without one."""
        assert self.inbox is not None
        self.check()
        self.reporter.idle = not self.inbox.poll(POLL_MS)
        return None if self.reporter.idle else self.take(self.inbox)

    @abstractmethod
    def run(self) -> None:
        """Work until the stream ends."""


def is_live(source: str) -> bool:
    """Whether ``source`` is a camera (newest frame wins) and not a recording (lossless)."""
    return source.isdigit() or source.startswith(("rtsp://", "rtsps://"))
