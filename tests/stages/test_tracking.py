"""Movements of a face told from the picture; the faces are synthetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.synthesis import Expression, HeadMotion, Scene, SyntheticFace
from stages import tracking, warp
from stages.face import FaceStage
from stages.items import Face, FaceState, Floats, Frame, Stamp
from stages.landmarks import FaceMeshLandmarker
from stages.region import Similarity, similarity
from stages.tracking import Move, Tracker

FPS = 200
STILL = Scene(1.0, head=HeadMotion(0.0, 0.0, 0.0), fps=FPS)


def _fixed(made: FaceMeshLandmarker, image: np.ndarray) -> Floats:
    for _ in range(3):
        found = made.detect(image, 0.0)
    return found[0]


@pytest.fixture(scope="module")
def key() -> Iterator[tuple[np.ndarray, Floats]]:
    """A face at rest and its landmarks."""
    made = FaceMeshLandmarker()
    image = SyntheticFace(STILL).frame(0)
    yield image, _fixed(made, image)
    made.close()


def _moved(image: np.ndarray, shift: complex, turn: complex, about: complex) -> np.ndarray:
    offset = about + shift - turn * about
    matrix = np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag]])
    return cv2.warpAffine(
        image, matrix, image.shape[1::-1], flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
    )


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("shift", "turn"),
    [(0.4 - 0.3j, 1.0), (2.5 + 1.5j, 1.004), (-1.0 + 0j, 1.01 * np.exp(0.01j))],
)
def test_a_moved_head_is_found_to_a_fraction_of_a_pixel(
    key: tuple[np.ndarray, Floats], shift: complex, turn: complex, grey: bool
) -> None:
    image, landmarks = key
    if grey:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    frame = similarity(landmarks)
    about = complex(*frame.origin)
    rng = np.random.default_rng(0)
    later = _moved(image, shift, complex(turn), about)
    later = np.clip(0.95 * later + 6 + rng.normal(0, 1, later.shape), 0, 255).astype(np.uint8)
    move = Tracker(image, landmarks, frame.d)(later)
    assert move is not None
    error = move.turn * about + move.shift - (about + shift)
    assert abs(error) < 0.12
    assert abs(move.turn - turn) * frame.d < 0.15
    told = move.frame(frame)
    assert complex(*told.origin) == pytest.approx(about + shift, abs=0.12)
    assert told.nose == frame.nose
    points = move.points(landmarks)
    assert points.dtype == np.float32
    assert similarity(points).d == pytest.approx(told.d, rel=1e-4)


def test_brows_and_mouth_that_move_hardly_move_the_head() -> None:
    acts = (Expression(0.1, 0.3, 0.5, (1, 2, 12), 6.0),)
    face = SyntheticFace(replace(STILL, expressions=acts))
    made = FaceMeshLandmarker()
    before = _fixed(made, face.frame(36))
    made.close()
    d = similarity(before).d
    tracker, about = Tracker(face.frame(36), before, d), complex(*similarity(before).origin)
    between = face.points(39 / FPS) - face.points(36 / FPS)
    assert np.abs(between).max() > 0.5  # px within the 15 ms
    move = tracker(face.frame(39))
    assert move is not None
    assert abs(move.turn * about + move.shift - about) < 0.2 * np.abs(between).max()
    assert abs(move.turn - 1) * d < 0.2 * np.abs(between).max()


def test_another_picture_a_far_jump_or_no_contrast_is_no_movement(
    key: tuple[np.ndarray, Floats],
) -> None:
    image, landmarks = key
    d = similarity(landmarks).d
    noise = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    assert Tracker(image, landmarks, d)(noise) is None
    assert Tracker(image, landmarks, d)(np.zeros_like(image)) is None
    assert Tracker(image, landmarks, d)(np.roll(image, 25, axis=1)) is None
    flat = np.full_like(image, 90)
    nothing = Tracker(flat, landmarks, d)(image)
    assert nothing is None
    beyond = landmarks - landmarks.max(axis=0)
    assert Tracker(image, beyond, d)(image) is None


def test_a_blink_is_seen_as_movement_of_the_lids() -> None:
    face = SyntheticFace(replace(STILL, blinks_s=(0.2,)))
    made = FaceMeshLandmarker()
    landmarks = _fixed(made, face.frame(0))
    made.close()
    tracker = Tracker(face.frame(0), landmarks, similarity(landmarks).d)
    moves = [tracker(face.frame(i)) for i in range(0, 41, 4)]
    lids = [move is not None and move.lids for move in moves]
    assert not any(lids[:3])
    assert lids[-1]


class Counted:
    """A landmarker that counts its looks; ``hide`` makes it see nothing."""

    def __init__(self, points: Floats, also: list[Floats] | None = None) -> None:
        self.looks: list[float] = []
        self.hide = False
        self._found = [points, *(also or [])]

    def detect(self, image: np.ndarray, pts: float) -> list[Floats]:
        self.looks.append(pts)
        return [] if self.hide else self._found

    def close(self) -> None:
        return None


def _frames(image: np.ndarray, times: list[float]) -> list[Frame]:
    return [Frame(Stamp("cam", i, t, 0, 0), image) for i, t in enumerate(times)]


def _faces(stage: FaceStage, frames: list[Frame]) -> list[Face | FaceState]:
    return [item for frame in frames for item in stage.process(frame)]


@pytest.mark.parametrize(
    ("fps", "every"), [(25, 1), (30, 1), (60, 1), (100, 2), (120, 2), (200, 4), (500, 8)]
)
def test_the_landmarker_looks_as_often_as_the_camera_needs(
    key: tuple[np.ndarray, Floats], fps: int, every: int
) -> None:
    image, landmarks = key
    counted = Counted(landmarks)
    times = [i / fps for i in range(24)]
    out = _faces(FaceStage(counted, landmarks_s=0.016), _frames(image, times))
    assert sum(isinstance(item, Face) for item in out) == 24
    assert counted.looks == times[::every]


def test_a_camera_of_60_fps_sees_no_difference(key: tuple[np.ndarray, Floats]) -> None:
    image, landmarks = key
    rng = np.random.default_rng(0)
    jittered = [landmarks + rng.normal(0, 0.3, landmarks.shape).astype("f4") for _ in range(20)]

    class Jitter(Counted):
        def detect(self, image: np.ndarray, pts: float) -> list[Floats]:
            return [jittered[round(pts * 60)]]

    frames = _frames(image, [i / 60 for i in range(20)])
    runs = [_faces(FaceStage(Jitter(landmarks), landmarks_s=s), frames) for s in (0.0, 0.016)]
    for a, b in zip(*runs, strict=True):
        if isinstance(a, Face) and isinstance(b, Face):
            assert np.array_equal(a.eye, b.eye) and np.array_equal(a.mouth, b.mouth)
            assert (a.scale, a.eye_openness, a.pose) == (b.scale, b.eye_openness, b.pose)


def test_the_papers_method_looks_at_every_frame(key: tuple[np.ndarray, Floats]) -> None:
    counted = Counted(key[1])
    stage = FaceStage(counted, method="paper", landmarks_s=0.016)
    _faces(stage, _frames(key[0], [i / FPS for i in range(12)]))
    assert len(counted.looks) == 12


def test_a_face_that_goes_away_between_looks_is_looked_for_and_lost_in_time(
    key: tuple[np.ndarray, Floats],
) -> None:
    image, landmarks = key
    states = []
    for landmarks_s in (0.0, 0.016):
        counted = Counted(landmarks)
        stage = FaceStage(counted, landmarks_s=landmarks_s, lost_after_s=0.1)
        frames = _frames(image, [i / FPS for i in range(60)])
        out = _faces(stage, frames[:10])
        counted.hide = True
        gone = [Frame(f.stamp, np.zeros_like(image)) for f in frames[10:40]]
        out += _faces(stage, gone)
        assert counted.looks[-30:] == [f.stamp.pts for f in gone]
        counted.hide = False
        out += _faces(stage, frames[40:])
        states.append([(s.stamp.frame, s.visible) for s in out if isinstance(s, FaceState)])
    assert states[0] == states[1] == [(0, True), (30, False), (40, True)]


def test_a_face_that_the_landmarker_misses_is_not_carried_on(
    key: tuple[np.ndarray, Floats],
) -> None:
    image, landmarks = key
    counted = Counted(landmarks)
    stage = FaceStage(counted, landmarks_s=0.016)
    frames = _frames(image, [i / FPS for i in range(10)])
    _faces(stage, frames[:4])
    counted.hide = True
    assert not _faces(stage, frames[4:6])  # 20 ms: a look, and another at the next frame
    counted.hide = False
    assert len(_faces(stage, frames[6:])) == 4
    assert [round(t * FPS) for t in counted.looks] == [0, 4, 5, 6]


def test_two_faces_are_carried_each_from_its_own_look() -> None:
    small = Scene(1.0, head=HeadMotion(0.0, 0.0, 0.0), fps=FPS, width=320, height=240, eye_px=63)
    made = FaceMeshLandmarker()
    image = SyntheticFace(small).frame(0)
    landmarks = _fixed(made, image)
    made.close()
    about = complex(*similarity(landmarks).origin)
    side = np.array([320, 0], np.float32)
    counted = Counted(landmarks, [landmarks + side])
    stage = FaceStage(counted, max_faces=2, landmarks_s=0.016)
    out: list[Face | FaceState] = []
    for i in range(4):
        pair = np.hstack([_moved(image, 0.5j * i, 1, about), _moved(image, -0.5 * i, 1, about)])
        out += stage.process(Frame(Stamp("cam", i, i / FPS, 0, 0), pair))
    assert len(counted.looks) == 1
    last = [item for item in out if isinstance(item, Face)][-2:]
    moves = [last[0].landmarks - landmarks, last[1].landmarks - landmarks - side]
    assert np.allclose(moves[0].mean(axis=0), (0, 1.5), atol=0.1)
    assert np.allclose(moves[1].mean(axis=0), (-1.5, 0), atol=0.1)
    assert [face.face for face in last] == [0, 1]


def test_the_crop_stays_on_a_head_that_moves_between_looks() -> None:
    head = HeadMotion(shift_px=12.0, roll_deg=3.0, scale=0.01, period_s=1.0)
    face = SyntheticFace(Scene(0.5, head=head, fps=FPS))
    made = FaceMeshLandmarker()
    frames = [Frame(Stamp("cam", i, i / FPS, 0, 0), face.frame(i)) for i in range(60)]
    out = {}
    for landmarks_s in (0.0, 0.016):
        _fixed(made, face.frame(0))
        items = _faces(FaceStage(made, landmarks_s=landmarks_s), frames)
        out[landmarks_s] = [item for item in items if isinstance(item, Face)]
    made.close()
    apart = [
        np.hypot(*(a.landmarks - b.landmarks).T).mean()
        for a, b in zip(out[0.0], out[0.016], strict=True)
    ]
    travelled = np.hypot(*(out[0.0][0].landmarks - out[0.0][-1].landmarks).T).mean()
    assert travelled > 8
    assert np.median(apart) < 0.5 and max(apart) < 1.0


def test_a_movement_is_a_similarity_of_the_frame() -> None:
    move = Move(1.1 * np.exp(0.2j), 3 - 2j)
    frame = move.frame(Similarity((10.0, 0.0), 50.0, 0.1, 0.4))
    assert frame.d == pytest.approx(55)
    assert frame.roll == pytest.approx(0.3)
    assert complex(*frame.origin) == pytest.approx(11 * np.exp(0.2j) + 3 - 2j)


def test_nothing_is_left_to_compile_after_the_warm_up(key: tuple[np.ndarray, Floats]) -> None:
    FaceStage(Counted(key[1]), landmarks_s=0.016).warm_up()
    kernels = (tracking._difference, tracking._discs, warp._pack, warp._inside)
    before = [len(kernel.signatures) for kernel in kernels]
    assert min(before) > 0
    stage = FaceStage(Counted(key[1]), whole=True, landmarks_s=0.016)
    _faces(stage, _frames(key[0], [i / FPS for i in range(6)]))
    assert [len(kernel.signatures) for kernel in kernels] == before
