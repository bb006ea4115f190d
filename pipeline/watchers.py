"""Those who look on at a run: the screen, LSL, the page, metrics."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.graph import Graph
from pipeline.messages import Report


class Watcher:
    """Somebody who looks on. None of the calls may wait or raise."""

    def on_report(self, report: Report, graph: Graph) -> None:
        """A node's report; in the supervising thread."""

    def on_message(self, parts: Sequence[bytes]) -> None:
        """What a node put on the tap, topic and body; in the tap's thread."""

    def gone(self, stream: str) -> None:
        """A camera of several was taken out, and its run is over."""

    def close(self) -> None:
        """All runs are over."""


class Watchers(Watcher):
    """Several as one."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)

    def on_report(self, report: Report, graph: Graph) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.on_report(report, graph)

    def on_message(self, parts: Sequence[bytes]) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.on_message(parts)

    def gone(self, stream: str) -> None:
        """To each."""
        for watcher in self._watchers:
            watcher.gone(stream)

    def close(self) -> None:
        """The last first."""
        for watcher in reversed(self._watchers):
            watcher.close()
