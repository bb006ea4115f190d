"""What a face looks like in a few numbers. Shipped portraits."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from models.synthesis import load_portrait, portrait_names
from stages.likeness import likeness, unit
from stages.region import Similarity


def _face(name: str) -> tuple[np.ndarray, Similarity]:
    image, points = load_portrait(name)
    a, b = points[36], points[45]
    roll = float(np.arctan2(*(b - a)[::-1]))
    return image, Similarity(tuple((a + b) / 2), float(np.hypot(*(b - a))), roll, 0.4)


def _moved(
    image: np.ndarray, face: Similarity, scale: float, degrees: float
) -> tuple[np.ndarray, Similarity]:
    """The picture turned about the face and shrunk."""
    matrix = cv2.getRotationMatrix2D(face.origin, -degrees, scale)
    made = cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_AREA)
    return made, Similarity(face.origin, face.d * scale, face.roll + np.radians(degrees), 0.4)


def test_a_face_is_like_itself_in_another_size_angle_and_light() -> None:
    for name in portrait_names():
        image, face = _face(name)
        own = likeness(image, face)
        assert np.linalg.norm(own) == pytest.approx(1, abs=1e-3)
        assert own @ likeness(image[..., 1].copy(), face) > 0.95
        for scale, degrees in ((1.0, 12.0), (0.5, -8.0), (0.25, 5.0)):
            assert own @ likeness(*_moved(image, face, scale, degrees)) > 0.9
        dark = np.clip(0.5 * image.astype(np.float32) + 10, 0, 255).astype(np.uint8)
        assert own @ likeness(dark, face) > 0.97


def test_different_portraits_are_less_alike_than_a_face_is_to_itself() -> None:
    looks = [likeness(*_face(name)) for name in portrait_names()]
    assert max(a @ b for a, b in itertools.combinations(looks, 2)) < 0.75


def test_a_face_at_the_rim_or_outside_has_some_likeness() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    places = ((0.0, 0.0), (79.0, 59.0), (-500.0, 30.0), (40.0, 900.0))
    for (x, y), d in itertools.product(places, (12.0, 30.0, 500.0, 9000.0)):
        seen = likeness(image, Similarity((x, y), d, 0.3, 0.4))
        assert seen.shape == (288,)
        assert np.isfinite(seen).all()
    assert not unit(np.ones(4, np.float32)).any()
