"""Several synthetic people before one camera, with the truth of each.

Every person is a ``SyntheticFace`` in a picture of its own, cut out by a soft outline of head and
shoulders and laid over the room where its path says: later ones in front of earlier ones. Light,
noise and compression are the camera's, one for all. Frames depend only on the scene and the index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Image, Points
from models.synthesis.face import SyntheticFace
from models.synthesis.portrait import load_portrait
from models.synthesis.script import Scene, TrueExpression, step, truth
from models.synthesis.sensor import Sensor

_WIDE, _HIGH = 3.4, 4.4  # a person's own picture, eye distances
_HEAD = (0.86, 1.35)  # half axes of the head's outline, eye distances
_HEAD_UP = 0.2  # its middle lies so far above the nose
_NECK, _SHOULDERS, _SLOPE = 0.8, 1.45, 1.7  # begin, half width, end of the slope; eye distances
_FADE = 0.6  # the picture's lower end fades out over so many eye distances
_SOFT = 0.02  # width of the outline, eye distances
_SEEN = 0.5  # a pixel is covered from this share on


@dataclass(frozen=True)
class Place:
    """Where the middle between the outer eye corners is at ``time_s``, px of the frame.

    ``scale`` enlarges the person's picture.
    """

    time_s: float
    x: float
    y: float
    scale: float = 1.0


@dataclass(frozen=True)
class Person:
    """One of several people.

    Args:
        scene: what the face does. Its length, rate, size, noise and light are the group's;
            ``eye_px`` is needed.
        path: in order of time; between two places the person goes with minimum jerk.
        portrait: shipped one that the face is made of.
    """

    scene: Scene
    path: tuple[Place, ...]
    portrait: str = "astronaut"

    def __post_init__(self) -> None:
        times = [place.time_s for place in self.path]
        if not times or times != sorted(set(times)):
            raise ValueError("a path needs places, later ones after earlier ones")
        if self.scene.eye_px is None:
            raise ValueError("a person's scene needs eye_px")

    def at(self, t: float) -> Place:
        """The place at ``t`` seconds."""
        k = sum(place.time_s <= t for place in self.path)
        if k in (0, len(self.path)):
            return replace(self.path[min(k, len(self.path) - 1)], time_s=t)
        a, b = self.path[k - 1], self.path[k]
        share = float(step((t - a.time_s) / (b.time_s - a.time_s)))
        x, y, scale = (
            p + share * (q - p)
            for p, q in ((a.x, b.x), (a.y, b.y), (a.scale, b.scale))
        )  # fmt: skip
        return Place(t, x, y, scale)


@dataclass(frozen=True)
class Group:
    """People, from the back to the front, and the camera that sees them.

    ``camera`` gives length, rate, size, noise, light and seed; its other parts count for nothing.
    """

    camera: Scene
    people: tuple[Person, ...]


@dataclass(frozen=True)
class Standing:
    """Where a person truly is in one frame: px; ``seen`` is the share of the face in view."""

    person: int
    middle: tuple[float, float]  # between the outer eye corners
    d: float  # outer-eye-corner distance
    seen: float


class GroupVideo:
    """Frames of a group, and its truth.

    Args:
        group: who does what where.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.scene = group.camera
        self.fps = self.scene.fps
        self.n_frames = self.scene.n_frames
        self._faces = [_face(person, self.scene) for person in group.people]
        self._outlines = [_outline(face) for face in self._faces]
        self._room = _room(self.scene)
        middle = np.array([self.scene.width / 2, self.scene.height / 2])
        d = float(np.mean([face.fields.d for face in self._faces])) if self._faces else 1.0
        self._sensor = Sensor(self.scene, 0.0, middle, d)

    def frame(self, i: int) -> Image:
        """Frame ``i``, BGR (height, width, 3) uint8; the same for any order of calls."""
        picture = self._room.copy()
        for k, face in enumerate(self._faces):
            matrix = self._matrix(k, i)
            window = self._window(face, matrix)
            part = picture[window]
            if not part.size:
                continue
            laid = _warped(face.frame(i), matrix, window, cv2.INTER_CUBIC).astype(np.float32)
            share = _warped(self._outlines[k], matrix, window)[..., None]
            picture[window] = np.round(part + share * (laid - part))
        return self._sensor.seen(picture, i, i / self.fps)

    def truth(self) -> list[list[TrueExpression]]:
        """Every person's expressions, in nominal frames."""
        return [truth(face.scene) for face in self._faces]

    def standing(self, i: int) -> list[Standing]:
        """Where everybody is in frame ``i``."""
        size = (self.scene.height, self.scene.width)
        covered = np.zeros(size, np.float32)
        found: list[Standing] = []
        for k in reversed(range(len(self._faces))):
            face, matrix = self._faces[k], self._matrix(k, i)
            own = face.points(i / self.fps)
            points = own @ matrix[:, :2].T + matrix[:, 2]
            there = np.zeros(size, np.uint8)
            hull = cv2.convexHull(points[17:].astype(np.float32))
            cv2.fillConvexPoly(there, np.round(hull).astype(np.int32), 1)
            seen = float(np.sum((there > 0) & (covered < _SEEN))) / max(cv2.contourArea(hull), 1.0)
            a, b = points[36], points[45]
            x, y = (a + b) / 2
            found.append(Standing(k, (float(x), float(y)), float(np.hypot(*(b - a))), min(seen, 1)))
            window = self._window(face, matrix)
            if covered[window].size:
                outline = _warped(self._outlines[k], matrix, window)
                covered[window] = np.maximum(covered[window], outline)
        return found[::-1]

    def _matrix(self, k: int, i: int) -> Points:
        """From a person's own picture to the frame: the eyes at rest stand on the path."""
        place = self.group.people[k].at(i / self.fps)
        eyes = (self._faces[k].landmarks[36] + self._faces[k].landmarks[45]) / 2
        shift = np.array([place.x, place.y]) - place.scale * eyes
        return np.column_stack([place.scale * np.eye(2), shift])

    def _window(self, face: SyntheticFace, matrix: Points) -> tuple[slice, slice]:
        """The part of the frame in which a person's picture lies: rows, columns."""
        size = np.array([face.scene.width, face.scene.height])
        low = np.floor(matrix[:, 2]).astype(int)
        high = np.ceil(matrix[:, 2] + matrix[0, 0] * size).astype(int)
        limit = np.array([self.scene.width, self.scene.height])
        low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
        return slice(low[1], high[1]), slice(low[0], high[0])


