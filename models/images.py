"""Image files that others wrote: bounded before they are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import MOST_PIXELS
from models.errors import UserError
from models.files import read_bytes

MOST_SIDE = 16_384  # px; the landmarker's libraries abort beyond 32 766
_MOST_BYTES = 400_000_000


def read(path: Path, colour: bool = False) -> npt.NDArray[np.uint8] | None:
    """An image file, grey or BGR (``colour``: always BGR); None where it is none.

    None also where it is missing, has a side of more than 16 384 px, or more than 67 million
    pixels (``models.__init__`` tells OpenCV so, which looks before it allocates).
    """
    import cv2

    try:
        data = np.frombuffer(read_bytes(path, _MOST_BYTES, "an image"), np.uint8)
        kind = cv2.IMREAD_COLOR if colour else cv2.IMREAD_ANYCOLOR
        image: Any = cv2.imdecode(data, kind) if data.size else None
    except (UserError, cv2.error):
        return None
    if image is None:
        return None
    height, width = image.shape[:2]
    if max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        return None
    return np.asarray(image, np.uint8)
