"""Live: which node is too slow for the camera, and since when."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from pipeline.messages import Notice, Report
from pipeline.node import NEWER_WON
from pipeline.sockets import NODES
from pipeline.summary import NodeState

_WINDOW_S = 2.0
_MUCH = 0.2  # share of a window's frames dropped: overloaded
_LITTLE = 0.05  # recovered
_RECENT_REPORTS = 3


class Overload:
    """Finds the bottleneck, blames it for dropped frames, and says when there are many.

    Args:
        nodes: what is known of each node; ``caused`` of the bottleneck grows.
        clock: monotonic, s.
    """

    def __init__(
        self, nodes: dict[str, NodeState], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._busy: dict[str, float] = {}  # share of its time that a node is at work
        self._work_ms: dict[str, deque[float]] = {
            name: deque(maxlen=_RECENT_REPORTS) for name in NODES
        }
        self._window: deque[tuple[float, int, int]] = deque()  # time, frames taken, dropped
        self._blamed = 0  # frames whose drop was put down to a node
        self._since: tuple[float, int] | None = None  # time, frames dropped before

    def take(self, report: Report) -> Notice | None:
        """Note how ``report``'s node fares; what there is to say, if anything."""
        now = self._clock()
        before = self._heard.get(report.node)
        if report.kind != "beat" and report.kind != "done":
            return None
        self._heard[report.node] = now
        if before is not None:
            self._busy[report.node] = sum(report.work_ms) / 1e3 / max(now - before, 1e-3)
        if report.work_ms:
            self._work_ms[report.node].append(float(np.mean(report.work_ms)))
        return self._judge(now) if report.node == "capture" else None

    @property
    def bottleneck(self) -> str:
        """The node that rests least; one that is not there, first of all."""
        inner = NODES[1:]
        missing = (name for name in inner if not self._nodes[name].ready)
        return next(missing, max(inner, key=lambda name: self._busy.get(name, 0.0)))

    def _judge(self, now: float) -> Notice | None:
        capture = self._nodes["capture"]
        taken, dropped = capture.total_received, capture.total_dropped[NEWER_WON]
        slow = self.bottleneck
        self._nodes[slow].caused += dropped - self._blamed
        self._blamed = dropped
        if not all(state.ready for state in self._nodes.values()):
            self._window.clear()  # a restart says so itself
            return None
        self._window.append((now, taken, dropped))
        while now - self._window[1 if len(self._window) > 1 else 0][0] >= _WINDOW_S:
            self._window.popleft()
        begin, taken_then, dropped_then = self._window[0]
        if now - begin < _WINDOW_S:
            return None
        lost = dropped - dropped_then
        return self._turned(now, slow, lost, lost + taken - taken_then, dropped_then)

    def _turned(self, now: float, slow: str, lost: int, total: int, before: int) -> Notice | None:
        """A notice, when the state changed."""
        if self._since is None and lost > _MUCH * total:
            self._since = now - _WINDOW_S, before
            work = self._work_ms[slow]
            pace = f"takes {np.mean(work):.0f} ms an item" if work else "is too slow"
            text = f"{slow} {pace}: {lost} of {total} frames dropped in {_WINDOW_S:g} s"
            return Notice("", "overloaded", text)
        if self._since is not None and lost <= _LITTLE * total:
            begin, count = self._since
            self._since = None
            text = f"{self._blamed - count} frames dropped in {now - begin:.0f} s"
            return Notice("", "recovered", text)
        return None
