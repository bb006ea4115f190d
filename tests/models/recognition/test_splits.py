from __future__ import annotations

import numpy as np
import pytest

from models.errors import UserError
from models.recognition.splits import folds, inner
from tests.models.recognition.toy import toy_samples


def test_loso_leaves_every_subject_out_once() -> None:
    samples = toy_samples(subjects=5)
    parts = folds(samples, "loso")
    subjects = np.array(samples.subjects)
    assert [set(subjects[fold.test]) for fold in parts] == [{fold.name} for fold in parts]
    assert sorted(np.concatenate([fold.test for fold in parts])) == list(range(len(samples)))
    for fold in parts:
        assert not set(subjects[fold.test]) & set(subjects[fold.train])
        assert len(fold.train) + len(fold.test) == len(samples)


def test_hde_goes_both_ways() -> None:
    samples = toy_samples(subjects=6, datasets=2)
    there, back = folds(samples, "hde")
    assert (there.name, back.name) == ("set0 to set1", "set1 to set0")
    assert set(there.train) == set(back.test)
    assert set(there.test) == set(back.train)


def test_cde_is_loso_over_both_sets() -> None:
    parts = folds(toy_samples(subjects=6, datasets=2), "cde")
    assert {fold.name.partition("/")[0] for fold in parts} == {"set0", "set1"}
    assert len(parts) == 6


@pytest.mark.parametrize(
    ("evaluation", "subjects", "datasets", "words"),
    [
        ("hde", 6, 1, "two data sets, not 1"),
        ("cde", 6, 1, "use loso"),
        ("loso", 6, 2, "use cde"),
        ("loso", 2, 1, "at least three subjects"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    evaluation: str, subjects: int, datasets: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        folds(toy_samples(subjects=subjects, datasets=datasets), evaluation)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_the_inner_validation_shares_no_subject_with_anybody(seed: int) -> None:
    samples = toy_samples(subjects=7)
    subjects = np.array(samples.subjects)
    for fold in folds(samples, "loso"):
        fitted, validating = inner(samples, fold.train, seed)
        parts = [set(subjects[rows]) for rows in (fitted, validating, fold.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert sorted([*fitted, *validating]) == sorted(fold.train)
        assert set(samples.labels[validating]) == {0, 1}


def test_the_inner_validation_is_the_same_for_the_same_seed() -> None:
    samples = toy_samples(subjects=7)
    rows = np.arange(len(samples))
    first, again = inner(samples, rows, 1), inner(samples, rows, 1)
    assert [part.tolist() for part in first] == [part.tolist() for part in again]


def test_one_subject_cannot_validate() -> None:
    with pytest.raises(UserError, match="two training subjects"):
        inner(toy_samples(subjects=3), np.arange(8), 0)


def test_a_set_of_single_samples_cannot_validate() -> None:
    samples = toy_samples(subjects=4, each=2)
    with pytest.raises(UserError, match="at least two training samples"):
        inner(samples, np.array([0, 3]), 0)
    fitted, validating = inner(samples, np.array([0, 1, 2, 3, 4]), 0)  # fewer than five parts
    assert len(fitted) and len(validating)