def _face(person: Person, camera: Scene) -> SyntheticFace:
    d = float(person.scene.eye_px or 0)
    scene = replace(
        person.scene,
        duration_s=camera.duration_s,
        fps=camera.fps,
        width=2 * round(_WIDE * d / 2),
        height=2 * round(_HIGH * d / 2),
        noise=0.0,
        light=0.0,
        jpeg_quality=None,
    )
    return SyntheticFace(scene, load_portrait(person.portrait))


def _outline(face: SyntheticFace) -> npt.NDArray[np.float32]:
    """Share of each pixel of a person's own picture that the person fills."""
    d = float(np.hypot(*(face.landmarks[45] - face.landmarks[36])))
    x0, y0 = face.landmarks[27:36].mean(axis=0)
    height, width = face.scene.height, face.scene.width
    mask = np.zeros((height, width), np.float32)
    middle = (round(x0), round(y0 - _HEAD_UP * d))
    cv2.ellipse(mask, middle, (round(_HEAD[0] * d), round(_HEAD[1] * d)), 0, 0, 360, 1.0, -1)
    body = [
        (x0 - 0.5 * d, y0 + _NECK * d),
        (x0 + 0.5 * d, y0 + _NECK * d),
        (x0 + _SHOULDERS * d, y0 + _SLOPE * d),
        (x0 + _SHOULDERS * d, height),
        (x0 - _SHOULDERS * d, height),
        (x0 - _SHOULDERS * d, y0 + _SLOPE * d),
    ]
    cv2.fillPoly(mask, [np.round(body).astype(np.int32)], 1.0)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(_SOFT * d, 0.7)), np.float32)
    left = (height - 1 - np.arange(height)) / (_FADE * d)
    edge = np.minimum(np.arange(width), np.arange(width)[::-1]) / 3  # nothing at the picture's rim
    return np.asarray(mask * np.clip(left, 0, 1)[:, None] * np.clip(edge, 0, 1)[None], np.float32)


def _warped(
    image: npt.NDArray[Any],
    matrix: Points,
    window: tuple[slice, slice],
    how: int = cv2.INTER_LINEAR,
) -> npt.NDArray[Any]:
    """``image``, laid into the frame by ``matrix``, in a window of the frame."""
    rows, columns = window
    moved = matrix.copy()
    moved[:, 2] -= (columns.start, rows.start)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    border = cv2.BORDER_REPLICATE if image.ndim == 3 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(image, moved, size, flags=how, borderMode=border))


def _room(camera: Scene) -> Image:
    """A dull wall: soft spots of light and shade."""
    rng = np.random.default_rng([camera.seed, 20])
    coarse = rng.uniform(60, 150, (6, 8, 3)).astype(np.float32)
    coarse = coarse.mean(axis=2, keepdims=True) + 0.3 * (
        coarse - coarse.mean(axis=2, keepdims=True)
    )
    large = cv2.resize(coarse, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(large, 0, 255), np.uint8)
