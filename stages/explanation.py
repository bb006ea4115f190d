"""A movement explained jointly by the few AUs that need to be in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.joint import JointModel
from stages.mixture import needed
from stages.noise import Filters

Array = npt.NDArray[np.float64]

_FEWEST_ENERGY = 12.0
_MOST_AUS = 4


@dataclass(frozen=True)
class Mixture:
    """A movement explained by AUs."""

    weights: Array  # (R,), px of the crop
    curve: Array  # (K,) such that curve @ x is the mixture's own, in standard deviations
    height: float
    explained: float

    def strongest(self, model: JointModel) -> int:
        """The AU that moves most."""
        return model.rows[int(self.weights.argmax())][0]


class Explainer:
    """Finds the mixture behind a movement.

    Args:
        model: the joint model.
        gain: a further AU must explain this share more.
        mismatch: how many times the training faces' spread prototypes may be wrong.
    """

    def __init__(self, model: JointModel, gain: float, mismatch: float) -> None:
        self._model = model
        self._gain = gain
        self._mismatch = mismatch
        order = {au: i for i, au in enumerate(model.aus)}
        self._groups = np.array([order[au] for au, _ in model.rows], np.int64)

    def explain(self, noise: Filters, movement: Array) -> Mixture | None:
        """The few AUs that explain ``movement`` (K,), their prototypes' errors allowed for."""
        responses = self._model.responses
        columns = np.concatenate([responses, movement[None]]).T
        weights, energy = self._needed(noise.gram, noise.rows @ movement)
        total, rows = 0.0, noise.rows
        for _ in range(2):
            if energy <= 0:
                return None
            solved = np.linalg.solve(self._widened(noise.covariance, weights), columns)
            rows, total = solved[:, :-1].T, float(movement @ solved[:, -1])
            weights, energy = self._needed(rows @ responses.T, rows @ movement)
        if energy <= 0:
            return None
        height = float(np.sqrt(energy))
        return Mixture(weights, np.asarray(weights @ rows) / height, height, energy / total)

    def _needed(self, gram: Array, target: Array) -> tuple[Array, float]:
        found: tuple[Array, float] = needed(
            np.ascontiguousarray(gram),
            target,
            self._groups,
            self._gain,
            _FEWEST_ENERGY,
            _MOST_AUS,
        )
        return found

    def _widened(self, covariance: Array, weights: Array) -> Array:
        wide = covariance.copy()
        for row in np.flatnonzero(weights):
            au = self._model.rows[row][0]
            wide += self._mismatch * weights[row] ** 2 * self._model.mismatch[au]
        return wide
