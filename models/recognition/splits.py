"""Who is trained on and who is tested: LOSO, HDE and CDE, and the inner validation.

The inner validation is what keeps the test subjects out of every choice: the epoch and the
AU thresholds are chosen on subjects that are neither trained on nor tested.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.errors import UserError
from models.recognition.samples import Ints, Samples

Evaluation = Literal["loso", "hde", "cde"]
EVALUATIONS: tuple[Evaluation, ...] = get_args(Evaluation)
_INNER = 5  # one in so many subjects validates


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and its test: indices of samples."""

    name: str
    train: Ints
    test: Ints


def folds(samples: Samples, evaluation: Evaluation) -> list[Fold]:
    """The folds of an evaluation.

    ``loso``: each subject of one data set is left out once. ``cde``: the same over all
    subjects of at least two data sets as one. ``hde``: train on one data set and test on the
    other, both ways.

    Raises:
        UserError: the data sets at hand do not fit the evaluation.
    """
    names = tuple(dict.fromkeys(samples.datasets))
    if evaluation == "hde":
        if len(names) != 2:
            raise UserError(f"hde needs two data sets, not {len(names)} ({', '.join(names)})")
        return [_across(samples, names[0], names[1]), _across(samples, names[1], names[0])]
    if evaluation == "cde" and len(names) < 2:
        raise UserError(f"cde needs at least two data sets; there is {', '.join(names)}; use loso")
    if evaluation == "loso" and len(names) != 1:
        raise UserError("loso takes one data set; use cde for several as one")
    subjects = np.array(samples.subjects)
    if len(set(samples.subjects)) < 3:
        raise UserError(
            f"{evaluation} needs at least three subjects (one to test, one to validate, one to "
            f"train), there are {len(set(samples.subjects))}"
        )
    return [
        Fold(name, np.flatnonzero(subjects != name), np.flatnonzero(subjects == name))
        for name in sorted(set(samples.subjects))
    ]


def _across(samples: Samples, train: str, test: str) -> Fold:
    datasets = np.array(samples.datasets)
    return Fold(
        f"{train} to {test}", np.flatnonzero(datasets == train), np.flatnonzero(datasets == test)
    )


def inner(samples: Samples, train: Ints, seed: int) -> tuple[Ints, Ints]:
    """Part ``train`` by subjects into what is fitted and what validates, about 4 to 1.

    Classes are spread over both parts as evenly as whole subjects allow.

    Raises:
        UserError: fewer than two subjects.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.array(samples.subjects)[train]
    subjects = len(set(groups))
    if subjects < 2:
        raise UserError("an inner validation needs at least two training subjects")
    parts = StratifiedGroupKFold(min(_INNER, subjects), shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a class may have fewer samples than there are parts
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        fitted, validating = max(
            parts.split(train, samples.labels[train], groups),
            key=lambda pair: len(set(samples.labels[train[pair[1]]])),
        )
    return train[fitted], train[validating]
