"""Which frames noise is learned from (synthetic)."""

from __future__ import annotations

import numpy as np
import pytest

from stages.frames import Frames
from stages.learner import Learner
from stages.noise import Noise, NoiseParams
from tests.stages.scripted import SIZE, model

FPS = 30.0
PARAMS = NoiseParams(lags_s=(0.2, 0.4), delay_s=1.0)


class _Notes(Noise):
    """Writes down what it is given."""

    def __init__(self) -> None:
        super().__init__(model(), PARAMS)
        self.given: dict[int, np.ndarray] = {}

    def learn(self, time: float, differences: np.ndarray) -> None:
        super().learn(time, differences)
        self.given[round(time * FPS)] = differences


def _learned(
    count: int = 90, shut: int = -1, excluded: tuple[int, int] | None = None, undecided: int = 999
) -> tuple[_Notes, Frames]:
    frames, noise = Frames(SIZE, 0.0, 0.0, 0.0), _Notes()
    learner = Learner(noise, frames)
    rows = np.random.default_rng(0).normal(0, 1, (count, 2, SIZE))
    if excluded is not None:
        learner.exclude(*excluded)
    for i in range(count):
        frames.push(i / FPS, rows[i], i == shut)
        frames.advance(closing=True)
        learner.learn(i, min(i, undecided))
    return noise, frames


def test_a_frame_is_learned_against_the_frames_of_the_lags_when_it_is_old_enough() -> None:
    noise, frames = _learned()
    assert sorted(noise.given) == list(range(2, 60))  # 1 s before the last one
    x = frames.x
    assert noise.given[40] == pytest.approx(np.array([x[40] - x[34], x[40] - x[28]]))
    assert noise.given[8].shape == (1, SIZE)
    assert noise.given[5].shape == (0, SIZE)


def test_frames_of_an_expression_are_no_noise_at_either_end() -> None:
    noise, _ = _learned(excluded=(20, 25))
    assert not set(range(20, 26)) & set(noise.given)
    assert noise.given[28].shape == (1, SIZE)  # 22 is left out, 16 is not
    assert noise.given[40].shape == (2, SIZE)


def test_frames_whose_value_was_held_are_no_noise() -> None:
    noise, frames = _learned(shut=30)
    assert frames.held[30]
    assert 30 not in noise.given
    assert noise.given[36].shape == (1, SIZE)


def test_what_is_undecided_is_not_learned_yet() -> None:
    noise, _ = _learned(undecided=33)
    assert max(noise.given) == 32
