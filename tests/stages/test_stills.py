"""Faces in still images; the faces are synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.datasets import Dataset, Pair
from models.errors import UserError
from stages.items import Grey
from stages.landmarks import FaceMeshLandmarker
from stages.region import crop_face
from stages.stills import aligned_faces, read_image


def _crops(pair: Pair, landmarker: FaceMeshLandmarker) -> list[Grey]:
    faces = aligned_faces([pair.onset, pair.apex], [0.0, 1.0], landmarker)
    return [crop for image, face in faces for crop in crop_face(image, face)]


def test_what_the_landmarker_saw_before_decides_nothing(
    casme2: Dataset, landmarker: FaceMeshLandmarker
) -> None:
    """It tracks: a face of other proportions in the pair before must leave no trace."""
    pairs, _ = casme2.pairs()
    first, other = pairs[0], pairs[-1]
    fresh = _crops(first, landmarker)
    _crops(other, landmarker)
    again = _crops(first, landmarker)
    for one, same in zip(fresh, again, strict=True):
        assert np.abs(one.astype(float) - same).mean() < 0.2


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "img1.jpg").write_bytes(b"not a picture")
    (tmp_path / "img2.jpg").write_bytes(b"")
    for name in ("img1.jpg", "img2.jpg", "img3.jpg"):
        with pytest.raises(UserError, match=f"{name}: not an image"):
            read_image(tmp_path / name)
