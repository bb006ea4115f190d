"""Frames held over blinks and low-passed, as they come (synthetic)."""

from __future__ import annotations

import numpy as np
import pytest

from stages.frames import Frames, twice

SIZE = 5
SMOOTH_S, BEFORE_S, AFTER_S = 0.066, 0.033, 0.067


def _made(seed: int, count: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Irregular times, columns, and when the eyes are shut."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.003, 0.05, count))
    return times, rng.normal(0, 3, (count, 2, SIZE)), rng.random(count) < 0.04


def _whole(times: np.ndarray, parts: np.ndarray, shut: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which values are held, and the low-passed columns, from all frames at once."""
    apart = times[None] - times[:, None]
    near = (apart <= BEFORE_S) & (apart >= -AFTER_S)
    held = (near & shut[None]).any(axis=1)
    value = parts.sum(axis=1)
    for i in range(1, len(times)):
        if held[i] and i > 1:
            value[i] = value[i - 1]
        if i == 1:
            value[0] = value[1]
    weight = np.where(np.abs(apart) < SMOOTH_S, 1 + np.cos(apart * np.pi / SMOOTH_S), 0.0)
    return held, weight @ value / weight.sum(axis=1)[:, None]


def _frames() -> Frames:
    return Frames(SIZE, SMOOTH_S, BEFORE_S, AFTER_S)


@pytest.mark.parametrize("seed", range(8))
def test_frame_by_frame_gives_what_the_whole_array_gives(seed: int) -> None:
    times, parts, shut = _made(seed)
    held, wanted = _whole(times, parts, shut)
    frames = _frames()
    for i, time in enumerate(times):
        frames.push(float(time), parts[i], bool(shut[i]))
        ready = frames.advance(closing=False)
        assert frames.x[:ready] == pytest.approx(wanted[:ready], abs=1e-12)
    assert 0 < frames.ready < len(times)
    assert frames.advance(closing=True) == len(times)
    assert frames.x[: len(times)] == pytest.approx(wanted, abs=1e-12)
    assert frames.held[: len(times)].tolist() == held.tolist()
    assert held.any()


def test_a_frame_is_ready_no_later_than_its_neighbours_allow() -> None:
    frames = _frames()
    for i in range(200):
        frames.push(i / 200, np.zeros((2, SIZE)), False)
        ready = frames.advance(closing=False)
        late = (BEFORE_S + SMOOTH_S) * 200  # frames
        assert i - late - 2 <= ready <= max(i - late + 2, 0)


def test_without_a_low_pass_the_columns_stay_as_they_are() -> None:
    times, parts, _ = _made(1)
    frames = Frames(SIZE, 0.0, BEFORE_S, AFTER_S)
    for time, column in zip(times, parts, strict=True):
        frames.push(float(time), column, False)
    frames.advance(closing=True)
    assert np.array_equal(frames.x[1 : len(times)], parts.sum(axis=1)[1:])


def test_a_column_of_single_precision_or_in_another_order_counts_the_same() -> None:
    parts = np.random.default_rng(0).normal(0, 1, (4, 2, SIZE)).astype(np.float32)
    seen = []
    for kind in (parts, parts.astype(np.float64), np.asfortranarray(parts)):
        frames = _frames()
        for i in range(4):
            column = kind[i]
            column.flags.writeable = False
            frames.push(float(i), column, False)
        frames.advance(closing=True)
        seen.append(frames.x[:4].copy())
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize("place", [(0, 0), (1, SIZE - 1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_refused(place: tuple[int, int], bad: float) -> None:
    column = np.zeros((2, SIZE))
    column[place] = bad
    frames = _frames()
    with pytest.raises(ValueError, match="finite"):
        frames.push(0.0, column, False)
    assert frames.count == 0


def test_twice_keeps_what_is_there() -> None:
    made = twice(np.arange(6, dtype=np.int64).reshape(3, 2))
    assert made.dtype == np.int64
    assert made.tolist() == [[0, 1], [2, 3], [4, 5], [0, 0], [0, 0], [0, 0]]
