"""Recognisers of several cameras: who has which, and when they are let go."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import sharing
from pipeline.config import load
from pipeline.score_server import ScoreServer
from pipeline.sharing import Sharing
from stages.score import Scoring


class Few:
    models: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    at_once = 1

    def unscored(self, cause: str) -> list[Any]:
        del cause
        return []


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[ScoreServer]:
    """Servers, in the order in which they ended; nothing is loaded."""
    order: list[ScoreServer] = []

    class Watched(ScoreServer):
        def __exit__(self, *why: Any) -> None:
            super().__exit__(*why)
            order.append(self)

    def loaded(config: Any) -> Scoring:
        del config
        return Few()  # type: ignore[return-value]

    monkeypatch.setattr(sharing, "_loaded", loaded)
    monkeypatch.setattr(sharing, "ScoreServer", Watched)
    return order


def test_cameras_that_want_the_same_have_the_same(ended: list[ScoreServer]) -> None:
    with Sharing() as shared:
        same = shared.take("a", load()), shared.take("b", load(classify={"deadline_s": 0.5}))
        other = shared.take("c", load(classify={"threads": 1}))
        assert same[0] == same[1] and same[0] != other
        assert len(shared.servers) == 2
    assert len(ended) == 2


def test_a_camera_without_recognisers_has_none(ended: list[ScoreServer]) -> None:
    with Sharing() as shared:
        assert shared.take("a", load(model=[])) is None
        assert shared.servers == ended == []


def test_what_nobody_wants_any_more_is_let_go(ended: list[ScoreServer]) -> None:
    with Sharing() as shared:
        first = shared.take("a", load())
        assert shared.take("b", load()) == first
        (old,) = shared.servers
        second = shared.take("a", load(classify={"threads": 1}))  # a began again
        assert not ended, "b still has it"
        assert shared.take("a", load(classify={"threads": 1})) == second, "and again, unchanged"
        shared.take("b", load(classify={"threads": 1}))
        assert ended == [old]
        shared.leave("a")
        assert ended == [old], "b still has the new one"
        shared.leave("b")
        assert len(ended) == 2 and shared.servers == []
        assert shared.take("c", load()) not in (first, second), "loaded anew"
