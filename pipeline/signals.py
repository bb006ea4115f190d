"""What signals do to runs: SIGINT and SIGTERM end them, SIGHUP reads the configuration anew."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

from models.errors import UserError
from pipeline.config import Config
from pipeline.graph import Graph
from pipeline.notify import Notifier
from pipeline.redaction import redacted

Again = Callable[[], Sequence[Config]]


class Runs(Protocol):
    """What signals are for."""

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """First signal drains, the second stops at once."""

    def reload(self, wanted: Sequence[Config]) -> str:
        """Take what has changed; one line on what became of it."""
        ...


class One:
    """The run of one camera."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.on_signal = graph.on_signal

    def reload(self, wanted: Sequence[Config]) -> str:
        """As ``Runs``.

        Raises:
            UserError: there are several cameras now.
        """
        if len(wanted) != 1:
            raise UserError(f"{len(wanted)} cameras now, and this run is of one: a restart")
        return str(self._graph.reload(wanted[0]))


def reload(runs: Runs, again: Again) -> str:
    """Let ``runs`` take what ``again`` reads; one line on what became of it."""
    try:
        return runs.reload(again())
    except (UserError, ValueError) as error:
        return f"nothing was reloaded: {redacted(str(error))}"


class Signals:
    """Handles the signals of this process from ``listen`` on.

    A SIGHUP because the terminal was closed ends the runs, as it always has. One that is
    ignored at the start (nohup) stays ignored.

    Args:
        runs: what they are for.
        again: reads the configuration anew; None: there is no file to read.
        say: hears what became of a reload, one line.
        notifier: tells the service manager.
    """

    def __init__(
        self,
        runs: Runs,
        again: Again | None,
        say: Callable[[str], None],
        notifier: Notifier,
    ) -> None:
        self._runs = runs
        self._again = again
        self._say = say
        self._notifier = notifier
        self._terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]
        self._one = threading.Lock()

    def listen(self) -> None:
        """Take the signals; from the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._hang_up)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._notifier.stopping()
        self._runs.on_signal(number, frame)

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
                self._say(f"reload: {reload(self._runs, self._again)}")
