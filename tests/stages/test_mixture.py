"""Non-negative explanation of a movement by few prototypes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from stages.mixture import needed, nonnegative

Array = np.ndarray


def _problem(seed: int, rows: int = 8, size: int = 12) -> tuple[Array, Array]:
    """Gram matrix of overlapping random rows, and the target of a random movement."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(0, 1, (rows, size)) + rng.normal(0, 1, size)
    movement = rng.normal(0, 2, size)
    return basis @ basis.T, basis @ movement


def _by_scipy(gram: Array, target: Array, ridge: float) -> Array:
    lower = np.linalg.cholesky(gram + ridge * np.diag(np.diag(gram)))
    return nnls(lower.T, np.linalg.solve(lower, target))[0]


@pytest.mark.parametrize("ridge", [0.0, 0.02, 0.5])
def test_nonnegative_agrees_with_scipy(ridge: float) -> None:
    for seed in range(40):
        gram, target = _problem(seed)
        found = nonnegative(gram, target, ridge, 20_000)
        assert found == pytest.approx(_by_scipy(gram, target, ridge), abs=0.02)


def test_few_rounds_end_at_a_point_that_no_single_step_improves() -> None:
    for seed in range(40):
        gram, target = _problem(seed, rows=6, size=40)
        found = nonnegative(gram, target, 0.02, 60)
        slope = (gram + 0.02 * np.diag(np.diag(gram))) @ found - target
        steps = slope / np.diag(gram)
        assert (found >= 0).all()
        assert steps[found > 0] == pytest.approx(0, abs=1e-3)
        assert (steps[found == 0] > -1e-3).all()


def test_a_row_of_nothing_takes_no_part() -> None:
    gram = np.diag([4.0, 0.0, 1.0])
    assert nonnegative(gram, np.array([8.0, 5.0, -3.0]), 0.0, 60) == pytest.approx([2, 0, 0])


def test_nonnegative_leaves_its_arguments_as_they_are() -> None:
    gram, target = _problem(3)
    before = gram.copy(), target.copy()
    nonnegative(gram, target, 0.02, 60)
    assert np.array_equal(gram, before[0])
    assert np.array_equal(target, before[1])


GROUPS = np.array([0, 0, 1, 1, 2, 2, 3, 3], np.int64)


def _energy(gram: Array, target: Array, groups: set[int]) -> tuple[Array, float]:
    inside = np.flatnonzero([g in groups for g in GROUPS])
    found = np.zeros(len(target))
    if len(inside):
        found[inside] = _by_scipy(gram[np.ix_(inside, inside)], target[inside], 0.01)
    return found, float(2 * found @ target - found @ gram @ found)


def _greedy(gram: Array, target: Array, gain: float, least: float, most: int) -> set[int]:
    """The same greedy choice, spelt out with scipy's solver."""
    taken: set[int] = set()
    for _ in range(most):
        reached = {g: _energy(gram, target, taken | {g})[1] for g in set(range(4)) - taken}
        best = max(reached, key=lambda g: reached[g])
        before = _energy(gram, target, taken)[1]
        if reached[best] <= before or reached[best] - before < max(gain * reached[best], least):
            break
        taken.add(best)
    return taken


def test_needed_takes_the_groups_that_a_greedy_search_takes() -> None:
    sizes = set()
    for seed in range(60):
        gram, target = _problem(seed)
        wanted = _greedy(gram, target, 0.12, 0.5, 3)
        found, energy = needed(gram, target, GROUPS, 0.12, 0.5, 3)
        coefficients, reached = _energy(gram, target, wanted)
        assert found == pytest.approx(coefficients, abs=0.1)
        assert energy == pytest.approx(reached, rel=0.01, abs=1e-6)
        sizes.add(len(wanted))
    assert sizes >= {1, 2, 3}  # the problems ask for all of it


def test_one_prototype_is_explained_by_its_own_group_alone() -> None:
    gram, _ = _problem(1)
    for row in range(8):
        found, energy = needed(gram, 3 * gram[row], GROUPS, 0.12, 0.0, 4)
        assert set(GROUPS[found > 0]) == {GROUPS[row]}
        assert found[row] == pytest.approx(3, rel=0.1)
        assert energy == pytest.approx(9 * gram[row, row], rel=0.01)


def test_a_group_that_explains_too_little_more_is_left_out() -> None:
    gram = np.diag([100.0] * 8)
    target = np.array([1000.0, 0, 300, 0, 0, 0, 0, 0])  # energies 10000 and 900
    assert set(GROUPS[needed(gram, target, GROUPS, 0.05, 0.0, 4)[0] > 0]) == {0, 1}
    assert set(GROUPS[needed(gram, target, GROUPS, 0.12, 0.0, 4)[0] > 0]) == {0}
    assert set(GROUPS[needed(gram, target, GROUPS, 0.0, 950.0, 4)[0] > 0]) == {0}


def test_no_more_groups_are_taken_than_allowed() -> None:
    gram, target = np.eye(8), np.full(8, 5.0)
    for most in range(5):
        found, _ = needed(gram, target, GROUPS, 0.0, 0.0, most)
        assert len(set(GROUPS[found > 0])) == most


@pytest.mark.parametrize("least", [0.0, 12.0])
def test_a_movement_against_every_prototype_is_explained_by_none(least: float) -> None:
    found, energy = needed(np.eye(8), np.full(8, -5.0), GROUPS, 0.12, least, 4)
    assert not found.any()
    assert energy == 0


def test_too_little_energy_is_none_at_all() -> None:
    target = np.zeros(8)
    target[4] = 3.0
    assert needed(np.eye(8), target, GROUPS, 0.12, 8.0, 4)[1] == pytest.approx(9, rel=0.01)
    found, energy = needed(np.eye(8), target, GROUPS, 0.12, 9.5, 4)
    assert not found.any()
    assert energy == 0
