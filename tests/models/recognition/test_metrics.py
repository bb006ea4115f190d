from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.recognition.metrics import confusion, figures

# annotated: four of class 0, two of class 1, one of class 2
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
SAID = np.array([0, 0, 0, 1, 1, 0, 2])


def test_every_figure_by_hand() -> None:
    found = figures(TRUTH, SAID, 3)
    # class 0: 3 hits, 1 missed, 1 false; class 1: 1, 1, 1; class 2: 1, 0, 0
    f1 = [6 / 8, 2 / 4, 1.0]
    assert found.uf1 == pytest.approx(sum(f1) / 3)
    assert found.uar == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert found.war == found.accuracy == pytest.approx(5 / 7)
    assert found.wf1 == pytest.approx(4 / 7 * f1[0] + 2 / 7 * f1[1] + 1 / 7 * f1[2])
    assert found.samples == 7


def test_confusion_has_the_annotated_class_in_the_row() -> None:
    assert confusion(TRUTH, SAID, 3).tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_that_is_only_predicted_counts_in_f1_and_not_in_recall() -> None:
    found = figures(np.array([0, 0]), np.array([0, 1]), 3)
    assert found.uf1 == pytest.approx((2 / 3 + 0) / 2)
    assert found.uar == pytest.approx(1 / 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_as_scikit_learn_has_it(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    truth, said = np.array(pairs).T
    there = sorted(set(truth) | set(said))
    found = figures(truth, said, 4)
    assert found.uf1 == pytest.approx(f1_score(truth, said, labels=there, average="macro"))
    assert found.wf1 == pytest.approx(f1_score(truth, said, average="weighted", zero_division=0))
    assert found.war == pytest.approx(accuracy_score(truth, said))


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 annotated"):
        figures(np.array([], np.int64), np.array([], np.int64), 2)
