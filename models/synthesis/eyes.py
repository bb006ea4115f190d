"""Eyeballs that turn behind the lids: a texture of each eye, moved inside its opening."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Image, Points
from models.synthesis.fields import remap
from models.synthesis.portrait import FINE
from models.synthesis.script import step

_OPENINGS = (tuple(range(36, 42)), tuple(range(42, 48)))
_IRIS = 0.2  # radius of the iris, share of the distance of the eye's corners
_ROUND = 1.2  # out to so many radii the eyeball moves as a whole
_INSET = 0.02  # the lids' edge stays, share of the same distance
_BAND = 0.12  # the eyeball goes on so far behind the lids
_SHUT = (0.5, 0.95)  # a lid this far down begins to cover the eye; covers it whole


class Eyeball:
    """One eye of a portrait.

    Args:
        image: the portrait, ``FINE`` times larger than the frame.
        opening: (6, 2) lid points in frame px, corners first and fourth.
    """

    def __init__(self, image: Image, opening: Points) -> None:
        lids = FINE * opening + (FINE - 1) / 2
        wide = float(np.hypot(*(lids[3] - lids[0])))
        low = np.floor(lids.min(axis=0) - 0.4 * wide).astype(int)
        high = np.ceil(lids.max(axis=0) + 0.4 * wide).astype(int)
        low, high = np.maximum(low, 0), np.minimum(high, image.shape[1::-1])
        self.window = np.s_[low[1] : high[1], low[0] : high[0]]
        patch = np.ascontiguousarray(image[self.window])
        inside = _filled(lids - low, patch.shape[:2])
        inset = max(1, round(_INSET * wide))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inset + 1,) * 2)
        seen = cv2.erode(inside, kernel)
        band = max(2, round(_BAND * wide))
        around = cv2.dilate(seen, np.ones((2 * band + 1,) * 2, np.uint8)) & ~seen
        self._ball = cv2.inpaint(patch, around, 3, cv2.INPAINT_TELEA)
        soft = cv2.GaussianBlur(seen.astype(np.float32) / 255, (0, 0), 0.35 * inset + 0.6)
        self._seen = soft[..., None]
        opening = cv2.dilate(inside, kernel)
        self._lid = cv2.inpaint(patch, opening, 3, cv2.INPAINT_TELEA).astype(np.float32)
        covered = cv2.GaussianBlur(opening.astype(np.float32) / 255, (0, 0), inset)
        self._covered = covered[..., None]
        self._patch = patch.astype(np.float32)
        axis = (lids[3] - lids[0]) / wide
        ys, xs = np.mgrid[: patch.shape[0], : patch.shape[1]].astype(np.float32)
        self._grid = np.stack([xs, ys], axis=-1)
        along = ((self._grid - (lids[0] - low)) @ axis / wide).astype(np.float32)
        self._moves = _share(along, _iris(patch, along, seen))[..., None]

    def turned(self, dx: float, dy: float, shut: float = 0.0) -> Image:
        """The window's picture with the iris ``dx``, ``dy`` frame px off.

        ``shut`` is how far the lids are closed: skin covers what a field only presses together.
        """
        shift = np.array([FINE * dx, FINE * dy], np.float32)
        ball = remap(self._ball, self._grid - shift * self._moves, cv2.BORDER_REPLICATE)
        mixed = self._patch + self._seen * (ball.astype(np.float32) - self._patch)
        cover = np.float32(step((shut - _SHUT[0]) / (_SHUT[1] - _SHUT[0])))
        if cover:
            mixed += cover * self._covered * (self._lid - mixed)
        return np.asarray(np.round(mixed), np.uint8)


def eyeballs(image: Image, landmarks: Points) -> list[Eyeball]:
    """Both eyes of a portrait that fills ``FINE`` times the frame."""
    return [Eyeball(image, landmarks[list(opening)]) for opening in _OPENINGS]


def _filled(lids: Points, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The opening as a mask; its outline runs smoothly through the lid points."""
    closed = np.vstack([lids, lids[:1]])
    at = np.arange(7)
    from scipy.interpolate import CubicSpline

    outline = CubicSpline(at[:4], closed[:4])(np.linspace(0, 3, 24))
    under = CubicSpline(at[:4], closed[3:])(np.linspace(0, 3, 24))
    mask = np.zeros(shape, np.uint8)
    polygon = np.round(np.vstack([outline, under]) * 16).astype(np.int32)
    cv2.fillPoly(mask, [polygon], 255, cv2.LINE_8, 4)
    return mask


def _iris(patch: Image, along: npt.NDArray[np.float32], seen: npt.NDArray[np.uint8]) -> float:
    """Where the iris stands between the corners (0 to 1): the darkest stretch."""
    dark = 255.0 - cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY)
    places = np.linspace(0.28, 0.72, 45)
    best = []
    for place in places:
        there = (seen > 0) & (np.abs(along - place) < _IRIS)
        best.append(dark[there].mean() if there.any() else 0.0)
    return float(places[int(np.argmax(best))])


def _share(along: npt.NDArray[np.float32], iris: float) -> npt.NDArray[np.float32]:
    """1 around the iris, falling to 0 at the corners."""
    whole = _ROUND * _IRIS
    left = np.clip(along / max(iris - whole, 0.05), 0, 1)
    right = np.clip((1 - along) / max(1 - iris - whole, 0.05), 0, 1)
    share = np.minimum(left, right)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
