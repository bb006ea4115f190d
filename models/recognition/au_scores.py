"""How well AUs are detected: F1 for each AU (MER-auGCN, section IV.A and Table VII).

F1 = 2 TP / (2 TP + FP + FN), of one AU over all test samples. The paper does not say at which
threshold; here it is 0.5 or, by ``choose_thresholds``, the best one for each AU on the *inner
validation*, never on the samples that are scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CANDIDATES: tuple[float, ...] = tuple(step / 100 for step in range(5, 100, 5))
DEFAULT = 0.5


def au_f1(carried: npt.NDArray[Any], detected: npt.NDArray[Any]) -> Floats:
    """F1 of each AU, (K,); NaN for an AU that no sample carries and none is said to.

    Args:
        carried: (N, K), whether a sample carries an AU.
        detected: (N, K), whether it is said to.

    Raises:
        ValueError: the shapes differ.
    """
    truth, said = carried.astype(bool), detected.astype(bool)
    if truth.shape != said.shape or truth.ndim != 2:
        raise ValueError(f"{truth.shape} carried and {said.shape} detected AUs")
    hits = (truth & said).sum(axis=0)
    named = truth.sum(axis=0) + said.sum(axis=0)  # 2 TP + FP + FN
    return np.where(named > 0, 2 * hits / np.maximum(named, 1), np.nan)


def mean_f1(scores: Floats) -> float:
    """Mean over the AUs that have an F1; NaN where none has."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else float("nan")


def detections(probabilities: npt.NDArray[Any], thresholds: npt.ArrayLike = DEFAULT) -> Bools:
    """Which AUs are detected, (N, K): those with at least their threshold's probability.

    Args:
        probabilities: (N, K).
        thresholds: one, or (K,).
    """
    return np.asarray(probabilities >= np.asarray(thresholds), np.bool_)


def choose_thresholds(probabilities: npt.NDArray[Any], carried: npt.NDArray[Any]) -> Floats:
    """The threshold of each AU with the best F1 on inner validation samples, (K,).

    Of equally good ones the nearest to 0.5, of two equally near the lower. 0.5 for an AU that
    none of the samples carries.

    Args:
        probabilities: (N, K) of samples that are neither trained on nor scored.
        carried: (N, K), whether they carry the AUs.

    Raises:
        ValueError: the shapes differ.
    """
    scores = np.stack([au_f1(carried, detections(probabilities, value)) for value in CANDIDATES])
    distance = np.abs(np.array(CANDIDATES) - DEFAULT)
    chosen = np.full(carried.shape[1], DEFAULT)
    for k in np.flatnonzero(carried.astype(bool).any(axis=0)):
        best = np.flatnonzero(scores[:, k] == scores[:, k].max())
        chosen[k] = CANDIDATES[best[np.argmin(distance[best].round(9))]]
    return chosen
