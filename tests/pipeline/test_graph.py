"""The graph around scripted stages: supervision, bounds, order; no face needed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import pipeline.publish_node
import pipeline.sources
import pipeline.stage_nodes
from models.errors import SourceError, UserError
from pipeline.config import Config, load
from pipeline.graph import Graph, GraphDied
from pipeline.messages import Report
from pipeline.sources.latest import LiveSource, Watch
from pipeline.summary import Summary
from stages.items import Event, Frame, Interval, Stamp


class ScriptedSource:
    stream = "scripted"
    live = False
    fps = 30.0
    warning = None

    def __init__(self, n: int, pause_s: float = 0.0) -> None:
        self.n_frames = n
        self._pause_s = pause_s
        self.closed = False

    def frames(self) -> Iterator[Frame]:
        for i in range(self.n_frames):
            time.sleep(self._pause_s)
            stamp = Stamp("scripted", i, i / 30, time.monotonic_ns(), time.time_ns())
            yield Frame(stamp, np.full((8, 8), i % 256, np.uint8))

    def close(self) -> None:
        self.closed = True


class Pass:
    """Passes Frames on; turns every tenth into a final event where asked."""

    def __init__(self, name: str, epoch: int) -> None:
        self.name, self.epoch = name, epoch

    def process(self, item: Any) -> Iterable[Any]:
        return [item]

    def flush(self) -> Iterable[Any]:
        return []

    def reset(self) -> None:
        return None


class Announce(Pass):
    """Frame 5 opens an expression, frame 25 closes it; flush retracts what is open."""

    def process(self, item: Any) -> Iterable[Any]:
        stamp = item.stamp
        if stamp.frame in (5, 25):
            phase = "apex" if stamp.frame == 5 else "final"
            interval = Interval(
                "scripted/0/0-0", 0, phase, "micro", None, stamp, None, [], stamp, 0
            )  # type: ignore[arg-type]
            return [Event(interval, [], "none@0", [])]
        return []


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Scripted stages by node name; the source under "source"."""
    plan: dict[str, Any] = {"source": ScriptedSource(40), "face": Pass, "motion": Pass}
    plan |= {"spot": Pass, "classify": Announce}
    accepts = {name: (Frame,) for name in ("face", "motion", "spot", "classify")}
    monkeypatch.setattr("pipeline.routing.ACCEPTS", accepts)
    monkeypatch.setattr(
        pipeline.stage_nodes, "build", lambda name, config, epoch: plan[name](name, epoch)
    )

    class Set:
        aus = (1,)

    monkeypatch.setattr(pipeline.publish_node, "prototypes", lambda config: Set)
    monkeypatch.setattr(pipeline.sources, "open_source", lambda *a, **k: _open(plan["source"]))
    return plan


def _open(source: Any) -> Any:
    if isinstance(source, Exception):
        raise source
    return source


def _config(**options: Any) -> Config:
    return load(events="tcp://127.0.0.1:*", **options)


def _run(graph: Graph) -> Summary:
    """Run with a guard: a graph that hangs fails here."""
    result: list[Any] = []

    def target() -> None:
        try:
            result.append(graph.run())
        except UserError as error:
            result.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(60)
    assert result, "the graph did not come to an end"
    if isinstance(result[0], UserError):
        raise result[0]
    summary = result[0]
    assert isinstance(summary, Summary)
    return summary


def test_every_frame_of_a_recording_arrives_and_events_are_counted(scripted: Any) -> None:
    summary = _run(Graph(_config()))
    assert summary.frames == 40
    assert not summary.dropped
    assert summary.events == {"apex": 1, "final": 1, "micro": 1}
    assert summary.nodes["classify"].total_received == 40
    assert scripted["source"].closed


def test_an_item_that_a_stage_rejects_is_dropped_counted_and_said_once(scripted: Any) -> None:
    class Picky(Pass):
        def process(self, item: Any) -> Iterable[Any]:
            if item.stamp.frame % 8 == 3:
                raise ValueError("no")
            return [item]

    scripted["face"] = Picky
    notes: list[str] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "note":
            notes.append(report.text)

    summary = _run(Graph(_config(), on_report))
    assert summary.dropped == {"face failed": 5}
    assert notes == ["dropped an item: ValueError: no"]
    assert summary.nodes["motion"].total_received == 35


class Dying(Pass):
    """Dies where a real node would: outside of any single item, in its first life."""

    lives = 1

    def process(self, item: Any) -> Iterable[Any]:
        if self.epoch < self.lives:
            raise SystemError("broken")
        return [item]


