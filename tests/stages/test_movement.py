"""A movement followed piece by piece (synthetic)."""

from __future__ import annotations

import numpy as np
import pytest

from stages.movement import Movement
from tests.stages.scripted import memory

SIZE = 4


def _movement(base: int, curve: np.ndarray) -> Movement:
    return Movement(base, base + 3, 9.0, memory().noise.filters, curve)


@pytest.mark.parametrize("seed", range(10))
def test_its_top_and_what_is_lowest_since_are_those_of_the_whole_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, filters = rng.normal(0, 1, (60, SIZE)).cumsum(axis=0), rng.normal(0, 1, SIZE)
    base, movement = 5, _movement(5, filters)
    for i in range(9, 60, int(rng.integers(1, 4))):
        movement.follow(x, i)
        curve = (x[base : i + 1] - x[base]) @ filters
        top = int(curve.argmax())
        low = top + int(curve[top:].argmin())
        assert (movement.top, movement.low) == (base + top, base + low)
        seen = (movement.highest, movement.lowest, movement.now)
        assert seen == pytest.approx((curve[top], curve[low], curve[-1]), abs=1e-9)


def test_what_has_been_followed_is_not_followed_again() -> None:
    x = np.arange(10.0)[:, None] * np.ones(SIZE)
    movement = _movement(0, np.ones(SIZE))
    movement.follow(x, 7)
    movement.follow(x, 7)
    assert (movement.top, movement.now) == (7, 28.0)


def test_where_a_curve_stands_still_but_for_rounding_its_first_frame_counts() -> None:
    values = np.array([0.0, 5, 5 + 1e-14, 5 + 2e-14, 2, 2 - 1e-14, 2 - 2e-14])
    movement = _movement(0, np.array([1.0, 0, 0, 0]))
    movement.follow(np.outer(values, np.ones(SIZE)), 6)
    assert (movement.top, movement.low) == (1, 4)
