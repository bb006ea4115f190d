"""Nodes as processes: killed at work, restarted, the run goes on (synthetic camera)."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.graph import Graph, GraphDied, Summary


def _child(name: str) -> multiprocessing.process.BaseProcess:
    for _ in range(200):
        for child in multiprocessing.active_children():
            if child.name == f"mespot-{name}" and child.is_alive():
                return child
        time.sleep(0.05)
    raise AssertionError(f"no process for {name}")


def _killing(graph: Graph, name: str, after_frames: int, times: int = 1) -> threading.Thread:
    def kill() -> None:
        while graph.nodes["spot"].total_received < after_frames:
            time.sleep(0.05)
        for k in range(times):
            epoch = graph.nodes[name].epoch
            _child(name).kill()
            while graph.nodes[name].epoch == epoch and k + 1 < times:
                time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["face", "motion", "spot"])
def test_a_killed_node_is_restarted_and_the_run_goes_on(tmp_path: Path, name: str) -> None:
    out = tmp_path / "events.jsonl"
    graph = Graph(
        load(source="synthetic:", duration=9, events="tcp://127.0.0.1:*", out=out, transport="ipc")
    )
    thread = _killing(graph, name, after_frames=40)
    summary: Summary = graph.run()
    thread.join(5)
    events = [json.loads(line) for line in out.read_text().splitlines()]
    opened = sorted(e["id"] for e in events if e["phase"] == "apex")
    closed = sorted(e["id"] for e in events if e["phase"] in ("final", "retracted"))
    assert summary.restarts == 1
    assert summary.frames == 270
    assert opened == closed
    assert len(set(opened)) == len(opened)
    assert [e["seq"] for e in events] == list(range(len(events)))
    # the scripted frown at 8.0 to 8.37 s comes long after the death
    assert any(e["phase"] == "final" and 7.8 < e["apex"]["pts"] < 8.5 for e in events)


def test_three_kills_within_a_minute_end_the_run(tmp_path: Path) -> None:
    graph = Graph(
        load(source="synthetic:", duration=60, events="tcp://127.0.0.1:*", transport="ipc")
    )
    thread = _killing(graph, "classify", after_frames=10, times=3)
    with pytest.raises(GraphDied, match="3 deaths"):
        graph.run()
    thread.join(5)
    assert not multiprocessing.active_children()
