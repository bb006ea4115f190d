"""F1 for each AU and the choice of thresholds, against plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from models.recognition import au_scores


def f1_by_loops(carried: list[bool], detected: list[bool]) -> float:
    tp = sum(c and d for c, d in zip(carried, detected, strict=True))
    fp = sum(d and not c for c, d in zip(carried, detected, strict=True))
    fn = sum(c and not d for c, d in zip(carried, detected, strict=True))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan


def test_f1_by_loops() -> None:
    draw = np.random.default_rng(0)
    carried = draw.random((40, 5)) < [0.1, 0.3, 0.9, 0.0, 0.0]
    detected = draw.random((40, 5)) < [0.2, 0.5, 0.5, 0.1, 0.0]
    scores = au_scores.au_f1(carried, detected)
    for k in range(5):
        wanted = f1_by_loops(carried[:, k].tolist(), detected[:, k].tolist())
        assert scores[k] == pytest.approx(wanted, nan_ok=True)
    assert scores[3] == 0  # never carried, but said to be
    assert math.isnan(scores[4])
    assert au_scores.mean_f1(scores) == pytest.approx(sum(scores[:4].tolist()) / 4)
    assert math.isnan(au_scores.mean_f1(scores[4:]))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="carried"):
        au_scores.au_f1(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="carried"):
        au_scores.choose_thresholds(np.zeros((3, 2)), np.zeros((2, 2)))


def test_a_probability_at_its_threshold_is_detected() -> None:
    given = np.array([[0.5, 0.5], [0.49, 0.9]], np.float32)
    assert au_scores.detections(given).tolist() == [[True, True], [False, True]]
    assert au_scores.detections(given, [0.4, 0.6]).tolist() == [[True, False], [True, True]]


def test_thresholds_by_search() -> None:
    draw = np.random.default_rng(1)
    carried = draw.random((60, 4)) < [0.1, 0.3, 0.6, 0.9]
    probabilities = np.clip(0.3 * carried + draw.random((60, 4)) * 0.6, 0, 1)
    chosen = au_scores.choose_thresholds(probabilities, carried)
    for k in range(4):
        truth, given = carried[:, k].tolist(), sorted(probabilities[:, k].tolist())
        middles = [(a + b) / 2 for a, b in pairwise(given)]
        tried = [
            (-f1_by_loops(truth, [bool(p >= at) for p in probabilities[:, k]]), abs(at - 0.5), at)
            for at in [given[0], *middles]
        ]
        assert chosen[k] == pytest.approx(min(tried)[2])
    at_half = au_scores.au_f1(carried, au_scores.detections(probabilities))
    best = au_scores.au_f1(carried, au_scores.detections(probabilities, chosen))
    assert (best >= at_half).all()
    assert (best > at_half).any()


def test_a_threshold_lies_in_the_middle_of_the_gap() -> None:
    apart = np.array([[0.9], [0.1]])
    assert au_scores.choose_thresholds(apart, apart > 0.5).tolist() == [0.5]
    # rare AUs: all probabilities are low, and tell the samples apart all the same
    low = np.array([[0.10], [0.11], [0.13], [0.12]])
    chosen = au_scores.choose_thresholds(low, low > 0.115)
    assert chosen.tolist() == pytest.approx([0.115])


def test_an_au_that_no_sample_carries_keeps_one_half() -> None:
    given = np.array([[0.9], [0.1]])
    assert au_scores.choose_thresholds(given, np.zeros((2, 1), bool)).tolist() == [0.5]


def test_where_nothing_tells_the_samples_apart_all_are_detected() -> None:
    same = np.full((4, 1), 0.3)
    carried = np.array([[True], [True], [True], [False]])
    chosen = au_scores.choose_thresholds(same, carried)
    assert au_scores.detections(same, chosen).all()
