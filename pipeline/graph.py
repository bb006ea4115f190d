"""The supervisor: starts the six nodes, restarts them, and knows when it is over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event as SyncEvent
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from models.errors import UserError
from pipeline import sockets
from pipeline.build import import_ahead
from pipeline.config import Config
from pipeline.door import Door
from pipeline.machine import settle
from pipeline.messages import Command, End, Report
from pipeline.node import Links, is_live
from pipeline.nodes import make, work
from pipeline.parcels import Parcels
from pipeline.samples import Samples
from pipeline.sockets import NODES, Addresses
from pipeline.wire import encode

if TYPE_CHECKING:
    from pipeline.clips import Clips

_KEPT_SAMPLES = 50_000  # of each figure of each node: 28 minutes at 30 fps
_MINUTE_S = 60.0
_REST_S = 0.02  # of a thread between death and rebirth


class GraphDied(UserError):
    """Nodes died too often."""

    exit_code = 3


class RunFailed(UserError):
    """A node could not go on for a reason that the user can mend."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class NodeState:
    """What is known of one node."""

    epoch: int = 0
    ready: bool = False
    done: bool = False
    received: int = 0
    sent: int = 0
    detail: str = ""
    dropped: Counter[str] = field(default_factory=Counter)
    past: Counter[str] = field(default_factory=Counter)  # counters of earlier epochs
    latencies_ms: Samples = field(default_factory=lambda: Samples(_KEPT_SAMPLES))
    work_ms: Samples = field(default_factory=lambda: Samples(_KEPT_SAMPLES))
    heard: float = field(default_factory=time.monotonic)

    def update(self, report: Report) -> None:
        """Take a report's counters."""
        self.heard = time.monotonic()
        if report.epoch != self.epoch:
            return
        self.received, self.sent = report.received, report.sent
        self.dropped = Counter(report.dropped)
        self.latencies_ms.extend(report.latencies_ms)
        self.work_ms.extend(report.work_ms)

    def renew(self, epoch: int) -> None:
        """The node was restarted: its counters begin again."""
        self.past.update(self.dropped)
        self.past["\0received"] += self.received
        self.epoch = epoch
        self.ready = False
        self.received = self.sent = 0
        self.dropped = Counter()
        self.heard = time.monotonic()

    @property
    def total_received(self) -> int:
        """Items handled over all epochs."""
        return self.received + self.past["\0received"]

    @property
    def total_dropped(self) -> Counter[str]:
        """Items dropped over all epochs, by reason."""
        total = Counter(self.dropped)
        total.update({k: v for k, v in self.past.items() if not k.startswith("\0")})
        return total


@dataclass
class Summary:
    """What a run came to."""

    nodes: dict[str, NodeState]
    events: Counter[str]  # by phase, and finals by kind
    seconds: float
    warning: str = ""
    restarts: int = 0

    @property
    def frames(self) -> int:
        """Frames captured."""
        return self.nodes["capture"].total_received

    @property
    def dropped(self) -> Counter[str]:
        """Drops by reason, over all nodes."""
        total: Counter[str] = Counter()
        for node in self.nodes.values():
            total.update(node.total_dropped)
        return total


class _ParentWatch(threading.Event):
    """Set once the supervising process is gone."""

    def is_set(self) -> bool:
        parent = multiprocessing.parent_process()
        return super().is_set() or (parent is not None and not parent.is_alive())


