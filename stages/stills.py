"""Faces in still images of one person, as a video of them would give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from models.images import read
from stages.alignment import Alignment
from stages.items import Floats
from stages.landmarks import Landmarker
from stages.region import Similarity, similarity

Image = npt.NDArray[np.uint8]

_MOST_LOOKS = 8  # FaceMesh settles on a still image within a few looks
_SETTLED_PX = 0.05
_LEAST_EYES_PX = 20.0  # between the outer eye corners, as in the face stage


def aligned_faces(
    paths: Sequence[Path], times: Sequence[float], landmarker: Landmarker
) -> Iterator[tuple[Image, Similarity]]:
    """Images of one face, each with its eye-corner frame as the face stage would have it.

    Args:
        paths: image files, in the order of time.
        times: when each was taken, s.
        landmarker: finds one face in an image; may track.

    Raises:
        UserError: an image cannot be read, or holds no face that is large enough.
    """
    align = Alignment()
    for number, (path, time) in enumerate(zip(paths, times, strict=True)):
        image = read_image(path)
        if number == 0:
            _forget(landmarker, image)
        found = settled(landmarker, image)
        if found is None:
            raise UserError(f"{path}: no face is found")
        eyes = similarity(found).d
        if eyes < _LEAST_EYES_PX:
            raise UserError(f"{path}: the outer eye corners are only {eyes:.0f} px apart")
        yield image, align(found, time)


def read_image(path: Path) -> Image:
    """An image file, grey or BGR.

    Raises:
        UserError: it is missing or not an image.
    """
    image = read(path)
    if image is None:
        raise UserError(f"{path}: not an image that can be read")
    return image


def _forget(landmarker: Landmarker, image: Image) -> None:
    """End the tracking of another face."""
    for _ in range(2):
        landmarker.detect(np.zeros_like(image), 0.0)


def settled(landmarker: Landmarker, image: Image) -> Floats | None:
    """Landmarks of a still image once further looks do not change them; None: no face.

    FaceMesh cuts its input out around the landmarks of the look before, so that the first
    look at a new image is not yet what a video would give.
    """
    last: Floats | None = None
    for _ in range(_MOST_LOOKS):
        found = landmarker.detect(image, 0.0)
        if not found:
            last = None
            continue
        if last is not None and float(np.abs(found[0] - last).max()) < _SETTLED_PX:
            return found[0]
        last = found[0]
    return last
