"""Metrics and health of all runs of this process, from their reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from models.errors import UserError
from pipeline.config import Config
from pipeline.messages import Report
from pipeline.metrics import labels
from pipeline.watchers import Watcher

if TYPE_CHECKING:
    from pipeline.graph import Graph
    from pipeline.metrics.feed import Feed


class MetricsWatcher(Watcher):
    """Serves ``/metrics`` and ``/healthz`` from its making to ``close``.

    Args:
        config: of the run, or what is common to several: ``metrics`` and ``security``.
        say: told where it serves.
        warn: told what must be said at each start.
        cameras: streams that will run; by default that of ``config``.

    Attributes:
        registry: of all metrics.
        url: where they are.

    Raises:
        UserError: prometheus_client is missing; or the address is occupied, or open to others.
    """

    def __init__(
        self,
        config: Config,
        say: Callable[[str], None] = lambda text: None,
        warn: Callable[[str], None] = lambda text: None,
        cameras: list[str] | None = None,
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
        except ImportError:
            raise UserError(
                "metrics need prometheus_client: pip install 'mespot[metrics]'"
            ) from None
        from pipeline.metrics.families import Families
        from pipeline.metrics.health import Health
        from pipeline.metrics.machine import Gpus, NodeProcesses
        from pipeline.metrics.server import Server, check_open

        warning = check_open(config.metrics, config.security.insecure)
        self.registry = CollectorRegistry()
        self._families = Families(self.registry)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(NodeProcesses(self._processes))
        self.registry.register(Gpus())
        self._feeds: WeakKeyDictionary[Graph, tuple[str, Feed]] = WeakKeyDictionary()
        self.health = Health(cameras or [_name(config)])
        self._server = Server(config.metrics, self.registry, self.health)
        self.url = self._server.url
        say(f"metrics on {self.url}")
        if warning:
            warn(warning)

    def on_report(self, report: Report, graph: Graph) -> None:
        """Count what a report tells."""
        known = self._feeds.get(graph)
        if known is None:
            from pipeline.metrics.feed import Feed

            name = _name(graph.config)
            known = self._feeds[graph] = name, Feed(self._families, name)
        name, feed = known
        feed.take(report, graph)
        self.health.take(report, graph, name)

    def gone(self, stream: str) -> None:
        """No gauge and no ill health of a camera that was taken out; counters stay."""
        name = labels.text(stream)
        self.health.forget(name)
        self._families.forget(name)

    def _processes(self) -> Iterator[tuple[str, str, int]]:
        for graph, (name, _) in list(self._feeds.items()):
            for node, process in graph.processes().items():
                yield name, node, process

    def close(self) -> None:
        """Serve no more."""
        self._server.close()


def _name(config: Config) -> str:
    return labels.text(config.stream)
