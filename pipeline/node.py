"""The nodes: one loop each around a source, a stage or the event socket."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq

from pipeline import routing, sockets
from pipeline.build import build, prototypes
from pipeline.config import Config
from pipeline.messages import Command, End, Report, Restarted, Sync
from pipeline.parcels import Parcels
from pipeline.publish import EventFile, Messages
from pipeline.routing import step
from pipeline.schema import EventMessage, Message, StateMessage, topic
from pipeline.sockets import Addresses, Socket
from pipeline.wire import Wire, WireError, decode, encode
from stages.items import Curves, Event, Frame, Stamp, Stride, WindowEnd

_POLL_MS = 100
_FAILURES_IN_A_ROW = 30  # a stage that rejects this many items running is taken as dead
_MOST_NOTES = 100
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
        self._every_s = every_s
        self._last = time.monotonic()
        self._latencies: list[float] = []
        self._work: list[float] = []
        self._noted: set[str] = set()
        self.received = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()

    def item(self, stamp: Stamp | None, work_s: float) -> None:
        """One item handled: its age since capture and the time spent on it."""
        self.received += 1
        self._work.append(work_s * 1e3)
        if stamp is not None:
            self._latencies.append((time.monotonic_ns() - stamp.mono_ns) / 1e6)

    def beat(self) -> None:
        """Report, when it is time to."""
        if time.monotonic() - self._last >= self._every_s:
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
            text=text,
            exit_code=exit_code,
            payload=payload,
        )
        self._latencies, self._work = [], []
        self._last = time.monotonic()
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
        self.reporter = self._reporter()

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
        self.reporter = self._reporter()

    def check(self) -> None:
        """Beat, and leave when told to."""
        if self.links.abandon.is_set():
            raise Abandoned
        self.reporter.beat()

    def send(self, item: Wire, to: Socket | None = None) -> None:
        """Send one item, waiting for room."""
        target = to or self.outbox
        if target is None:
            return
        while not target.poll(_POLL_MS, zmq.POLLOUT):
            self.check()
        if self.links.parcels is not None:
            target.send(self.links.parcels.put(item))
        else:
            target.send_multipart(encode(item), copy=False)
        self.reporter.sent += 1

    def take(self, socket: Socket) -> Wire | None:
        """The next item waiting on ``socket``; None when it was no message of ours."""
        try:
            if self.links.parcels is None:
                return decode([part.buffer for part in socket.recv_multipart(copy=False)])
            parts = socket.recv_multipart()
            return self.links.parcels.take(parts[0]) if Parcels.is_one(parts[0]) else decode(parts)
        except WireError as error:
            self.reporter.dropped["malformed"] += 1
            self.reporter.once(f"dropped a malformed message: {error}")
            return None

    def receive(self) -> Wire | None:
        """The next item, or None after a while without one."""
        assert self.inbox is not None
        self.check()
        return self.take(self.inbox) if self.inbox.poll(_POLL_MS) else None

    @abstractmethod
    def run(self) -> None:
        """Work until the stream ends."""


def is_live(source: str) -> bool:
    """Whether ``source`` is a camera (newest frame wins) and not a recording (lossless)."""
    return source.isdigit() or source.startswith(("rtsp://", "rtsps://"))


class StageNode(Node):
    """A stage between two sockets."""

    def __init__(self, name: str, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__(name, config, links, epoch)
        self._failures = 0

    def run(self) -> None:
        """Build the stage, then items in, items out, until the end."""
        self.stage = build(self.name, self.config, self.epoch)
        self.reporter.send("ready", text=self._detail())
        if self.epoch:
            self.send(Restarted("", self.name))
        while True:
            item = self.receive()
            if isinstance(item, End):
                self.finish(item)
                return
            if item is not None:
                self.handle(item)

    def _detail(self) -> str:
        return str(getattr(self.stage, "device", ""))

    def handle(self, item: Wire) -> None:
        """One item through the stage; an item it raises on is dropped and counted."""
        begin = time.perf_counter()
        try:
            outputs = self.outputs(item)
        except Exception as error:  # noqa: BLE001  a stage may raise anything; said and counted
            self._rejected(error)
            return
        self._failures = 0
        if isinstance(item, routing.ACCEPTS[self.name]):
            self.reporter.item(stamp_of(item), time.perf_counter() - begin)
        self.deliver(outputs)

    def outputs(self, item: Wire) -> list[Wire]:
        """What ``item`` makes the stage give."""
        return list(step(self.name, self.stage, item, self.config.publish.curves))

    def _rejected(self, error: Exception) -> None:
        self._failures += 1
        self.reporter.dropped[f"{self.name} failed"] += 1
        self.reporter.once(f"dropped an item: {type(error).__name__}: {error}")
        if self._failures >= _FAILURES_IN_A_ROW:
            self._failures = 0
            raise error

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Send what the stage made."""
        for output in outputs:
            self.send(output)

    def finish(self, end: End) -> None:
        """Flush the stage and pass the end on."""
        self.deliver(self.stage.flush())
        self.send(end)


