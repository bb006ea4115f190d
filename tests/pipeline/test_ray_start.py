"""What a cluster has room for, as Ray tells it."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import UserError
from pipeline.ray_start import check_room


class Told:
    """As much of Ray as is asked: one answer after the other, the last for ever."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self._answers = list(answers)

    def nodes(self) -> list[dict[str, Any]]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


def test_a_node_that_just_joined_is_waited_for() -> None:
    check_room(Told([], [node()], [node(CPU=2.0)]), {"CPU": 2.0})


def test_what_no_node_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ray_start._TOLD_S", 0.0)
    ray = Told([node(CPU=2.0, memory=1e9), node(alive=False, CPU=8.0)])
    with pytest.raises(UserError, match=r"no node of the cluster has 3 CPU; at most .* 2 CPU"):
        check_room(ray, {"CPU": 3.0, "GPU": 0.0})
