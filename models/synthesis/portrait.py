"""Portraits, and other faces made from them."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np

from models.errors import UserError
from models.synthesis.arrays import DATA, Image, Points, Portrait
from models.synthesis.fields import remap, spline

FINE = 2  # the portrait is held so many times larger, so that linear sampling is smooth
# where each iBUG point lies in the mirror image
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
_STEP = 8
_BRIGHTEST = 205.0  # lightness that one in ten pixels of another face's skin exceeds


def portrait_names() -> list[str]:
    """Names that ``load_portrait`` knows."""
    return sorted({path.stem for path in (*DATA.glob("portraits/*.jpg"), *DATA.glob("*.jpg"))})


def load_portrait(name: str = "astronaut") -> Portrait:
    """A shipped portrait, BGR (h, w, 3), and its iBUG landmarks (68, 2) in px.

    Raises:
        UserError: there is none of that name.
    """
    for folder in (DATA / "portraits", DATA):
        if (folder / f"{name}.json").is_file() and name in portrait_names():
            image = cv2.imread(str(folder / f"{name}.jpg"))
            text = (folder / f"{name}.json").read_text(encoding="utf-8")
            points = json.loads(text)["landmarks"]
            return np.asarray(image, np.uint8), np.array(points, np.float64)
    raise UserError(f"portrait {name!r}: not shipped; there is {', '.join(portrait_names())}")


def varied(portrait: Portrait, identity: int) -> Portrait:
    """Another face made from ``portrait``; ``identity`` 0 is the portrait itself.

    Shape (distance of the eyes, brows, nose, mouth, jaw; up to some 6 % of the eye distance),
    tone, and for half of the numbers left and right are changed; the landmarks move alike.
    """
    if identity == 0:
        return portrait
    rng = np.random.default_rng([abs(identity), int(identity < 0), 11])
    image, points = portrait
    image, points = _reshaped(image, points, rng)
    image = _toned(image, points, rng)
    if rng.random() < 0.5:
        image = np.asarray(np.ascontiguousarray(image[:, ::-1]), np.uint8)
        points = (points * [-1, 1] + [image.shape[1] - 1, 0])[list(MIRRORED)]
    return image, points


def _reshaped(image: Image, points: Points, rng: np.random.Generator) -> Portrait:
    corners = points[45] - points[36]
    d = float(np.hypot(*corners))
    ex = corners / d
    ey = np.array([-ex[1], ex[0]])
    middle = points[27:31].mean(axis=0)
    x = (points - middle) @ ex / d
    draw = dict(
        zip(
            ("eyes", "brows", "nose", "wings", "mouth", "lips", "jaw", "chin"),
            np.clip(rng.normal(0, 0.6, 8), -1, 1),
            strict=True,
        )
    )
    dx, dy = np.zeros(68), np.zeros(68)
    eyes = np.r_[17:27, 36:48]
    dx[eyes] += 0.035 * draw["eyes"] * np.sign(x[eyes])
    dy[17:27] += 0.04 * draw["brows"]
    dy[28:36] += 0.055 * draw["nose"] * np.array([0.3, 0.6, 1, 1, 1, 1, 1, 1])
    dx[31:36] += 0.15 * draw["wings"] * x[31:36]
    mouth = np.r_[48:68]
    dx[mouth] += 0.16 * draw["mouth"] * (x[mouth] - x[mouth].mean())
    dy[mouth] += 0.03 * (draw["nose"] + draw["lips"])
    jaw = np.r_[2:15]
    dx[jaw] += 0.1 * draw["jaw"] * x[jaw]
    dy[4:13] += 0.07 * draw["chin"] * np.sin(np.linspace(0, np.pi, 9))
    moved = (dx[:, None] * ex + dy[:, None] * ey) * d

    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    unit = np.column_stack([np.cos(angles), np.sin(angles)])
    ring = np.vstack([points.mean(axis=0) - 0.25 * d * ey + r * d * unit for r in (1.5, 2.2)])
    through = spline(np.vstack([points, ring]), np.vstack([moved, 0 * ring]), d)
    height, width = image.shape[:2]
    xs, ys = np.arange(0, width + 2 * _STEP, _STEP), np.arange(0, height + 2 * _STEP, _STEP)
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float64)
    coarse = through(nodes)
    coarse[np.hypot(*(nodes - points.mean(axis=0)).T) > 2.4 * d] = 0
    coarse = coarse.reshape(len(ys), len(xs), 2).astype(np.float32)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), 0.8), np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)

    def at(where: Any) -> Any:
        """Displacement at px, by the same cubic for image and landmarks."""
        nodes = np.asarray(where / np.float32(_STEP), np.float32)
        return remap(coarse, nodes, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)

    source = grid - at(grid)
    for _ in range(3):
        source = grid - at(source)
    warped = remap(image, source, cv2.BORDER_REFLECT_101, cv2.INTER_CUBIC)
    new = points + at(points[None].astype(np.float32))[0].astype(np.float64)
    return np.asarray(warped, np.uint8), new


def _toned(image: Image, points: Points, rng: np.random.Generator) -> Image:
    """Another gamma, contrast, brightness and tint; the skin stays short of white."""
    gamma, contrast = rng.uniform(0.75, 1.3), rng.uniform(0.85, 1.12)
    brightness = rng.uniform(-10, 10)
    a, b = rng.uniform(-4, 4), rng.uniform(-6, 6)
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    light = 255 * (lab[..., 0] / 255) ** gamma
    light = 128 + contrast * (light - 128) + brightness
    face = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    bright = float(np.percentile(light[face > 0], 90))
    lab[..., 0] = light * min(1.0, _BRIGHTEST / bright)
    lab[..., 1] += a
    lab[..., 2] += b
    lab8 = np.clip(lab, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab8, cv2.COLOR_LAB2BGR), np.uint8)


def framed(
    image: Image, landmarks: Points, size: tuple[int, int], eye_px: float | None = None
) -> Portrait:
    """The portrait in a frame of ``size``, face slightly above the middle.

    The image is ``FINE`` times larger than the frame, the landmarks are in frame px.
    """
    width, height = size
    if eye_px is not None:
        image, landmarks = _scaled(image, landmarks, eye_px)
    centre = landmarks[27:36].mean(axis=0)
    shift = np.array([width / 2, height * 0.52]) - centre
    at = FINE * shift + (FINE - 1) / 2
    matrix = np.array([[FINE, 0, at[0]], [0, FINE, at[1]]])
    large = cv2.warpAffine(
        image,
        matrix,
        (FINE * width, FINE * height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(large, np.uint8), landmarks + shift


def _scaled(image: Image, landmarks: Points, eye_px: float) -> Portrait:
    """The portrait with ``eye_px`` between the outer eye corners."""
    scale = eye_px / float(np.hypot(*(landmarks[45] - landmarks[36])))
    before = np.array(image.shape[1::-1])
    size = tuple(int(n) for n in np.round(before * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
    return image, (landmarks + 0.5) * (np.array(size) / before) - 0.5
