"""The node around a source."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import zmq

from pipeline import arrived, sockets
from pipeline.config import Config
from pipeline.messages import End, Restarted
from pipeline.node import POLL_MS, Links, Node, is_live
from pipeline.wire import WireError
from stages.items import Frame


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
            self._obey(POLL_MS)

    def _obey(self, wait_ms: int = 0) -> None:
        while self._commands.poll(wait_ms):
            wait_ms = 0
            try:
                command = arrived.command(self._commands.recv_multipart())
            except WireError:
                self.reporter.dropped["malformed"] += 1
                continue
            (self._go if command.kind == "go" else self._stop).set()

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
        while not self._stop.is_set() and not self.outbox.poll(POLL_MS, zmq.POLLOUT):
            self.check()
            self._obey()
        self.check()

    def _gap(self, frame: Frame) -> None:
        missing = frame.stamp.frame - self._last_frame - 1
        if missing > 0 and is_live(self.config.source):
            self.reporter.dropped["capture: newer frame won"] += missing
        self._last_frame = frame.stamp.frame
