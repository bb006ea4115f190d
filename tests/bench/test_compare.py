"""``--compare``: regressions, improvements, other machines, malformed files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.compare import Earlier, compared, earlier
from bench.figures import Aim, Figure
from bench.machine import describe
from bench.report import Result, document
from models.errors import UserError


def before(*figures: Figure, **machine: Any) -> Earlier:
    held = {figure.key: figure for figure in figures}
    return Earlier(Path("old.json"), "then", describe() | machine, held)


def words(result: Result) -> dict[str, Any]:
    return {str(row[0]): row[-1] for row in result.rows}


def of(value: float, key: str = "flow.x", **more: Any) -> Figure:
    return Figure(key, value, "ms", **more)


@pytest.mark.parametrize(
    ("then", "now", "larger", "word"),
    [
        (10.0, 13.0, False, "regression"),
        (10.0, 11.0, False, "same"),
        (10.0, 7.0, False, "better"),
        (10.0, 7.0, True, "regression"),
        (10.0, 9.0, True, "same"),
        (10.0, 13.0, True, "better"),
    ],
)
def test_worse_by_more_than_the_tolerance_is_a_regression(
    then: float, now: float, larger: bool, word: str
) -> None:
    more = {"larger_is_better": larger}
    result, worse = compared([of(now, **more)], before(of(then, **more)))
    assert words(result) == {"flow.x": word}
    assert worse == (word == "regression")
    assert result.rows[0][4] == round(now / then, 3)


def test_the_tolerance_can_be_given_or_be_the_figures_own() -> None:
    assert not compared([of(13.0)], before(of(10.0)), 0.3)[1]
    own = {"larger_is_better": True, "tolerance": 0.002}
    assert compared([of(0.990, **own)], before(of(0.999, **own)), 0.3)[1]
    assert not compared([of(0.998, **own)], before(of(0.999, **own)), 0.0)[1]


def test_raw_times_of_another_machine_are_shown_and_not_judged() -> None:
    now = [of(30.0), of(2.0, "flow.ratio", portable=True, larger_is_better=True)]
    then = [of(10.0), of(8.0, "flow.ratio", portable=True, larger_is_better=True)]
    result, worse = compared(now, before(*then, cpu="another"))
    assert words(result) == {"flow.x": "other machine", "flow.ratio": "regression"}
    assert worse
    assert any("machines differ" in note for note in result.notes)
    assert not compared(now[:1], before(then[0], cpu="another"))[1]
    assert compared(now[:1], before(then[0]))[1]


@pytest.mark.parametrize(
    ("then", "now", "word"),
    [(0.0, 3.0, "regression"), (0.0, 0.0, "same"), (3.0, 0.0, "same"), (3.0, 4.0, "regression")],
)
def test_where_there_is_no_ratio_the_aim_tells(then: float, now: float, word: str) -> None:
    aim = {"aim": Aim("==", 0)}
    assert words(compared([of(now, **aim)], before(of(then, **aim)))[0]) == {"flow.x": word}


def test_without_ratio_and_aim_nothing_is_judged() -> None:
    result, worse = compared([of(-3.0), of(math.nan, "flow.y")], before(of(2.0), of(1, "flow.y")))
    assert words(result) == {"flow.x": "same", "flow.y": "same"}
    assert [row[4] for row in result.rows] == ["-", "-"]
    assert not worse


def test_keys_of_one_run_alone_are_told() -> None:
    then = before(of(1.0), of(2.0, "flow.gone"), of(2.0, "startup.other"))
    result, worse = compared([of(1.0), of(1.0, "flow.new")], then)
    assert words(result) == {"flow.x": "same"}
    assert not worse
    notes = " ".join(result.notes)
    assert "not measured now: flow.gone" in notes
    assert "not in the earlier run: flow.new" in notes
    assert "startup.other" not in notes  # another command's


def good() -> dict[str, Any]:
    return document("flow", [Result("t", ["a"], figures=[of(1.0)])])


def wrong(change: dict[str, Any]) -> str:
    return json.dumps(good() | change)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not a measurement of this bench"),
        ('{"tables": []}', "not a measurement of this bench"),
        (wrong({"schema": 99}), "schema 99"),
        (wrong({"figures": [{"key": "x"}]}), "malformed"),
        (wrong({"figures": 7}), "malformed"),
        (wrong({"figures": [None]}), "malformed"),
        (wrong({"machine": 3}), "malformed"),
        (wrong({"figures": [of(1.0).as_json() | {"aim": {"op": "~", "value": 1}}]}), "malformed"),
        (wrong({"figures": [of(1.0).as_json() | {"value": "fast"}]}), "malformed"),
        (wrong({"figures": [of(1.0).as_json() | {"spread": 3}]}), "malformed"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as raised:
        earlier(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        earlier(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        earlier(tmp_path / "bytes.json")
