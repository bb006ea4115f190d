"""The frame that a window takes as its reference."""

from __future__ import annotations

import pytest

from stages.items import Stamp
from stages.window import PATIENCE_S, reference_of

FPS = 30


def _frames(shut: set[int], count: int = 60, fps: float = FPS) -> list[tuple[Stamp, bool]]:
    return [(Stamp("cam", i, i / fps, 0, 0), i in shut) for i in range(count)]


def test_open_eyes_are_taken_at_once() -> None:
    assert reference_of(_frames(set()), 0) == 0
    assert reference_of(_frames({3, 4}), 7) == 7


def test_shut_eyes_are_passed_over() -> None:
    assert reference_of(_frames({10, 11, 12, 15}), 10) == 13


def test_a_dropped_frame_is_followed_by_the_next_one() -> None:
    frames = [f for f in _frames({12}) if f[0].frame not in (10, 11)]
    assert reference_of(frames, 10) == 13


@pytest.mark.parametrize("fps", [30, 200])
def test_eyes_that_stay_shut_are_waited_for_so_long_and_no_longer(fps: float) -> None:
    found = reference_of(_frames(set(range(10, 400)), 400, fps), 10)
    assert found is not None
    assert (found - 10) / fps == pytest.approx(PATIENCE_S, abs=1 / fps)


def test_patience_begins_with_the_window() -> None:
    shut = set(range(60))
    early, late = reference_of(_frames(shut), 0), reference_of(_frames(shut), 20)
    assert early is not None
    assert late == early + 20


@pytest.mark.parametrize("start", [58, 60])
def test_there_is_none_while_none_has_come(start: int) -> None:
    assert reference_of(_frames({58, 59}), start) is None
    assert reference_of([], start) is None
