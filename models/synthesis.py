"""A synthetic face camera with exact truth.

A portrait is warped by action-unit displacement fields (measured on 3D-scanned
expressions, ICT-FaceKit; ``data/README.md``), blinks and head motion, and seen
through a noisy sensor. Every frame depends only on the scene and its index.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parent / "data"
Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]  # (h, w, 2) px
Points = npt.NDArray[np.float64]
Side = Literal["both", "left", "right"]

_HAIRLINE = 0.6  # of the eye distance above the brows: there the skin stands still
_GRID = 8  # displacement fields are interpolated on every 8th pixel
_EDGE = 0.02  # onset and offset lie where the profile crosses this share of its peak
_EDGE_AT = 0.1355  # argument at which the minimum-jerk step reaches _EDGE
_BLINK_S = 0.23
_NOISE_FRAMES = 8
_NOISE_MARGIN = 32  # a noise frame is a window of a larger one
_FINE = 2  # the portrait is held so many times larger, so that linear sampling is smooth
# iBUG: (lid point, where a closed eye brings it), subject's right and left
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_BROWS_ABOVE = (18, 20, 23, 25)
_FOLD = 0.7  # the fold lies at this share of the way from lid to brow
_LID_ANCHORS = tuple(i for i in range(68) if i not in [upper for upper, _ in _LIDS])


@dataclass(frozen=True)
class Expression:
    """One scripted expression; times in seconds, amplitude in px of the frame."""

    onset_s: float
    apex_s: float
    offset_s: float
    aus: tuple[int, ...]
    amplitude_px: float
    side: Side = "both"

    def __post_init__(self) -> None:
        if not self.onset_s < self.apex_s < self.offset_s:
            raise ValueError(f"onset < apex < offset is needed: {self}")


@dataclass(frozen=True)
class HeadMotion:
    """Slow quasi-periodic motion: amplitudes of translation (px), roll (deg), scale."""

    shift_px: float = 0.0
    roll_deg: float = 0.0
    scale: float = 0.0
    period_s: float = 5.0


@dataclass(frozen=True)
class Scene:
    """Everything that a synthetic clip is made of."""

    duration_s: float
    expressions: tuple[Expression, ...] = ()
    blinks_s: tuple[float, ...] = ()
    head: HeadMotion = HeadMotion()
    noise: float = 2.0  # sensor noise, grey levels (sd)
    light: float = 0.0  # amplitude of a slow brightness drift, share
    seed: int = 0
    fps: float = 30.0
    width: int = 640
    height: int = 480

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return round(self.duration_s * self.fps)


@dataclass(frozen=True)
class TrueExpression:
    """What a scene holds, in frames from 0."""

    onset: int
    apex: int
    offset: int
    kind: Literal["micro", "macro"]
    aus: tuple[int, ...]
    peak_px: float


def demo_scene(duration_s: float = 20.0, seed: int = 7) -> Scene:
    """The scripted demonstration: micro- and macro-expressions, blinks, a moving head.

    The script of 20 s repeats for longer durations.
    """
    script = (
        Expression(1.60, 1.77, 1.97, (1, 2), 2.6),
        Expression(4.80, 5.20, 5.75, (6, 12), 6.0),
        Expression(8.00, 8.17, 8.37, (4,), 2.6),
        Expression(11.20, 11.57, 12.10, (15, 17), 5.0),
        Expression(14.40, 14.57, 14.80, (12,), 2.6),
        Expression(17.20, 17.37, 17.57, (1, 2), 2.6),
    )
    blinks = (3.3, 7.0, 9.8, 13.2, 16.1)
    rounds = range(int(np.ceil(duration_s / 20.0)))
    return Scene(
        duration_s=duration_s,
        expressions=tuple(
            Expression(
                e.onset_s + 20 * k, e.apex_s + 20 * k, e.offset_s + 20 * k, e.aus, e.amplitude_px
            )
            for k in rounds
            for e in script
            if e.offset_s + 20 * k < duration_s
        ),
        blinks_s=tuple(b + 20 * k for k in rounds for b in blinks if b + 20 * k < duration_s),
        head=HeadMotion(shift_px=1.2, roll_deg=0.25, scale=0.002, period_s=7.0),
        light=0.01,
        seed=seed,
    )


@functools.cache
def au_displacements() -> dict[int, dict[str, Points]]:
    """Per AU and side ("L", "R"), displacement of the iBUG points, (68, 2), in eye distances."""
    data = json.loads((DATA / "au_displacements.json").read_text(encoding="utf-8"))
    return {
        int(au): {side: np.array(entry[side], np.float64) for side in ("L", "R")}
        for au, entry in data["aus"].items()
    }


def load_portrait() -> tuple[Image, Points]:
    """The shipped portrait, BGR (640, 800, 3), and its iBUG landmarks (68, 2) in px."""
    image = cv2.imread(str(DATA / "astronaut.jpg"))
    points = json.loads((DATA / "astronaut.json").read_text(encoding="utf-8"))["landmarks"]
    return np.asarray(image, np.uint8), np.array(points, np.float64)


def step(u: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Minimum-jerk step from 0 to 1 over u in [0, 1]."""
    v = np.clip(np.asarray(u, np.float64), 0.0, 1.0)
    return np.asarray(v**3 * (10 - 15 * v + 6 * v * v), np.float64)


