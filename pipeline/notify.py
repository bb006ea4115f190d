"""Words to a service manager that waits for them (sd_notify(3)); silent where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from weakref import WeakSet

from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.watchers import Watcher


class Notifier(Watcher):
    """Tells systemd that all cameras' nodes stand, that the supervisor lives, and of the end.

    Args:
        runs: how many graphs there will be.
        address: of the manager's socket; by default ``NOTIFY_SOCKET``.
    """

    def __init__(self, runs: int = 1, address: str | None = None) -> None:
        given = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + given[1:] if given.startswith("@") else given
        self._every_s = _watchdog_s() / 2
        self._due = 0.0
        self._runs = runs
        self._up: WeakSet[Graph] = WeakSet()
        self._ready = self._stopping = False

    def on_report(self, report: Report, graph: Graph) -> None:
        """READY once every node of every graph stands; then signs of life."""
        del report
        if not self._ready and all(state.ready for state in graph.nodes.values()):
            self._up.add(graph)
            if len(self._up) >= self._runs:
                self._ready = True
                self._send("READY=1", f"STATUS={self._runs} running")
        if self._every_s and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            self._send("WATCHDOG=1")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """The configuration is read anew."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    def stopping(self) -> None:
        """A stop was asked for."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def close(self) -> None:
        """All runs are over."""
        self.stopping()

    def _send(self, *words: str) -> None:
        if not self._address:
            return
        # a manager that is gone must not end the run
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto("\n".join(words).encode(), self._address)


def _watchdog_s() -> float:
    """Within what time systemd wants a sign of life from this process; 0: it wants none."""
    wanted, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or process not in ("", str(os.getpid())):
        return 0.0
    return int(wanted) / 1e6
