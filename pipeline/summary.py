"""What a run comes to: counters and times of each node."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from pipeline.messages import Report
from pipeline.samples import Samples

_KEPT_SAMPLES = 50_000  # of each figure of each node: 28 minutes at 30 fps


@dataclass
class NodeState:
    """What is known of one node."""

    epoch: int = 0
    ready: bool = False
    done: bool = False
    received: int = 0
    sent: int = 0
    idle: int = 0  # reports in a row that found nothing waiting
    revision: int = 0  # of the configuration that it has heard
    caused: int = 0  # frames of a live source that were dropped because this node was too slow
    detail: str = ""
    dropped: Counter[str] = field(default_factory=Counter)
    past: Counter[str] = field(default_factory=Counter)  # counters of earlier epochs
    latencies_ms: Samples = field(default_factory=lambda: Samples(_KEPT_SAMPLES))
    work_ms: Samples = field(default_factory=lambda: Samples(_KEPT_SAMPLES))
    heard: float = field(default_factory=time.monotonic)

    def update(self, report: Report) -> None:
        """Take a report's counters."""
        self.heard = time.monotonic()
        if report.epoch != self.epoch:
            return
        self.received, self.sent = report.received, report.sent
        self.revision = report.revision
        if report.kind == "beat":
            self.idle = self.idle + 1 if report.idle else 0
        self.dropped = Counter(report.dropped)
        self.latencies_ms.extend(report.latencies_ms)
        self.work_ms.extend(report.work_ms)

    def renew(self, epoch: int) -> None:
        """The node was restarted: its counters begin again."""
        self.past.update(self.dropped)
        self.past["\0received"] += self.received
        self.epoch = epoch
        self.ready = False
        self.received = self.sent = self.idle = self.revision = 0
        self.dropped = Counter()
        self.heard = time.monotonic()

    @property
    def total_received(self) -> int:
        """Items handled over all epochs."""
        return self.received + self.past["\0received"]

    @property
    def total_dropped(self) -> Counter[str]:
        """Items dropped over all epochs, by reason."""
        total = Counter(self.dropped)
        total.update({k: v for k, v in self.past.items() if not k.startswith("\0")})
        return total


@dataclass
class Summary:
    """What a run came to."""

    nodes: dict[str, NodeState]
    events: Counter[str]  # by phase, and finals by kind
    seconds: float
    warning: str = ""
    restarts: int = 0
    malformed: int = 0  # reports that were none

    @property
    def frames(self) -> int:
        """Frames captured."""
        return self.nodes["capture"].total_received

    @property
    def too_slow(self) -> dict[str, int]:
        """Frames that a live source dropped, by the node that was too slow for them."""
        return {name: node.caused for name, node in self.nodes.items() if node.caused}

    @property
    def dropped(self) -> Counter[str]:
        """Drops by reason, over all nodes."""
        total: Counter[str] = Counter()
        for node in self.nodes.values():
            total.update(node.total_dropped)
        if self.malformed:
            total["malformed report"] = self.malformed
        return total
