from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.alignment import STABLE, Alignment, fit_similarity
from stages.region import (
    EYE_SIZE,
    FACE_SIZE,
    MOUTH_SIZE,
    crop_all,
    crop_face,
    crop_regions,
    crop_whole,
    eye_box,
    similarity,
)


def _landmarks(
    left: tuple[float, float] = (250.0, 200.0), right: tuple[float, float] = (350.0, 200.0)
) -> np.ndarray:
    rng = np.random.default_rng(5)
    points = rng.uniform(150, 450, (468, 2)).astype(np.float32)
    a, b = np.array(left), np.array(right)
    points[33], points[263] = a, b
    down = np.array([-(b - a)[1], (b - a)[0]])
    points[2] = (a + b) / 2 + 0.5 * down
    return points


def test_eye_box_by_hand() -> None:
    # corners 100 px apart, 4 px of tilt: eqs 9-12 with gamma 0.2, 0.6, 0.2, 0.6
    assert eye_box((250, 198), (350, 202)) == pytest.approx((230, 140, 370, 260))


def test_at_zero_roll_the_eye_crop_is_the_papers_box_at_200_px_per_d() -> None:
    ys, xs = np.mgrid[0:480, 0:640]
    image = np.clip((xs - 200) * 0.5 + (ys - 100) * 0.5, 0, 255).astype(np.uint8)
    eye, mouth = crop_regions(image, _landmarks())
    assert eye.shape == EYE_SIZE[::-1]
    assert mouth.shape == MOUTH_SIZE[::-1]
    x0, y0, x1, y1 = eye_box((250, 200), (350, 200))
    assert (x1 - x0, y1 - y0) == pytest.approx((140, 120))  # half of 280 x 240
    want = lambda x, y: (x - 200) * 0.5 + (y - 100) * 0.5  # noqa: E731
    # crop pixel (j, i) lies at x0 + (j + 0.5) / 2 - 0.5 + 0.5 of the box's own pixels
    for i, j in ((10, 10), (120, 140), (230, 270)):
        assert eye[i, j] == pytest.approx(want(x0 + (j + 0.5) / 2, y0 + (i + 0.5) / 2), abs=1.0)


def test_half_a_pixel_of_the_source_is_seen() -> None:
    rough = np.random.default_rng(0).standard_normal((480, 640))
    image = np.clip(128 + 500 * cv2.GaussianBlur(rough, (0, 0), 4), 0, 255).astype(np.uint8)
    moved = cv2.warpAffine(image, np.float32([[1, 0, 0.5], [0, 1, 0]]), (640, 480))
    still, _ = crop_regions(image, _landmarks())
    follows, _ = crop_regions(moved, _landmarks((250.5, 200.0), (350.5, 200.0)))
    stays, _ = crop_regions(moved, _landmarks())
    inner = (slice(20, -20), slice(20, -20))
    error = np.abs(still[inner].astype(int) - follows[inner].astype(int)).mean()
    shift = np.abs(still[inner].astype(int) - stays[inner].astype(int)).mean()
    assert error < 0.35 * shift


def test_roll_is_followed_and_the_paper_variant_ignores_it() -> None:
    tilted = _landmarks((252.0, 180.0), (348.0, 208.0))
    face = similarity(tilted)
    assert face.roll == pytest.approx(np.arctan2(28, 96))
    assert face.d == pytest.approx(100.0)
    paper = similarity(tilted, roll=False)
    assert (paper.roll, paper.d) == (0.0, pytest.approx(96.0))


def test_mouth_movement_moves_neither_crop() -> None:
    image = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    neutral, smiling = _landmarks(), _landmarks()
    for point in (61, 291, 13, 14, 17, 0):
        smiling[point] += (9.0, -7.0)
    for method in (similarity, lambda p: Alignment()(p, 0.0)):
        for a, b in zip(
            crop_face(image, method(neutral)), crop_face(image, method(smiling)), strict=True
        ):
            assert np.array_equal(a, b)


def test_a_face_at_the_border_of_the_image_is_cropped() -> None:
    image = np.random.default_rng(2).integers(0, 255, (120, 160), np.uint8)
    eye, mouth = crop_regions(image, _landmarks((-20.0, 10.0), (80.0, 10.0)))
    assert eye.shape == (240, 280)
    assert mouth.shape == (160, 260)


def test_similarity_fit_recovers_scale_turn_and_shift() -> None:
    rng = np.random.default_rng(3)
    shape = rng.standard_normal((12, 2))
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    shift, scale, angle = fit_similarity(shape, 50 * shape @ turn.T + [7, -3])
    assert shift == pytest.approx([7, -3])
    assert (scale, angle) == (pytest.approx(50), pytest.approx(0.3))


