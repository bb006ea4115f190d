"""Faces for recognition sets: more of a difference than ``varied`` makes.

``varied`` keeps to what spotting needs: a face that is not the portrait's. People of a
recognition set must differ to the eye: two rounds of ``varied`` and another width of the
face for the geometry, a skin colour, the side and colour of the light, beard and moles.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Image, Points, Portrait
from models.synthesis.portrait import load_portrait, varied

Floats = npt.NDArray[np.float32]

# sRGB skin colours from pale to dark, between which a face's own is interpolated
_SKIN = np.array(
    [
        (238, 205, 185),
        (226, 182, 152),
        (203, 155, 120),
        (172, 122, 88),
        (136, 92, 66),
        (104, 70, 52),
    ],
    np.float64,
)
_LEAST, _MOST = 0.22, 1.9  # brightness of the new skin as a share of the portrait's, linear
_GAMMA = 2.2
_CHROMA = 17.0  # so far from the skin's colour (Lab) half of a pixel is still skin
_REACH = 1.45  # eye distances from the middle of the face: skin beyond is left
_BRIGHTEST = 0.5  # nine in ten pixels of the face stay below, linear light
_EYES = (slice(36, 42), slice(42, 48))
_LIPS = slice(48, 60)
_CHEEKS = (*range(1, 16), 31, 33, 35)


@dataclass(frozen=True)
class Look:
    """What makes a subject: a portrait and what is done to it.

    Args:
        portrait: name of a shipped one.
        shapes: two identities of ``varied``, one upon the other.
        width: of the face, 1 is the portrait's.
        skin: 0 pale to 1 dark.
        flush: redness of the skin, share.
        light_deg: where the light comes from: 0 image right, 90 below.
        light: how uneven it is, share.
        warmth: of the light's colour, share.
        exposure: of the picture, share.
        beard: darkening of jaw and upper lip, share.
        moles: how many.
        hue_deg: turn of the colours of all that is not skin.
        seed: of the moles' places.
    """

    portrait: str
    shapes: tuple[int, int]
    width: float
    skin: float
    flush: float
    light_deg: float
    light: float
    warmth: float
    exposure: float
    beard: float
    moles: int
    hue_deg: float
    seed: int


def draw_looks(portraits: tuple[str, ...], count: int, seed: int) -> tuple[Look, ...]:
    """``count`` different looks; portraits in turn.

    Skin, light and width are spread evenly over their ranges, so that no two subjects of one
    portrait come out alike by chance.
    """
    rng = np.random.default_rng([seed, 200])
    skin, light, width = (_spread(rng, count) for _ in range(3))
    return tuple(
        Look(
            portrait=portraits[k % len(portraits)],
            shapes=(int(rng.integers(1, 2**31)), int(rng.integers(1, 2**31))),
            width=float(0.9 + 0.2 * width[k]),
            skin=float(skin[k]),
            flush=float(rng.uniform(-0.06, 0.08)),
            light_deg=float(360 * light[k]),
            light=float(rng.uniform(0.08, 0.4)),
            warmth=float(rng.uniform(-0.08, 0.1)),
            exposure=float(rng.uniform(0.75, 1.1)),
            beard=float(rng.uniform(0.15, 0.4)) if rng.random() < 0.35 else 0.0,
            moles=int(rng.integers(0, 7)),
            hue_deg=float(rng.uniform(-60, 60)),
            seed=int(rng.integers(2**31)),
        )
        for k in range(count)
    )


def _spread(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """One number from each of ``count`` equal parts of 0 to 1, shuffled."""
    return np.asarray((rng.permutation(count) + rng.random(count)) / count, np.float64)


@functools.lru_cache(maxsize=2)
def face_of(look: Look) -> Portrait:
    """The subject's own portrait: BGR (h, w, 3) uint8 and its iBUG points (68, 2), px."""
    face = load_portrait(look.portrait)
    for shape in look.shapes:
        face = varied(face, shape)
    image, points = _widened(face, look.width)
    linear = (image.astype(np.float32) / 255) ** _GAMMA
    share = _skin_share(image, points)[..., None]
    skin = linear * _skin_gain(linear, points, look)
    rest = (_turned(image, look.hue_deg).astype(np.float32) / 255) ** _GAMMA
    linear = rest + share * (_marked(skin, points, look) - rest)
    linear = linear * _light(points, image.shape[:2], look)[..., None]
    linear *= _warm(look.warmth) * _exposed(linear, points, look.exposure)
    out = 255 * np.clip(linear, 0, 1) ** (1 / _GAMMA)
    return np.asarray(np.round(out), np.uint8), points


