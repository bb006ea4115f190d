"""Several cameras in one process: a graph each, the recognisers shared."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.build import recognisers, scorer
from pipeline.config import Config
from pipeline.graph import Graph
from pipeline.machine import settle
from pipeline.messages import Report
from pipeline.node import is_live
from pipeline.score_server import ScoreServer
from pipeline.sockets import Endpoint, private_endpoint
from pipeline.summary import Summary
from pipeline.watchers import Watcher

if TYPE_CHECKING:
    from stages.score import Scoring

_POLL_S = 0.2
_FIRST_S, _MOST_S = 1.0, 60.0  # between two lives of a camera's graph
_STEADY_S = 300.0  # a life of this length, and the waits begin anew


@dataclass
class Camera:
    """One camera of several.

    Attributes:
        summary: once its run is over.
        error: why its last life ended, if not as it should.
        lives: how often its graph was started.
    """

    config: Config
    scoring: Endpoint | None = None
    graph: Graph | None = None
    summary: Summary | None = None
    error: UserError | None = None
    lives: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The stream's."""
        return self.config.capture.name


class Several:
    """Runs cameras until all are over.

    A camera whose graph fails before it has given a frame ends the run: somebody is there to
    mend it. Later its graph is begun again, after 1 s, 2 s, up to a minute, and the others do
    not notice.

    Args:
        configs: one for each camera (``pipeline.cameras.load_cameras``).
        watcher: looks on at all of them; one call at a time.
        note: told in a line what happens to a camera's graph.
        first_s: the first of those waits.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        watcher: Watcher,
        note: Callable[[str], None] = lambda text: None,
        first_s: float = _FIRST_S,
    ) -> None:
        self.cameras = [Camera(config) for config in configs]
        self.servers: list[ScoreServer] = []
        self._watcher = watcher
        self._note = note
        self._first_s = first_s
        self._stopping = threading.Event()
        self._stops = 0
        self._reports, self._messages = threading.Lock(), threading.Lock()

    def stop(self) -> None:
        """Ask every camera for a drain."""
        self._stopping.set()
        for camera in self.cameras:
            if camera.graph is not None:
                camera.graph.stop()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        del frame
        self._stops += 1
        if self._stops > 1:
            os._exit(128 + number)
        self.stop()

    def run(self) -> dict[str, Summary]:
        """Run until every source has ended or ``stop`` is called; summaries by camera.

        Raises:
            UserError: of the first camera that could not start, or ended by a failure.
        """
        import cv2  # noqa: F401  not fit for several threads that import it at once

        settle()
        with contextlib.ExitStack() as stack:
            self._share(stack)
            threads = [
                threading.Thread(target=self._keep, args=(camera,), name=camera.name, daemon=True)
                for camera in self.cameras
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # signals are handled between two waits
                    thread.join(_POLL_S)
        for camera in self.cameras:
            if camera.error is not None:
                raise camera.error
        return {c.name: c.summary for c in self.cameras if c.summary is not None}

    def _share(self, stack: contextlib.ExitStack) -> None:
        """One set of recognisers for all cameras that want the same."""
        shared: dict[str, Endpoint] = {}
        for camera in self.cameras:
            config = camera.config
            if not recognisers(config):
                continue
            key = f"{recognisers(config)} {config.classify} {config.require_gpu}"
            if key not in shared:
                shared[key] = stack.enter_context(private_endpoint())
                server = ScoreServer(shared[key], functools.partial(_loaded, config))
                self.servers.append(stack.enter_context(server))
            camera.scoring = shared[key]

    def _keep(self, camera: Camera) -> None:
        try:
            self._lives(camera)
        except Exception as error:  # noqa: BLE001  a thread's last word would be a traceback
            camera.error = UserError(f"{camera.name}: {type(error).__name__}: {error}")
            self.stop()
        finally:
            camera.over.set()

    def _lives(self, camera: Camera) -> None:
        wait_s, ran = self._first_s, False
        while not self._stopping.is_set():
            camera.error = None
            graph = camera.graph = Graph(
                camera.config, self._on_report, hear=self._hear, scoring=camera.scoring
            )
            camera.lives += 1
            begin = time.monotonic()
            if self._stopping.is_set():
                return
            try:
                camera.summary = graph.run()
                return
            except UserError as error:
                camera.error = _named(error, camera.name)
            ran = ran or graph.nodes["capture"].total_received > 0
            if not ran:
                self.stop()
            if not ran or not is_live(camera.config.source) or self._stopping.is_set():
                return
            if time.monotonic() - begin > _STEADY_S:
                wait_s = self._first_s
            self._note(f"{camera.error}; again in {wait_s:g} s")
            self._stopping.wait(wait_s)
            wait_s = min(2 * wait_s, _MOST_S)

    def _on_report(self, report: Report, graph: Graph) -> None:
        with self._reports:
            self._watcher.on_report(report, graph)

    def _hear(self, parts: Sequence[bytes]) -> None:
        with self._messages:
            self._watcher.on_message(parts)


def _loaded(config: Config) -> Scoring:
    made = scorer(config)
    assert made is not None  # there are recognisers
    return made


def _named(error: UserError, name: str) -> UserError:
    named = UserError(f"{name}: {error}")
    named.exit_code = error.exit_code
    return named
