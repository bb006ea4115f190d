"""The noise of one face, learned while it is watched.

Prototype matching asks how large a movement is; what counts is how large it is against
what *this* face, in this light, before this camera does all the time. The covariance of the
projections starts at that of the training faces and follows the differences that the face
shows over short times; every detection curve is a matched filter in that noise, of unit
variance, so that one threshold serves every face, camera and rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from models.joint import JointModel

Array = npt.NDArray[np.float64]

_TICK = 1e-6
_LEAST_STEP_S = 0.03  # a faster camera's frames are thinned to this
_JITTER = 1e-6


@dataclass(frozen=True)
class NoiseParams:
    """How the noise is learned; times in seconds.

    Attributes:
        memory_s: time constant with which old differences are forgotten.
        lags_s: time between the frames of a difference.
        delay_s: a frame is learned only so long after it was seen, so that an
            expression is known as one before it can count as noise.
        prior: weight of the training faces' noise, in differences.
        prior_scale: the training noise is multiplied by this.
        longest: a difference longer than so many standard deviations is shortened.
        refresh: the filters are renewed after so many frames learned.

    Raises:
        ValueError: a value out of range.
    """

    memory_s: float = 15.0
    lags_s: tuple[float, ...] = (0.2, 0.4, 0.8)
    delay_s: float = 2.6
    prior: float = 300.0
    prior_scale: float = 2.0
    longest: float = 2.0
    refresh: int = 10

    def __post_init__(self) -> None:
        numbers = (self.memory_s, self.delay_s, self.prior, self.prior_scale, self.longest)
        if not all(number > 0 for number in (*numbers, *self.lags_s, self.refresh)):
            raise ValueError(f"every number must be above 0: {self}")


@dataclass(frozen=True, eq=False)
class Filters:
    """Matched filters in one state of the noise.

    Attributes:
        detect: (V, K) unit-variance filters of the detection templates.
        rows: (R, K) such that ``rows @ x`` is the target of the joint explanation.
        gram: (R, R) its Gram matrix.
        covariance: (K, K).
        inverse: of it.
    """

    detect: Array
    rows: Array
    gram: Array
    covariance: Array
    inverse: Array


def explainers(model: JointModel, covariance: Array) -> tuple[Array, Array]:
    """``rows`` and ``gram`` of ``Filters`` for a covariance (K, K)."""
    rows = np.linalg.solve(covariance, model.responses.T).T
    return np.ascontiguousarray(rows), np.ascontiguousarray(rows @ model.responses.T)


def filters(model: JointModel, templates: Array, covariance: Array) -> Filters:
    """Filters for a covariance (K, K) and detection templates (V, K)."""
    inverse = np.linalg.inv(covariance)
    detect = templates @ inverse
    detect = detect / np.sqrt(np.einsum("vk,vk->v", detect, templates))[:, None]
    rows = model.responses @ inverse
    gram = rows @ model.responses.T
    return Filters(detect, rows, gram, covariance, inverse)


class Noise:
    """Running covariance of the projections of one face.

    Args:
        model: basis, responses and the training faces' noise.
        params: how it is learned.
    """

    def __init__(self, model: JointModel, params: NoiseParams) -> None:
        self.params = params
        self._model = model
        self._templates = model.detectors()[1]
        self._sum = np.zeros((model.size, model.size))
        self._weight = 0.0
        self._learned = 0
        self.newest = -np.inf  # source time of the last frame learned, s
        self.filters = self._renewed()

    def warm_up(self) -> None:
        """Compile what learns, and learn nothing."""
        size = self._model.size
        _follow(self._sum, 1.0, np.zeros((1, size)), self.filters.inverse, self.params.longest)

    def due(self, time: float) -> bool:
        """Whether the frame at ``time`` seconds is to be learned."""
        return time - self.newest + _TICK >= _LEAST_STEP_S

    def learn(self, time: float, differences: Array) -> None:
        """Take differences (n, K) of the frame at ``time`` s to earlier frames."""
        step = min(max(time - self.newest, 0.0), self.params.memory_s)
        keep = float(np.exp(-step / self.params.memory_s))
        self.newest = time
        if not len(differences):
            return
        self._weight *= keep
        _follow(self._sum, keep, differences, self.filters.inverse, self.params.longest)
        self._weight += len(differences)
        self._learned += 1
        if self._learned % self.params.refresh == 0:
            self.filters = self._renewed()

    def _renewed(self) -> Filters:
        params = self.params
        prior = params.prior * params.prior_scale * self._model.noise
        covariance = (prior + self._sum) / (params.prior + self._weight)
        covariance = covariance + _JITTER * np.eye(self._model.size)
        return filters(self._model, self._templates, covariance)


@njit(cache=True, nogil=True)
def _follow(total: Array, keep: float, differences: Array, inverse: Array, longest: float) -> None:
    """``total`` times ``keep``, and the outer products of the differences (n, K).

    Each difference is brought down to ``longest`` standard deviations a projection.
    """
    size = len(total)
    whitened = np.empty(size)
    total *= keep
    for difference in differences:
        whitened[:] = 0.0
        for j in range(size):
            for k in range(size):
                whitened[k] += difference[j] * inverse[j, k]
        power = 0.0
        for k in range(size):
            power += whitened[k] * difference[k]
        length = max(np.sqrt(power / size), 1e-9)
        share = min(1.0, longest / length)
        for j in range(size):
            own = share * difference[j]
            for k in range(size):
                total[j, k] += own * (share * difference[k])
