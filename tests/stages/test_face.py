from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.synthesis import Scene, SyntheticFace
from stages.face import FaceStage, eye_openness, head_pose
from stages.items import Face, FaceState, Frame, Stamp
from stages.landmarks import IBUG_68, FaceMeshLandmarker, TaskLandmarker

IMAGE = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8)


def _points(x: float, y: float = 200.0, d: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    points = (np.array([x, y]) + rng.uniform(-d, d, (468, 2))).astype(np.float32)
    points[33], points[263], points[2] = (x - d / 2, y), (x + d / 2, y), (x, y + d / 2)
    return points


class Script:
    """A landmarker that says what it was told."""

    def __init__(self, faces: Sequence[list[np.ndarray]]) -> None:
        self._faces = iter(faces)

    def detect(self, image: np.ndarray, pts: float) -> list[np.ndarray]:
        return next(self._faces)

    def close(self) -> None:
        return None


def _run(faces: list[list[np.ndarray]], **options: object) -> list[Face | FaceState]:
    stage = FaceStage(Script(faces), **options)  # type: ignore[arg-type]
    out: list[Face | FaceState] = []
    for i in range(len(faces)):
        out += stage.process(Frame(Stamp("cam", i, i / 30, 0, 0), IMAGE))
    return out


def _states(out: list[Face | FaceState]) -> list[tuple[int, int, bool]]:
    return [(o.stamp.frame, o.face, o.visible) for o in out if isinstance(o, FaceState)]


def test_a_face_is_found_lost_after_a_while_and_found_again_with_its_id() -> None:
    seen = [_points(300)]
    out = _run([seen] * 5 + [[]] * 20 + [seen] * 3, lost_after_s=0.25)
    # last seen in frame 4; 0.25 s later is frame 11.5
    assert _states(out) == [(0, 0, True), (12, 0, False), (25, 0, True)]
    assert sum(isinstance(o, Face) for o in out) == 8


def _scales(method: str) -> list[float]:
    """Eye distance of the crops while one eye corner jumps to and fro by 4 px."""
    seen = []
    for i in range(6):
        points = _points(300)
        points[263, 0] += 4.0 * (i % 2)
        seen.append([points])
    return [o.scale for o in _run(seen, method=method) if isinstance(o, Face)]


def test_the_papers_crops_follow_the_eye_corners_and_ours_the_whole_face() -> None:
    assert _scales("paper") == pytest.approx([100, 104] * 3)
    assert _scales("mespot") == pytest.approx([100] * 6, abs=1.0)


def test_a_face_that_was_lost_is_aligned_anew() -> None:
    wide = _points(300, d=110.0)
    out = _run([[_points(300)]] * 3 + [[]] * 20 + [[wide]] * 3)
    assert [o.scale for o in out if isinstance(o, Face)] == pytest.approx([100] * 3 + [110] * 3)


def test_a_short_miss_is_no_loss() -> None:
    seen = [_points(300)]
    out = _run([seen] * 3 + [[]] * 5 + [seen] * 3)
    assert _states(out) == [(0, 0, True)]


def test_two_faces_keep_their_ids_whatever_order_the_landmarker_uses() -> None:
    frames = []
    for i in range(20):
        pair = [_points(150 + i), _points(450 - i, y=260)]
        frames.append(pair if i % 2 else pair[::-1])
    out = _run(frames, max_faces=2)
    xs = {0: [], 1: []}  # type: ignore[var-annotated]
    for face in out:
        if isinstance(face, Face):
            xs[face.face].append(face.landmarks[33, 0])
    assert all(np.all(np.abs(np.diff(x)) < 2) and len(x) == 20 for x in xs.values())


def test_one_of_two_faces_goes_and_a_stranger_elsewhere_gets_a_new_id() -> None:
    a, b, c = _points(120, d=60), _points(450, d=60), _points(300, y=420, d=60)
    out = _run([[a, b]] * 3 + [[a]] * 20 + [[a, c]] * 15, max_faces=2)
    assert (10, 1, False) in _states(out)
    assert _states(out)[-1][1:] == (2, True)


def test_a_tiny_face_is_ignored() -> None:
    assert not _run([[_points(300, d=15)]] * 3)


def test_the_whole_face_is_cropped_where_it_is_wanted_and_changes_nothing_else() -> None:
    seen = [[_points(300)]] * 3
    plain = [o for o in _run(seen) if isinstance(o, Face)]
    asked = [o for o in _run(seen, whole=True) if isinstance(o, Face)]
    assert [o.whole for o in plain] == [None] * 3
    for a, b in zip(plain, asked, strict=True):
        assert b.whole is not None
        assert b.whole.shape == (224, 224)
        assert np.array_equal(a.eye, b.eye) and np.array_equal(a.mouth, b.mouth)


def test_reset_forgets_ids() -> None:
    stage = FaceStage(Script([[_points(300)], [_points(300)]]))
    stamp = Stamp("cam", 0, 0.0, 0, 0)
    first = [o.face for o in stage.process(Frame(stamp, IMAGE))]
    stage.reset()
    assert [o.face for o in stage.process(Frame(stamp, IMAGE))] == first == [0, 0]


def test_the_bundled_landmarker_finds_the_synthetic_face_where_it_is() -> None:
    face = SyntheticFace(Scene(1.0))
    landmarker = FaceMeshLandmarker()
    found = landmarker.detect(face.frame(0), 0.0)
    found = landmarker.detect(face.frame(1), 0.03)
    error = np.hypot(*(found[0][list(IBUG_68)] - face.landmarks).T)
    assert np.median(error) < 2.5
    grey = FaceMeshLandmarker().detect(face.frame(0)[..., 1].copy(), 0.0)
    assert len(grey) == 1
    assert landmarker.detect(np.zeros((480, 640, 3), np.uint8), 0.1) == []
    landmarker.close()


def test_eyes_close_in_a_blink_and_a_frontal_head_has_no_yaw() -> None:
    face = SyntheticFace(Scene(2.0, blinks_s=(1.0,)))
    landmarker = FaceMeshLandmarker()
    points = [landmarker.detect(face.frame(i), i / 30)[0] for i in range(24, 31)]
    assert eye_openness(points[-1]) < 0.75 * eye_openness(points[0])
    yaw, pitch, roll = head_pose(points[0], 640, 480)
    assert abs(yaw) < 15
    assert abs(pitch) < 25
    assert abs(roll) < 10


def test_a_missing_or_foreign_task_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        TaskLandmarker(tmp_path / "none.task")
    (tmp_path / "x.task").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a FaceLandmarker task") as caught:
        TaskLandmarker(tmp_path / "x.task")
    assert "\n" not in str(caught.value)
