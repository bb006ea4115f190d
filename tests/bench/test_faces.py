"""``bench faces``: whose an event is, by truth. Scripted data."""

from __future__ import annotations

from typing import Any

import pytest

from bench import faces
from bench.faces import Run, Score, Sight, score
from models.errors import UserError
from models.synthesis.group import Standing
from models.synthesis.script import TrueExpression
from stages.items import Interval, Stamp


class Video:
    """Two people, ``apart`` px from each other, 50 px between the eyes."""

    def __init__(self, apart: float, seen: float = 1.0) -> None:
        self._standing = [
            Standing(0, (100.0, 100.0), 50.0, seen),
            Standing(1, (100.0 + apart, 100.0), 50.0, 1.0),
        ]

    def truth(self) -> list[list[TrueExpression]]:
        return [
            [TrueExpression(20, 25, 30, "micro", (4,), 2.0)],
            [TrueExpression(60, 65, 70, "micro", (12,), 2.0)],
        ]

    def standing(self, frame: int) -> list[Standing]:
        return self._standing


def _event(face: int, onset: int) -> Interval:
    stamps = [Stamp("c", onset + k, (onset + k) / 30, 0, 0) for k in (0, 5, 10)]
    return Interval("e", face, "final", "micro", *stamps, [], stamps[2], 0)


def _run(events: list[Interval], swap_at: int = 1000) -> Run:
    made = Run(events=events)
    for i in range(100):
        for face in (0, 1):
            made.sights.append(Sight(i, face, face if i < swap_at else 1 - face))
    return made


def _score(run: Run, apart: float = 300.0, seen: float = 1.0) -> Score:
    video: Any = Video(apart, seen)
    return score(video, run)


def test_events_of_the_right_faces_are_found_and_none_is_wrong() -> None:
    made = _score(_run([_event(0, 21), _event(1, 58)]))
    assert made == Score(0, 2, 2, 2, wrong=0, false=0, found=2, expected=2)


def test_a_face_that_has_become_another_person_is_wrong_from_then_on() -> None:
    made = _score(_run([_event(0, 21), _event(0, 60)], swap_at=40))
    assert (made.switches, made.wrong, made.found) == (2, 1, 1)
    during = _score(_run([_event(0, 21)], swap_at=25))
    assert during.wrong == 1


def test_a_neighbours_expression_is_wrong_and_a_far_ones_a_false_alarm() -> None:
    assert _score(_run([_event(0, 60)]), apart=80).wrong == 1
    made = _score(_run([_event(0, 60)]), apart=300)
    assert (made.wrong, made.false) == (0, 1)
    nothing = _score(_run([_event(0, 85)]), apart=80)
    assert (nothing.wrong, nothing.false) == (0, 1)


def test_what_is_covered_or_overlapped_is_not_expected() -> None:
    assert _score(_run([]), seen=0.5).expected == 1
    assert _score(_run([]), apart=60).expected == 0


def test_the_table_adds_up_and_aims_at_none() -> None:
    totals = {name: Score(1, 2, 2, 7, 1, 1, 3, 4) + Score(0, 3, 2) for name in faces.VARIANTS}
    table = faces._table(totals, {name: [0.1, 0.3, 0.2] for name in faces.VARIANTS}, "two")
    assert table.rows[1][1:7] == [1, 1, 7, 1, "3 of 4", "5 for 4"]
    aimed = {figure.key: figure.reached for figure in table.figures if figure.aim}
    assert aimed == {"faces.ours.switches": False, "faces.ours.wrong": False}


def test_a_mistake_is_told() -> None:
    for wrong in ({"count": 0}, {"count": 1, "jobs": 0}, {"count": 1, "seed": -1}):
        with pytest.raises(UserError, match="faces: --"):
            faces.measure(**wrong)
