"""The node around a source."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

import zmq

from models.errors import SourceError
from pipeline.config import Config
from pipeline.messages import Camera, Command, End, Restarted
from pipeline.node import POLL_MS, Links, Node, is_live
from stages.items import Frame

if TYPE_CHECKING:
    from pipeline.sources import Source
    from pipeline.sources.lasting import Lasting
    from pipeline.sources.latest import Watch
    from pipeline.sources.timeline import Timeline


class CaptureNode(Node):
    """The source; live, the newest frame wins and the camera never waits.

    A live camera that is lost is sought again (``capture.reconnect``).
    """

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("capture", config, links, epoch)
        self._go = threading.Event()
        self._stop = threading.Event()
        self._timeline: Timeline | None = None
        self._watch: Watch | None = None
        self._camera: Lasting | None = None

    def run(self) -> None:
        """Open the source, wait for the word, then send frames until the end."""
        from pipeline.sources.pace import Recorded

        if is_live(self.config.source):
            self._run_live()
            return
        with contextlib.closing(self._open()) as source:
            if self.epoch and isinstance(source, Recorded):
                source.begin_after(self.links.begun.frame)
            self._begin(source.stream, source.n_frames or 0)
            self._pump(iter(source.frames()))
            self.send(End(source.stream, source.warning or ""))

    def _run_live(self) -> None:
        with contextlib.closing(self._lasting()) as camera:
            self._camera = camera
            self._begin(camera.stream, 0)
            self._pump(camera.steps())
            self.send(End(camera.stream, camera.warning))

    def _open(self, watch: Watch | None = None) -> Source:
        from pipeline.sources import open_source

        config = self.config
        return open_source(
            config.source,
            fps=config.fps,
            stream=config.capture.name or None,
            duration_s=config.duration,
            open_timeout_s=config.capture.open_timeout_s,
            watch=watch,
        )

    def _lasting(self) -> Lasting:
        """The camera over all its connections; not being there is fatal at the very start."""
        from pipeline.sources import live_name
        from pipeline.sources.lasting import Backoff, Lasting
        from pipeline.sources.latest import LiveSource, Watch
        from pipeline.sources.timeline import Timeline

        chosen = self.config.capture
        memory = 60 * max(1.0, chosen.stale_s, chosen.read_timeout_s / 15)
        self._timeline = timeline = Timeline(
            self.links.begun.trace, chosen.stamps == "camera", memory
        )
        frozen = chosen.frozen_s or inf
        watch = Watch(chosen.read_timeout_s, chosen.stale_s, frozen, timeline)
        self._watch = watch

        def again() -> LiveSource:
            source = self._open(watch)
            assert isinstance(source, LiveSource)
            return source

        first = None
        try:
            first = again()
        except SourceError:
            if not (chosen.wait or self.epoch):
                raise
        return Lasting(
            live_name(self.config.source, chosen.name or None) if first is None else first.stream,
            again,
            timeline,
            first,
            chosen.reconnect,
            Backoff(chosen.retry_first_s, chosen.retry_most_s),
            chosen.give_up_s,
            self.config.duration,
        )

    def _begin(self, stream: str, total: int) -> None:
        self.links.begun.stream = stream
        self.reporter.send("ready", text=f"{stream}\t{total}")
        if self.epoch:
            self.send(Restarted(stream, self.name))
        self._await_go()

    def _await_go(self) -> None:
        while not (self._go.is_set() or self._stop.is_set()):
            self.check()
            self.hear(POLL_MS)

    def obey(self, command: Command) -> None:
        """As every node; begin and end as well."""
        super().obey(command)
        if command.kind != "reload":
            (self._go if command.kind == "go" else self._stop).set()

    def reloaded(self) -> None:
        """The camera that is there is watched, and sought, by the new times."""
        super().reloaded()
        chosen = self.config.capture
        if self._watch is not None:
            self._watch.read_timeout_s = chosen.read_timeout_s  # from the next connection on
            self._watch.stale_s, self._watch.frozen_s = chosen.stale_s, chosen.frozen_s or inf
        if self._camera is not None:
            self._camera.seek(
                chosen.reconnect, chosen.retry_first_s, chosen.retry_most_s, chosen.give_up_s
            )

    def _pump(self, steps: Iterator[Frame | Camera | None]) -> None:
        """Send frames and what happens to the camera; None: nothing happens."""
        while not self._stop.is_set():
            self._room()
            if self._stop.is_set():
                break
            try:
                step = next(steps)
            except StopIteration:
                break
            finally:
                self._count_drops()
            self.hear()
            if isinstance(step, Frame):
                self._frame(step)
            elif step is not None:
                self.send(step)

    def _frame(self, frame: Frame) -> None:
        if frame.stamp.frame <= self.links.begun.frame:  # a recording reopened after a death
            return
        begin = time.perf_counter()
        self.links.begun.took(frame.stamp.frame, frame.stamp.pts)
        self.send(frame)
        self.reporter.item(frame.stamp, time.perf_counter() - begin)

    def _room(self) -> None:
        """Wait for room before taking a frame, so that it is the newest when sent."""
        assert self.outbox is not None
        while not self._stop.is_set() and not self.outbox.poll(POLL_MS, zmq.POLLOUT):
            self.check()
        self.check()

    def _count_drops(self) -> None:
        if self._timeline is not None:
            for reason, count in self._timeline.counts().items():
                self.reporter.dropped[reason] = count
