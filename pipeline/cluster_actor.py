"""One camera on some node of a cluster: a Ray actor around a graph.

Only events, states and, where wanted, curves leave it, as answers to ``fetch``. They are read
from the graph's own sockets, on this machine's loopback, by the same client that anybody uses
(``pipeline.events``): what is fetched after a position comes once and in order.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from models.errors import UserError
from pipeline.config import Config
from pipeline.event_order import NewLog, Position
from pipeline.event_rows import LogError, Reading, reader, told
from pipeline.events import Notice, subscribe
from pipeline.graph import Graph, GraphDied
from pipeline.hosts import Maker
from pipeline.journal import default_path
from pipeline.messages import Report
from pipeline.nodes import make
from pipeline.sources.lasting import Backoff

_MOST = 2000  # messages of one answer
_WAITING = 20_000  # messages that nobody has fetched; then the subscription waits
_GATHER_S = 0.25
_UNASKED_S = 60.0  # then a follower has gone; should it come back, its position is enough
_LOOK_S = 1.0
_SOON = 3  # starts within a minute that wait for nothing
_LONGEST_S = 30.0
_TOPICS = {"event", "curves", "state"}

State = str  # starting, running, camera_lost, failed, ended, stopped


@dataclass
class Batch:
    """The answer to a ``fetch``.

    Attributes:
        life: of the actor; another one after a restart.
        state: of the camera.
        detail: of the state.
        messages: events once and in order, curves and states as they come.
        position: of the last event of them: the next question's.
        notices: what happened to the row of events.
        new_log: the log that numbers from now on, where it is another.
        over: nothing more will come.
    """

    life: str
    state: State
    detail: str
    position: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    new_log: str = ""
    over: bool = False


class _Feed:
    """A subscription of one follower, read in a thread of its own."""

    def __init__(self, addresses: tuple[str, str], position: str) -> None:
        self.position = position  # of what was handed out
        self.addresses = addresses
        self.asked_s = time.monotonic()
        self._queue: queue.Queue[tuple[dict[str, Any] | Notice, str]] = queue.Queue(_WAITING)
        events, replay = addresses
        self._link = subscribe(events, "", Position.parse(position), replay, on_notice=self._notice)
        self._over = threading.Event()
        threading.Thread(target=self._run, name="feed", daemon=True).start()

    def _notice(self, notice: Notice) -> None:
        self._put(notice)

    def _put(self, item: dict[str, Any] | Notice) -> None:
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put((item, str(self._link.position)), timeout=0.5)
                return

    def _run(self) -> None:
        with self._link:
            for _, message in self._link:
                if self._over.is_set():
                    return
                if message["type"] in _TOPICS:
                    self._put(message)

    def take(self, batch: Batch, wait_s: float) -> None:
        """Move what has come into ``batch``; wait for the first of it.

        Curves are gathered for a while: a call for each frame would cost more than they do.
        """
        until = time.monotonic() + wait_s
        self.asked_s = until
        while len(batch.messages) < _MOST and not batch.new_log:
            try:
                item, position = self._queue.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                return
            gathered = isinstance(item, dict) and item["type"] == "curves"
            until = min(until, time.monotonic() + (_GATHER_S if gathered else 0.0))
            self._add(batch, item, position)

    def _add(self, batch: Batch, item: dict[str, Any] | Notice, position: str) -> None:
        self.position = position
        if isinstance(item, dict):
            batch.messages.append(item)
        else:
            batch.notices.append(str(item))
            if isinstance(item, NewLog):
                batch.new_log = item.log

    def close(self) -> None:
        """Leave; the thread and what it holds go soon after."""
        self._over.set()
        self._link.leave()


class CameraActor:
    """A camera's graph, begun again with growing pauses whenever it ends badly.

    Args:
        config: of the camera; its sockets are on loopback.
        maker: makes the nodes.
    """

    def __init__(self, config: Config, maker: Maker = make) -> None:
        self._config = config
        self._maker = maker
        self._stream = config.capture.name
        self._life = uuid.uuid4().hex
        self._state, self._detail = "starting", ""
        self._graph: Graph | None = None
        self._addresses = ("", "")
        self._restarts = 0
        self._stopping = threading.Event()
        self._feeds: dict[str, _Feed] = {}
        self._lock = threading.Lock()
        self._begin = self.newest()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        threading.Thread(target=self._look_after_feeds, name="feeds", daemon=True).start()

    # --- the graph

    def _run(self) -> None:
        starts = self._log_path.with_suffix(".starts")
        self._stopping.wait(wait_before(starts, time.time()))
        backoff = Backoff(1.0, _LONGEST_S)
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._graph = Graph(self._config, self._on_report, self._maker)
            try:
                summary = self._graph.run()
                self._state, self._detail = "ended", summary.warning
                return
            except GraphDied as error:
                self._fail(error)
                # a thread that hangs goes with its process alone; Ray begins a new one
                self._stopping.wait(_LONGEST_S)
                if not self._stopping.is_set():
                    os._exit(error.exit_code)
            except UserError as error:
                self._fail(error)
            backoff.found(time.monotonic() - begun)
            self._restarts += 1
            self._stopping.wait(backoff.next())
        self._state = "stopped"

    def _fail(self, error: UserError) -> None:
        self._state, self._detail = "failed", str(error)
        self._addresses = ("", "")

    def _on_report(self, report: Report, graph: Graph) -> None:
        if report.kind == "ready" and report.node == "publish":
            events, replay, *_ = report.text.split("\t")
            self._addresses = (events, replay)
            self._state, self._detail = "running", ""
        elif report.kind == "published":
            message = msgspec.msgpack.decode(report.payload)
            if message.get("state") in ("camera_lost", "camera_retrying"):
                self._state, self._detail = "camera_lost", message["detail"]
            elif message.get("state") == "camera_back":
                self._state, self._detail = "running", ""

    # --- what is asked of it, each in a thread of Ray's

    def begin(self) -> str:
        """Where events stood when this life began."""
        return self._begin

    def newest(self) -> str:
        """Where events stand, by the log."""
        try:
            with reader(self._log_path) as link, told():
                reading = Reading(link)
                last = reading.ends()[1]
                run = reading.run_at(last) or int(reading.meta("run") or 0)
                return str(Position(last, run, reading.meta("log")))
        except LogError:
            return str(Position(-1))

    @property
    def _log_path(self) -> Path:
        return self._config.log.path or default_path(self._stream)

    def fetch(self, follower: str, position: str, wait_s: float) -> Batch:
        """What came after ``position``; waits up to ``wait_s`` for the first of it."""
        over = self._state in ("ended", "stopped")
        batch = Batch(self._life, self._state, self._detail, position)
        feed = self._feed(follower, position)
        if feed is None:
            if not over:
                self._stopping.wait(min(wait_s, 0.5))
        else:
            feed.take(batch, 0.2 if over else wait_s)
            batch.position = feed.position
        if over and not batch.messages:
            self._rest(batch)
            batch.over = not batch.messages
        batch.state, batch.detail = self._state, self._detail
        return batch

    def _feed(self, follower: str, position: str) -> _Feed | None:
        """The follower's feed, if it stands where the follower does; else a new one."""
        with self._lock:
            feed = self._feeds.get(follower)
            if feed is not None and feed.position == position and feed.addresses == self._addresses:
                return feed
            if feed is not None:
                self._feeds.pop(follower).close()
            if not self._addresses[0] or self._state in ("ended", "stopped"):
                return None
            made = self._feeds[follower] = _Feed(self._addresses, position)
            return made

    def _look_after_feeds(self) -> None:
        """Each start of a follower has a feed of its own; nobody says when it goes."""
        while self._feeds or not self._stopping.is_set():
            time.sleep(_LOOK_S)
            with self._lock:
                before = time.monotonic() - _UNASKED_S
                for follower in [n for n, feed in self._feeds.items() if feed.asked_s < before]:
                    self._feeds.pop(follower).close()

    def _rest(self, batch: Batch) -> None:
        """What the log holds beyond, when there is no graph any more to ask."""
        position = Position.parse(batch.position)
        with contextlib.suppress(LogError), reader(self._log_path) as link, told():
            reading = Reading(link)
            if position.log in ("", reading.meta("log")):
                rows = reading.rows(position.seq, _MOST)
                batch.messages += [msgspec.msgpack.decode(row.body) for row in rows]
                if rows:
                    batch.position = str(Position(rows[-1].seq, rows[-1].run, reading.meta("log")))

    def status(self) -> dict[str, Any]:
        """Where it runs and how it does."""
        graph = self._graph
        made: dict[str, Any] = {
            "stream": self._stream,
            "state": self._state,
            "detail": self._detail,
            "life": self._life,
            "node": platform.node(),
            "pid": os.getpid(),
            "events_at": self._addresses[0],
            "position": self.newest(),
            "restarts": self._restarts,
            "cpu_s": round(time.process_time(), 2),
            "frames": 0,
            "dropped": 0,
            "events": {},
        }
        if graph is not None:
            made["frames"] = graph.nodes["capture"].total_received
            made["dropped"] = sum(sum(n.total_dropped.values()) for n in graph.nodes.values())
            made["events"] = dict(graph.events)
        return made

    def settings(self) -> Config:
        """What it was started with."""
        return self._config

    def stop(self) -> dict[str, Any]:
        """Close what is open and end the graph; the last status."""
        self._stopping.set()
        if self._graph is not None:
            self._graph.stop()
        self._thread.join(timeout=self._config.graph.drain_s + _LONGEST_S)
        return self.status()


def wait_before(file: Path, now: float) -> float:
    """Seconds to wait before a start, by how many there were within a minute (``file``).

    Ray begins a process anew at once, however often it dies.
    """
    try:
        before = [float(line) for line in file.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        before = []
    recent = [at for at in before if 0 <= now - at < 60]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "".join(f"{at:.3f}\n" for at in [*recent, now][-10:])
        file.write_text(text, encoding="ascii")
    extra = len(recent) - _SOON
    return 0.0 if extra < 0 else min(2.0**extra, _LONGEST_S)
