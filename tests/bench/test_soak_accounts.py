"""The soak's accounting finds every kind of broken promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.soak.accounts import audit, delivered, lines
from bench.soak.subscriber import last_line


def _events(*told: tuple[int, str, str]) -> list[dict[str, Any]]:
    return [{"seq": seq, "phase": phase, "id": name} for seq, phase, name in told]


GOOD = _events((0, "apex", "a"), (1, "apex", "b"), (2, "final", "a"), (3, "retracted", "b"),
               (4, "update", "a"))  # fmt: skip


def test_a_faultless_log_has_no_faults() -> None:
    account = audit(GOOD)
    assert account.faults == 0
    assert account.events == {"apex": 2, "final": 1, "retracted": 1, "update": 1}


@pytest.mark.parametrize(
    ("events", "what"),
    [
        (_events((0, "apex", "a"), (2, "final", "a")), "gaps"),
        (_events((0, "apex", "a"), (1, "final", "a"), (1, "final", "a")), "repeated"),
        (_events((0, "apex", "a")), "never_closed"),
        (_events((0, "apex", "a"), (1, "final", "a"), (2, "retracted", "a")), "closed_twice"),
        (_events((0, "apex", "a"), (1, "apex", "a"), (2, "final", "a")), "closed_twice"),
        (_events((0, "apex", "a"), (1, "retracted", "a"), (2, "update", "a")), "stray_updates"),
    ],
)
def test_each_broken_promise_is_found(events: list[dict[str, Any]], what: str) -> None:
    assert getattr(audit(events), what) > 0


def test_ids_begin_anew_with_each_run() -> None:
    again = _events((5, "apex", "a"), (6, "final", "a"))
    assert audit(GOOD + again).closed_twice > 0
    assert audit(GOOD + [{**event, "run": 1} for event in again]).faults == 0


def test_what_a_killed_run_left_open_is_closed_by_the_next() -> None:
    opened, closed = _events((0, "apex", "a"), (1, "retracted", "a"))
    assert audit([opened, {**closed, "run": 1}]).faults == 0


def test_a_final_may_come_without_its_announcement_and_a_retraction_may_not() -> None:
    assert audit(_events((0, "final", "a"))).faults == 0
    assert audit(_events((0, "retracted", "a"))).closed_twice == 1


def test_delivery_counts_what_is_lost_twice_and_out_of_order() -> None:
    assert delivered(GOOD, GOOD).faults == 0
    assert delivered(GOOD, GOOD[2:], since=1).faults == 0
    assert delivered(GOOD, GOOD[:3]).lost == 2
    assert delivered(GOOD, [*GOOD, GOOD[-1]]).duplicates == 1
    assert delivered(GOOD, [GOOD[1], GOOD[0], *GOOD[2:]]).out_of_order == 1
    assert delivered(GOOD, [{**GOOD[0], "id": "x"}, *GOOD[1:]]).changed == 1


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "got.jsonl"
    assert last_line(path) == -1
    path.write_bytes(b'{"seq": 3}\n{"seq": 4}\n{"se')
    assert last_line(path) == 4
    assert [m["seq"] for m in lines(path)] == [3, 4]
    assert json.loads(path.read_bytes().splitlines()[-1]) == {"seq": 4}