def _widened(face: Portrait, width: float) -> Portrait:
    image, points = face
    size = (round(image.shape[1] * width), image.shape[0])
    wide = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    moved = (points + 0.5) * [size[0] / image.shape[1], 1.0] - 0.5
    return np.asarray(wide, np.uint8), moved


def _d(points: Points) -> float:
    return float(np.hypot(*(points[45] - points[36])))


def _filled(points: Points, shape: tuple[int, ...], soft: float) -> Floats:
    """1 inside the convex hull of ``points``, falling to 0 over ``soft`` px."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 255)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32) / 255


def _skin_share(image: Image, points: Points) -> Floats:
    """How far each pixel is skin, (h, w): by colour around the face, whole inside it."""
    d = _d(points)
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    inside = _filled(points, image.shape, 0.01 * d) > 0.5
    middle = np.median(lab[inside], axis=0)
    off = np.hypot(lab[..., 1] - middle[1], lab[..., 2] - middle[2])
    off = np.hypot(off, 0.35 * np.minimum(0, lab[..., 0] - 0.55 * middle[0]))
    share = 1 / (1 + (off / _CHROMA) ** 4)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    centre = points.mean(axis=0)
    far = np.hypot(xs - centre[0], ys - centre[1]) / d
    share *= 1 / (1 + np.exp((far - _REACH) / 0.06))
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 0.012 * d)
    share = np.maximum(share, _filled(points, image.shape, 0.03 * d))
    for eye in _EYES:
        share = share * (1 - _filled(points[eye], image.shape, 0.012 * d))
    return np.asarray(share, np.float32)


def _skin_gain(linear: Floats, points: Points, look: Look) -> Floats:
    """Gain of blue, green and red that brings the portrait's skin to the look's."""
    inside = _filled(points, linear.shape, 1.0) > 0.5
    own = np.median(linear[inside], axis=0)
    at = look.skin * (len(_SKIN) - 1)
    rgb = [np.interp(at, range(len(_SKIN)), channel) for channel in _SKIN.T]
    wanted = (np.array(rgb[::-1]) / 255) ** _GAMMA
    wanted = wanted * [1 - look.flush / 2, 1 - look.flush / 2, 1 + look.flush]
    brightness = wanted.mean() / own.mean()
    return np.asarray(wanted / own * (np.clip(brightness, _LEAST, _MOST) / brightness), np.float32)


def _turned(image: Image, degrees: float) -> Image:
    """``image`` with its colours turned around grey."""
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = lab[..., 1] - 128, lab[..., 2] - 128
    lab[..., 1], lab[..., 2] = 128 + cos * a - sin * b, 128 + sin * a + cos * b
    lab8 = np.clip(lab, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab8, cv2.COLOR_LAB2BGR), np.uint8)


def _marked(skin: Floats, points: Points, look: Look) -> Floats:
    """``skin`` with beard and moles."""
    d = _d(points)
    shape = skin.shape[:2]
    dark = np.zeros(shape, np.float32)
    if look.beard:
        around = _filled(points[list(_CHEEKS)], shape, 0.06 * d)
        below = np.mgrid[: shape[0], : shape[1]][0] - (points[33, 1] + 0.06 * d)
        lips = _filled(points[_LIPS], shape, 0.02 * d)
        dark = look.beard * around * (1 - lips) / (1 + np.exp(-below / (0.05 * d)))
    rng = np.random.default_rng(look.seed)
    for _ in range(look.moles):
        at = rng.dirichlet(np.ones(17)) @ points[:17] * 0.6 + points[rng.integers(27, 36)] * 0.4
        ys, xs = np.mgrid[: shape[0], : shape[1]]
        radius = d * rng.uniform(0.008, 0.018)
        spot = np.exp(-((((xs - at[0]) ** 2 + (ys - at[1]) ** 2) / radius**2) ** 2))
        dark = np.maximum(dark, rng.uniform(0.4, 0.7) * spot)
    return np.asarray(skin * (1 - dark)[..., None], np.float32)


def _light(points: Points, shape: tuple[int, ...], look: Look) -> Floats:
    """Gain by a light from one side, (h, w)."""
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    x, y = points[27:36].mean(axis=0)
    angle = np.radians(look.light_deg)
    across = (np.cos(angle) * (xs - x) + np.sin(angle) * (ys - y)) / _d(points)
    return np.asarray((1 + look.light * np.tanh(across / 0.5)) ** _GAMMA, np.float32)


def _warm(share: float) -> Floats:
    return np.array([1 - share, 1.0, 1 + share], np.float32)


def _exposed(linear: Floats, points: Points, exposure: float) -> float:
    """``exposure``, or less where the face would come too near to white."""
    inside = linear[_filled(points, linear.shape, 1.0) > 0.5]
    bright = float(np.percentile(inside.mean(axis=1), 90))
    return min(exposure, _BRIGHTEST / bright)
