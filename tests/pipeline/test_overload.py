"""A stage ten times too slow under a live source (synthetic camera, scripted stages)."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import pipeline.sources
from pipeline.graph import Graph
from pipeline.messages import Notice, Report
from pipeline.node import NEWER_WON, stamp_of
from pipeline.overload import Overload
from pipeline.sockets import NODES
from pipeline.sources.latest import LiveSource, Watch
from pipeline.summary import NodeState
from stages.items import Curves, Stamp
from tests.pipeline import scripted
from tests.pipeline.test_graph import _run

pytestmark = pytest.mark.alone

FPS = 30
SLOW_S = 0.33
LOAD_S = 5.0  # of the source's time
CALM_S = 5.0


class Live(LiveSource):
    """A camera at 30 fps, of which only the newest frame can be had."""

    fps, width, height = float(FPS), 8, 8

    def __init__(self, watch: Watch) -> None:
        super().__init__("webcam 0", "cam", None, watch)
        self._start()

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        self._wanted.wait()
        begin = time.monotonic()
        for index in range(int((LOAD_S + CALM_S) * FPS)):
            time.sleep(max(0.0, begin + index / FPS - time.monotonic()))
            yield index / FPS, index

    def _image(self, grabbed: Any) -> Any:
        return np.full((8, 8), grabbed % 256, np.uint8)

    def _release(self) -> None:
        return None


class Loaded:
    """A stage that is slow for the first seconds, and notes when it is done with a frame."""

    def __init__(self, inner: Any, slow: bool, done: list[tuple[Stamp, float]]) -> None:
        self._inner, self._slow, self._done = inner, slow, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def process(self, item: Any) -> Iterable[Any]:
        stamp = item.stamp if isinstance(item, Curves) else stamp_of(item)
        if self._slow and stamp is not None and time.monotonic() < self._until(stamp):
            time.sleep(SLOW_S)
        made = list(self._inner.process(item))
        if isinstance(item, Curves) and item.eye is not None:  # not columns that are redone
            self._done.append((stamp, (time.monotonic_ns() - item.stamp.mono_ns) / 1e9))
        return made

    @staticmethod
    def _until(stamp: Stamp) -> float:
        """When the load goes, by the monotonic clock."""
        return stamp.mono_ns / 1e9 - stamp.pts + LOAD_S


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["face", "motion", "spot"])
def test_capture_stays_live_and_latency_is_back_two_seconds_after_the_load(
    monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    done: list[tuple[Stamp, float]] = []  # as spot is through with them
    states: list[dict[str, Any]] = []

    def build(name: str, config: Any, epoch: int) -> Any:
        made = scripted.stage(name, epoch)
        return Loaded(made, name == slow, done if name == "spot" else [])

    monkeypatch.setattr("pipeline.stage_nodes.build", build)
    monkeypatch.setattr("pipeline.publish_node.prototypes", lambda config: scripted.Set)
    monkeypatch.setattr(pipeline.sources, "open_source", lambda *a, watch, **k: Live(watch))

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "published":
            message = msgspec.msgpack.decode(report.payload)
            if message["type"] == "state":
                states.append(message)

    config = scripted.config(source="0", graph={"heartbeat_s": 0.2}, capture={"reconnect": False})
    graph = Graph(config, on_report)
    summary = _run(graph)
    dropped = summary.dropped[NEWER_WON]
    stamps = [stamp for stamp, _ in done]
    loaded = [late for stamp, late in done if stamp.pts < LOAD_S]
    calm = [late for stamp, late in done if stamp.pts > LOAD_S + 2.0]
    print(f"{slow}: {dropped} dropped, {summary.too_slow}, loaded {max(loaded):.2f} s, ", end="")
    print(f"calm p50 {np.median(calm) * 1e3:.1f} p95 {np.percentile(calm, 95) * 1e3:.1f} ms")

    assert dropped > 0.5 * LOAD_S * FPS
    # every frame is accounted for, and what was behind is bounded by the queues, not by time
    assert summary.frames + dropped == graph._begun.frame + 1
    assert all(b.frame > a.frame for a, b in itertools.pairwise(stamps))
    queues = NODES.index(slow) * 5
    assert max(loaded) < (queues + 5) * SLOW_S
    assert summary.too_slow[slow] > 0.8 * dropped
    assert np.median(calm) < 0.25  # not one slow item's time
    told = [state["state"] for state in states if state["state"] in ("overloaded", "recovered")]
    assert told[0] == "overloaded"  # a machine that others use may never recover
    detail = next(state["detail"] for state in states if state["state"] == "overloaded")
    assert detail.startswith(f"{slow} takes ")


def test_motion_waits_for_a_slow_or_dead_spot_without_wedging(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Spot dies again and again, each time when motion asks it for its answer."""
    asked = threading.Event()

    class Deadly:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def process(self, item: Any) -> Iterable[Any]:
            if type(item).__name__ == "WindowEnd" and not asked.is_set():
                asked.set()
                raise SystemExit("scripted")
            return self._inner.process(item)

    def build(name: str, config: Any, epoch: int) -> Any:
        made = scripted.stage(name, epoch)
        return Deadly(made) if name == "spot" else made

    monkeypatch.setattr("pipeline.stage_nodes.build", build)
    monkeypatch.setattr("pipeline.publish_node.prototypes", lambda config: scripted.Set)
    config = scripted.config(duration=9, fps="max", out=tmp_path / "e")
    summary = _run(Graph(config))
    assert asked.is_set()
    assert summary.restarts == 1
    assert summary.frames == 270
    assert summary.events["final"] >= 3


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _second(
    overload: Overload, clock: Clock, nodes: dict[str, NodeState], drops: int, busy: list[float]
) -> Notice | None:
    """A second of reports: each node's share of time at work; frames dropped."""
    clock.now += 1.0
    capture = nodes["capture"]
    capture.received += 30 - drops
    capture.dropped[NEWER_WON] += drops
    for name, share in zip(NODES[1:], busy, strict=True):
        overload.take(Report(name, 0, "beat", work_ms=[share * 100] * 10))
    return overload.take(Report("capture", 0, "beat", received=capture.received))


def test_the_bottleneck_is_the_node_that_rests_least() -> None:
    nodes, clock = {name: NodeState(ready=True) for name in NODES}, Clock()
    overload = Overload(nodes, clock)
    for _ in range(3):
        assert _second(overload, clock, nodes, 0, [0.1] * 5) is None
    found = [_second(overload, clock, nodes, 20, [0.3, 0.5, 0.9, 0.0, 0.0]) for _ in range(4)]
    notices = [notice for notice in found if notice is not None]
    assert [notice.state for notice in notices] == ["overloaded"]
    assert notices[0].detail.startswith("spot takes ")
    assert nodes["spot"].caused == 80
    found = [_second(overload, clock, nodes, 0, [0.0] * 5) for _ in range(4)]
    notices = [notice for notice in found if notice is not None]
    assert [notice.state for notice in notices] == ["recovered"]
    assert notices[0].detail.startswith("80 frames dropped in ")


def test_a_restart_is_no_overload() -> None:
    nodes, clock = {name: NodeState(ready=True) for name in NODES}, Clock()
    overload = Overload(nodes, clock)
    nodes["motion"].ready = False
    for _ in range(5):
        assert _second(overload, clock, nodes, 30, [0.9, 0.1, 0.0, 0.0, 0.0]) is None
    assert nodes["motion"].caused == 150
