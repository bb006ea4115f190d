"""What the pictures of a clip show, and what they hide."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stages.items import Face, Floats, Grey
from stages.region import outlines, similarity

Image = npt.NDArray[np.uint8]
_QUALITY = 92
_BLOCKS = 16  # of the longer side: a face that fills half the picture is 8 blocks wide


def packed(image: Image) -> bytes:
    """``image`` as JPEG.

    Raises:
        ValueError: it cannot be encoded.
    """
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError("a picture that cannot be encoded")
    return bytes(data.tobytes())


def unpacked(data: bytes) -> Image:
    """The (h, w, 3) BGR picture in ``data``, with even sides as codecs want them."""
    image = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return image


def regions(face: Face) -> Floats:
    """Where the eyes and the mouth of ``face`` were looked at: (2, 4, 2) source px."""
    return outlines(similarity(face.landmarks))


def stacked(eye: Grey, mouth: Grey) -> Image:
    """The eye crop above the mouth crop."""
    width = max(eye.shape[1], mouth.shape[1])
    rows = [
        np.pad(crop, ((0, 0), ((width - crop.shape[1]) // 2, (width - crop.shape[1] + 1) // 2)))
        for crop in (eye, mouth)
    ]
    return np.concatenate(rows)


def hidden(image: Image, shown: Floats | None) -> Image:
    """``image`` in a few coarse blocks, but for the quadrangles ``shown``.

    Each block is the mean of what it covers: what was there cannot be computed back.
    """
    height, width = image.shape[:2]
    block = max(height, width) / _BLOCKS
    few = (max(1, round(width / block)), max(1, round(height / block)))
    coarse = cv2.resize(image, few, interpolation=cv2.INTER_AREA)
    out = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    if shown is not None:
        mask = np.zeros((height, width), np.uint8)
        for quadrangle in np.round(shown).astype(np.int32):
            cv2.fillConvexPoly(mask, quadrangle, 1)
        out[mask > 0] = image[mask > 0]
    return out
