"""Who is trained on and who is tested: LOSO, HDE and CDE, and the inner validation.

The inner validation is what keeps the test subjects out of every choice: the epoch and the
AU thresholds are chosen on subjects that are neither trained on nor tested.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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


def check(evaluation: Evaluation, datasets: Sequence[str], subjects: int) -> None:
    """Refuse what an evaluation cannot be run on.

    Raises:
        UserError: the data sets at hand do not fit the evaluation.
    """
    if evaluation == "hde" and len(datasets) != 2:
        raise UserError(f"hde needs two data sets, not {len(datasets)} ({', '.join(datasets)})")
    if evaluation == "cde" and len(datasets) < 2:
        raise UserError(
            f"cde needs at least two data sets; there is {', '.join(datasets)}; use loso"
        )
    if evaluation == "loso" and len(datasets) != 1:
        raise UserError("loso takes one data set; use cde for several as one")
    if evaluation != "hde" and subjects < 3:
        raise UserError(
            f"{evaluation} needs at least three subjects (one to test, one to validate, one to "
            f"train), there are {subjects}"
        )


def folds(samples: Samples, evaluation: Evaluation) -> list[Fold]:
    """The folds of an evaluation.

    ``loso``: each subject of one data set is left out once. ``cde``: the same over all
    subjects of at least two data sets as one. ``hde``: train on one data set and test on the
    other, both ways.

    Raises:
        UserError: the data sets at hand do not fit the evaluation.
    """
    names = tuple(dict.fromkeys(samples.datasets))
    check(evaluation, names, len(set(samples.subjects)))
    if evaluation == "hde":
        return [_across(samples, names[0], names[1]), _across(samples, names[1], names[0])]
    subjects = np.array(samples.subjects)
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
        UserError: fewer than two subjects, or no class with two samples.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = np.array(samples.subjects)[train]
    subjects = len(set(groups))
    if subjects < 2:
        raise UserError("an inner validation needs at least two training subjects")
    largest = int(np.bincount(samples.labels[train]).max())
    if largest < 2:
        raise UserError("an inner validation needs a class with at least two training samples")
    count = min(_INNER, subjects, largest)
    stratified = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    labels = samples.labels[train]
    with warnings.catch_warnings():  # a class may have fewer samples than there are parts
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        pairs = list(stratified.split(train, labels, groups))
    # few subjects may all fall into one part
    pairs = [pair for pair in pairs if all(map(len, pair))]
    pairs = pairs or list(GroupKFold(2).split(train, labels, groups))
    fitted, validating = max(pairs, key=lambda pair: len(set(labels[pair[1]])))
    return train[fitted], train[validating]
