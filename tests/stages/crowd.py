"""Scripted crowds: textures for faces, drawn where a landmarker finds them by the script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from stages.face import FaceStage
from stages.items import Face, FaceState, Frame, Stamp

SIZE = (640, 360)
_NOISE = np.random.default_rng(3).integers(-4, 5, (SIZE[1] + 64, SIZE[0])).astype(np.int16)
FPS = 30.0
Place = tuple[float, float] | None  # between the outer eye corners, px; None: not there


@dataclass(frozen=True)
class Actor:
    """One person: where, how large (px between the eye corners), what texture."""

    at: Callable[[float], Place]
    looks: int = 0
    d: float = 60.0


@lru_cache
def _texture(looks: int) -> np.ndarray:
    rng = np.random.default_rng([looks, 77])
    coarse = rng.integers(30, 225, (9, 7)).astype(np.uint8)
    return cv2.resize(coarse, (112, 144), interpolation=cv2.INTER_CUBIC)


def draw(actors: Sequence[Actor], t: float, gain: float = 1.0) -> np.ndarray:
    """The picture at ``t``; later actors in front."""
    image = np.full((SIZE[1], SIZE[0]), 90, np.uint8)
    for actor in actors:
        place = actor.at(t)
        if place is None:
            continue
        by = actor.d / 70
        matrix = np.array([[by, 0, place[0] - 56 * by], [0, by, place[1] - 50 * by]])
        cv2.warpAffine(
            _texture(actor.looks), matrix, SIZE, image, borderMode=cv2.BORDER_TRANSPARENT
        )
    noise = _NOISE[round(t * 1000) * 7 % 64 :][: SIZE[1]]
    lit = image if gain == 1 else cv2.convertScaleAbs(image, alpha=gain)
    return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)


def landmarks(x: float, y: float, d: float) -> np.ndarray:
    """(468, 2) points of which those that the stage measures by are right."""
    points = (np.array([x, y]) + np.random.default_rng(1).uniform(-d, d, (468, 2))).astype(
        np.float32
    )
    points[33], points[263], points[2] = (x - d / 2, y), (x + d / 2, y), (x, y + d / 2)
    return points


def hidden(actors: Sequence[Actor], number: int, t: float) -> bool:
    """Whether someone in front covers most of a face."""
    own, actor = actors[number].at(t), actors[number]
    if own is None:
        return False
    fronts = (other.at(t) for other in actors[number + 1 :])
    return any(f is not None and np.hypot(f[0] - own[0], f[1] - own[1]) < actor.d for f in fronts)


Finds = list[tuple[float, float, float]]  # x, y, d of what the landmarker says


class Play:
    """A stage that watches actors; by default the landmarker finds whom it can see.

    Args:
        actors: from the back to the front.
        stage: options of the stage.
        seed: of the order in which faces are found.
    """

    def __init__(self, actors: Sequence[Actor], seed: int = 0, **stage: object) -> None:
        self.actors = actors
        self._rng = np.random.default_rng(seed)
        self._finds: Finds = []
        options = {"max_faces": len(actors) + 1} | stage
        self._stage = FaceStage(self, **options)  # type: ignore[arg-type]
        self.states: list[tuple[float, int, bool]] = []
        self.seen: dict[int, list[tuple[float, int]]] = {}  # by face: when, nearest actor

    def detect(self, image: np.ndarray, pts: float) -> list[np.ndarray]:
        return [landmarks(*self._finds[i]) for i in self._rng.permutation(len(self._finds))]

    def close(self) -> None:
        return None

    def at(self, t: float) -> Finds:
        """What a landmarker sees at ``t``."""
        found: Finds = []
        for number, actor in enumerate(self.actors):
            place = actor.at(t)
            if place is not None and not hidden(self.actors, number, t):
                found.append((*place, actor.d))
        return found

    def run(
        self,
        seconds: float,
        finds: Callable[[float, Finds], Finds] = lambda t, found: found,
        gain: Callable[[float], float] = lambda t: 1.0,
    ) -> Play:
        """Play; ``finds`` may change what is found, ``gain`` the light."""
        for i in range(round(seconds * FPS)):
            t = i / FPS
            self._finds = finds(t, self.at(t))
            stamp = Stamp("cam", i, t, 0, 0)
            for item in self._stage.process(Frame(stamp, draw(self.actors, t, gain(t)))):
                self._take(item, t)
        return self

    def _take(self, item: Face | FaceState, t: float) -> None:
        if isinstance(item, FaceState):
            self.states.append((round(t, 3), item.face, item.visible))
            return
        x, y = (item.landmarks[33] + item.landmarks[263]) / 2
        off = [
            (float(np.hypot(place[0] - x, place[1] - y)), -number)  # the front of two
            for number, actor in enumerate(self.actors)
            if (place := actor.at(t)) is not None
        ]
        self.seen.setdefault(item.face, []).append((t, -min(off)[1]))

    def people(self) -> dict[int, set[int]]:
        """The actors that each face was."""
        return {face: {who for _, who in seen} for face, seen in self.seen.items()}


def stays(x: float, y: float = 160.0) -> Callable[[float], Place]:
    """Somebody who stands still."""
    return lambda t: (x, y)


def walks(
    x0: float, x1: float, begin: float, end: float, y: float = 160.0
) -> Callable[[float], Place]:
    """From one x to another at even speed."""
    return lambda t: (x0 + (x1 - x0) * float(np.clip((t - begin) / (end - begin), 0, 1)), y)


def away(where: Callable[[float], Place], begin: float, end: float) -> Callable[[float], Place]:
    """The same, but not there for a while."""
    return lambda t: None if begin <= t < end else where(t)
