"""Several cameras in one process: a graph each, the recognisers shared."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from models.errors import UserError
from pipeline.config import Config
from pipeline.graph import Graph
from pipeline.machine import settle
from pipeline.messages import Report
from pipeline.node import is_live
from pipeline.reload import OF_THE_PROCESS, changed
from pipeline.sharing import Sharing
from pipeline.summary import Summary
from pipeline.watchers import Watcher

_POLL_S = 0.2
_FIRST_S, _MOST_S = 1.0, 60.0  # between two lives of a camera's graph
_STEADY_S = 300.0  # a life of this length, and the waits begin anew


@dataclass(eq=False)
class Camera:
    """One camera of several.

    Attributes:
        config: of the life that runs, or ran last.
        wanted: of the next one; None: there shall be none.
        at_start: somebody is there to mend what keeps it from starting.
        again: the life that runs was asked to end; ``wanted`` says what follows.
        over: there will be no other life.
        summary: of the last life.
        error: why it ended, if not as it should.
        lives: how often its graph was started.
    """

    config: Config
    wanted: Config | None
    at_start: bool
    again: bool = False
    over: bool = False
    graph: Graph | None = None
    summary: Summary | None = None
    error: UserError | None = None
    lives: int = 0
    woken: threading.Event = field(default_factory=threading.Event)  # from between two lives

    @property
    def name(self) -> str:
        """The stream's."""
        return self.config.capture.name

    def follow(self, wanted: Config | None) -> None:
        """End the life that runs; ``wanted`` is the next one's."""
        self.wanted, self.again = wanted, True
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
        self.sharing = Sharing()
        self._watcher = watcher
        self._note = note
        self._first_s = first_s
        self._stopping = False  # nobody begins another life
        self._asked = False  # by somebody, not by a failure
        self._stops = 0
        self._changes = threading.RLock()  # of cameras, and of whether one is over
        self._reports, self._messages = threading.Lock(), threading.Lock()

    @property
    def summaries(self) -> dict[str, Summary]:
        """Of each camera's last life, as far as one has ended."""
        return {c.name: c.summary for c in self.cameras if c.summary is not None}

    def stop(self) -> None:
        """Ask every camera for a drain."""
        self._asked = True
        self._end()

    def _end(self) -> None:
        self._stopping = True
        for camera in list(self.cameras):
            camera.follow(None)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""
        del frame
        self._stops += 1
        if self._stops > 1:
            os._exit(128 + number)
        self.stop()

    def reload(self, wanted: Sequence[Config]) -> str:
        """Take what has changed: cameras that come, go, or begin again with other settings.

        What can change within a run does (``pipeline.reload``); a camera whose own settings
        have changed otherwise is begun again, and the others do not notice. A recording that
        has ended is not played again.
        """
        with self._changes:
            if self._stopping:
                return "the run is ending"
            names = {config.capture.name: config for config in wanted}
            said = []
            for camera in list(self.cameras):
                said.append(self._changed(camera, names.pop(camera.name, None)))
            said += [self._added(config) for config in names.values()]
        return "; ".join(filter(None, said)) or "nothing has changed"

    def _added(self, config: Config) -> str:
        camera = Camera(config, config, at_start=False)
        self.cameras.append(camera)
        self._begin(camera)
        return f"{camera.name}: begun"

    def _changed(self, camera: Camera, config: Config | None) -> str:
        name = camera.name
        if config is None:
            if camera.wanted is not None and not camera.over:
                camera.follow(None)
                return f"{name}: ended"
            self._forget(camera)
            return ""
        if camera.over:
            if camera.wanted is not None and not camera.error and not _own(camera.config, config):
                return ""
            self.cameras.remove(camera)
            return self._added(config)
        if camera.graph is None or camera.again:  # between two lives
            new = camera.wanted is None or bool(changed(camera.wanted, config))
            camera.wanted = config
            return f"{name}: begun again" if new else ""
        own = _own(camera.graph.config, config)
        done = camera.graph.reload(config)
        kept = [key for key in done.restart if key not in own]
        restart = [key for key in done.restart if key in own]
        if restart:
            camera.follow(config)
        said = [f"applied {', '.join(done.applied)}"] if done.applied and not restart else []
        said += [f"begun again for {', '.join(restart)}"] if restart else []
        said += [f"needs a restart: {', '.join(kept)}"] if kept else []
        return f"{name}: {'; '.join(said)}" if said else ""

    def _forget(self, camera: Camera) -> None:
        if camera.over:
            self._watcher.gone(camera.name)

    def run(self) -> dict[str, Summary]:
        """Run until every source has ended or ``stop`` is called; summaries by camera.

        Raises:
            UserError: of the first camera that could not start, or ended by a failure.
        """
        import cv2  # noqa: F401  not fit for several threads that import it at once

        settle()
        with self.sharing:
            with self._changes:
                for camera in self.cameras:
                    self._begin(camera)
            while not all(camera.over for camera in list(self.cameras)):
                time.sleep(_POLL_S)  # signals are handled between two naps
        if not self._asked:
            for camera in self.cameras:
                if camera.error is not None:
                    raise camera.error
        return self.summaries

    def _begin(self, camera: Camera) -> None:
        threading.Thread(target=self._keep, args=(camera,), name=camera.name, daemon=True).start()

    def _keep(self, camera: Camera) -> None:
        try:
            self._lives(camera)
        except Exception as error:  # noqa: BLE001  a thread's last word would be a traceback
            camera.error = UserError(f"{camera.name}: {type(error).__name__}: {error}")
            self._end()
        finally:
            camera.over = True
            self.sharing.leave(camera)
            if camera.wanted is None and not self._stopping:
                self._watcher.gone(camera.name)

    def _next(self, camera: Camera) -> Config | None:
        """The settings of the life to come; None: there is none."""
        with self._changes:
            if camera.wanted is None or self._stopping:
                camera.over = True
                return None
            camera.config, camera.again = camera.wanted, False
            camera.woken.clear()
            return camera.config

    def _leaves(self, camera: Camera) -> bool:
        """Whether a life that ended by itself was the last."""
        with self._changes:
            camera.over = not camera.again
            return camera.over

    def _lives(self, camera: Camera) -> None:
        wait_s, ran = self._first_s, False
        while (config := self._next(camera)) is not None:
            camera.error = None
            camera.graph = graph = Graph(
                config,
                self._on_report,
                hear=self._hear,
                scoring=self.sharing.take(camera, config),
            )
            camera.lives += 1
            if camera.again:
                continue
            begin = time.monotonic()
            try:
                camera.summary = graph.run()
                if self._leaves(camera):
                    return
                continue
            except UserError as error:
                camera.error = _named(error, camera.name)
            ran = ran or graph.nodes["capture"].total_received > 0
            if not ran and camera.at_start:
                self._end()
            elif not is_live(config.source):
                self._note(str(camera.error))
                if self._leaves(camera):
                    return
            elif not camera.again:
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


def _own(before: Config, after: Config) -> list[str]:
    """The keys in which two settings differ, less those that are the process's."""
    return [key for key in changed(before, after) if not key.startswith(OF_THE_PROCESS)]


def _named(error: UserError, name: str) -> UserError:
    named = UserError(f"{name}: {error}")
    named.exit_code = error.exit_code
    return named
