"""F1 for each AU and the choice of thresholds, against plain loops."""

from __future__ import annotations

import math

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
        tried = []
        for step in range(1, 20):
            detected = [bool(p >= step / 20) for p in probabilities[:, k]]
            score = f1_by_loops(carried[:, k].tolist(), detected)
            tried.append((-score, abs(step - 10), step))
        assert chosen[k] == pytest.approx(min(tried)[2] / 20)
    at_half = au_scores.au_f1(carried, au_scores.detections(probabilities))
    best = au_scores.au_f1(carried, au_scores.detections(probabilities, chosen))
    assert (best >= at_half).all()
    assert (best > at_half).any()


def test_threshold_stays_at_one_half_without_reason_to_move() -> None:
    perfect = np.array([[0.9], [0.1]])
    assert au_scores.choose_thresholds(perfect, perfect > 0.5).tolist() == [0.5]
    assert au_scores.choose_thresholds(perfect, np.zeros((2, 1), bool)).tolist() == [0.5]
    # 0.45 and 0.55 are equally good and equally near, 0.5 is worse
    lower = np.array([[0.47], [0.2]])
    assert au_scores.choose_thresholds(lower, np.array([[True], [False]])).tolist() == [0.45]
