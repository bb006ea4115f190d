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


@dataclass(eq=False)
class Camera:
    """One camera of several.

    Attributes:
        config: of the life that runs, or ran last.
        wanted: of the next one; None: there shall be none.
        summary: of the last life.
        error: why it ended, if not as it should.
        lives: how often its graph was started.
    """

    config: Config
    wanted: Config | None
    at_start: bool  # somebody is there to mend it
    scoring: Endpoint | None = None
    graph: Graph | None = None
    summary: Summary | None = None
    error: UserError | None = None
    lives: int = 0
    thread: threading.Thread | None = None
    woken: threading.Event = field(default_factory=threading.Event)  # from between two lives

    @property
    def name(self) -> str:
        """The stream's."""
        return self.config.capture.name

    @property
    def over(self) -> bool:
        """Whether there will be no other life."""
        return self.thread is not None and not self.thread.is_alive()

    def end(self) -> None:
        """Let the life that runs be the last."""
        self.wanted = None
        self.drain()

    def drain(self) -> None:
        """End the life that runs."""
        self.woken.set()
        if self.graph is not None:
            self.graph.stop()


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
        self.cameras = [Camera(config, config, at_start=True) for config in configs]
        self.servers: list[ScoreServer] = []
        self._shared: dict[str, Endpoint] = {}
        self._watcher = watcher
        self._note = note
        self._first_s = first_s
        self._stopping = False
        self._stops = 0
        self._stack = contextlib.ExitStack()
        self._changes, self._sharing = threading.Lock(), threading.Lock()
        self._reports, self._messages = threading.Lock(), threading.Lock()

    def stop(self) -> None:
        """Ask every camera for a drain."""
        self._stopping = True
        for camera in list(self.cameras):
            camera.end()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        del frame
        self._stops += 1
        if self._stops > 1:
            os._exit(128 + number)
        self.stop()

    def reload(self, wanted: Sequence[Config]) -> str:
        """Take what has changed: cameras that come, go, or begin again with other settings.

        What can change within a run does (``pipeline.reload``); a camera whose other settings
        have changed is begun again, and the others do not notice.
        """
        with self._changes:
            if self._stopping:
                return "the run is ending"
            names = {config.capture.name: config for config in wanted}
            known = {camera.name: camera for camera in self.cameras if not camera.over}
            said = [self._changed(known[name], names.get(name)) for name in known]
            for name in names.keys() - known.keys():
                self.cameras = [camera for camera in self.cameras if camera.name != name]
                camera = Camera(names[name], names[name], at_start=False)
                self.cameras.append(camera)
                self._begin(camera)
                said.append(f"{name}: begun")
        return "; ".join(filter(None, said)) or "nothing has changed"

    def _changed(self, camera: Camera, config: Config | None) -> str:
        if config is None:
            camera.end()
            return f"{camera.name}: ended"
        if camera.graph is None or camera.wanted is None:
            return ""  # it has not begun, or is about to end
        done = camera.graph.reload(config)
        if done.restart:
            camera.wanted = config
            camera.drain()
            return f"{camera.name}: begun again for {', '.join(done.restart)}"
        camera.config = camera.wanted = config
        return f"{camera.name}: {done}" if done.applied else ""

    def run(self) -> dict[str, Summary]:
        """Run until every source has ended or ``stop`` is called; summaries by camera.

        Raises:
            UserError: of the first camera that could not start, or ended by a failure.
        """
        import cv2  # noqa: F401  not fit for several threads that import it at once

        settle()
        with self._stack:
            with self._changes:
                for camera in self.cameras:
                    self._begin(camera)
            while not all(camera.over for camera in self.cameras):
                time.sleep(_POLL_S)  # signals are handled between two naps
        for camera in self.cameras:
            if camera.error is not None:
                raise camera.error
        return {c.name: c.summary for c in self.cameras if c.summary is not None}

    def _begin(self, camera: Camera) -> None:
        camera.thread = threading.Thread(
            target=self._keep, args=(camera,), name=camera.name, daemon=True
        )
        camera.thread.start()

    def _share(self, config: Config) -> Endpoint | None:
        """One set of recognisers for all cameras that want the same."""
        paths = recognisers(config)
        if not paths:
            return None
        key = f"{paths} {config.classify} {config.require_gpu}"
        with self._sharing:
            if key not in self._shared:
                self._shared[key] = self._stack.enter_context(private_endpoint())
                server = ScoreServer(self._shared[key], functools.partial(_loaded, config))
                self.servers.append(self._stack.enter_context(server))
            return self._shared[key]

    def _keep(self, camera: Camera) -> None:
        try:
            self._lives(camera)
        except Exception as error:  # noqa: BLE001  a thread's last word would be a traceback
            camera.error = UserError(f"{camera.name}: {type(error).__name__}: {error}")
            self.stop()

    def _lives(self, camera: Camera) -> None:
        wait_s, ran = self._first_s, False
        while (config := camera.wanted) is not None and not self._stopping:
            camera.config, camera.error = config, None
            camera.woken.clear()
            camera.scoring = self._share(config)
            graph = camera.graph = Graph(
                config, self._on_report, hear=self._hear, scoring=camera.scoring
            )
            camera.lives += 1
            if camera.wanted is None:
                return
            begin = time.monotonic()
            try:
                camera.summary = graph.run()
                if camera.wanted is camera.config:
                    return
                continue
            except UserError as error:
                camera.error = _named(error, camera.name)
            ran = ran or graph.nodes["capture"].total_received > 0
            if not ran and camera.at_start:
                self.stop()
            if camera.wanted is None:
                return
            if not is_live(config.source):
                self._note(str(camera.error))
                return
            if time.monotonic() - begin > _STEADY_S:
                wait_s = self._first_s
            self._note(f"{camera.error}; again in {wait_s:g} s")
            camera.woken.wait(wait_s)
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
