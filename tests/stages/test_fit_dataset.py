"""Prototypes from a data set's onset and apex images; the faces are synthetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.datasets import AUCode, Dataset, load
from models.errors import UserError
from models.joint import JointModel
from models.prototypes import PrototypeSet, load_default
from models.prototypes import load as load_set
from stages.fit_dataset import (
    Fitted,
    calibrated,
    check_aus,
    fit_dataset,
)
from stages.items import Floats
from stages.landmarks import FaceMeshLandmarker
from stages.pooling import LENGTH
from stages.separate import Pooled, left_share, mirrored, movement_px, separate
from tests.models.datasets import trees

AUS = (12, 4, 17)


@pytest.fixture(scope="module")
def shipped() -> PrototypeSet:
    return load_default()


@pytest.fixture(scope="module")
def fitted(casme2: Dataset, shipped: PrototypeSet, landmarker: FaceMeshLandmarker) -> Fitted:
    return fit_dataset(casme2, AUS, shipped, landmarker)


# ---------------------------------------------------------------- images


def test_prototypes_are_those_of_the_faces_movements(fitted: Fitted, shipped: PrototypeSet) -> None:
    assert fitted.prototypes.aus == AUS
    assert [row.samples for row in fitted.aus] == [3, 2, 1]
    for row in fitted.aus:
        assert row.cosine is not None and row.cosine > 0.7
    eye = next(p for p in fitted.prototypes.prototypes if p.au == 4).field
    assert eye[60:110, 100:180, 1].mean() > 0.5  # frowning: the brows go down


def test_every_annotation_is_used_or_accounted_for(fitted: Fitted, casme2: Dataset) -> None:
    assert (fitted.used, fitted.others) == (6, 0)
    assert fitted.left_out == ("row 7 (sub03/EP03_01): apex not annotated",)
    assert fitted.used + fitted.others + len(fitted.left_out) == len(casme2.annotations)


def test_one_sided_expressions_count_for_their_side(fitted: Fitted) -> None:
    twelve = next(row for row in fitted.aus if row.au == 12)
    assert (twelve.left, twelve.right) == (3, 2)


def test_the_file_holds_both_models(fitted: Fitted, tmp_path: Path) -> None:
    fitted.prototypes.save(tmp_path / "made.npz")
    made = load_set(tmp_path / "made.npz")
    assert made.name == "casme2"
    assert "licensed data" in made.provenance
    assert made.joint is not None
    assert made.joint.aus == (*AUS, 45)


def test_a_movement_of_another_face_raises_its_own_curve_most(
    fitted: Fitted, landmarker: FaceMeshLandmarker
) -> None:
    from stages.fit import _sample

    joint = fitted.prototypes.joint
    assert joint is not None
    names, detect = _detectors(joint)
    for au in AUS:
        left, right = (_sample(au, half, 3, landmarker) for half in ("left", "right"))
        curves = detect @ (joint.basis @ (left.pooled + right.pooled))
        both = {
            name[0]: curve for name, curve in zip(names, curves, strict=True) if name[1] == "both"
        }
        assert max(both, key=lambda one: float(both[one])) == au


def _detectors(joint: JointModel) -> tuple[list[tuple[int, str]], Floats]:
    names, templates = joint.templates()
    detect = np.linalg.solve(joint.noise, templates.T).T
    detect /= np.sqrt(np.einsum("vk,vk->v", detect, templates))[:, None]
    return list(names), np.asarray(detect, np.float32)


def test_images_without_a_face_are_left_out_with_their_name(
    tmp_path: Path, shipped: PrototypeSet, landmarker: FaceMeshLandmarker
) -> None:
    trees.casme2(tmp_path, [("01", "EP01_01", 1, 2, 3, "4", "others")])
    trees.images(tmp_path / "sub01" / "EP01_01", ["img1.jpg", "img2.jpg"])
    with pytest.raises(UserError, match="no usable sample: 1 image pairs, none used") as error:
        fit_dataset(load("casme2", tmp_path), (4,), shipped, landmarker)
    assert "img1.jpg: no face is found" in str(error.value)


def test_an_au_that_no_pair_carries_is_named(
    casme2: Dataset, shipped: PrototypeSet, landmarker: FaceMeshLandmarker
) -> None:
    with pytest.raises(UserError, match="no image pair carries AU 2, 15; name others"):
        fit_dataset(casme2, (2, 4, 15), shipped, landmarker)


@pytest.mark.parametrize(
    ("aus", "said"),
    [
        ((), "no action unit"),
        ((4, 45), "AU 45 is the blink"),
        ((4, 99), "AU 99 is not known; known are 1, 2, 4"),
        ((4, 12, 4), "AU 4 is named twice"),
    ],
)
def test_aus_that_cannot_be_fitted(aus: tuple[int, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_aus(aus)


# ---------------------------------------------------------------- theta


def test_theta_asks_for_the_same_movement_as_in_the_shipped_set(shipped: PrototypeSet) -> None:
    stronger = replace(
        shipped,
        prototypes=tuple(replace(p, field=3 * p.field, theta=0.0) for p in shipped.prototypes),
    )
    made = calibrated(stronger, shipped)
    np.testing.assert_allclose(made.thetas, 3 * shipped.thetas, rtol=1e-5)


def test_images_that_do_not_differ_have_no_theta(shipped: PrototypeSet) -> None:
    first = shipped.prototypes[0]
    flat = replace(shipped, prototypes=(replace(first, field=0 * first.field),))
    with pytest.raises(UserError, match=f"AU {first.au}: onset and apex images do not differ"):
        calibrated(flat, shipped)


# ---------------------------------------------------------------- separation


def field(au: int) -> Floats:
    """A made-up movement of both sides: smooth, 1 px at its fastest, its own for each AU."""
    rng = np.random.default_rng(au)
    flow = np.zeros(LENGTH, np.float32)
    mouth = au >= 10
    cells = flow[35 * 30 * 2 :].reshape(20, 32, 2) if mouth else flow[:2100].reshape(30, 35, 2)
    y, x = rng.integers(3, cells.shape[0] - 3), rng.integers(3, cells.shape[1] // 2 - 3)
    if not mouth:
        y = int(rng.integers(3, 8))  # above the eyes
    direction = rng.standard_normal(2)
    cells[y - 1 : y + 2, x - 1 : x + 2] = direction / np.hypot(*direction)
    return np.asarray(flow + mirrored(flow[None])[0], np.float32)


def coded(*aus: int, px: float = 2.0, side: str | None = None, certain: bool = True) -> Pooled:
    codes = tuple(AUCode(au, side, None, str(au), certain) for au in aus)  # type: ignore[arg-type]
    flow = px * np.sum([field(au) for au in aus], axis=0)
    if side is not None:
        flow = flow * (left_share() if side == "L" else 1 - left_share())
    return Pooled(codes, np.asarray(flow, np.float32))


def likeness(a: Floats, b: Floats) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_an_au_that_only_comes_with_another_is_told_from_it() -> None:
    pooled = [coded(4)] * 20 + [coded(4, 7)] * 20
    mean = np.mean([sample.flow for sample in pooled[20:]], axis=0)
    whole = field(7)
    for half, share in (("left", left_share()), ("right", 1 - left_share())):
        own = separate(pooled, (4, 7)).fields[7, half]  # type: ignore[index]
        assert likeness(own, whole * share) > 0.98 > 0.8 > likeness(mean * share, whole * share)


def test_aus_that_always_come_together_share_their_movement() -> None:
    fields = separate([coded(15, 17)] * 6, (15, 17)).fields
    np.testing.assert_allclose(fields[15, "left"], fields[17, "left"], atol=1e-5)


def test_fields_are_of_a_movement_of_one_px_on_either_side() -> None:
    fields = separate([coded(4, px=1.0), coded(4, px=3.0)], (4,)).fields
    assert movement_px(fields[4, "left"], 4) == pytest.approx(1.0)
    np.testing.assert_array_equal(mirrored(fields[4, "right"][None])[0], fields[4, "left"])


def test_a_one_sided_expression_is_a_sample_of_its_side() -> None:
    made = separate([coded(12, side="R")] * 3, (12,))
    assert (made.counts[12, "left"], made.counts[12, "right"]) == (0, 3)
    own = made.fields[12, "right"]
    assert likeness(own, field(12) * (1 - left_share())) > 0.99


def test_uncertain_and_weak_movements_make_no_model() -> None:
    pooled = [coded(4), coded(12, px=0.2), coded(14, certain=False)]
    made = separate(pooled, (4, 12, 14))
    assert {au for au, _ in made.fields} == {4}
    for au in (12, 14):
        assert made.notes[au].endswith("not in the joint model")
    assert separate([], (4,)).fields == {}


def test_the_halves_make_up_the_face() -> None:
    share = left_share()
    flow = np.random.default_rng(0).standard_normal((2, LENGTH)).astype(np.float32)
    np.testing.assert_array_equal(mirrored(mirrored(flow)), flow)
    upright = np.abs(mirrored(share[None])[0])
    np.testing.assert_allclose(upright, 1 - share, atol=1e-6)
