"""Dense displacement fields of a face: action units, blinks, lids, depth."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import DATA, Points
from models.synthesis.script import Side

Field = npt.NDArray[np.float32]  # (h, w, 2) px

_HAIRLINE = 0.6  # of the eye distance above the brows: there the skin stands still
_GRID = 8  # displacement fields are interpolated on every 8th pixel
# iBUG: (lid point, where a closed eye brings it), subject's right and left
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_BROWS_ABOVE = (18, 20, 23, 25)
_FOLD = 0.7  # the fold lies at this share of the way from lid to brow
_LID_ANCHORS = tuple(i for i in range(68) if i not in [upper for upper, _ in _LIDS])
_UPPER_FOLLOWS, _LOWER_FOLLOWS = 0.5, 0.2  # lids' share of a vertical gaze
_HAIR_DEPTH = 0.75  # depth at the hairline, share of the brows'

# Depth of the iBUG points above the ears in outer-eye-corner distances: FaceMesh's on the
# shipped portrait, both sides averaged
AVERAGE_DEPTH = np.array(
    [
        *(0.0, 0.0, 0.0, 0.02, 0.11, 0.21, 0.35, 0.48, 0.5),
        *(0.48, 0.35, 0.21, 0.11, 0.02, 0.0, 0.0, 0.0),
        *(0.48, 0.7, 0.77, 0.83, 0.86, 0.86, 0.83, 0.77, 0.7, 0.48),
        *(0.84, 0.93, 1.03, 1.05, 0.81, 0.82, 0.84, 0.82, 0.81),
        *(0.6, 0.67, 0.69, 0.65, 0.67, 0.66, 0.65, 0.69, 0.67, 0.6, 0.66, 0.67),
        *(0.53, 0.75, 0.79, 0.8, 0.79, 0.75, 0.53, 0.65, 0.7, 0.71, 0.7, 0.65),
        *(0.54, 0.73, 0.74, 0.73, 0.54, 0.68, 0.7, 0.68),
    ]
)


@functools.cache
def au_displacements() -> dict[int, dict[str, Points]]:
    """Per AU and side ("L", "R"), displacement of the iBUG points, (68, 2), in eye distances."""
    data = json.loads((DATA / "au_displacements.json").read_text(encoding="utf-8"))
    return {
        int(au): {side: np.array(entry[side], np.float64) for side in ("L", "R")}
        for au, entry in data["aus"].items()
    }


def spline(points: Points, values: Any, d: float) -> Callable[[Any], Any]:
    """Interpolation through ``values`` at ``points``; lengths count in ``d``."""
    from scipy.interpolate import RBFInterpolator

    unique = np.unique(np.round(points, 3), axis=0, return_index=True)[1]
    through = RBFInterpolator(points[unique] / d, values[unique], kernel="linear", smoothing=1e-3)
    return lambda at: through(at / d)


def remap(source: Any, at: Field, border: int, how: int = cv2.INTER_LINEAR) -> Any:
    """``source`` sampled at ``at`` (h, w, 2) px."""
    no_second_map: Any = None
    return cv2.remap(source, at, no_second_map, how, borderMode=border)


class FieldMaker:
    """Dense displacement fields for one face.

    Args:
        landmarks: (68, 2) iBUG points in px.
        size: (w, h) of the fields.
    """

    def __init__(self, landmarks: Points, size: tuple[int, int]) -> None:
        self._points = landmarks
        self._size = size
        corners = landmarks[45] - landmarks[36]
        self.d = float(np.hypot(*corners))
        self._angle = float(np.arctan2(corners[1], corners[0]))
        cos, sin = np.cos(self._angle), np.sin(self._angle)
        self._turn = np.array([[cos, sin], [-sin, cos]])
        self._cache: dict[tuple[int, Side], Field] = {}
        self._halves: dict[tuple[int, str], Field] = {}
        width, height = size
        maps = np.meshgrid(np.arange(width) / _GRID, np.arange(height) / _GRID)
        self._up = [m.astype(np.float32) for m in maps]

    def au(self, au: int, side: Side = "both") -> Field:
        """Field of ``au``, scaled so that the landmark that moves most moves 1 px.

        Raises:
            ValueError: no displacement figures for this AU.
        """
        if (au, side) not in self._cache:
            shapes = _shapes(au)
            sides = {"both": ("L", "R"), "left": ("L",), "right": ("R",)}[side]
            moved = sum((shapes[s] for s in sides), np.zeros((68, 2))) @ self._turn
            moved = moved / np.hypot(moved[:, 0], moved[:, 1]).max()
            self._cache[au, side] = self._dense(self._points, moved)
        return self._cache[au, side]

    def blend(
        self, aus: tuple[int, ...], weights: tuple[float, ...], balance: float = 0.0
    ) -> Field:
        """Joint field of ``aus``, weighted as given, leaning to one side; peak about 1 px.

        Each AU counts as in ``au``: its weight is the peak it would reach alone.
        """
        shares = {"L": min(1.0, 1.0 - balance), "R": min(1.0, 1.0 + balance)}
        coarse = np.zeros_like(self._half(aus[0], "L"))
        for au, weight in zip(aus, weights, strict=True):
            moved = sum((shares[s] * _shapes(au)[s] for s in "LR"), np.zeros((68, 2)))
            peak = float(np.hypot(moved[:, 0], moved[:, 1]).max())
            for s in "LR":
                coarse += self._half(au, s) * np.float32(weight * shares[s] / peak)
        return self._enlarged(coarse)

    def blink(self) -> Field:
        """Field that closes both eyes; the skin above the lids' folds stands still."""
        still = np.vstack([self._points[list(_LID_ANCHORS)], self._folds()])
        lids = np.array([self._points[upper] for upper, _ in _LIDS])
        closing = np.array([self._points[lower] - self._points[upper] for upper, lower in _LIDS])
        points = np.vstack([still, lids])
        return self._dense(points, np.vstack([np.zeros_like(still), 0.9 * closing]))

    def lids(self) -> Field:
        """Field by which the lids follow a gaze that goes down by 1 px."""
        moving = {upper: _UPPER_FOLLOWS for upper, _ in _LIDS}
        moving |= {lower: _LOWER_FOLLOWS for _, lower in _LIDS}
        moved = np.zeros((68, 2))
        moved[list(moving), 1] = list(moving.values())
        folds = self._folds()
        points = np.vstack([self._points, folds])
        return self._dense(points, np.vstack([moved @ self._turn, np.zeros_like(folds)]))

    def depth(self, grid: Points, depth: npt.NDArray[np.float64] | None = None) -> Points:
        """Depth (px) at ``grid`` (n, 2) px and how far a point belongs to the head, (n, 2).

        Both fall off to 0 outside the head.
        """
        known = AVERAGE_DEPTH if depth is None else np.asarray(depth, np.float64)
        hair, ring = self._hairline(), self._rings()
        points = np.vstack([self._points, hair, ring])
        z = np.concatenate([known, _HAIR_DEPTH * known[17:27], np.zeros(len(ring))])
        part = np.concatenate([np.ones(68), np.full(10, 0.9), np.zeros(len(ring))])
        values = spline(points, np.column_stack([z * self.d, part]), self.d)(grid)
        values[np.hypot(*(grid - self._centre()).T) > 2.2 * self.d] = 0
        return np.asarray(values, np.float64)

    def _half(self, au: int, side: str) -> Field:
        """One side's coarse field of ``au``, px at a full-strength expression."""
        if (au, side) not in self._halves:
            moved = self.d * _shapes(au)[side] @ self._turn
            self._halves[au, side] = self._coarse(self._points, moved) / np.float32(self.d)
        return self._halves[au, side]

    def _folds(self) -> Points:
        return np.array(
            [
                self._points[upper] + _FOLD * (self._points[brow] - self._points[upper])
                for (upper, _), brow in zip(_LIDS, _BROWS_ABOVE, strict=True)
            ]
        )

    def _hairline(self) -> Points:
        up = -_HAIRLINE * self.d * np.array([-np.sin(self._angle), np.cos(self._angle)])
        return np.asarray(self._points[17:27] + up, np.float64)

    def _rings(self) -> Points:
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        unit = np.column_stack([np.cos(angles), np.sin(angles)])
        return np.vstack([self._centre() + r * self.d * unit for r in (1.45, 2.2)])

    def _still(self) -> Points:
        """Points that no action unit moves: around the face, and the scalp at the hairline."""
        return np.vstack([self._rings(), self._hairline()])

    def _centre(self) -> Points:
        return np.asarray(self._points.mean(axis=0) - [0, 0.25 * self.d], np.float64)

    def _dense(self, points: Points, moved: Points) -> Field:
        return self._enlarged(self._coarse(points, moved))

    def _coarse(self, points: Points, moved: Points) -> Field:
        still = self._still()
        known = np.vstack([points, still])
        values = np.vstack([moved, np.zeros_like(still)])
        width, height = self._size
        xs, ys = np.arange(0, width + _GRID, _GRID), np.arange(0, height + _GRID, _GRID)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        coarse = spline(known, values, self.d)(grid)
        outside = np.hypot(*(grid - self._centre()).T) > 2.2 * self.d
        coarse[outside] = 0
        return np.asarray(coarse.reshape(len(ys), len(xs), 2), np.float32)

    def _enlarged(self, coarse: Field) -> Field:
        return np.asarray(cv2.remap(coarse, self._up[0], self._up[1], cv2.INTER_CUBIC), np.float32)


def _shapes(au: int) -> dict[str, Points]:
    shapes = au_displacements().get(au)
    if shapes is None:
        raise ValueError(f"AU {au} has no displacement figures")
    return shapes