def test_a_dead_node_is_restarted_and_what_was_open_is_retracted(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.stage_nodes, "_FAILURES_IN_A_ROW", 3)

    class DiesOnceAtEight(Dying):
        def process(self, item: Any) -> Iterable[Any]:
            return super().process(item) if item.stamp.frame >= 8 else [item]

    scripted["face"] = DiesOnceAtEight
    scripted["source"] = ScriptedSource(40, pause_s=0.01)
    published: list[Any] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "published":
            import msgspec

            published.append(msgspec.msgpack.decode(report.payload))

    summary = _run(Graph(_config(), on_report))
    assert summary.restarts == 1
    assert summary.dropped == {"face failed": 3, "publish: closed already": 1}
    phases = [m["phase"] for m in published if m["type"] == "event"]
    assert phases == ["apex", "retracted"]
    retracted = next(m for m in published if m.get("phase") == "retracted")
    assert retracted["reason"] == "face restarted"
    assert "node_restarted" in [m.get("state") for m in published]
    assert summary.nodes["motion"].total_received == 37


def test_three_deaths_in_a_minute_end_the_run_with_code_3(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.stage_nodes, "_FAILURES_IN_A_ROW", 2)
    Dying.lives = 100
    scripted["spot"] = Dying
    with pytest.raises(GraphDied, match="spot: 3 deaths") as caught:
        _run(Graph(_config()))
    assert caught.value.exit_code == 3


def test_a_source_that_cannot_be_opened_ends_the_run_with_its_code(scripted: Any) -> None:
    scripted["source"] = SourceError("nowhere.mp4: no such file")
    with pytest.raises(UserError, match=r"nowhere\.mp4: no such file") as caught:
        _run(Graph(_config()))
    assert caught.value.exit_code == SourceError.exit_code


def test_an_occupied_port_is_one_clear_line(scripted: Any) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(UserError, match="is occupied; choose another with --events"):
            _run(Graph(load(events=f"tcp://127.0.0.1:{port}")))


def test_stop_drains_and_ends_well(scripted: Any) -> None:
    scripted["source"] = ScriptedSource(100_000, pause_s=0.005)
    graph = Graph(_config())

    def on_report(report: Report, running: Graph) -> None:
        if running.nodes["classify"].received > 10:
            running.stop()

    graph._on_report = on_report
    summary = _run(graph)
    assert 10 < summary.frames < 100_000
    assert summary.nodes["classify"].total_received == summary.frames
    assert summary.events["apex"] == summary.events["final"] + summary.events["retracted"]


def test_a_slow_stage_bounds_the_queues_and_loses_nothing_of_a_recording(scripted: Any) -> None:
    class Slow(Pass):
        seen = 0

        def process(self, item: Any) -> Iterable[Any]:
            time.sleep(0.005)
            Slow.seen += 1
            ahead.append(item.stamp.frame - Slow.seen)
            return [item]

    ahead: list[int] = []
    scripted["spot"] = Slow
    scripted["source"] = ScriptedSource(120)
    summary = _run(Graph(_config(graph={"queue": 2})))
    assert summary.frames == 120
    assert Slow.seen == 120
    assert not summary.dropped


class LiveCamera(LiveSource):
    """Thirty frames in 0.6 s, of which only the newest can be had."""

    fps, width, height = 50.0, 8, 8

    def __init__(self, watch: Watch) -> None:
        super().__init__("webcam 0", "scripted", None, watch)
        self._start()

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        self._wanted.wait()
        for index in range(30):
            time.sleep(0.02)
            yield index / 50, index

    def _image(self, grabbed: Any) -> Any:
        return np.full((8, 8), grabbed, np.uint8)

    def _release(self) -> None:
        return None


def test_live_the_newest_frame_wins_and_drops_are_counted_as_gaps(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Pass):
        def process(self, item: Any) -> Iterable[Any]:
            time.sleep(0.08)
            seen.append(item.stamp)
            return [item]

    seen: list[Stamp] = []
    scripted["face"] = Slow
    monkeypatch.setattr(pipeline.sources, "open_source", lambda *a, watch, **k: LiveCamera(watch))
    summary = _run(Graph(_config(source="0", capture={"reconnect": False})))
    dropped = summary.dropped["capture: newer frame won"]
    assert dropped > 5
    assert summary.frames + dropped == 30
    missing = sum(b.frame - a.frame - 1 for a, b in itertools.pairwise(seen))
    assert missing + seen[0].frame == dropped
