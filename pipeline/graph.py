"""The supervisor: starts the six nodes, restarts them, and knows when it is over."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import zmq

from models.errors import UserError
from pipeline import sockets
from pipeline.config import Config
from pipeline.hosts import Processes, Threads
from pipeline.machine import settle
from pipeline.messages import Command, End, Report
from pipeline.sockets import NODES, Addresses
from pipeline.summary import NodeState, Summary
from pipeline.wire import encode

_MINUTE_S = 60.0


class GraphDied(UserError):
    """Nodes died too often."""

    exit_code = 3


class RunFailed(UserError):
    """A node could not go on for a reason that the user can mend."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
                Threads(self.config, addresses, context)
                if self.config.transport == "inproc"
                else Processes(self.config, addresses)
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
        workers: Threads | Processes,
        addresses: Addresses,
        context: zmq.Context[Any],
    ) -> None:
        self._command(commands)
        self._start_face(workers)
        died = [self._take(reports)] if reports.poll(50) else []
        for name in [*workers.dead(), *self._silent(workers), *filter(None, died)]:
            self._died(name)
            if self._failure is None:
                workers.start(name, self.nodes[name].epoch)
                self._end_again(name, addresses, context)

    def _start_face(self, workers: Threads | Processes) -> None:
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
        report = msgspec.msgpack.decode(reports.recv(), type=Report)
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

    def _silent(self, workers: Threads | Processes) -> list[str]:
        if isinstance(workers, Threads):
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