def profile(t: npt.ArrayLike, onset: float, apex: float, offset: float) -> npt.NDArray[np.float64]:
    """Movement profile in [0, 1]; crosses 2 % at ``onset`` and ``offset``, 1 at ``apex``."""
    times = np.asarray(t, np.float64)
    rise = (apex - onset) / (1 - _EDGE_AT)
    fall = (offset - apex) / (1 - _EDGE_AT)
    up = step((times - (apex - rise)) / rise)
    down = step(((apex + fall) - times) / fall)
    return np.where(times <= apex, up, down)


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

    def au(self, au: int, side: Side = "both") -> Field:
        """Field of ``au``, scaled so that the landmark that moves most moves 1 px.

        Raises:
            ValueError: no displacement figures for this AU.
        """
        if (au, side) not in self._cache:
            shapes = au_displacements().get(au)
            if shapes is None:
                raise ValueError(f"AU {au} has no displacement figures")
            sides = {"both": ("L", "R"), "left": ("L",), "right": ("R",)}[side]
            moved = sum((shapes[s] for s in sides), np.zeros((68, 2))) @ self._turn
            moved = moved / np.hypot(moved[:, 0], moved[:, 1]).max()
            self._cache[au, side] = self._dense(self._points, moved)
        return self._cache[au, side]

    def blink(self) -> Field:
        """Field that closes both eyes; the skin above the lids' folds stands still."""
        folds = [
            self._points[upper] + _FOLD * (self._points[brow] - self._points[upper])
            for (upper, _), brow in zip(_LIDS, _BROWS_ABOVE, strict=True)
        ]
        still = np.vstack([self._points[list(_LID_ANCHORS)], folds])
        lids = np.array([self._points[upper] for upper, _ in _LIDS])
        closing = np.array([self._points[lower] - self._points[upper] for upper, lower in _LIDS])
        points = np.vstack([still, lids])
        return self._dense(points, np.vstack([np.zeros_like(still), 0.9 * closing]))

    def _still(self) -> Points:
        """Points that no action unit moves: around the face, and the scalp at the hairline."""
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        unit = np.column_stack([np.cos(angles), np.sin(angles)])
        ring = np.vstack([self._centre() + r * self.d * unit for r in (1.45, 2.2)])
        up = -_HAIRLINE * self.d * np.array([-np.sin(self._angle), np.cos(self._angle)])
        return np.vstack([ring, self._points[17:27] + up])

    def _centre(self) -> Points:
        return np.asarray(self._points.mean(axis=0) - [0, 0.25 * self.d], np.float64)

    def _dense(self, points: Points, moved: Points) -> Field:
        from scipy.interpolate import RBFInterpolator

        still = self._still()
        known = np.vstack([points, still])
        values = np.vstack([moved, np.zeros_like(still)])
        unique = np.unique(np.round(known, 3), axis=0, return_index=True)[1]
        spline = RBFInterpolator(
            known[unique] / self.d, values[unique], kernel="linear", smoothing=1e-3
        )
        width, height = self._size
        xs, ys = np.arange(0, width + _GRID, _GRID), np.arange(0, height + _GRID, _GRID)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        coarse = spline(grid / self.d)
        outside = np.hypot(*(grid - self._centre()).T) > 2.2 * self.d
        coarse[outside] = 0
        coarse = coarse.reshape(len(ys), len(xs), 2).astype(np.float32)
        maps = np.meshgrid(np.arange(width) / _GRID, np.arange(height) / _GRID)
        dense = cv2.remap(
            coarse, maps[0].astype(np.float32), maps[1].astype(np.float32), cv2.INTER_CUBIC
        )
        return np.asarray(dense, np.float32)


