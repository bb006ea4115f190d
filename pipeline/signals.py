"""What signals do to runs: SIGINT and SIGTERM end them, SIGHUP reads the configuration anew."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from models.errors import UserError
from pipeline.config import Config
from pipeline.graph import Graph
from pipeline.notify import Notifier
from pipeline.redaction import redacted
from pipeline.sources.naming import stream_of

Again = Callable[[], Sequence[Config]]


def reload(graphs: Sequence[Graph], again: Again) -> str:
    """Let ``graphs`` take what has changed; one line on what became of it.

    Args:
        graphs: those that run.
        again: reads the configuration anew, one for each stream.
    """
    try:
        wanted = {_stream(config): config for config in again()}
        said = []
        for graph in graphs:
            name = _stream(graph.config)
            # a stream of another name where there is but one: the name is what has changed
            config = wanted.get(name) or (next(iter(wanted.values())) if len(graphs) == 1 else None)
            found = str(graph.reload(config)) if config else "not among the cameras any more"
            said.append(found if len(graphs) == 1 else f"{name}: {found}")
    except (UserError, ValueError) as error:
        return f"nothing was reloaded: {redacted(str(error))}"
    return "; ".join(said)


def _stream(config: Config) -> str:
    return stream_of(config.source, config.capture.name)


class Signals:
    """Handles the signals of this process from ``listen`` on.

    A SIGHUP because the terminal was closed ends the runs, as it always has. One that is
    ignored at the start (nohup) stays ignored.

    Args:
        graphs: what they are for.
        again: reads the configuration anew; None: there is no file to read.
        say: hears what became of a reload, one line.
        notifier: tells the service manager.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        again: Again | None,
        say: Callable[[str], None],
        notifier: Notifier,
    ) -> None:
        self._graphs = graphs
        self._again = again
        self._say = say
        self._notifier = notifier
        self._terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]
        self._one = threading.Lock()

    def listen(self) -> None:
        """Take the signals; from the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._hang_up)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._notifier.stopping()
        for graph in self._graphs:
            graph.on_signal(number, frame)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        if any(not os.isatty(fd) for fd in self._terminals):
            self._end(number, frame)
            return
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        with self._one, self._notifier.reloading():
            if self._again is None:
                self._say("reload: there is no file to read (--config)")
            else:
                self._say(f"reload: {reload(self._graphs, self._again)}")