class MotionNode(StageNode):
    """Motion, with the strides that spot feeds back.

    After a window's end nothing new is taken until spot has answered, so that
    the outcome does not depend on how fast either node runs.
    """

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("motion", config, links, epoch)
        address = links.addresses["feedback"]
        self.feedback = self._own(sockets.pull(links.context, address, 1000))
        self._sync = 0
        self._poller = zmq.Poller()
        for socket in (self.feedback, self.inbox):
            self._poller.register(socket, zmq.POLLIN)

    def receive(self) -> Wire | None:
        """Strides before faces."""
        assert self.inbox is not None
        self.check()
        waiting = dict(self._poller.poll(_POLL_MS))
        if self.feedback in waiting:
            item = self.take(self.feedback)
            return item if isinstance(item, Stride) else None
        return self.take(self.inbox) if self.inbox in waiting else None

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Send, and settle when a window ended."""
        ended = False
        for output in outputs:
            ended = ended or isinstance(output, WindowEnd)
            self.send(output)
        if ended:
            self._settle()

    def _settle(self) -> None:
        while self._answers_to_sync():
            pass

    def _answers_to_sync(self) -> bool:
        """Ask spot to catch up; True when a stride came that made new columns."""
        self._sync += 1
        made = False
        self.send(Sync(self._sync))
        asked = time.monotonic()
        while True:
            self.check()
            if self.feedback.poll(_POLL_MS):
                item = self.take(self.feedback)
                if isinstance(item, Sync) and item.number == self._sync:
                    return made
                if isinstance(item, Stride):
                    outputs = list(step("motion", self.stage, item))
                    made = made or bool(outputs)
                    for output in outputs:
                        self.send(output)
            elif time.monotonic() - asked > 2.0:  # spot died with the question
                asked = time.monotonic()
                self.send(Sync(self._sync))


class SpotNode(StageNode):
    """Spot, with strides and sync answers going back to motion."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("spot", config, links, epoch)
        self.feedback = self._own(sockets.push(links.context, links.addresses["feedback"], 1000))

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Strides and sync answers to motion, the rest onward."""
        for output in outputs:
            back = isinstance(output, Stride | Sync)
            self.send(output, self.feedback if back else None)


class CaptureNode(Node):
    """The source; live, the newest frame wins and the camera never waits."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("capture", config, links, epoch)
        self._commands = sockets.listen(links.context, links.addresses["commands"])
        self._stack.callback(self._commands.close)
        self._go = threading.Event()
        self._stop = threading.Event()
        self._last_frame = -1

    def run(self) -> None:
        """Open the source, wait for the word, then send frames until the end."""
        from pipeline.sources import open_source

        config = self.config
        source = open_source(
            config.source,
            fps=config.fps,
            stream=config.capture.name or None,
            duration_s=config.duration,
            open_timeout_s=config.capture.open_timeout_s,
            read_timeout_s=config.capture.read_timeout_s,
        )
        with contextlib.closing(source):
            total = source.n_frames or 0
            self.reporter.send("ready", text=f"{source.stream}\t{total}")
            if self.epoch:
                self.send(Restarted(source.stream, self.name))
            else:
                self._await_go()
            self._pump(source)
            self.send(End(source.stream, getattr(source, "warning", None) or ""))

    def _await_go(self) -> None:
        while not (self._go.is_set() or self._stop.is_set()):
            self.check()
            self._obey(_POLL_MS)

    def _obey(self, wait_ms: int = 0) -> None:
        while self._commands.poll(wait_ms):
            command = msgspec.msgpack.decode(self._commands.recv(), type=Command)
            (self._go if command.kind == "go" else self._stop).set()
            wait_ms = 0

    def _pump(self, source: Any) -> None:
        frames = iter(source.frames())
        while not self._stop.is_set():
            self._room()
            if self._stop.is_set():
                break
            frame: Frame | None = next(frames, None)
            if frame is None:
                break
            self._obey()
            if frame.stamp.frame <= self._last_frame:  # a recording reopened after a death
                continue
            begin = time.perf_counter()
            self._gap(frame)
            self.send(frame)
            self.reporter.item(frame.stamp, time.perf_counter() - begin)

    def _room(self) -> None:
        """Wait for room before taking a frame, so that it is the newest when sent."""
        assert self.outbox is not None
        while not self._stop.is_set() and not self.outbox.poll(_POLL_MS, zmq.POLLOUT):
            self.check()
            self._obey()
        self.check()

    def _gap(self, frame: Frame) -> None:
        missing = frame.stamp.frame - self._last_frame - 1
        if missing > 0 and is_live(self.config.source):
            self.reporter.dropped["capture: newer frame won"] += missing
        self._last_frame = frame.stamp.frame


class PublishNode(Node):
    """Messages out: socket, file, and the supervisor's console."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("publish", config, links, epoch)
        self._messages: Messages | None = None
        self._public: Socket | None = None
        self._file: EventFile | None = None

    def run(self) -> None:
        """Publish until the end."""
        if self._public is None:
            water = self.config.publish.high_water_mark
            self._public, address = sockets.publisher(self.links.context, self.config.events, water)
            self._own(self._public)
            if self.config.out is not None:
                self._file = EventFile(self.config.out, append=self.epoch > 0)
                self._stack.callback(self._file.close)
            self._aus = prototypes(self.config).aus
            self.reporter.send("ready", text=address)
        while True:
            item = self.receive()
            if item is None:
                continue
            begin = time.perf_counter()
            self._publish(item)
            if isinstance(item, Event):
                self.reporter.item(stamp_of(item), time.perf_counter() - begin)
            if isinstance(item, End):
                return

    def _publish(self, item: Wire) -> None:
        stamp = stamp_of(item)
        if self._messages is None:
            stream = stamp.stream if stamp is not None else getattr(item, "stream", "")
            self._messages = Messages(stream, self._aus)
            self._out(self._messages.state("started"))
        for message in self._messages.of(item):
            self._out(message)

    def _out(self, message: Message) -> None:
        assert self._public is not None
        body = msgspec.msgpack.encode(message)
        self._public.send_multipart([topic(message), body])
        self.reporter.sent += 1
        if isinstance(message, EventMessage) and self._file is not None:
            self._file.write(message)
        if isinstance(message, EventMessage | StateMessage):
            self.reporter.send("published", payload=body)
