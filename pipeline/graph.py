"""The supervisor: starts the six nodes, restarts them, and knows when it is over."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import zmq

from models.errors import UserError
from pipeline import arrived, sockets
from pipeline.begun import Begun
from pipeline.config import Config
from pipeline.door import Door
from pipeline.ending import Ending
from pipeline.hosts import Host, Maker, Processes, Threads
from pipeline.lines import Lines
from pipeline.machine import settle
from pipeline.messages import Report
from pipeline.node import Links, is_live
from pipeline.nodes import make
from pipeline.overload import Overload
from pipeline.parcels import Parcels
from pipeline.reload import News, Reloaded
from pipeline.restarts import Restarts
from pipeline.sockets import NODES, Addresses, Endpoint
from pipeline.summary import NodeState, Summary
from pipeline.tap import Hear, Tap

if TYPE_CHECKING:
    from pipeline.clips import Clips


class GraphDied(UserError):
    """Nodes died too often, or one hangs that cannot be ended."""

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
        maker: makes a node of a name; picklable, where nodes are processes.
        hear: called in the tap's thread with what nodes put there (``config.tapped``).
        scoring: recognisers shared with other graphs; None: its own.
    """

    def __init__(
        self,
        config: Config,
        on_report: Callable[[Report, Graph], None] = lambda r, g: None,
        maker: Maker = make,
        hear: Hear = lambda parts: None,
        scoring: Endpoint | None = None,
    ) -> None:
        self.config = config
        self._scoring = scoring
        self._hear = hear
        self.nodes = {name: NodeState() for name in NODES}
        self.events: Counter[str] = Counter()
        self.warning = ""
        self.malformed = 0  # reports that were none
        self._on_report = on_report
        self._maker = maker
        self._begun = Begun()
        self._restarts = Restarts(config.graph.deaths)
        self._ending = Ending(self.nodes, self._begun, config.graph.drain_s)
        self._overload = Overload(self.nodes) if is_live(config.source) else None
        self._news = News(self.nodes)
        self._clips: Clips | None = None
        self._host: Host | None = None
        self._stops = 0
        self._failure: UserError | None = None
        self._running = False
        self._face_started = False

    def stop(self) -> None:
        """Ask for a drain: open intervals are closed or retracted, then the run ends."""
        self._stops += 1

    def reload(self, config: Config) -> Reloaded:
        """Let hold of ``config`` what can change within a run; from any thread, without waiting.

        Raises:
            ValueError: what can change does not go with what cannot.
        """
        with self._news.lock:
            self.config, done = self._news.take(self.config, config)
        return done

    @property
    def revision(self) -> int:
        """How many reloads changed something."""
        return self._news.revision

    def processes(self) -> dict[str, int]:
        """The nodes that are processes, with their ids; from any thread."""
        return {} if self._host is None else self._host.processes()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        del frame
        self.stop()
        if self._stops > 1:
            os._exit(128 + number)

    def run(self) -> Summary:
        """Run until the source ends or ``stop`` is called.

        Raises:
            UserError: a node could not start, nodes died too often, or one hangs.
        """
        settle()
        begin = time.monotonic()
        label = f"mespot-{uuid.uuid4().hex[:12]}"
        with (
            zmq.Context() as context,
            sockets.addresses(self.config.transport, label) as own,
            Lines(context, own) as lines,
            self._tap(context, own),
        ):
            addresses = dataclasses.replace(own, scoring=self._scoring)
            links = Links(addresses, context, begun=self._begun)
            host: Host
            if self.config.transport == "inproc":
                links.parcels, links.clips = Parcels(), _clips(self.config)
                self._clips = links.clips
                host = Threads(self.config, links, self._maker)
            else:
                host = Processes(self.config, addresses, self._begun, self._maker)
            self._host = host
            self._supervise(host, lines)
        if self._failure is not None:
            raise self._failure
        seconds = time.monotonic() - begin
        return Summary(
            self.nodes,
            self.events,
            seconds,
            self.warning,
            self._restarts.count,
            self.malformed,
        )

    def _tap(
        self, context: zmq.Context[Any], addresses: Addresses
    ) -> contextlib.AbstractContextManager[object]:
        if not self.config.tapped:
            return contextlib.nullcontext()
        return Tap(context, addresses["tap"], self._hear)

    def _supervise(self, host: Host, lines: Lines) -> None:
        # a mistake in options or source is found before the landmarker is made
        for name in reversed(NODES):
            if name != "face":
                host.start(name, 0)
        host.prepare()
        try:
            while not self._ending.over(lines):
                self._turn(host, lines)
        finally:
            host.end(self._ending.patience_s)
            while (report := lines.report(0)) is not None:
                self._take(report)
            self.malformed = lines.malformed

    def _turn(self, host: Host, lines: Lines) -> None:
        self._command(lines)
        self._pass_on(host, lines)
        self._start_face(host)
        report = lines.report(50)
        self.malformed = lines.malformed
        died = [] if report is None else self._take(report)
        if report is not None and self._overload is not None:
            notice = self._overload.take(report)
            if notice is not None:
                lines.tell("publish", notice)
        if isinstance(host, Processes):  # nodes count who is turned away from their own sockets
            self.nodes["publish"].past.update(Door.refused(lines.context))
        for name in [*died, *self._silent(host), *host.dead()]:
            host.bury(name)
            self._died(name)
        if self._failure is None:
            for name in self._restarts.due():
                # a new publish process takes the addresses, and the account, of the one before
                lines.addresses.table["public"] = self.nodes["publish"].detail
                host.start(name, self.nodes[name].epoch)

    def _pass_on(self, host: Host, lines: Lines) -> None:
        """What was reloaded: to the nodes, those that start later as well."""
        if self._news.fresh():
            config = host.config = self.config
            self._restarts.most = config.graph.deaths
            self._ending.drain_s = config.graph.drain_s
            if self._clips is not None:
                self._clips.reload(config.clips)
        self._news.tell(lines, host.config)

    def _start_face(self, host: Host) -> None:
        others = (state.ready for name, state in self.nodes.items() if name != "face")
        if not self._face_started and self._failure is None and all(others):
            self._face_started = True
            host.start("face", 0)

    def _command(self, lines: Lines) -> None:
        capture = self.nodes["capture"]
        self._running |= capture.received > 0
        if self._stops:
            self._ending.stop()
            lines.command("stop")
        elif not capture.received and (
            self._running or all(node.ready for node in self.nodes.values())
        ):
            lines.command("go")  # repeated until frames come: a subscription may be on its way

    def _take(self, report: Report) -> list[str]:
        """Handle one report; the node's name when it tells of its death."""
        state = self.nodes[report.node]
        current = report.epoch == state.epoch
        state.update(report)
        if report.kind == "ready" and current:
            state.ready, state.detail = True, report.text
        elif report.kind == "done" and current:
            state.done = True
        elif report.kind == "fatal":
            self._fail(RunFailed(report.text, report.exit_code))
        elif report.kind == "published":
            self._count(report.payload)
        self._on_report(report, self)
        return [report.node] if report.kind == "death" and current else []

    def _fail(self, failure: UserError) -> None:
        if self._failure is None:
            self._failure = failure
            self._ending.give_up(str(failure))

    def _count(self, payload: bytes) -> None:
        message = arrived.body(payload)
        if message["type"] == "event":
            self.events[message["phase"]] += 1
            if message["phase"] == "final":
                self.events[message["kind"]] += 1
        elif message["state"] == "ended":
            self.warning = message["detail"]

    def _silent(self, host: Host) -> list[str]:
        """Nodes that hang; where they cannot be killed the run has to end."""
        limit = time.monotonic() - self.config.graph.silence_s
        silent = [name for name, state in self.nodes.items() if self._hangs(name, state, limit)]
        if silent and not host.can_kill:
            self._fail(
                GraphDied(
                    f"{silent[0]}: hangs since {self.config.graph.silence_s:g} s, "
                    "and a thread cannot be replaced (--transport ipc can)"
                )
            )
            return []
        return silent

    def _hangs(self, name: str, state: NodeState, limit: float) -> bool:
        if name == "capture" and not is_live(self.config.source) and self.config.fps != "max":
            return False  # a recording may have a pause of any length
        return state.ready and not state.done and state.heard < limit

    def _died(self, name: str) -> None:
        state = self.nodes[name]
        if state.done or (name == "capture" and self._ending.stopping):
            state.done = True  # nothing more was wanted of it
            return
        state.renew(state.epoch + 1)
        self._restarts.died(name)
        if self._restarts.too_many:
            self._fail(
                GraphDied(
                    f"{name}: {self._restarts.recent} deaths of nodes within a minute; "
                    "run with -v to see why, or --transport inproc to see them in one process"
                )
            )


def _clips(config: Config) -> Clips | None:
    if config.clips.folder is None:
        return None
    from pipeline.clips import Clips

    return Clips(config.clips, is_live(config.source))
