"""The same events from every driver, transport and speed (synthetic clip)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.clip import encode, images, scene
from models.synthesis import demo_scene
from pipeline.build import prototypes
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.inline import run
from pipeline.publish import Messages
from pipeline.schema import EventMessage, without_wall_clock
from pipeline.sources import open_source
from stages.items import Blink

SECONDS = 12.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "synthetic.mp4"
    encode(path, images(scene(SECONDS)), 30)
    return path


@pytest.fixture(scope="module", params=["mespot", "paper"])
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def expected(clip: Path, method: str) -> list[Any]:
    config = load(source=str(clip), method=method)
    source = open_source(str(clip), fps="max")
    messages = Messages(source.stream, prototypes(config).aus)
    made = [m for item in run(source.frames(), config) for m in messages.of(item)]
    events = [msgspec.to_builtins(m) for m in made if isinstance(m, EventMessage)]
    return [without_wall_clock(event) for event in events]


def _through_graph(clip: Path, folder: Path, **options: Any) -> list[Any]:
    out = folder / "events.jsonl"
    Graph(load(source=str(clip), events="tcp://127.0.0.1:*", out=out, **options)).run()
    return [without_wall_clock(json.loads(line)) for line in out.read_text().splitlines()]


def test_the_method_that_is_compared_first_is_the_default() -> None:
    assert load(source="synthetic:").method == "mespot"


def test_the_synthetic_clip_has_events_to_compare(expected: list[Any]) -> None:
    assert sum(event["phase"] == "final" for event in expected) >= 2
    assert [event["seq"] for event in expected] == list(range(len(expected)))


@pytest.mark.parametrize("transport", ["inproc", "ipc", "tcp"])
def test_every_transport_gives_the_events_of_the_plain_loop(
    clip: Path, expected: list[Any], method: str, tmp_path: Path, transport: str
) -> None:
    assert _through_graph(clip, tmp_path, method=method, fps="max", transport=transport) == expected


def test_the_scripted_blinks_are_told_apart_from_expressions(clip: Path, method: str) -> None:
    config = load(source=str(clip), method=method)
    frames = open_source(str(clip), fps="max").frames()
    blinks = [item for item in run(frames, config) if isinstance(item, Blink)]
    if method == "paper":
        assert not blinks
    else:
        scripted = [t for t in demo_scene(SECONDS).blinks_s if t + 0.3 < SECONDS]
        assert [b.au for b in blinks] == [45] * len(scripted)
        near = zip(blinks, scripted, strict=True)
        assert all(t - 0.05 < b.apex.pts < t + 0.25 for b, t in near)


@pytest.mark.alone
def test_replay_at_30_fps_gives_the_same_events(
    clip: Path, expected: list[Any], method: str, tmp_path: Path
) -> None:
    patient = {"deadline_s": 60.0}  # else scores may come as updates
    assert _through_graph(clip, tmp_path, method=method, fps=30, classify=patient) == expected


def test_a_queue_of_one_gives_the_same_events(
    clip: Path, expected: list[Any], method: str, tmp_path: Path
) -> None:
    assert _through_graph(clip, tmp_path, method=method, fps="max", graph={"queue": 1}) == expected


def test_every_apex_is_closed_exactly_once(expected: list[Any]) -> None:
    opened = [event["id"] for event in expected if event["phase"] == "apex"]
    closed = [event["id"] for event in expected if event["phase"] in ("final", "retracted")]
    assert sorted(opened) == sorted(closed)
    assert len(set(opened)) == len(opened)


def test_delays_are_positive_and_finals_carry_a_coding_guide_reading(expected: list[Any]) -> None:
    for event in expected:
        assert event["delays"]["decision_s"] >= 0
        if event["phase"] == "final":
            assert event["emotions"][0]["source"] == "coding-guide"
            assert event["onset"]["frame"] <= event["apex"]["frame"] <= event["offset"]["frame"]
