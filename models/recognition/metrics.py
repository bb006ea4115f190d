"""How well classes were told: the figures of papers 002 (eqs 9-11) and 003 (eqs 7-10).

All of them come from one confusion matrix over every test sample of every fold: folds are
pooled before a figure is taken, as both papers do, never averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figures:
    """Scores of one set of predictions, each from 0 to 1.

    A class that is neither annotated nor predicted is left out of the unweighted means.
    """

    uf1: float  # mean F1 over classes: 002 eq. 10; "F1" in 003 eq. 9
    uar: float  # mean recall over classes: 002 eq. 11, 003 eq. 8
    war: float  # recall weighted by class size, which is the accuracy: 002 eq. 9, 003 eq. 7
    wf1: float  # F1 weighted by class size: 003 eq. 10
    samples: int
    confusion: Ints  # (classes, classes): annotated, predicted

    @property
    def accuracy(self) -> float:
        """Another name of ``war``."""
        return self.war


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """How often class i (row) was called j (column), (classes, classes)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def figures(truth: Ints, predicted: Ints, classes: int) -> Figures:
    """Figures of N predictions.

    Args:
        truth: (N,) class indices.
        predicted: (N,) class indices.
        classes: how many classes there are.

    Raises:
        ValueError: no sample, or the lengths differ.
    """
    if not len(truth) or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} annotated and {len(predicted)} predicted classes")
    counts = confusion(truth, predicted, classes)
    hits = np.diag(counts).astype(np.float64)
    annotated, called = counts.sum(axis=1), counts.sum(axis=0)
    there = annotated + called > 0
    f1 = 2 * hits[there] / (annotated + called)[there]
    sizes = annotated[there] / counts.sum()
    in_truth = annotated > 0
    return Figures(
        uf1=float(f1.mean()),
        uar=float((hits[in_truth] / annotated[in_truth]).mean()),
        war=float(hits.sum() / counts.sum()),
        wf1=float((sizes * f1).sum()),
        samples=int(counts.sum()),
        confusion=counts,
    )
