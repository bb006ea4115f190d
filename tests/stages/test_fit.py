"""The prototype fitter, on synthetic faces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.joint import JointModel, NoiseSamples
from models.prototypes import FlowSample, load, load_default
from models.synthesis import Scene, SyntheticFace
from stages.fit import PROVENANCE, CurveMaker, Sample, _sample, flow_samples, main, rise
from stages.joint import JointParams
from stages.landmarks import IBUG_68, FaceMeshLandmarker
from stages.noise import Noise, NoiseParams
from stages.peaks import peak_mask, smooth
from stages.pooling import pool

SIZE = (240, 280)


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


FRAME_PX = 200 / 126  # px of the crop to a px of the frame, roughly


def _shipped_joint() -> JointModel:
    joint = load_default().joint
    assert joint is not None
    return joint


def _halves(au: int, landmarker: FaceMeshLandmarker) -> list[Sample]:
    return [_sample(au, half, 3, landmarker) for half in ("left", "right")]


def _whole(au: int, landmarker: FaceMeshLandmarker) -> FlowSample:
    (sample,) = flow_samples(_halves(au, landmarker))
    return sample


def test_samples_of_a_brow_raiser_move_the_brows_up(landmarker: FaceMeshLandmarker) -> None:
    sample = _whole(1, landmarker)
    assert sample.aus == {1}
    assert sample.eye.shape == (*SIZE, 2)
    assert sample.mouth.shape == (160, 260, 2)
    brows = sample.eye[60:90, 100:180, 1].mean()
    cheeks = sample.eye[170:220, 60:220, 1].mean()
    assert brows < cheeks - 0.3  # of the movement of 1 px of the crop; up is negative


def test_each_half_of_an_au_moves_its_side_of_the_face_most(
    landmarker: FaceMeshLandmarker,
) -> None:
    left, right = (np.abs(s.eye[50:100]).sum(axis=(0, 2)) for s in _halves(2, landmarker))
    assert left[140:].sum() > 2 * left[:140].sum()  # image right is the subject's left
    assert right[:140].sum() > 2 * right[140:].sum()


def test_a_small_movement_passes_the_threshold_in_the_training_faces_noise(
    landmarker: FaceMeshLandmarker,
) -> None:
    joint = _shipped_joint()
    detect = Noise(joint, NoiseParams()).filters.detect
    names, _ = joint.templates()
    for au in (4, 12):
        both = np.sum([s.pooled for s in _halves(au, landmarker)], axis=0)
        curve = detect[names.index((au, "both"))]
        moved = curve @ joint.project(both).sum(axis=0)
        assert 1.5 * FRAME_PX * moved > JointParams().theta  # 1.5 px of the frame


def test_the_papers_thetas_ask_for_a_few_px_of_their_own_movement() -> None:
    for prototype in load_default().prototypes:
        index = float((prototype.field**2).sum())  # of 1 px of the crop
        assert 0.5 * FRAME_PX * index < 1.1 * prototype.theta < 5 * index


def test_the_side_that_moves_is_the_one_detected(landmarker: FaceMeshLandmarker) -> None:
    joint = _shipped_joint()
    detect = Noise(joint, NoiseParams()).filters.detect
    names, _ = joint.templates()
    for au in (1, 12):
        for half, sample in zip(("left", "right"), _halves(au, landmarker), strict=True):
            seen = detect @ joint.project(sample.pooled).sum(axis=0)
            assert names[int(seen.argmax())] == (au, half)


def _moved(height: int, width: int, middle: float) -> dict[str, np.ndarray]:
    """The face shifted by 1 px, and grown and turned by about as much at its edge."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    x, y, one = 0.01 * (xs - width / 2), 0.01 * (ys - middle), np.ones_like(xs)
    parts = {"right": (one, 0 * one), "down": (0 * one, one), "grown": (x, y), "turned": (y, -x)}
    return {name: np.stack(flow, axis=-1) for name, flow in parts.items()}


def test_the_shipped_joint_model_ignores_a_crop_that_moves_as_a_whole() -> None:
    joint = _shipped_joint()
    detect = Noise(joint, NoiseParams()).filters.detect
    eye, mouth = _moved(240, 280, 120), _moved(160, 260, -100)
    for name in eye:
        seen = detect @ joint.project(pool(eye[name], mouth[name])).sum(axis=0)
        assert np.abs(seen).max() < 0.5 * JointParams().theta


@pytest.mark.slow
def test_the_command_builds_a_set_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "AUS": (4, 45),
        "PAPER_AUS": (4,),
        "_IDENTITIES": range(2),
        "_NEUTRAL_SCENES": 1,
        "_NEUTRAL_S": 3.0,
        "_CALIBRATION_SEEDS": (201,),
        "_CALIBRATION_S": 2.0,
        "ProcessPoolExecutor": ThreadPoolExecutor,
    }
    for name, value in small.items():
        monkeypatch.setattr(f"stages.fit.{name}", value)
    path = tmp_path / "p.npz"
    assert main(["--out", str(path), "--jobs", "1"]) == 0
    made = load(path)
    assert made.aus == (4,)
    assert [p.samples for p in made.prototypes] == [2]
    assert made.provenance.startswith(PROVENANCE)
    assert made.joint is not None
    assert made.joint.aus == (4, 45)
    assert "AU 4:" in capsys.readouterr().out


def _fails(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(path), *more])
    assert caught.value.code == 2
    assert not path.exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_an_au_that_cannot_be_fitted_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = NoiseSamples(np.zeros((0, 4), np.float32), np.zeros(0, bool), np.zeros(0, bool))
    monkeypatch.setattr("stages.fit.gather", lambda aus, jobs: ([], nothing))
    assert "error: no sample carries AU 1" in _fails(tmp_path / "p.npz", capsys)


@pytest.mark.parametrize("jobs", ["0", "-1", "x"])
def test_a_number_of_jobs_that_makes_no_sense_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    assert "error:" in _fails(tmp_path / "p.npz", capsys, "--jobs", jobs)


def test_facemesh_finds_the_synthetic_face_where_it_is() -> None:
    face = SyntheticFace(Scene(1.0))
    found = FaceMeshLandmarker().detect(face.frame(0), 0.0)
    assert len(found) == 1
    off = found[0][list(IBUG_68)] - face.landmarks
    assert np.hypot(off[:, 0], off[:, 1]).mean() < 3.0
