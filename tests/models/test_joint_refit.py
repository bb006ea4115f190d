"""A joint model for other prototypes, in the noise of one that is there; made-up cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import PrototypeError
from models.joint import BLINK, Floats, JointModel, NoiseSamples, Row, fit_joint
from models.joint_refit import refit

D, EYE = 120, 70
LIDS = np.zeros(D, np.bool_)
HALVES: tuple[Row, Row] = ((BLINK, "left"), (BLINK, "right"))


def shape(au: int, half: str) -> npt.NDArray[np.float64]:
    """A bump of cells that belongs to one AU's side."""
    centre = 6 + au % 9 * 12 + (4 if half == "right" else 0)
    return np.asarray(np.exp(-(((np.arange(D) - centre) / 3.0) ** 2)), np.float64)


def samples(aus: tuple[int, ...], n: int, seed: int = 0) -> dict[Row, Floats]:
    rng = np.random.default_rng(seed)
    rows: list[Row] = [(au, half) for au in aus for half in ("left", "right")]
    return {
        row: np.asarray(shape(*row) * (1 + 0.1 * rng.standard_normal((n, 1))), np.float32)
        + rng.normal(0, 0.02, (n, D)).astype(np.float32)
        for row in rows
    }


def quiet(n: int, seed: int) -> Floats:
    """Neutral flow: a few strong smooth motions and a white rest."""
    made = np.random.default_rng(99)
    motions = np.cumsum(made.standard_normal((5, D)), axis=1) / 8
    rng = np.random.default_rng(seed)
    flows = rng.standard_normal((n, 5)) @ motions + rng.normal(0, 0.09, (n, D))
    return np.asarray(flows, np.float32)


@pytest.fixture(scope="module")
def given() -> JointModel:
    none = np.zeros(3000, np.bool_)
    noise = NoiseSamples(quiet(3000, 1), none, none)
    return fit_joint(samples((1, 4, 12, BLINK), 8), noise, EYE, LIDS)


def fields(aus: tuple[int, ...]) -> dict[Row, Floats]:
    return {row: flows.mean(axis=0) for row, flows in samples(aus, 8, seed=5).items()}


@pytest.fixture(scope="module")
def made(given: JointModel) -> JointModel:
    return refit(given, fields((2, 7)))


def test_the_new_prototypes_take_the_place_of_the_old_and_the_blink_stays(
    given: JointModel, made: JointModel
) -> None:
    assert made.aus == (2, 7, BLINK)
    assert made.eye_length == EYE
    assert set(made.mismatch) == {2, 7, BLINK}


def test_basis_noise_and_blink_stay_exactly_as_they_are(
    given: JointModel, made: JointModel
) -> None:
    assert np.array_equal(made.basis, given.basis)
    assert np.array_equal(made.noise, given.noise)
    assert np.array_equal(made.mismatch[BLINK], given.mismatch[BLINK])
    for row in HALVES:
        assert np.array_equal(made.responses[made.index(*row)], given.responses[given.index(*row)])


def test_refitting_on_the_models_own_samples_changes_no_response(given: JointModel) -> None:
    own = {row: s for row, s in samples((1, 4, 12, BLINK), 8).items() if row[0] != BLINK}
    again = refit(given, {row: flows.mean(axis=0) for row, flows in own.items()})
    assert again.rows == given.rows
    np.testing.assert_allclose(again.responses, given.responses, rtol=1e-4, atol=1e-5)


def test_a_movement_raises_its_own_curve_most(made: JointModel) -> None:
    names, templates = made.templates()
    detect = np.linalg.solve(made.noise + 1e-6 * np.eye(made.size), templates.T).T
    detect /= np.sqrt(np.einsum("vk,vk->v", detect, templates))[:, None]
    for wanted in ((2, "left"), (2, "right"), (7, "left"), (7, "right")):
        curves = detect @ (made.basis @ shape(*wanted))
        assert names[int(np.argmax(curves))] == wanted


def test_noise_and_mismatch_are_covariances(made: JointModel) -> None:
    for matrix in (made.noise, *made.mismatch.values()):
        assert np.array_equal(matrix, matrix.T) or np.allclose(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > -1e-9 * np.trace(matrix)


def test_the_spread_of_an_au_that_is_new_is_the_usual_one(given: JointModel) -> None:
    made = refit(given, fields((1, 7)))
    usual = np.mean([given.mismatch[au] for au in (1, 4, 12)], axis=0)
    for au, spread in ((1, given.mismatch[1]), (7, usual)):
        rest = made.mismatch[au] - spread
        np.testing.assert_allclose(rest, np.diag(np.diag(rest)), atol=1e-9)
        assert (np.diag(rest) >= -1e-9).all()


def test_it_survives_its_file(made: JointModel) -> None:
    again = JointModel.from_arrays(made.rows, made.eye_length, made.arrays())
    np.testing.assert_allclose(again.responses, made.responses, rtol=1e-6)
    np.testing.assert_allclose(again.basis, made.basis, atol=1e-3 * np.abs(made.basis).max())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop((7, "left")), "both sides"),
        (lambda rows: rows.clear(), "one AU at least"),
        (lambda rows: rows.update(fields((BLINK,))), "the blink"),
        (lambda rows: rows.update({(7, "left"): np.zeros(D - 1, np.float32)}), "AU 7 left"),
        (lambda rows: rows.update({(7, "left"): np.zeros((2, D), np.float32)}), "AU 7 left"),
    ],
)
def test_samples_that_do_not_fit(given: JointModel, change: object, said: str) -> None:
    rows = fields((2, 7))
    assert callable(change)
    change(rows)
    with pytest.raises(PrototypeError, match=said):
        refit(given, rows)


def test_a_model_without_a_blink_cannot_give_its_noise(given: JointModel) -> None:
    bare = JointModel(
        given.rows[:2], EYE, given.basis, given.responses[:2], given.noise, given.mismatch
    )
    with pytest.raises(PrototypeError, match="no blink"):
        refit(bare, fields((2,)))
