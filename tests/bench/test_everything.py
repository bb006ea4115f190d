"""``bench all``, the endings of every command, and the command line around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bench.flow
from bench import everything
from bench.__main__ import app
from bench.ending import Form, aims, finish
from bench.everything import Part
from bench.figures import Aim, Figure
from bench.report import Result
from models.errors import UserError
from pipeline.cli import run


def result(value: float = 10.0, key: str = "flow.x") -> Result:
    made = Result("a table", ["what", "value"])
    made.add(["x", value], Figure(key, value, "ms", {"min": 1, "n": 3}, aim=Aim("<=", 20)))
    return made


def failing() -> list[Result]:
    raise UserError("no camera")


def test_what_fails_does_not_take_the_rest_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        Part("flow", lambda: [result()]),
        Part("memory", failing),
        Part("startup", lambda: [result(30.0, "startup.x")]),
    ]
    results, failed = everything.measured(parts)
    assert failed == ["memory: no camera"]
    assert "bench: memory: no camera" in capsys.readouterr().err
    assert [one.part for one in results] == ["aims", "flow", "startup"]
    _, rows = results[0].shown()
    assert [[row[0], row[-1]] for row in rows] == [["flow.x", "reached"], ["startup.x", "missed"]]
    assert not results[0].figures  # they are in the tables that they come from


def test_a_figure_without_aim_is_not_on_the_sheet() -> None:
    made = Result("t", ["a"], figures=[Figure("a.x", 1)])
    assert aims([made]).rows == []


def test_parts_can_be_chosen() -> None:
    known = everything.parts()
    names = [part.name for part in known]
    assert {"flow", "latency", "throughput", "replay", "cameras", "spotting"} <= set(names)
    assert {"recognition", "directions", "startup", "memory", "growth"} <= set(names)
    assert [p.name for p in everything.chosen(known, "memory,flow", None)] == ["flow", "memory"]
    assert "memory" not in [p.name for p in everything.chosen(known, None, "memory")]
    for only, without in (("nope", None), (None, "nope"), ("flow", "flow")):
        with pytest.raises(UserError):
            everything.chosen(known, only, without)


def test_every_part_is_a_command() -> None:
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    # the soak takes an hour, scale needs Ray
    assert {part.name for part in everything.parts()} | {"all", "soak", "scale"} == commands


@pytest.fixture
def flow_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``bench flow`` that measures the value put in."""
    held = {"value": 10.0}
    monkeypatch.setattr(bench.flow, "measure", lambda *given: [result(held["value"])])
    return held


def test_a_regression_ends_with_1_and_an_improvement_with_0(
    flow_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(tmp_path / "old.json")
    assert run(["flow", "--json", old], app, "bench") == 0
    assert "a table" in capsys.readouterr().out
    for value, code in ((10.5, 0), (2.0, 0), (15.0, 1)):
        flow_of["value"] = value
        assert run(["flow", "--compare", old, "--markdown"], app, "bench") == code
        assert ("| regression |" in capsys.readouterr().out) == bool(code)
    assert run(["flow", "--compare", old, "--tolerance", "0.5"], app, "bench") == 0


def test_json_alone_is_printed_and_nothing_else(
    flow_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--json"], ["--json", "--markdown"], ["--json", "-"]):
        assert run(["flow", *arguments], app, "bench") == 0
        held = json.loads(capsys.readouterr().out)
        assert held["command"] == "flow"
        assert held["figures"][0]["key"] == "flow.x"


def test_a_document_gets_its_tables(
    flow_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:flow -->\nold\n<!-- /bench -->\nafter\n")
    assert run(["flow", "--into", str(page)], app, "bench") == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| x | 10.0 | ≤ 20 | reached |" in text
    assert "old" not in text
    page.write_text("no markers\n")
    assert finish("flow", [result()], Form(into=page)) == 0
    assert "no markers for flow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compare", "none.json"], "none.json"),
        (["--json", "none/run.json"], "no such folder"),
        (["--into", "none.md"], "none.md"),
        (["--tolerance", "1"], "--tolerance 1"),
    ],
)
def test_a_mistake_is_found_before_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(bench.flow, "measure", lambda *given: pytest.fail("measured"))
    assert run(["flow", *arguments], app, "bench") == 2
    err = capsys.readouterr().err
    assert err.startswith("bench: ") and said in err and err.count("\n") == 1


def test_fast_against_exact_is_scored_where_both_are() -> None:
    from bench import spotting
    from models.evaluate import DEFAULT
    from tests.bench.test_spotting import clip, found, true

    one = clip("a", "easy", [true(100, 110), true(300, 310)], [found(100, 110)])
    assert spotting.flows([one], DEFAULT) == []
    one.runs["exact"] = spotting.Run([found(100, 110), found(300, 310)])
    (table,) = spotting.flows([one], DEFAULT)
    figure = {f.key: f for f in table.figures}["spotting.all_synth.fast_apart_from_exact"]
    assert figure.value == pytest.approx(1 - 2 / 3)
    assert figure.reached is False
    keys = [f.key for f in spotting.accuracy([one], DEFAULT).figures]
    assert "spotting.easy.exact.f1" in keys