def test_alignment_begins_with_the_papers_frame_and_averages_jitter() -> None:
    rng = np.random.default_rng(4)
    face = _landmarks()
    align = Alignment()
    assert align(face, 0.0) == similarity(face)
    own, fitted = [], []
    for i in range(1, 200):
        noisy = (face + rng.normal(0, 0.5, face.shape)).astype(np.float32)
        own.append(similarity(noisy).origin)
        fitted.append(align(noisy, i / 30).origin)
    assert np.std(fitted, axis=0).sum() < 0.7 * np.std(own, axis=0).sum()


def test_alignment_follows_the_head() -> None:
    face = _landmarks()
    align = Alignment()
    align(face, 0.0)
    moved = align(face + np.float32([5, -2]), 1 / 30)
    assert moved.origin == pytest.approx((305.0, 198.0), abs=1e-3)
    assert len(STABLE) == len(set(STABLE.tolist()))


def test_the_whole_face_is_two_d_wide_at_112_px_per_d() -> None:
    column, row = np.meshgrid(np.arange(640), np.arange(480))
    for ramp, middle in ((column / 3, 300 / 3), (row / 2, (200 + 0.45 * 100) / 2)):
        made = crop_whole(ramp.astype(np.uint8), similarity(_landmarks()))
        assert made.shape == FACE_SIZE[::-1] == (224, 224)
        # d is 100 px: one px of the crop is 100 / 112 px of the source
        per_px = 100 / 112 / (3 if ramp[0, 0] != ramp[0, 9] else 2)
        profile = made.mean(axis=0 if ramp[0, 0] != ramp[0, 9] else 1)
        want = middle + (np.arange(224) + 0.5 - 112) * per_px
        assert profile == pytest.approx(want, abs=1.1)


@pytest.mark.parametrize("name", ["astronaut", "biden", "obama"])
def test_half_height_of_the_whole_face_lies_between_eyes_and_mouth(name: str) -> None:
    from models.synthesis import Scene, SyntheticFace, load_portrait
    from stages.landmarks import FaceMeshLandmarker

    image = SyntheticFace(Scene(1.0), load_portrait(name)).frame(0)
    landmarker = FaceMeshLandmarker()
    (points,) = landmarker.detect(image, 0.0)
    landmarker.close()
    face = similarity(points)
    # landmarks in px of the crop, by hand: turned back, 112 px per d, middle 0.45 d below
    cos, sin = np.cos(face.roll), np.sin(face.roll)
    turn = np.array([[cos, sin], [-sin, cos]])
    at = (points - face.origin) @ turn.T * 112 / face.d + (112, 112 - 0.45 * 112)
    brows, lids, upper_lip, lower_lip, corners, chin = (
        at[list(i), 1] for i in ((105, 334, 70, 300), (145, 374), (0,), (17,), (61, 291), (152,))
    )
    assert brows.min() > 10 and lids.max() < 100
    assert upper_lip.min() > 118 and corners.min() > 118
    assert lower_lip.max() < 170 and chin.max() < 222
    assert abs(at[[33, 263], 0].mean() - 112) < 0.5
    # and the picture agrees with the landmarks: a dot on the nose is where it should be
    dotted = image.copy()
    x, y = points[4].round().astype(int)
    cv2.circle(dotted, (int(x), int(y)), 2, (255, 255, 255), -1)
    change = np.abs(crop_whole(dotted, face).astype(int) - crop_whole(image, face))
    row, column = np.unravel_index(int(change.argmax()), change.shape)
    assert np.hypot(column - at[4, 0], row - at[4, 1]) < 3


def test_a_whole_face_that_leaves_the_image_is_cropped() -> None:
    image = np.random.default_rng(2).integers(0, 255, (120, 160, 3), np.uint8)
    face = similarity(_landmarks((-20.0, 10.0), (80.0, 10.0)))
    assert crop_whole(image, face).shape == (224, 224)


@pytest.mark.parametrize("d", [60.0, 126.0, 250.0, 400.0])
@pytest.mark.parametrize("middle", [(320.0, 200.0), (90.0, 30.0)])
def test_all_crops_in_one_go_are_those_made_one_by_one(
    d: float, middle: tuple[float, float]
) -> None:
    rough = np.random.default_rng(6).integers(0, 255, (480, 640, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(rough, (0, 0), 2), np.uint8)
    x, y = middle
    face = similarity(_landmarks((x - d / 2, y - 4), (x + d / 2, y + 4)))
    apart = (*crop_face(image, face), crop_whole(image, face))
    for a, b in zip(crop_all(image, face), apart, strict=True):
        assert np.array_equal(a, b)
    # and what the picture shows there, by OpenCV from the whole grey image
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if d < 300:
        cos, sin = np.cos(face.roll) * face.d / 200, np.sin(face.roll) * face.d / 200
        turn = np.array([[cos, -sin], [sin, cos]])
        shift = np.array(face.origin) - turn @ (139.5, 119.5)
        seen = cv2.warpAffine(
            grey,
            np.column_stack([turn, shift]),
            EYE_SIZE,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        assert np.array_equal(apart[0], seen)