def _process_main(
    name: str, config: Config, addresses: Addresses, epoch: int, over: SyncEvent
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor drains
    settle()
    context: zmq.Context[Any] = zmq.Context()
    node = make(name, config, Links(addresses, context, _ParentWatch()), epoch)
    parent_gone = _ParentWatch()
    alive = work(node)
    # what is still on its way to a slower node would be lost with this end of the connection
    while alive and not over.wait(0.5) and not parent_gone.is_set():
        pass
    node.close()
    context.term()
    raise SystemExit(0 if alive else 1)


class _Threads:
    """Nodes as threads of this process; a dead one is begun again on its own sockets."""

    def __init__(self, config: Config, addresses: Addresses, context: zmq.Context[Any]) -> None:
        self._config = config
        self._links = Links(addresses, context, parcels=Parcels(), clips=_clips(config))
        self._threads: list[threading.Thread] = []

        # OpenCV's own start is not fit for several threads that import it at once
        import cv2  # noqa: F401

    def prepare(self) -> None:
        self._begin("imports", import_ahead)

    def start(self, name: str, epoch: int) -> None:
        if not epoch:  # later the thread restarts itself
            self._begin(name, self._run, name)

    def _begin(self, name: str, work: Callable[..., None], *arguments: str) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self, name: str) -> None:
        node = make(name, self._config, self._links)
        try:
            while not work(node) and not self._links.abandon.wait(_REST_S):
                node.next_epoch()
        finally:
            node.close()

    def dead(self) -> list[str]:
        return []  # a thread reports its own death

    def end(self) -> None:
        self._links.abandon.set()
        for thread in self._threads:
            thread.join(timeout=10)
        if self._links.clips is not None:
            self._links.clips.close()


def _clips(config: Config) -> Clips | None:
    if config.clips.folder is None:
        return None
    from pipeline.clips import Clips

    return Clips(config.clips, is_live(config.source))


class _Processes:
    """Nodes as processes; a dead one is replaced by a new one."""

    def __init__(self, config: Config, addresses: Addresses) -> None:
        self._config = config
        self._addresses = addresses
        self._spawn = multiprocessing.get_context("spawn")
        self._over = self._spawn.Event()
        self._live: dict[str, Any] = {}

    def prepare(self) -> None:
        """Each process imports for itself."""

    def start(self, name: str, epoch: int) -> None:
        process = self._spawn.Process(
            target=_process_main,
            args=(name, self._config, self._addresses, epoch, self._over),
            name=f"mespot-{name}",
            daemon=True,
        )
        process.start()
        self._live[name] = process

    def dead(self) -> list[str]:
        return [
            name
            for name, process in self._live.items()
            if process.exitcode is not None and process.exitcode != 0
        ]

    def kill(self, name: str) -> None:
        self._live[name].kill()
        self._live[name].join()

    def end(self) -> None:
        self._over.set()
        for process in self._live.values():
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()


