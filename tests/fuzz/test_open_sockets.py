"""Strangers at every TCP socket of a running graph: counters go up, events stay what they are."""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

import pipeline.graph
import pipeline.publish_node
import pipeline.sources
import pipeline.stage_nodes
from pipeline import arrived, routing, sockets
from pipeline.config import load
from pipeline.graph import Graph, Summary
from pipeline.schema import without_wall_clock
from pipeline.sockets import Addresses, Transport
from pipeline.subscribe import subscribe
from stages.items import Frame
from tests.fuzz.attacks import Attack
from tests.fuzz.messages import PUBLISHED
from tests.pipeline.test_graph import Announce, Pass, ScriptedSource

_PULLS = ("face", "motion", "feedback", "spot", "classify", "publish", "reports")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses of the next graph, once it has them."""
    table: dict[str, str] = {}
    made = sockets.addresses

    @contextlib.contextmanager
    def watched(transport: Transport, label: str) -> Iterator[Addresses]:
        with made("tcp" if transport == "inproc" else transport, label) as found:
            table.update(found.table)
            yield found

    monkeypatch.setattr(sockets, "addresses", watched)
    return table


def _scripted(monkeypatch: pytest.MonkeyPatch, frames: int, pause_s: float) -> None:
    """Scripted stages as threads that speak as processes do: encoded, over tcp."""
    plan: dict[str, Any] = {"face": Pass, "motion": Pass, "spot": Pass, "classify": Announce}
    monkeypatch.setattr("pipeline.routing.ACCEPTS", {name: (Frame,) for name in plan})
    monkeypatch.setitem(routing._PLACES, Frame, tuple(plan))
    monkeypatch.setattr(
        pipeline.stage_nodes, "build", lambda name, config, epoch: plan[name](name, epoch)
    )

    class Set:
        aus = (1,)

    monkeypatch.setattr(pipeline.publish_node, "prototypes", lambda config: Set)
    source = ScriptedSource(frames, pause_s)
    monkeypatch.setattr(pipeline.sources, "open_source", lambda *a, **k: source)
    monkeypatch.setattr(pipeline.graph, "Parcels", lambda: None)


def _attacked(graph: Graph, opened: dict[str, str], seed: int) -> tuple[Summary, Attack]:
    attack: list[Attack] = []

    def on_report(report: Any, running: Graph) -> None:
        ready = all(node.ready for node in running.nodes.values())
        if ready and not attack:
            public = running.nodes["publish"].detail
            others = [opened["commands"], public]
            attack.append(Attack([opened[name] for name in _PULLS], others, seed))
            attack[0].start()

    graph._on_report = on_report
    try:
        summary = graph.run()
    finally:
        for one in attack:
            one.stop()
    return summary, attack[0]


def _events(out: Path) -> list[Any]:
    return [without_wall_clock(json.loads(line)) for line in out.read_text().splitlines()]


def test_strangers_cost_counters_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, opened: dict[str, str], tmp_path: Path
) -> None:
    _scripted(monkeypatch, 100, 0.03)
    out = tmp_path / "events.jsonl"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = Graph(load(events="tcp://127.0.0.1:*", out=out))
    summary, attack = _attacked(graph, opened, 3)
    assert summary.frames == 100
    assert summary.restarts == 0
    assert summary.nodes["classify"].total_received == 100  # not one frame was lost
    assert summary.events == {"apex": 1, "final": 1, "micro": 1}
    assert [event["phase"] for event in _events(out)] == ["apex", "final"]
    assert attack.malformed > 20
    assert summary.dropped["malformed"] + summary.malformed > 20
    assert summary.malformed > 0
    assert set(summary.dropped) <= {"malformed", "malformed report"}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000


@pytest.mark.slow
def test_strangers_at_processes_over_tcp(opened: dict[str, str], tmp_path: Path) -> None:
    """The synthetic camera through the real stages, with and without strangers."""
    runs = []
    for name in ("quiet", "attacked"):
        out = tmp_path / name
        config = load(
            source="synthetic:",
            duration=9,
            events="tcp://127.0.0.1:*",
            out=out,
            transport="tcp",
            model=[],
        )
        if name == "quiet":
            summary = Graph(config).run()
        else:
            summary, attack = _attacked(Graph(config), opened, 4)
        assert summary.restarts == 0
        assert summary.frames == 270
        runs.append(_events(out))
    assert runs[0] == runs[1]
    assert runs[0]
    assert summary.dropped["malformed"] > 0
    print(f"strangers: {dict(attack.sent)}, counted {dict(summary.dropped)}")


def test_a_command_that_is_none_starts_and_stops_nothing() -> None:
    for parts in ([b"stop"], [b""], [b"\x81\xa4kind\xa4halt"], [b"\x81\xa4kind\xa2go"] * 2):
        with pytest.raises(ValueError):
            arrived.command(parts)


def test_a_client_leaves_out_what_is_no_message() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as hostile:
        port = hostile.bind_to_random_port("tcp://127.0.0.1")
        messages = subscribe(f"tcp://127.0.0.1:{port}", "", timeout_s=20)
        good = PUBLISHED[0]

        def found() -> list[str]:
            got = []
            for name, _ in messages:
                got.append(name)
                if name != "event.cam.final" or len(got) == 3:
                    break
            return got

        over = threading.Event()

        def send() -> None:
            while not over.is_set():
                for parts in (
                    [b"x"],
                    [b"a", b"b", b"c"],
                    [b"\xff\xfe", good[1]],
                    [b"event.", b"\x91"],
                ):
                    hostile.send_multipart(parts)
                hostile.send_multipart(good)
                time.sleep(0.02)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            assert found() == ["event.cam.final"] * 3
        finally:
            over.set()
            thread.join()
        messages.close()  # type: ignore[attr-defined]
