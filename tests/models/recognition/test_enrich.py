"""The 70 variants: frame numbers by hand, rotations against known pictures (all synthetic)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.errors import UserError
from models.recognition import enrich


def test_frames_of_a_long_expression_by_hand() -> None:
    # onset + 100 * (.6, .7, .8, .9), apex + 200 * (.1 ... .5)
    wanted = (150, 110, 120, 130, 140, 170, 190, 210, 230, 250)
    assert enrich.apex_frames(50, 150, 350) == wanted


def test_positions_are_rounded_to_the_nearest_frame_halves_up() -> None:
    # rise of 7: 4.2, 4.9, 5.6, 6.3; fall of 15: 1.5, 3, 4.5, 6, 7.5
    assert enrich.apex_frames(10, 17, 32) == (17, 14, 15, 16, 16, 19, 20, 22, 23, 25)


@pytest.mark.parametrize("seed", range(5))
def test_frames_by_exact_fractions(seed: int) -> None:
    draw = np.random.default_rng(seed)
    onset = int(draw.integers(0, 5000))
    apex = onset + int(draw.integers(2, 90))
    offset = apex + int(draw.integers(1, 90))
    found = enrich.apex_frames(onset, apex, offset)
    assert found[0] == apex
    positions = [onset + (apex - onset) * t / 10 for t in (6, 7, 8, 9)]
    positions += [apex + (offset - apex) * t / 10 for t in (1, 2, 3, 4, 5)]
    assert all(abs(f - p) <= 0.5 + 1e-9 for f, p in zip(found[1:], positions, strict=True))
    assert len(found) == 10


@pytest.mark.parametrize("offset", [None, 150, 120])
def test_without_an_offset_the_fall_mirrors_the_rise(offset: int | None) -> None:
    assert enrich.apex_frames(50, 150, offset) == (
        *(150, 110, 120, 130, 140),
        *(140, 130, 120, 110, 100),
    )


def test_only_frames_that_exist_and_never_the_onset() -> None:
    numbers = {50, 52, 115, 116, 150, 171, 300}
    found = enrich.apex_frames(50, 150, 350, numbers)
    # 110 -> 115; 120, 130 -> 116; 140 -> 150; 170, 190, 210, 230 -> 171; 250 -> 300
    assert found == (150, 115, 116, 116, 150, 171, 171, 171, 171, 300)
    assert set(enrich.apex_frames(5, 6, 7)) == {6, 7}
    assert enrich.apex_frames(5, 6, 7, {5, 6, 7})[:5] == (6, 6, 6, 6, 6)
    assert enrich.apex_frames(5, 6, None) == (6,) * 10
    # two equally near: the later
    assert enrich.apex_frames(0, 10, 20, {0, 10, 5, 7, 20})[1] == 7


def test_wrong_orders_are_the_users() -> None:
    with pytest.raises(UserError, match="apex 10 is not after onset 10"):
        enrich.apex_frames(10, 10, 20)
    with pytest.raises(UserError, match="apex 15 is not among the frames"):
        enrich.plan(10, 15, 20, {10, 20})


def test_plan_has_seventy_variants_the_first_is_the_expression() -> None:
    plan = enrich.plan(50, 150, 350)
    assert len(plan) == len(set(plan)) == 70
    assert plan[0] == enrich.Variant(150, 0)
    assert {v.degrees for v in plan} == {-15, -10, -5, 0, 5, 10, 15}
    for frame in enrich.apex_frames(50, 150, 350):
        assert sum(v.apex == frame for v in plan) == 7


def test_rotation_turns_counter_clockwise_about_the_centre() -> None:
    crop = np.zeros((101, 101), np.uint8)
    crop[48:53, 88:93] = 255  # 40 px right of the centre
    turned = enrich.rotated(crop, 15)
    rows, columns = np.nonzero(turned > 100)
    assert columns.mean() == pytest.approx(50 + 40 * math.cos(math.radians(15)), abs=0.3)
    assert rows.mean() == pytest.approx(50 - 40 * math.sin(math.radians(15)), abs=0.3)
    assert turned.dtype == np.uint8
    assert turned.shape == crop.shape


def test_rotation_of_an_even_crop_keeps_its_centre() -> None:
    crop = np.zeros((40, 60), np.uint8)
    crop[18:22, 28:32] = 200
    for degrees in enrich.DEGREES:
        weights = enrich.rotated(crop, degrees).astype(float)
        rows, columns = np.indices(weights.shape)
        assert (rows * weights).sum() / weights.sum() == pytest.approx(19.5, abs=0.05)
        assert (columns * weights).sum() / weights.sum() == pytest.approx(29.5, abs=0.05)


def test_rotation_by_inverse_mapping_and_replicated_border() -> None:
    rows, columns = np.indices((40, 60))
    crop = (2 * rows + 1.5 * columns).astype(np.uint8)
    turned = enrich.rotated(crop, -10)
    cos, sin = math.cos(math.radians(10)), math.sin(math.radians(10))
    for row, column in ((5, 30), (20, 10), (33, 45), (0, 0), (39, 59), (0, 59)):
        y, x = row - 19.5, column - 29.5
        source_y = min(max(19.5 + cos * y - sin * x, 0), 39)
        source_x = min(max(29.5 + sin * y + cos * x, 0), 59)
        assert turned[row, column] == pytest.approx(2 * source_y + 1.5 * source_x, abs=1.5)


def test_no_rotation_is_the_crop_itself_and_colours_turn_alike() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    assert enrich.rotated(crop, 0) is crop
    turned = enrich.rotated(crop, 10)
    for channel in range(3):
        alone = enrich.rotated(np.ascontiguousarray(crop[..., channel]), 10)
        np.testing.assert_array_equal(turned[..., channel], alone)
