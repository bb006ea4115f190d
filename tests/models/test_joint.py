"""The joint model: fitted to random numbers whose covariance is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import PrototypeError
from models.joint import BLINK, JointModel, NoiseSamples, Row, fit_joint
from models.prototypes import Prototype, PrototypeSet, load, load_default

D, EYE = 120, 70
ROWS: tuple[Row, ...] = tuple((au, half) for au in (1, 12, BLINK) for half in ("left", "right"))
LIDS = np.arange(D) < 20
WHITE = 0.03  # px^2 that the fit adds to every cell, ten times as much again at the lids


def _noise(seed: int = 0, count: int = 600) -> NoiseSamples:
    rng = np.random.default_rng(seed)
    flows = rng.normal(0, 0.3, (count, 10)) @ rng.normal(0, 1, (10, D))
    flows += rng.normal(0, 0.1, (count, D))
    never = np.zeros(count, np.bool_)
    return NoiseSamples(flows.astype(np.float32), never, never.copy())


def _samples(faces: int = 1, seed: int = 1, rows: tuple[Row, ...] = ROWS) -> dict[Row, Any]:
    rng = np.random.default_rng(seed)
    means = {row: rng.normal(0, 0.3, D) for row in rows}
    return {
        row: (mean + rng.normal(0, 0.05, (faces, D)) * (faces > 1)).astype(np.float32)
        for row, mean in means.items()
    }


@lru_cache
def _model(faces: int = 4) -> JointModel:
    return fit_joint(_samples(faces), _noise(), EYE, LIDS)


def _file(joint: JointModel | None, path: Path) -> Path:
    field = np.full((240, 280, 2), 0.5, np.float32)
    PrototypeSet("n", "3", "test", (Prototype(4, "eye", field, 1.0, 5),), joint).save(path)
    return path


# ---------------------------------------------------------------- the fit


def test_a_whitened_prototype_has_unit_variance_and_answers_its_own_movement_most() -> None:
    samples, noise = _samples(), _noise()
    model = fit_joint(samples, noise, EYE, LIDS)
    sigma = noise.flows.T @ noise.flows / len(noise.flows) + np.diag(WHITE * (1 + 10 * LIDS))
    variance = np.einsum("kd,de,ke->k", model.basis, sigma, model.basis)[: len(ROWS)]
    assert variance == pytest.approx(1.0, rel=0.01)
    rng = np.random.default_rng(2)
    others = rng.normal(0, 1, (300, D))
    others /= np.sqrt(np.einsum("kd,de,ke->k", others, sigma, others))[:, None]
    for r, row in enumerate(ROWS):
        movement = samples[row][0]
        own = model.basis[r] @ movement
        assert own > 0
        assert own**2 == pytest.approx(movement @ np.linalg.solve(sigma, movement), rel=0.01)
        assert own > np.abs(others @ movement).max()


def test_responses_are_the_projections_of_one_px_of_movement() -> None:
    samples = _samples(5)
    model = fit_joint(samples, _noise(), EYE, LIDS)
    assert model.responses.shape == (len(ROWS), model.size)
    for r, row in enumerate(ROWS):
        seen = model.project(samples[row].mean(axis=0)).sum(axis=0)
        assert seen == pytest.approx(model.responses[r], abs=1e-3)
    assert model.responses[:, : len(ROWS)].argmax(axis=1).tolist() == list(range(len(ROWS)))


def test_the_noise_is_the_covariance_of_the_projections() -> None:
    noise = _noise()
    model = fit_joint(_samples(), noise, EYE, LIDS)
    seen = noise.flows @ model.basis.T
    wanted = seen.T @ seen / len(seen)
    assert model.noise == pytest.approx(wanted, abs=0.01)
    strongest = np.diag(model.noise)[len(ROWS) :]
    assert strongest == pytest.approx(1.0, abs=0.01)  # directions of unit variance


def test_blinks_and_speech_count_less_in_the_noise_and_not_in_its_directions() -> None:
    quiet, count = _noise(), 600
    loud = np.zeros((200, D), np.float32)
    loud[:, 100] = np.random.default_rng(3).normal(0, 5, 200)
    flows = np.concatenate([quiet.flows, loud])
    marked, never = np.arange(len(flows)) >= count, np.zeros(len(flows), np.bool_)
    at_100 = {
        name: fit_joint(_samples(), NoiseSamples(flows, *flags), EYE, LIDS)
        for name, flags in {
            "not marked": (never, never),
            "blink": (marked, never),
            "speech": (never, marked),
        }.items()
    }
    share = {name: np.abs(model.basis[:6, 100]).mean() for name, model in at_100.items()}
    assert share["not marked"] < share["blink"] < share["speech"]
    for name in ("blink", "speech"):
        directions = at_100[name].basis[6:]
        assert directions == pytest.approx(_model().basis[6:], abs=1e-4)


def test_an_error_between_faces_is_the_mismatch_of_its_au() -> None:
    samples = _samples()
    rng = np.random.default_rng(4)
    samples[12, "left"] = samples[12, "left"] + rng.normal(0, 0.3, (6, D)).astype(np.float32)
    model = fit_joint(samples, _noise(), EYE, LIDS)
    trace = {au: np.trace(model.mismatch[au]) for au in model.aus}
    assert trace[12] > 2 * trace[1]
    for au in model.aus:
        values = np.linalg.eigvalsh(model.mismatch[au])
        assert values.min() > 0  # some of it is unknown in every direction


@pytest.mark.parametrize(
    "rows",
    [
        ((1, "left"), (1, "right")),
        ((1, "left"), (45, "left"), (45, "right")),
    ],
)
def test_both_sides_of_every_au_and_a_blink_are_needed(rows: tuple[Row, ...]) -> None:
    with pytest.raises(PrototypeError, match="both sides"):
        fit_joint(_samples(rows=rows), _noise(), EYE, LIDS)


# ---------------------------------------------------------------- the model


def test_the_regions_are_projected_apart_and_add_up() -> None:
    model = _model()
    flow = np.random.default_rng(5).normal(0, 1, D).astype(np.float32)
    parts = model.project(flow)
    assert parts.shape == (2, model.size)
    assert parts.dtype == np.float32
    assert parts.sum(axis=0) == pytest.approx(model.basis @ flow, abs=1e-4)
    still = flow.copy()
    still[EYE:] = 0
    assert model.project(still)[0] == pytest.approx(parts[0])
    assert not model.project(still)[1].any()


def test_detection_curves_are_both_sides_and_each_of_every_au_but_the_blink() -> None:
    model = _model()
    names, templates = model.templates()
    assert names == [(au, side) for au in (1, 12) for side in ("both", "left", "right")]
    left, right = model.index(12, "left"), model.index(12, "right")
    assert templates[4] == pytest.approx(model.responses[left])
    assert templates[3] == pytest.approx(model.responses[left] + model.responses[right])
    assert model.aus == (1, 12, BLINK)


# ---------------------------------------------------------------- the file


def test_a_file_gives_back_the_model(tmp_path: Path) -> None:
    model = _model()
    back = load(_file(model, tmp_path / "p.npz")).joint
    assert back is not None
    assert (back.rows, back.eye_length, back.aus) == (model.rows, EYE, model.aus)
    for name in ("basis", "responses", "noise"):
        was, now = getattr(model, name), getattr(back, name)
        assert now == pytest.approx(was, rel=1e-3, abs=1e-3 * np.abs(was).max())
        assert now.dtype == was.dtype
    for au in model.aus:
        was = model.mismatch[au]
        assert back.mismatch[au] == pytest.approx(was, rel=1e-3, abs=1e-3 * np.abs(was).max())


def test_a_file_saved_again_is_the_same(tmp_path: Path) -> None:
    once = load(_file(_model(), tmp_path / "a"))
    twice = load(_file(once.joint, tmp_path / "b"))
    assert once.joint is not None
    assert twice.joint is not None
    assert np.array_equal(once.joint.responses, twice.joint.responses)
    assert np.array_equal(once.joint.noise, twice.joint.noise)
    assert twice.joint.basis == pytest.approx(once.joint.basis, rel=1e-3, abs=1e-6)


def test_a_file_without_a_model_has_none(tmp_path: Path) -> None:
    assert load(_file(None, tmp_path / "p.npz")).joint is None


def _rewritten(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """The file of a good model with some of its arrays, or of its header, replaced."""
    _file(_model(), path)
    with np.load(path) as old:
        arrays = dict(old)
    header = json.loads(arrays.pop("header").tobytes().decode())
    made = change({name.removeprefix("joint_"): array for name, array in arrays.items()})
    header["joint"] |= {key: made.pop(key) for key in ("rows", "eye_length") if key in made}
    arrays |= {f"joint_{name}": array for name, array in made.items()}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(path, header=text, **arrays)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {"responses": m["responses"][:-1]}, "responses has shape"),
        (lambda m: {"responses": m["responses"][:, 1:]}, "responses has shape"),
        (lambda m: {"noise": m["noise"][1:]}, "noise has shape"),
        (lambda m: {"mismatch": m["mismatch"][:, 1:]}, "mismatch has shape"),
        (lambda m: {"basis_scale": m["basis_scale"][1:]}, "basis_scale has shape"),
        (lambda m: {"basis": m["basis"][0]}, "basis does not fit"),
        (lambda m: {"basis": m["basis"].astype(np.int16)}, "joint_basis"),
        (lambda m: {"basis": None}, "joint_basis"),
        (lambda m: {"mismatch_scale": None}, "joint_mismatch_scale"),
        (lambda m: {"noise": m["noise"] * np.nan}, "not finite"),
        (lambda m: {"responses": m["responses"] * np.inf}, "not finite"),
        (lambda m: {"eye_length": D}, "basis does not fit"),
        (lambda m: {"eye_length": 0}, "basis does not fit"),
        (lambda m: {"eye_length": "many"}, "malformed header"),
        (lambda m: {"rows": []}, "rows of the joint model"),
        (lambda m: {"rows": [[1, "up"], [1, "down"]]}, "malformed header"),
        (lambda m: {"rows": [1, 2]}, "malformed header"),
    ],
)
def test_a_model_that_does_not_fit_is_one_clear_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = _rewritten(tmp_path / "p.npz", change)
    with pytest.raises(PrototypeError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        [[1, "left"], [1, "right"], [12, "left"], [12, "left"], [45, "left"], [45, "right"]],
        [[1, "left"], [1, "right"], [2, "left"], [2, "right"], [4, "left"], [4, "right"]],
    ],
)
def test_a_model_without_both_sides_or_without_a_blink_is_refused(
    tmp_path: Path, rows: list[list[Any]]
) -> None:
    path = _rewritten(tmp_path / "p.npz", lambda _: {"rows": rows})
    with pytest.raises(PrototypeError):
        load(path)


def test_a_noise_matrix_that_is_no_covariance_is_refused(tmp_path: Path) -> None:
    joint = _model()
    broken = replace(joint, noise=joint.noise - 10 * np.eye(joint.size))
    with pytest.raises(PrototypeError, match="covariance"):
        JointModel.from_arrays(broken.rows, broken.eye_length, broken.arrays())


def test_aus_that_move_together_have_a_curve_of_their_own_after_the_single_ones() -> None:
    joint = load_default().joint
    assert joint is not None
    names, rows = joint.detectors()
    single, responses = joint.templates()
    assert names[: len(single)] == [(au,) for au, _ in single]
    assert rows[: len(single)] == pytest.approx(responses)
    assert rows[names.index((1, 4))] == pytest.approx(
        responses[single.index((1, "both"))] + responses[single.index((4, "both"))]
    )
    assert all(set(aus) <= set(joint.aus) for aus in names)


# ---------------------------------------------------------------- the shipped model


def test_the_shipped_model_knows_both_sides_of_every_au_and_the_blink() -> None:
    joint = load_default().joint
    assert joint is not None
    assert BLINK in joint.aus
    assert {(au, half) for au in joint.aus for half in ("left", "right")} == set(joint.rows)
    assert set(load_default().aus) <= set(joint.aus)
    np.linalg.cholesky(joint.noise)
    assert np.isfinite(joint.basis).all()


def test_in_the_shipped_noise_every_px_of_every_au_stands_out() -> None:
    joint = load_default().joint
    assert joint is not None
    names, templates = joint.templates()
    strength = np.sqrt(
        np.einsum("vk,vk->v", templates, np.linalg.solve(joint.noise, templates.T).T)
    )
    weak = [name for name, value in zip(names, strength, strict=True) if value < 2]
    assert not weak
