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
from pipeline.events import subscribe
from pipeline.graph import Graph, Summary
from pipeline.keys import ClientKey
from pipeline.schema import without_wall_clock
from pipeline.sockets import Addresses, Transport
from stages.items import Frame
from tests.fuzz.attacks import Attack
from tests.fuzz.messages import PUBLISHED
from tests.pipeline.test_graph import Announce, Pass, ScriptedSource

_PULLS = ("face", "motion", "feedback", "spot", "classify", "publish", "reports")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Addresses]:
    """The addresses of each graph, with the keys of its run, once it has them."""
    tables: list[Addresses] = []
    made = sockets.addresses

    @contextlib.contextmanager
    def watched(transport: Transport, label: str) -> Iterator[Addresses]:
        with made("tcp" if transport == "inproc" else transport, label) as found:
            tables.append(found)
            yield found

    monkeypatch.setattr(sockets, "addresses", watched)
    return tables


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


def _attacked(
    graph: Graph, opened: list[Addresses], seed: int, with_keys: bool
) -> tuple[Summary, Attack]:
    """A run under attack; ``with_keys``: by one who has come by the keys of its stages."""
    attack: list[Attack] = []

    def on_report(report: Any, running: Graph) -> None:
        ready = all(node.ready for node in running.nodes.values())
        if ready and not attack:
            table, keys = opened[-1].table, opened[-1].keys
            assert keys is not None
            key = ClientKey(keys.client, keys.server.public) if with_keys else None
            events, replay, *_ = running.nodes["publish"].detail.split("\t")
            others = [table["commands"], events, replay]
            attack.append(Attack([table[name] for name in _PULLS], others, seed, key))
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


def _counted(summary: Summary, attack: Attack, with_keys: bool) -> None:
    """Strangers are counted at the door, malformed messages of those with keys behind it.

    The replay socket asks nobody on this machine for keys.
    """
    print(f"attack: {dict(attack.sent)}, counted {dict(summary.dropped)}")
    assert attack.malformed > 20
    refused = {name for name in summary.dropped if name.startswith("stage refused: ")}
    assert sum(summary.dropped[name] for name in refused) > 10
    inside = {"malformed", "malformed report"} if with_keys else set()
    assert set(summary.dropped) <= refused | inside | {"replay: malformed"}
    if with_keys:
        assert summary.dropped["malformed"] > 20
        assert summary.malformed > 0
    else:
        assert summary.malformed == 0


@pytest.mark.parametrize("with_keys", [False, True], ids=["without keys", "with keys"])
def test_an_attack_costs_counters_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, opened: list[Addresses], tmp_path: Path, with_keys: bool
) -> None:
    _scripted(monkeypatch, 100, 0.03)
    out = tmp_path / "events.jsonl"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = Graph(load(events="tcp://127.0.0.1:*", out=out))
    summary, attack = _attacked(graph, opened, 3, with_keys)
    assert summary.frames == 100
    assert summary.restarts == 0
    assert summary.nodes["classify"].total_received == 100  # not one frame was lost
    assert summary.events == {"apex": 1, "final": 1, "micro": 1}
    assert [event["phase"] for event in _events(out)] == ["apex", "final"]
    _counted(summary, attack, with_keys)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000


@pytest.mark.slow
def test_attacks_at_processes_over_tcp(opened: list[Addresses], tmp_path: Path) -> None:
    """The synthetic camera through the real stages, in quiet and attacked."""
    runs = []
    for name in ("quiet", "without keys", "with keys"):
        out = tmp_path / name
        config = load(
            source="synthetic:",
            duration=9,
            events="tcp://127.0.0.1:*",
            out=out,
            log={"path": tmp_path / f"{name}.db"},
            transport="tcp",
            model=[],
        )
        if name == "quiet":
            summary = Graph(config).run()
        else:
            with_keys = name == "with keys"
            summary, attack = _attacked(Graph(config), opened, 4, with_keys)
            _counted(summary, attack, with_keys)
        assert summary.restarts == 0
        assert summary.frames == 270
        runs.append(_events(out))
    assert runs[0] == runs[1] == runs[2]
    assert runs[0]


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
