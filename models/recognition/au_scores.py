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

    Tried are the middles between neighbouring probabilities, as the loss of eq. 3 presses the
    probabilities of rare AUs together far below 0.5. Of equally good ones the nearest to 0.5.
    0.5 for an AU that none of the samples carries.

    Args:
        probabilities: (N, K) of samples that are neither trained on nor scored.
        carried: (N, K), whether they carry the AUs.

    Raises:
        ValueError: the shapes differ.
    """
    if probabilities.shape != carried.shape:
        raise ValueError(f"{carried.shape} carried and {probabilities.shape} detected AUs")
    columns = zip(probabilities.T.astype(np.float64), carried.T.astype(bool), strict=True)
    return np.array([_threshold(*column) if column[1].any() else DEFAULT for column in columns])


def _threshold(given: Floats, carried: Bools) -> float:
    """The best threshold of one AU, (N,) each."""
    steps = np.unique(given)
    tried = np.concatenate([steps[:1], (steps[:-1] + steps[1:]) / 2])
    detected = given[:, None] >= tried
    scores = au_f1(np.repeat(carried[:, None], len(tried), axis=1), detected)
    best = tried[scores == scores.max()]
    return float(best[np.argmin(np.abs(best - DEFAULT))])
