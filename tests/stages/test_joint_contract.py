"""What joint explanation promises whatever comes: one end to every beginning, no hidden input."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.joint import BLINK
from stages.joint import JointParams
from stages.noise import NoiseParams
from stages.peaks import Announcement, Final, Update
from tests.stages.scripted import (
    SIZE,
    Move,
    announced,
    columns,
    finals,
    memory,
    model,
    retractions,
    spot,
    spotter,
)

BROWS = Move(1, 1.5, 1.7, 1.9)
TWO = [BROWS, Move(12, 2.4, 2.6, 2.9)]


def _random(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], set[int]]:
    """Movements at random, a random walk, dropped frames and shut eyes."""
    rng = np.random.default_rng(seed)
    moves = [_random_move(rng) for _ in range(rng.integers(0, 9))]
    times, parts = columns(moves, seconds=5.0, fps=float(rng.choice([25, 30, 60])), seed=seed)
    walk = rng.normal(0, 1, (len(times), 1, SIZE)).cumsum(axis=0) * rng.choice([0.0, 0.3, 2.0])
    kept = rng.random(len(times)) > rng.choice([0.0, 0.2])
    shut = set(np.flatnonzero(rng.random(kept.sum()) < rng.choice([0.0, 0.05])).tolist())
    return (times[kept] + rng.uniform(0, 1e-3, kept.sum()), (parts + walk)[kept]), shut


def _random_move(rng: np.random.Generator) -> Move:
    start = float(rng.uniform(0, 4.5))
    apex = start + float(rng.uniform(0.04, 0.5))
    end = apex + float(rng.uniform(0.04, 0.8))
    au = int(rng.choice([1, 4, 12, 12, BLINK, -1]))
    sides = [("left", "right"), ("left",), ("right",)][rng.integers(3)]
    return Move(au, start, apex, end, float(rng.uniform(0.5, 8)), sides)


def _closed_once(updates: list[Update]) -> None:
    said = [u.number for u in announced(updates)]
    assert said == list(range(len(said)))
    done = [u.number for u in updates if not isinstance(u, Announcement)]
    assert sorted(done) == said
    seen: set[int] = set()
    for update in updates:
        if isinstance(update, Announcement):
            seen.add(update.number)
        else:
            assert update.number in seen


def _sound(final: Final, count: int) -> None:
    e = final.expression
    assert 0 <= e.onset <= e.apex <= e.offset < count
    assert e.aus
    assert BLINK not in {model().aus[span.au] for span in e.aus}
    assert [s.value for s in e.aus] == sorted((s.value for s in e.aus), reverse=True)
    assert all((s.onset, s.offset) == (e.onset, e.offset) for s in e.aus)
    for veto in e.vetoes[:2]:
        assert veto.value > veto.limit > 0
    assert [veto.value for veto in e.vetoes[:2]] == [e.explained, e.height]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_announcement_is_closed_exactly_once(seed: int, complete: bool) -> None:
    made, shut = _random(seed)
    updates = spot(made, shut, complete=complete, theta=4.0)
    _closed_once(updates)
    for final in finals(updates):
        _sound(final, len(made[0]))
    for before, after in pairwise(f.expression for f in finals(updates)):
        assert before.offset <= after.onset


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_window_broken_off_anywhere_leaves_nothing_open(seed: int, share: float) -> None:
    (times, parts), shut = _random(seed)
    it, updates = spotter(theta=4.0), []
    for i in range(round(share * len(times))):
        updates += it.push(float(times[i]), parts[i], i in shut)
    gone = it.abandon()
    _closed_once(updates + list(gone))
    assert all(r.merged_into is None for r in retractions(gone))


def test_the_random_input_has_all_that_can_happen() -> None:
    seen = set()
    for seed in range(60):
        made, shut = _random(seed)
        updates = spot(made, shut, complete=seed % 2 == 0, theta=4.0)
        seen |= {type(u).__name__ for u in updates} | {r.reason for r in retractions(updates)}
    assert {"Announcement", "Final", "Retraction", "speech"} <= seen


# ---------------------------------------------------------------- nothing but the columns


def test_the_same_columns_give_the_same_updates() -> None:
    for seed in range(5):
        made, shut = _random(seed)
        assert spot(made, shut) == spot(made, shut)


def test_other_faces_between_change_nothing() -> None:
    one, other = columns(TWO), columns([Move(4, 0.5, 0.8, 1.3, 8.0)], noise=1.0)
    first, second = spotter(), spotter()
    updates: list[Update] = []
    for i, time in enumerate(one[0]):
        updates += first.push(float(time), one[1][i], False)
        second.push(float(time), other[1][i], i % 50 < 3)
    assert updates + first.close() == spot(one)


def test_columns_may_be_given_back_and_overwritten() -> None:
    times, parts = columns(TWO)
    parts = parts.astype(np.float32)  # as the columns that stages send
    it, buffer = spotter(), np.zeros_like(parts[0])
    updates: list[Update] = []
    for time, column in zip(times, parts, strict=True):
        buffer[:] = column
        updates += it.push(float(time), buffer, False)
        buffer[:] = np.nan
    assert updates + it.close() == spot((times, parts))


def _plain(updates: list[Update]) -> list[object]:
    """Numbers and places, without values that rounding may change."""
    return [
        (type(u).__name__, u.number, u.apex if isinstance(u, Announcement) else None)
        if not isinstance(u, Final)
        else (u.number, u.expression.onset, u.expression.apex, u.expression.offset)
        for u in updates
    ]


def test_only_differences_of_source_time_count() -> None:
    times, parts = columns(TWO)
    assert _plain(spot((times + 1000.0, parts))) == _plain(spot((times, parts)))


def test_the_reference_of_the_window_does_not_matter() -> None:
    times, parts = columns(TWO)
    away = parts + np.random.default_rng(1).normal(0, 20, (2, SIZE))
    away[0] = 0  # the reference against itself
    assert _plain(spot((times, away))) == _plain(spot((times, parts)))


def test_the_regions_count_by_their_sum() -> None:
    times, parts = columns(TWO)
    swapped = parts[:, ::-1]
    assert _plain(spot((times, swapped))) == _plain(spot((times, parts)))
    mouth_only = parts * np.array([0.0, 1.0])[:, None]
    assert finals(spot((times, mouth_only)))[0].expression.height < (
        finals(spot((times, parts)))[0].expression.height
    )


# ---------------------------------------------------------------- the end of a window


def _cut(last: int, complete: bool) -> list[Update]:
    times, parts = columns([BROWS])
    return spot((times[: last + 1], parts[: last + 1]), complete=complete)


def test_a_movement_cut_by_the_windows_end_is_left_to_the_next_window() -> None:
    left = _cut(54, complete=False)
    assert [r.reason for r in retractions(left)] == ["left to the next window"]
    assert not finals(left)


def test_a_movement_cut_by_the_end_of_the_source_is_final() -> None:
    whole = _cut(54, complete=True)
    assert [f.expression.apex for f in finals(whole)] == pytest.approx([51], abs=1)
    assert finals(whole)[0].expression.offset <= 54


def test_what_is_over_is_final_however_the_window_ends() -> None:
    for complete in (True, False):
        assert len(finals(_cut(70, complete))) == 1


def test_an_expression_of_the_mouth_that_waits_is_let_go_at_the_end() -> None:
    times, parts = columns([Move(12, 1.5, 1.7, 1.9)])
    it, updates = spotter(wait_s=0.5), []
    for i in range(63):
        updates += it.push(float(times[i]), parts[i], False)
    assert announced(updates)
    assert not finals(updates)
    assert len(finals(it.close(complete=False))) == 1


def test_an_expression_of_the_mouth_that_waits_is_let_go_before_the_next_one() -> None:
    updates = spot(columns([Move(12, 1.0, 1.2, 1.4), Move(1, 1.6, 1.8, 2.0)]), wait_s=2.0)
    assert [f.number for f in finals(updates)] == [0, 1]


def test_breaking_off_withdraws_what_is_open() -> None:
    for au, upto in ((1, 58), (12, 58)):
        times, parts = columns([Move(au, 1.5, 1.7, 1.9)])
        it, updates = spotter(wait_s=0.5), []
        for i in range(upto):
            updates += it.push(float(times[i]), parts[i], False)
        assert [u.number for u in updates] == [0]
        assert [r.number for r in it.abandon()] == [0]


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_window_that_has_ended_takes_nothing_more(end: str) -> None:
    it = spotter()
    it.push(0.0, np.zeros((2, SIZE)), False)
    getattr(it, end)()
    with pytest.raises(ValueError, match="closed"):
        it.push(1.0, np.zeros((2, SIZE)), False)
    with pytest.raises(ValueError, match="closed"):
        it.close()
    with pytest.raises(ValueError, match="closed"):
        it.abandon()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_window_of_hardly_a_frame_ends_without_a_word(count: int) -> None:
    it = spotter()
    for i in range(count):
        assert it.push(i / 30, np.zeros((2, SIZE)), False) == []
    assert it.close() == []


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("time", "column"),
    [
        (1.0, np.zeros((2, SIZE))),
        (0.5, np.zeros((2, SIZE))),
        (math.nan, np.zeros((2, SIZE))),
        (math.inf, np.zeros((2, SIZE))),
        (1.02, np.zeros((2, SIZE + 1))),
        (1.02, np.zeros(2 * SIZE)),
        (1.02, np.full((2, SIZE), np.nan)),
    ],
)
def test_a_bad_column_is_refused_and_not_taken(time: float, column: np.ndarray) -> None:
    times, parts = columns(TWO)
    it, updates = spotter(), []
    for i in range(31):
        updates += it.push(float(times[i]), parts[i], False)
    assert times[30] == 1.0
    with pytest.raises(ValueError):
        it.push(time, column, False)
    for i in range(31, len(times)):
        updates += it.push(float(times[i]), parts[i], False)
    assert updates + it.close() == spot((times, parts))


@pytest.mark.parametrize(
    "wrong",
    [
        {"theta": 0.0},
        {"search_s": -1.0},
        {"hold_s": 0.0},
        {"stall_s": 0.0},
        {"micro_s": 0.0},
        {"fall": 1.0},
        {"border": -0.1},
        {"explained": 1.0},
        {"gain": 1.5},
        {"train": -1.0},
        {"smooth_s": -0.1},
        {"speech_s": -1.0},
        {"wait_s": -1.0},
        {"mismatch": -1.0},
        {"calibrate_s": -1.0},
        {"theta": math.nan},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        JointParams(**wrong)


def test_the_noise_is_shared_by_the_windows_of_a_face() -> None:
    known = memory(NoiseParams(delay_s=0.5))
    before = known.noise.filters.covariance
    spot(columns([], seconds=10.0, noise=1.0), known=known)
    assert not np.array_equal(known.noise.filters.covariance, before)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_foretelling_changes_when_something_is_announced_and_never_what_is_final(
    seed: int, share: float
) -> None:
    made, shut = _random(seed)
    proven = finals(spot(made, shut, foretell=1.0))
    foretold = finals(spot(made, shut, foretell=share))
    assert [f.expression for f in foretold] == [f.expression for f in proven]
