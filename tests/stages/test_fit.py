"""The prototype fitter, on synthetic faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.prototypes import load, load_default
from stages.fit import PROVENANCE, CurveMaker, main, rise, samples
from stages.landmarks import IBUG_68, FaceMeshLandmarker
from stages.peaks import peak_mask, smooth

SIZE = (240, 280)


@pytest.fixture(scope="module")
def landmarker() -> FaceMeshLandmarker:
    return FaceMeshLandmarker()


def test_rise_is_what_equation_24_compares_with_theta() -> None:
    rng = np.random.default_rng(0)
    curves = rng.normal(0, 1, (120, 3)).cumsum(axis=0)
    times = np.arange(120) / 30.0
    for theta in (0.5, 1.5, 3.0):
        thetas = np.full(3, theta)
        mask = peak_mask(times, smooth(times, curves, 0.1), thetas, 1.0)
        assert np.array_equal(rise(curves, 30.0) > thetas, mask)
        assert mask.any()


def test_curves_of_a_still_face_are_flat() -> None:
    shipped = load_default()
    rng = np.random.default_rng(0)
    eye = rng.integers(0, 255, SIZE, np.uint8)
    mouth = rng.integers(0, 255, (160, 260), np.uint8)
    still = CurveMaker(shipped)([(eye, mouth)] * 3)
    assert still.shape == (3, len(shipped.aus))
    assert np.abs(still).max() < 0.01 * shipped.thetas.min()


def test_samples_of_a_brow_raiser_move_the_brows_up(landmarker: FaceMeshLandmarker) -> None:
    sample = next(samples([1], landmarker))
    assert sample.aus == {1}
    assert sample.eye.shape == (*SIZE, 2)
    assert sample.mouth.shape == (160, 260, 2)
    brows = sample.eye[60:90, 100:180, 1].mean()
    cheeks = sample.eye[170:220, 60:220, 1].mean()
    assert brows < cheeks - 0.5  # px of the crop; up is negative


def test_shipped_prototypes_pass_theta_on_a_small_movement_of_their_own(
    landmarker: FaceMeshLandmarker,
) -> None:
    shipped = {p.au: p for p in load_default().prototypes}
    for au in (4, 12):
        sample = next(samples([au], landmarker))
        prototype = shipped[au]
        flow = sample.eye if prototype.region == "eye" else sample.mouth
        assert float((flow * prototype.field).sum()) > prototype.theta


def test_the_shipped_set_ignores_a_crop_that_moves_as_a_whole() -> None:
    ys, xs = np.mgrid[:240, :280].astype(np.float32)
    flows = [np.stack([np.ones_like(xs), 0 * xs], -1), np.stack([0.01 * xs, 0.01 * ys], -1)]
    for prototype in load_default().prototypes:
        height, width = prototype.field.shape[:2]
        for flow in flows:
            index = float((flow[:height, :width] * prototype.field).sum(dtype=np.float64))
            assert abs(index) < 0.05 * prototype.theta


def test_the_command_builds_a_set_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.fit._AMPLITUDES_PX", (3.0,))
    monkeypatch.setattr("stages.fit._NEUTRAL_SEEDS", (201,))
    monkeypatch.setattr("stages.fit._NEUTRAL_S", 2.0)
    path = tmp_path / "p.npz"
    assert main(["--out", str(path), "--aus", "4,12"]) == 0
    made = load(path)
    assert made.aus == (4, 12)
    assert [p.samples for p in made.prototypes] == [4, 4]
    assert made.provenance.startswith(PROVENANCE)
    said = capsys.readouterr().out
    assert "AU 4:" in said
    assert "AU 12:" in said


@pytest.mark.parametrize("aus", ["99", "x", "3"])
def test_an_au_that_cannot_be_fitted_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], aus: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path / "p.npz"), "--aus", aus])
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "p.npz").exists()


def test_facemesh_finds_the_synthetic_face_where_it_is(landmarker: FaceMeshLandmarker) -> None:
    from models.synthesis import Scene, SyntheticFace

    face = SyntheticFace(Scene(1.0))
    found = landmarker.detect(face.frame(0), 0.0)
    assert len(found) == 1
    off = found[0][list(IBUG_68)] - face.landmarks
    assert np.hypot(off[:, 0], off[:, 1]).mean() < 3.0
