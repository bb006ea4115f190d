"""``bench.figures``, ``bench.report`` and ``bench.machine``: figures, tables, JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench import machine
from bench.compare import earlier
from bench.figures import Aim, Figure, of_items, of_runs, ratios
from bench.report import Result, check_out, document, markdown, rounded, show, write_json
from models.errors import UserError


def test_an_aim_is_reached_or_not() -> None:
    assert Aim(">=", 20).reached(20) and not Aim(">=", 20).reached(19.99)
    assert Aim("<=", 0.6).reached(0.6) and not Aim("<=", 0.6).reached(0.61)
    assert Aim("==", 0).reached(0) and not Aim("==", 0).reached(1)
    assert not any(Aim(op, 5).reached(math.nan) for op in (">=", "<=", "=="))  # type: ignore[arg-type]
    assert str(Aim("<=", 35)) == "≤ 35"


def test_runs_give_a_median_and_items_a_percentile() -> None:
    runs = of_runs("a.b", [3.0, 1.0, 2.0, 10.0], "ms")
    assert (runs.value, runs.spread) == (2.5, {"min": 1.0, "max": 10.0, "n": 4})
    items = of_items("a.c", range(101), "ms", at=99)
    assert items is not None
    assert items.value == items.spread["p99"] == 99
    assert (items.spread["p50"], items.spread["p95"], items.spread["n"]) == (50, 95, 101)
    assert of_items("a.d", [], "ms") is None


def test_ratios_are_of_neighbours() -> None:
    assert ratios([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_three_digits_are_shown() -> None:
    assert [rounded(v) for v in (0.012345, 1.2345, 123.45, 12345.6, 0, -0.5)] == [
        *(0.0123, 1.23, 123, 12346, 0, -0.5)
    ]
    assert math.isnan(rounded(math.nan))


def table() -> Result:
    made = Result("t", ["a", "b"], notes=["note"])
    made.add(["plain", 1])
    made.add(["two", 2], Figure("x.two.p50", 2, aim=Aim("<=", 3)), Figure("x.two.p99", 9), None)
    both = [Figure("x.three.p50", 2, aim=Aim("<=", 3)), Figure("x.three.p99", 9, aim=Aim("<=", 5))]
    made.add(["three", 3], *both)
    made.add(["four", 4], Figure("x.four", 9, aim=Aim("==", 0)))
    return made


def test_a_table_with_aims_says_reached_or_missed() -> None:
    columns, rows = table().shown()
    assert columns == ["a", "b", "aim", ""]
    assert rows[0] == ["plain", 1, "", ""]
    assert rows[1] == ["two", 2, "≤ 3", "reached"]
    assert rows[2] == ["three", 3, "p50 ≤ 3; p99 ≤ 5", "reached; missed"]
    assert rows[3] == ["four", 4, "= 0", "missed"]
    assert Result("t", ["a"], [["x"]]).shown() == (["a"], [["x"]])
    text = markdown(table())
    assert "| four | 4 | = 0 | missed |" in text
    assert text.endswith("note")


def test_printing_does_not_lose_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    for as_markdown in (False, True):
        show([table()], as_markdown)
        printed = capsys.readouterr().out
        assert "reached; missed" in printed
        assert "Python" in printed and "numpy" in printed


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    given = [
        Figure("a.x", 1.5, "ms", {"min": 1.0, "max": 2.0, "n": 3}, aim=Aim("<=", 2)),
        Figure("a.y", 12.0, larger_is_better=True, portable=True, tolerance=0.02),
        Figure("a.gone", math.nan, "MB/h", {"min": -math.inf}),
    ]
    result = Result("t", ["a", "b"])
    result.add(["x", math.nan], *given)
    path = tmp_path / "run.json"
    write_json(document("a", [result]), str(path))
    text = path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    back = earlier(path)
    assert [back.figures["a.x"], back.figures["a.y"]] == given[:2]
    assert math.isnan(back.figures["a.gone"].value)
    held = json.loads(text)
    assert held["schema"] == 1
    assert held["command"] == "a"
    assert held["figures"][0]["reached"] is True
    assert held["figures"][1]["reached"] is None
    assert held["tables"][0]["rows"] == [["x", None, "≤ 2", "reached"]]
    assert held["machine"]["cores"] >= 1


def test_two_figures_of_one_key_are_a_mistake_of_the_bench() -> None:
    results = [Result("t", ["a"], figures=[Figure("a.x", 1)]) for _ in range(2)]
    with pytest.raises(ValueError, match=r"a\.x"):
        document("a", results)


@pytest.mark.parametrize("place", ["missing/run.json", "."])
def test_a_file_that_cannot_be_written_is_found_beforehand(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match="--json"):
        check_out(str(tmp_path / place))
    check_out(None)
    check_out("-")
    check_out(str(tmp_path / "run.json"))


def test_the_machine_is_described() -> None:
    told = machine.describe()
    assert {"cpu", "cores", "ram_gb", "os", "python", "numba", "mediapipe", "pyav"} <= told.keys()
    assert told["numpy"]
    words = machine.in_words(told)
    assert str(told["cpu"]) in words
    assert machine.alike(told, dict(told))
    assert machine.alike(told, told | {"commit": "0", "numba": "0"})
    assert not machine.alike(told, told | {"cpu": "another"})