class Graph:
    """One run of the six nodes.

    Args:
        config: what to run.
        on_report: called in the supervising thread with every report.
    """

    def __init__(
        self, config: Config, on_report: Callable[[Report, Graph], None] = lambda r, g: None
    ) -> None:
        self.config = config
        self.nodes = {name: NodeState() for name in NODES}
        self.events: Counter[str] = Counter()
        self.warning = ""
        self._on_report = on_report
        self._deaths: deque[float] = deque()
        self._restarts = 0
        self._stops = 0
        self._failure: UserError | None = None
        self._running = False
        self._face_started = False

    def stop(self) -> None:
        """Ask for a drain: open intervals are closed or retracted, then the run ends."""
        self._stops += 1

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        del frame
        self.stop()
        if self._stops > 1:
            os._exit(128 + number)

    def run(self) -> Summary:
        """Run until the source ends or ``stop`` is called.

        Raises:
            UserError: a node could not start, or nodes died too often.
        """
        settle()
        begin = time.monotonic()
        label = f"mespot-{uuid.uuid4().hex[:12]}"
        with (
            zmq.Context() as context,
            sockets.addresses(self.config.transport, label) as addresses,
            sockets.pull(context, addresses["reports"], sockets.REPORTS) as reports,
            sockets.broadcast(context, addresses["commands"]) as commands,
        ):
            workers = (
                _Threads(self.config, addresses, context)
                if self.config.transport == "inproc"
                else _Processes(self.config, addresses)
            )
            # a mistake in options or source is found before the landmarker is made
            for name in reversed(NODES):
                if name != "face":
                    workers.start(name, 0)
            workers.prepare()
            try:
                while not (self.nodes["publish"].done or self._failure):
                    self._turn(reports, commands, workers, addresses, context)
            finally:
                workers.end()
                self._drain(reports)
        if self._failure is not None:
            raise self._failure
        seconds = time.monotonic() - begin
        return Summary(self.nodes, self.events, seconds, self.warning, self._restarts)

    def _turn(
        self,
        reports: sockets.Socket,
        commands: sockets.Socket,
        workers: _Threads | _Processes,
        addresses: Addresses,
        context: zmq.Context[Any],
    ) -> None:
        self._command(commands)
        self._start_face(workers)
        died = [self._take(reports)] if reports.poll(50) else []
        if isinstance(workers, _Processes):  # nodes count who is turned away from their own sockets
            self.nodes["publish"].past.update(Door.refused(context))
        for name in [*workers.dead(), *self._silent(workers), *filter(None, died)]:
            self._died(name)
            if self._failure is None:
                workers.start(name, self.nodes[name].epoch)
                self._end_again(name, addresses, context)

    def _start_face(self, workers: _Threads | _Processes) -> None:
        others = (state.ready for name, state in self.nodes.items() if name != "face")
        if not self._face_started and self._failure is None and all(others):
            self._face_started = True
            workers.start("face", 0)

    def _command(self, commands: sockets.Socket) -> None:
        if self._stops:
            commands.send(msgspec.msgpack.encode(Command("stop")))
        elif not self._running and all(node.ready for node in self.nodes.values()):
            # repeated until frames come: a subscription may still be on its way
            commands.send(msgspec.msgpack.encode(Command("go")))
            self._running = self.nodes["capture"].received > 0

    def _drain(self, reports: sockets.Socket) -> None:
        while reports.poll(0):
            self._take(reports)

    def _take(self, reports: sockets.Socket) -> str | None:
        """Handle one report; the node's name when it tells of its death."""
        try:
            report = msgspec.msgpack.decode(reports.recv(zmq.NOBLOCK), type=Report)
        except zmq.Again:  # a stranger who is turned away is announced like a report
            return None
        state = self.nodes[report.node]
        state.update(report)
        if report.kind == "ready":
            state.ready, state.detail = True, report.text
        elif report.kind == "done":
            state.done = True
        elif report.kind == "fatal" and self._failure is None:
            self._failure = RunFailed(report.text, report.exit_code)
        elif report.kind == "published":
            self._count(report.payload)
        self._on_report(report, self)
        return report.node if report.kind == "death" else None

    def _count(self, payload: bytes) -> None:
        message = msgspec.msgpack.decode(payload)
        if message["type"] == "event":
            self.events[message["phase"]] += 1
            if message["phase"] == "final":
                self.events[message["kind"]] += 1
        elif message["state"] == "ended":
            self.warning = message["detail"]

    def _silent(self, workers: _Threads | _Processes) -> list[str]:
        if isinstance(workers, _Threads):
            return []
        limit = time.monotonic() - self.config.graph.silence_s
        silent = [n for n, s in self.nodes.items() if s.ready and not s.done and s.heard < limit]
        for name in silent:
            workers.kill(name)
        return silent

    def _died(self, name: str) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        self._restarts += 1
        while now - self._deaths[0] > _MINUTE_S:
            self._deaths.popleft()
        state = self.nodes[name]
        state.renew(state.epoch + 1)
        if len(self._deaths) >= self.config.graph.deaths and self._failure is None:
            self._failure = GraphDied(
                f"{name}: {len(self._deaths)} deaths of nodes within a minute; "
                "run with -v to see why, or --transport inproc to see them in one process"
            )

    def _end_again(self, name: str, addresses: Addresses, context: zmq.Context[Any]) -> None:
        """A node that died after its input ended would wait for ever: tell it the end."""
        before = NODES[: NODES.index(name)]
        if before and all(self.nodes[node].done for node in before):
            with sockets.push(context, addresses[name], 10) as link:
                if link.poll(5000, zmq.POLLOUT):
                    link.send_multipart(encode(End("")))
