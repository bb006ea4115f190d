"""Both regions' flow on one coarse grid, as one vector.

Farnebäck's averaging window is wider than a cell of this grid, so that little is
lost; every later step is a product with a few thousand numbers instead of a
hundred thousand.
"""

from __future__ import annotations

import cv2
import numpy as np

from stages.items import Floats

EYE_GRID = (35, 30)  # w, h: cells of 8 px of the crop
MOUTH_GRID = (32, 20)
EYE_LENGTH = EYE_GRID[0] * EYE_GRID[1] * 2
LENGTH = EYE_LENGTH + MOUTH_GRID[0] * MOUTH_GRID[1] * 2


def pool(eye: Floats, mouth: Floats) -> Floats:
    """Mean flow of each cell.

    Args:
        eye: (rows, columns, 2) flow of the eye region, px of the crop, at any size.
        mouth: the same of the mouth region.

    Returns:
        (``LENGTH``,) float32: the eye region's cells, then the mouth region's.
    """
    parts = [
        cv2.resize(flow, grid, interpolation=cv2.INTER_AREA).ravel()
        for flow, grid in ((eye, EYE_GRID), (mouth, MOUTH_GRID))
    ]
    return np.asarray(np.concatenate(parts), np.float32)
