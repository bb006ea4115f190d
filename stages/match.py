"""Prototype matching (He et al., ECAI 2023, eqs 21-23)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from stages.items import Floats


class Matcher:
    """Matching indices of one region's flow against its prototypes.

    Args:
        fields: prototypes M_j, each (h, w, 2) float32, px at full crop size.
        shape: (rows, columns) of the flow that will be matched; smaller than the
            prototypes when the flow runs at a reduced size.

    The index is eq. 22's sum over the full-size crop: a flow at half size is
    matched with the area-averaged prototype and weighted by the area it stands for.
    """

    def __init__(self, fields: Sequence[Floats], shape: tuple[int, int]) -> None:
        rows = [self._row(field, shape) for field in fields]
        size = shape[0] * shape[1] * 2
        self._matrix = np.stack(rows) if rows else np.empty((0, size), np.float32)

    @staticmethod
    def _row(field: Floats, shape: tuple[int, int]) -> Floats:
        height, width = field.shape[:2]
        area = (height * width) / (shape[0] * shape[1])
        if (height, width) != shape:
            small = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
            return np.asarray(small * area, np.float32).ravel()
        return np.asarray(field, np.float32).ravel()

    def __call__(self, flow: Floats) -> Floats:
        """Indices p_j (eq. 22), (V,) float32, of ``flow`` (rows, columns, 2) in px."""
        indices: npt.NDArray[np.float32] = self._matrix @ flow.reshape(-1)
        return indices
