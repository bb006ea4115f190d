"""Both regions' flow on one coarse grid."""

from __future__ import annotations

import numpy as np
import pytest

from stages.pooling import EYE_GRID, EYE_LENGTH, LENGTH, MOUTH_GRID, pool

EYE, MOUTH = (240, 280, 2), (160, 260, 2)


def _flow(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in (EYE, MOUTH))  # type: ignore[return-value]


def test_the_vector_holds_two_numbers_a_cell_of_each_region() -> None:
    made = pool(*_flow(0))
    assert made.shape == (LENGTH,)
    assert made.dtype == np.float32
    assert 2 * EYE_GRID[0] * EYE_GRID[1] == EYE_LENGTH
    assert 2 * MOUTH_GRID[0] * MOUTH_GRID[1] == LENGTH - EYE_LENGTH


def test_pooling_is_linear() -> None:
    (eye, mouth), (other_eye, other_mouth) = _flow(1), _flow(2)
    both = pool(2 * eye - 3 * other_eye, 2 * mouth - 3 * other_mouth)
    assert both == pytest.approx(2 * pool(eye, mouth) - 3 * pool(other_eye, other_mouth), abs=1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_constant_flow_stays_what_it_is_at_every_size(size: int) -> None:
    eye = np.full((EYE[0] // size, EYE[1] // size, 2), (1.5, -0.25), np.float32)
    mouth = np.full((MOUTH[0] // size, MOUTH[1] // size, 2), (-2.0, 4.0), np.float32)
    made = pool(eye, mouth)
    assert made[:EYE_LENGTH].reshape(-1, 2) == pytest.approx(np.array([[1.5, -0.25]] * 1050))
    assert made[EYE_LENGTH:].reshape(-1, 2) == pytest.approx(np.array([[-2.0, 4.0]] * 640))


def test_a_cell_is_the_mean_of_its_own_pixels() -> None:
    eye, mouth = _flow(3)
    cells = pool(eye, mouth)[:EYE_LENGTH].reshape(EYE_GRID[1], EYE_GRID[0], 2)
    means = eye.reshape(30, 8, 35, 8, 2).mean(axis=(1, 3))
    assert cells == pytest.approx(means, abs=1e-5)


def test_the_regions_do_not_mix() -> None:
    eye, mouth = _flow(4)
    only_eye = pool(eye, np.zeros_like(mouth))
    only_mouth = pool(np.zeros_like(eye), mouth)
    assert not only_eye[EYE_LENGTH:].any()
    assert not only_mouth[:EYE_LENGTH].any()
    assert only_eye + only_mouth == pytest.approx(pool(eye, mouth))


def test_nothing_of_the_movement_is_lost() -> None:
    eye, mouth = _flow(5)
    made = pool(eye, mouth)
    assert made[:EYE_LENGTH].mean() == pytest.approx(eye.mean(), abs=1e-5)
    assert made[EYE_LENGTH:].mean() == pytest.approx(mouth.mean(), abs=1e-5)