class SyntheticFace:
    """Frames of a scene.

    Args:
        scene: what happens.
        portrait: BGR uint8 image and its iBUG landmarks (68, 2); default: the shipped one.
    """

    def __init__(self, scene: Scene, portrait: tuple[Image, Points] | None = None) -> None:
        self.scene = scene
        self.fps = scene.fps
        self.n_frames = scene.n_frames
        image, landmarks = portrait or load_portrait()
        self._base, points = _framed(image, landmarks, (scene.width, scene.height))
        self._noise = _noise(scene)
        self.landmarks = points
        self.fields = FieldMaker(points, (scene.width, scene.height))
        self._movements: dict[tuple[tuple[int, ...], Side], Field] = {}
        self._spans = np.array([_span(e) for e in scene.expressions]).reshape(-1, 2)
        self._blinks = np.array(scene.blinks_s, np.float64)
        self._blink = self.fields.blink() if scene.blinks_s else None
        rng = np.random.default_rng([scene.seed, 3])
        self._phases = rng.uniform(0, 2 * np.pi, 8)
        xs, ys = np.meshgrid(np.arange(scene.width), np.arange(scene.height))
        self._grid = np.stack([xs, ys], axis=-1).astype(np.float32)
        self._fine = _FINE * self._grid + np.float32((_FINE - 1) / 2)

    def _movement(self, aus: tuple[int, ...], side: Side) -> Field:
        """Joint field of ``aus``; the landmark that moves most moves 1 px."""
        if (aus, side) not in self._movements:
            total = np.sum([self.fields.au(au, side) for au in aus], axis=0, dtype=np.float32)
            at = np.clip(np.round(self.landmarks).astype(int), 0, np.array(total.shape[1::-1]) - 1)
            reached = total[at[:, 1], at[:, 0]]
            self._movements[aus, side] = total / np.hypot(reached[:, 0], reached[:, 1]).max()
        return self._movements[aus, side]

    def displacement(self, t: float) -> Field | None:
        """Displacement of every point at ``t`` seconds, (h, w, 2) px; None at rest.

        The head's motion comes on top (``head``).
        """
        total: Field | None = None
        for k in np.flatnonzero((self._spans[:, 0] < t) & (t < self._spans[:, 1])):
            e = self.scene.expressions[k]
            weight = e.amplitude_px * float(profile(t, e.onset_s, e.apex_s, e.offset_s))
            total = _added(total, self._movement(e.aus, e.side), weight)
        for middle in self._blinks[np.abs(self._blinks - t) < _BLINK_S]:
            assert self._blink is not None
            weight = float(profile(t, middle - _BLINK_S / 2, middle, middle + _BLINK_S / 2))
            total = _added(total, self._blink, weight)
        return total

    def head(self, t: float) -> npt.NDArray[np.float64]:
        """2x3 similarity of the head at ``t`` seconds, rest to moved, px."""
        head, p = self.scene.head, self._phases

        def wave(k: int, ratio: float) -> float:
            slow = 2 * np.pi * t / head.period_s
            return float(
                0.7 * np.sin(slow * ratio + p[k]) + 0.3 * np.sin(2.3 * slow * ratio + p[k + 1])
            )

        angle = np.radians(head.roll_deg) * wave(0, 0.8)
        scale = 1 + head.scale * wave(2, 0.6)
        centre = self.landmarks[27:36].mean(axis=0)
        rotation = scale * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        shift = head.shift_px * np.array([wave(4, 1.0), wave(6, 0.9)])
        return np.column_stack([rotation, centre - rotation @ centre + shift])

    def frame(self, i: int) -> Image:
        """Frame ``i``, BGR (height, width, 3) uint8; the same for any order of calls."""
        t = i / self.fps
        size = (self.scene.width, self.scene.height)
        displacement = self.displacement(t)
        source = self._fine if displacement is None else self._inverse(displacement)
        maps = cv2.warpAffine(
            source, self.head(t), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        image = _remap(self._base, maps, cv2.BORDER_REFLECT_101)
        return self._sensed(np.asarray(image, np.uint8), i, t)

    def _inverse(self, displacement: Field) -> Field:
        """Where each pixel of the moved face comes from, px of the fine portrait."""
        first = self._grid - displacement
        again = _remap(displacement, first, cv2.BORDER_REPLICATE)
        return np.asarray(self._fine - _FINE * again, np.float32)

    def _sensed(self, image: Image, i: int, t: float) -> Image:
        gain = 1 + self.scene.light * np.sin(2 * np.pi * t / 9.0 + self._phases[7])
        rng = np.random.default_rng([self.scene.seed, 2, i])
        y, x = rng.integers(_NOISE_MARGIN, size=2)
        noise = self._noise[rng.integers(_NOISE_FRAMES)][y:, x:]
        noise = noise[: self.scene.height, : self.scene.width]
        return np.asarray(cv2.addWeighted(image, float(gain), noise, 1.0, -128.0), np.uint8)

    def truth(self) -> list[TrueExpression]:
        """The scene's expressions in frames."""
        fps = self.fps
        return [
            TrueExpression(
                round(e.onset_s * fps),
                round(e.apex_s * fps),
                round(e.offset_s * fps),
                "micro" if e.offset_s - e.onset_s < 0.5 else "macro",
                e.aus,
                e.amplitude_px,
            )
            for e in self.scene.expressions
        ]


def _added(total: Field | None, field: Field, weight: float) -> Field | None:
    if weight <= 0:
        return total
    scaled = np.asarray(field * np.float32(weight), np.float32)
    return scaled if total is None else np.asarray(total + scaled, np.float32)


def _span(e: Expression) -> tuple[float, float]:
    """First and last moment at which ``profile`` is above 0."""
    return (
        e.apex_s - (e.apex_s - e.onset_s) / (1 - _EDGE_AT),
        e.apex_s + (e.offset_s - e.apex_s) / (1 - _EDGE_AT),
    )


def _remap(source: Any, at: Field, border: int) -> Any:
    """``source`` sampled at ``at`` (h, w, 2) px."""
    no_second_map: Any = None
    return cv2.remap(source, at, no_second_map, cv2.INTER_LINEAR, borderMode=border)


def _noise(scene: Scene) -> Image:
    """Sensor noise, whole grey levels around 128, larger than the frame by a margin."""
    rng = np.random.default_rng([scene.seed, 1])
    shape = (_NOISE_FRAMES, scene.height + _NOISE_MARGIN, scene.width + _NOISE_MARGIN, 3)
    noise = 128.5 + scene.noise * rng.standard_normal(shape, np.float32)
    return np.clip(noise, 0, 255).astype(np.uint8)


def _framed(image: Image, landmarks: Points, size: tuple[int, int]) -> tuple[Image, Points]:
    """The portrait in a frame of ``size``, face slightly above the middle.

    The image is ``_FINE`` times larger than the frame, the landmarks are in frame px.
    """
    width, height = size
    centre = landmarks[27:36].mean(axis=0)
    shift = np.array([width / 2, height * 0.52]) - centre
    at = _FINE * shift + (_FINE - 1) / 2
    matrix = np.array([[_FINE, 0, at[0]], [0, _FINE, at[1]]])
    framed = cv2.warpAffine(
        image,
        matrix,
        (_FINE * width, _FINE * height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(framed, np.uint8), landmarks + shift


def truth_rows(truth: Sequence[TrueExpression]) -> list[dict[str, Any]]:
    """``truth`` as plain rows for a truth file."""
    return [
        {
            "onset": e.onset,
            "apex": e.apex,
            "offset": e.offset,
            "kind": e.kind,
            "aus": list(e.aus),
            "peak_px": e.peak_px,
        }
        for e in truth
    ]
