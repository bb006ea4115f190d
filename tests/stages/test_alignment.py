"""Frames of a face from landmarks that jitter (random points stand for a face)."""

from __future__ import annotations

import numpy as np
import pytest

from stages.alignment import STABLE, Alignment, fit_similarity
from stages.landmarks import LEFT_OUTER_EYE, NOSE_BASE, RIGHT_OUTER_EYE
from stages.region import Similarity, similarity

FPS = 30


def _face(seed: int = 0) -> np.ndarray:
    """(468, 2) landmarks of a face that looks straight ahead, 100 px between the eyes."""
    points = np.random.default_rng(seed).uniform(-110, 110, (468, 2))
    points[RIGHT_OUTER_EYE], points[LEFT_OUTER_EYE], points[NOSE_BASE] = (-50, 0), (50, 0), (0, 45)
    return points + 300


def _moved(points: np.ndarray, shift: tuple[float, float], scale: float, turn: float) -> np.ndarray:
    """The points shifted, grown and turned about the middle of the picture."""
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    about = points - 300
    return np.asarray(about @ np.array([[cos, sin], [-sin, cos]]) + 300 + np.array(shift))


def _plain(frame: Similarity) -> np.ndarray:
    return np.array([*frame.origin, frame.d, 100 * frame.roll])


def _f32(points: np.ndarray) -> np.ndarray:
    return points.astype(np.float32)


def test_a_similarity_is_found_exactly() -> None:
    shape = np.random.default_rng(1).normal(0, 1, (20, 2))
    turned = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    shift, scale, angle = fit_similarity(shape, 2.5 * shape @ turned + np.array([7.0, -3.0]))
    assert shift == pytest.approx([7, -3])
    assert (scale, angle) == pytest.approx((2.5, 0.3))


def test_what_does_not_fit_is_shared_as_least_squares_shares_it() -> None:
    rng = np.random.default_rng(2)
    shape, points = rng.normal(0, 1, (20, 2)), rng.normal(0, 1, (20, 2))
    (x, y), zero, one = shape.T, np.zeros(20), np.ones(20)
    columns = np.concatenate(
        [np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)]
    )
    a, b, right, down = np.linalg.lstsq(columns, points.T.ravel(), rcond=None)[0]
    shift, scale, angle = fit_similarity(shape, points)
    assert shift == pytest.approx([right, down])
    assert (scale * np.cos(angle), scale * np.sin(angle)) == pytest.approx((a, b))


def test_the_first_frame_is_the_papers() -> None:
    points = _f32(_face())
    assert Alignment()(points, 0.0) == similarity(points)


def test_jitter_is_less_than_that_of_the_eye_corners_alone() -> None:
    rng = np.random.default_rng(3)
    align, own, fitted = Alignment(), [], []
    for i in range(150):
        points = _f32(_face() + rng.normal(0, 0.3, (468, 2)))
        own.append(_plain(similarity(points)))
        fitted.append(_plain(align(points, i / FPS)))
    assert (np.std(fitted[1:], axis=0) < 0.5 * np.std(own[1:], axis=0)).all()


def test_a_head_that_moves_is_followed_without_lag() -> None:
    align = Alignment()
    for i in range(90):
        t = i / FPS
        points = _moved(_face(), (30 * np.sin(3 * t), 20 * t), 1 + 0.1 * t, 0.2 * np.sin(2 * t))
        found = align(_f32(points), t)
        assert _plain(found) == pytest.approx(_plain(similarity(_f32(points))), abs=2e-3)


def test_movement_of_brows_lids_and_mouth_moves_nothing() -> None:
    still, moving = Alignment(), Alignment()
    free = np.setdiff1d(np.arange(468), [*STABLE, NOSE_BASE])
    rng = np.random.default_rng(4)
    for i in range(60):
        points = _face()
        grimace = points.copy()
        grimace[free] += rng.normal(0, 5, (len(free), 2))
        assert moving(_f32(grimace), i / FPS) == still(_f32(points), i / FPS)


def test_an_eye_corner_that_is_pulled_moves_the_frame_only_a_little() -> None:
    align, pulled = Alignment(), _face()
    for i in range(30):
        before = align(_f32(_face()), i / FPS)
    pulled[LEFT_OUTER_EYE] += (3.0, 0.0)
    after = align(_f32(pulled), 1.0)
    assert abs(after.d - before.d) < 0.6
    assert similarity(_f32(pulled)).d - before.d == pytest.approx(3.0, abs=1e-3)


def test_a_face_that_stays_turned_becomes_its_own_shape() -> None:
    def left(seconds: float) -> float:
        """How far the fitted shape still is from the new one, px of the eye distance."""
        align, turned = Alignment(memory_s=2.0), _face()
        turned[:, 0] = 300 + 0.9 * (turned[:, 0] - 300)
        turned[LEFT_OUTER_EYE] += (2.0, 4.0)
        align(_f32(_face()), 0.0)
        for i in range(1, round(seconds * FPS)):
            align(_f32(turned), i / FPS)
        assert align._shape is not None
        shape = fit_similarity(align._shape, turned[STABLE])
        z = (align._shape[:, 0] + 1j * align._shape[:, 1]) * shape[1] * np.exp(1j * shape[2])
        fitted = np.stack([z.real, z.imag], axis=1) + shape[0]
        return float(np.hypot(*(fitted - turned[STABLE]).T).mean())

    assert left(2.0) == pytest.approx(left(1 / FPS) / np.e, rel=0.15)
    assert left(10.0) < 0.05 * left(1 / FPS)


def test_the_shape_is_followed_in_seconds_whatever_the_rate() -> None:
    def after(fps: int) -> np.ndarray:
        align, other = Alignment(), _face(7)
        align(_f32(_face()), 0.0)
        for i in range(1, fps + 1):
            found = align(_f32(other), i / fps)
        return _plain(found)

    assert after(30) == pytest.approx(after(200), rel=0.02, abs=0.3)
