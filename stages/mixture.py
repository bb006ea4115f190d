"""Non-negative least squares over a few prototypes, and which of them are needed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[np.float64]

_TOLERANCE = 1e-4


@njit(cache=True, nogil=True)
def nonnegative(gram: Array, target: Array, ridge: float, rounds: int) -> Array:
    """a >= 0 that minimises a'Ga / 2 - b'a + ridge a' diag(G) a / 2, by coordinate descent.

    Args:
        gram: G, (n, n) float64, positive semidefinite.
        target: b, (n,) float64.
        ridge: share of the diagonal that is added to it.
        rounds: most passes.

    Returns:
        (n,) float64.
    """
    n = len(target)
    found = np.zeros(n)
    rest = target.copy()
    for _ in range(rounds):
        largest = 0.0
        for j in range(n):
            own = gram[j, j]
            if own <= 0.0:
                continue
            step = (rest[j] - ridge * own * found[j]) / (own * (1.0 + ridge))
            new = max(0.0, found[j] + step)
            change = new - found[j]
            if change != 0.0:
                for k in range(n):
                    rest[k] -= gram[k, j] * change
                found[j] = new
                largest = max(largest, abs(change))
        if largest < _TOLERANCE:
            break
    return found


@njit(cache=True, nogil=True)
def _fitted(gram: Array, target: Array, members: npt.NDArray[np.int64]) -> tuple[Array, float]:
    """Coefficients of some rows alone, and the energy that they explain."""
    n = len(members)
    inner = np.empty((n, n))
    wanted = np.empty(n)
    for i in range(n):
        wanted[i] = target[members[i]]
        for j in range(n):
            inner[i, j] = gram[members[i], members[j]]
    found = nonnegative(inner, wanted, 0.01, 60)
    energy = 0.0
    for i in range(n):
        of_row = 2.0 * wanted[i]
        for j in range(n):
            of_row -= inner[i, j] * found[j]
        energy += found[i] * of_row
    return found, energy


@njit(cache=True, nogil=True)
def needed(
    gram: Array, target: Array, groups: npt.NDArray[np.int64], gain: float, least: float, most: int
) -> tuple[Array, float]:
    """The few groups of rows that explain the target, added greedily.

    Args:
        gram: G, (R, R) float64.
        target: b, (R,) float64.
        groups: (R,) int64, the group (action unit) of each row, from 0.
        gain: a further group must explain this share of the energy more.
        least: and at least so much energy.
        most: groups taken at most.

    Returns:
        Coefficients (R,), 0 outside the groups taken, and the energy explained.
    """
    count = len(target)
    best = np.zeros(count)
    energy = 0.0
    taken = np.zeros(groups.max() + 1, np.bool_)
    for _ in range(most):
        top_energy, top_group = energy, -1
        top = best
        for group in range(len(taken)):
            if taken[group]:
                continue
            inside = np.empty(count, np.bool_)
            for r in range(count):
                inside[r] = taken[groups[r]] or groups[r] == group
            members = np.flatnonzero(inside)
            found, reached = _fitted(gram, target, members)
            if reached > top_energy:
                top_energy, top_group = reached, group
                top = np.zeros(count)
                for i in range(len(members)):
                    top[members[i]] = found[i]
        if top_group < 0 or top_energy - energy < max(gain * top_energy, least):
            break
        taken[top_group] = True
        best, energy = top, top_energy
    return best, energy
