"""The noise of a face, learned from columns whose covariance is known (synthetic)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from stages.joint import Memory
from stages.noise import Noise, NoiseParams, filters
from stages.peaks import Update
from tests.stages.scripted import SIZE, Move, finals, memory, model, spot, spotter, strange

STEP = 1 / 30


def _covariance(seed: int = 0) -> np.ndarray:
    """(K, K), far from white, of about the size of the training faces' noise."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(0, 1, (SIZE, SIZE)))[0]
    return np.asarray(turned * np.geomspace(0.3, 3.0, SIZE) @ turned.T)


def _learn(noise: Noise, wanted: np.ndarray, seconds: float, start: float = 0.0) -> float:
    rng = np.random.default_rng(1)
    root = np.linalg.cholesky(wanted)
    for i in range(round(seconds / STEP)):
        noise.learn(start + i * STEP, rng.normal(0, 1, (3, SIZE)) @ root.T)
    return start + seconds


def _far(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest relative error of a variance in any direction."""
    root = np.linalg.inv(np.linalg.cholesky(wanted))
    return float(np.abs(np.linalg.eigvalsh(root @ found @ root.T) - 1).max())


# ---------------------------------------------------------------- filters


def test_every_filter_has_unit_variance_in_its_noise() -> None:
    templates, covariance = model().templates()[1], _covariance()
    made = filters(model(), templates, covariance)
    assert np.diag(made.detect @ covariance @ made.detect.T) == pytest.approx(1)


def test_no_filter_of_unit_variance_answers_a_template_more_than_its_own() -> None:
    templates, covariance = model().templates()[1], _covariance()
    own = np.diag(filters(model(), templates, covariance).detect @ templates.T)
    others = np.random.default_rng(0).normal(0, 1, (500, SIZE))
    others /= np.sqrt(np.einsum("nk,kl,nl->n", others, covariance, others))[:, None]
    assert (own > (others @ templates.T).max(axis=0)).all()


def test_the_explanation_of_a_movement_is_least_squares_in_the_noise() -> None:
    covariance = _covariance()
    made = filters(model(), model().templates()[1], covariance)
    weights = np.random.default_rng(0).uniform(0, 3, len(model().rows))
    movement = weights @ model().responses
    assert np.linalg.solve(made.gram, made.rows @ movement) == pytest.approx(weights)
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    seen = root @ (movement + np.random.default_rng(1).normal(0, 1, SIZE))
    fitted = np.linalg.lstsq(root @ model().responses.T, seen, rcond=None)[0]
    target = made.rows @ np.linalg.solve(root, seen)
    assert np.linalg.solve(made.gram, target) == pytest.approx(fitted)


# ---------------------------------------------------------------- learning


def test_a_face_not_seen_yet_has_the_training_faces_noise() -> None:
    noise = Noise(model(), NoiseParams(prior_scale=1.5))
    assert noise.filters.covariance == pytest.approx(1.5 * model().noise, abs=1e-5)


def test_the_covariance_of_what_is_seen_is_learned() -> None:
    noise = Noise(model(), NoiseParams(prior=1.0, prior_scale=1.0))
    assert _far(noise.filters.covariance, _covariance()) > 1.5
    _learn(noise, _covariance(), 30.0)
    assert _far(noise.filters.covariance, _covariance()) < 0.3


def test_the_training_noise_weighs_as_many_differences_as_said() -> None:
    wanted, params = 3 * model().noise, NoiseParams(prior=300.0, prior_scale=1.0, memory_s=1e6)
    noise = Noise(model(), params)
    _learn(noise, wanted, 100 * STEP)  # three a frame
    assert np.trace(noise.filters.covariance) / SIZE == pytest.approx(2.0, rel=0.1)


def test_a_change_of_the_noise_is_followed_within_its_memory() -> None:
    noise = Noise(model(), NoiseParams(memory_s=5.0, prior=1.0))
    first, second = _covariance(), 2.5 * _covariance(7)
    now = _learn(noise, first, 30.0)
    assert _far(noise.filters.covariance, first) < 0.4
    _learn(noise, second, 30.0, now)
    assert _far(noise.filters.covariance, second) < 0.4


def test_a_few_large_differences_hardly_count() -> None:
    def learned(longest: float) -> float:
        noise = Noise(model(), NoiseParams(prior_scale=1.0, longest=longest))
        now = _learn(noise, model().noise, 5.0)
        spike = 100 * np.ones((1, SIZE))
        for i in range(10):
            noise.learn(now + i * STEP, spike)
        return float(np.trace(noise.filters.covariance) / SIZE)

    assert learned(2.0) < 1.5
    assert learned(1e9) > 50


def test_the_filters_are_renewed_after_so_many_frames() -> None:
    noise = Noise(model(), NoiseParams(refresh=5))
    seen = []
    for i in range(12):
        noise.learn(i * STEP, np.ones((1, SIZE)))
        seen.append(noise.filters)
    assert [a is not b for a, b in pairwise(seen)] == [i in (3, 8) for i in range(11)]


def test_frames_of_a_fast_camera_are_thinned() -> None:
    for fps in (25, 30, 60, 200):
        noise, learned = Noise(model(), NoiseParams()), 0
        for i in range(10 * fps):
            if noise.due(i / fps):
                noise.learn(i / fps, np.zeros((0, SIZE)))
                learned += 1
        assert 250 <= learned <= 340


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_s": 0.0},
        {"memory_s": float("nan")},
        {"lags_s": (0.2, 0.0)},
        {"delay_s": -1.0},
        {"prior": 0.0},
        {"prior_scale": 0.0},
        {"longest": 0.0},
        {"refresh": 0},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        NoiseParams(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- while a face is watched


def _restless(fps: float, seconds: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The same slow, continuous restlessness of a face, seen at any rate."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * fps)) / fps
    waves = rng.uniform(0.2, 1.5, 60)
    phases, shares = rng.uniform(0, 2 * np.pi, 60), rng.normal(0, 0.2, (60, SIZE))
    seen = np.cos(2 * np.pi * times[:, None] * waves + phases) @ shares
    seen -= seen[0]
    return times, np.stack([seen, 0 * seen], axis=1)


def _watched(
    made: tuple[np.ndarray, np.ndarray], shut: frozenset[int] = frozenset()
) -> tuple[Memory, list[Update]]:
    """What is known at the end, and every update; theta is out of reach of restlessness."""
    known = memory(NoiseParams(prior=1.0))
    return known, spot(made, shut, known=known, theta=25.0)


def test_the_noise_does_not_depend_on_the_frame_rate() -> None:
    found = []
    for fps in (30, 200):
        known, (times, parts) = memory(), _restless(fps, 20.0)
        spot((times, 0.3 * parts), known=known, theta=25.0)
        found.append(np.diag(known.noise.filters.covariance))
    assert found[1] == pytest.approx(found[0], rel=0.15)
    assert found[1].sum() == pytest.approx(found[0].sum(), rel=0.07)
    assert found[0].sum() < 0.5 * 1.5 * np.trace(model().noise)  # it has been learned


def test_expressions_are_no_noise() -> None:
    times, parts = _restless(30, 20.0)
    brows = [Move(1, 1.0 + 2 * k, 1.2 + 2 * k, 1.4 + 2 * k, 6.0) for k in range(9)]
    moved = parts + np.stack([sum(m.at(times) for m in brows), 0 * parts[:, 0]], axis=1)
    still, _ = _watched((times, parts))
    lively, updates = _watched((times, moved))
    apexes = {f.expression.apex for f in finals(updates)}
    assert all({36 + 60 * k, 35 + 60 * k, 37 + 60 * k} & apexes for k in range(9))
    brow = brows[0].response() / np.linalg.norm(brows[0].response())
    quiet = brow @ still.noise.filters.covariance @ brow
    loud = brow @ lively.noise.filters.covariance @ brow
    assert loud < 2 * quiet
    taken = (moved[6:, 0] - moved[:-6, 0]) @ brow  # what learning all of it would give
    assert np.mean(taken**2) > 10 * quiet


def test_shut_eyes_are_no_noise() -> None:
    times, parts = _restless(30, 20.0)
    shut = frozenset(i for i in range(60, 600) if i % 60 < 5)
    blinking = parts.copy()
    blinking[sorted(shut), 0] += 20 * strange()
    still, _ = _watched((times, parts), shut)
    blinked, _ = _watched((times, blinking), shut)
    assert blinked.noise.filters.covariance == pytest.approx(still.noise.filters.covariance)
    seen, _ = _watched((times, blinking))
    assert np.trace(seen.noise.filters.covariance) > 2 * np.trace(still.noise.filters.covariance)


def test_a_frame_is_learned_only_after_the_delay() -> None:
    times, parts = _restless(30, 6.0)
    known = memory(NoiseParams(delay_s=2.6))
    it = spotter(known)
    for time, column in zip(times, parts, strict=True):
        it.push(float(time), column, False)
        assert known.noise.newest <= time - 2.6 + 1e-3
    assert known.noise.newest > times[-1] - 2.6 - 0.2


def test_what_is_learned_is_the_outer_product_of_differences_brought_down_to_the_longest() -> None:
    params = NoiseParams(prior=5.0, prior_scale=1.0, longest=1.5, refresh=1, memory_s=4.0)
    noise = Noise(model(), params)
    rng = np.random.default_rng(3)
    total, weight = np.zeros((SIZE, SIZE)), 0.0
    for i in range(5):
        given = rng.normal(0, 1, (3, SIZE)) * rng.choice([0.5, 4.0], (3, 1))
        whitened = np.linalg.solve(noise.filters.covariance, given.T).T
        lengths = np.sqrt((given * whitened).sum(axis=1) / SIZE)
        brought = given * np.minimum(1.0, 1.5 / lengths)[:, None]
        keep = np.exp(-STEP / 4.0) if i else np.exp(-1.0)
        total, weight = keep * total + brought.T @ brought, keep * weight + 3
        noise.learn(i * STEP, given)
        wanted = (5.0 * model().noise + total) / (5.0 + weight) + 1e-6 * np.eye(SIZE)
        assert noise.filters.covariance == pytest.approx(wanted, abs=1e-9)
