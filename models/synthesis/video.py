"""Scripted movements laid over a video of a neutral face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from models.synthesis.arrays import Image, Points
from models.synthesis.fields import Field, remap
from models.synthesis.muscles import Muscles
from models.synthesis.script import Delivered, Scene, TrueExpression, schedule, truth
from models.synthesis.sensor import Sensor

# points that expressions hardly move, by which the face is followed
_STEADY = (0, 1, 15, 16, 27, 28, 29, 30, 36, 39, 42, 45)


@dataclass(frozen=True)
class NeutralVideo:
    """Frames of a neutral face.

    Args:
        image: BGR (h, w, 3) uint8 picture of frame i; the same for any order of calls.
        landmarks: (n, 68, 2) iBUG points of its n frames, px.
    """

    image: Callable[[int], Image]
    landmarks: Points


class VideoFace:
    """A scene's expressions, blinks, speech, light and sensor over a neutral video.

    The video brings its own head motion, gaze and identity: the scene's count for nothing, and
    so does ``Scene.eye_px``. Amplitudes hold at the video's middle size of the face.

    Args:
        scene: what happens; width and height are the video's.
        video: at least as long as the scene.

    Raises:
        ValueError: size or length do not fit.
    """

    def __init__(self, scene: Scene, video: NeutralVideo) -> None:
        points = np.asarray(video.landmarks, np.float64)
        if points.ndim != 3 or points.shape[1:] != (68, 2) or len(points) < scene.n_frames:
            raise ValueError(
                f"(n, 68, 2) landmarks of at least {scene.n_frames} frames are needed, "
                f"not {points.shape}"
            )
        shape = video.image(0).shape
        if shape != (scene.height, scene.width, 3):
            raise ValueError(
                f"the video's frames are {shape}, the scene's {(scene.height, scene.width, 3)}"
            )
        self.scene = scene
        self.fps = scene.fps
        self.n_frames = scene.n_frames
        self._video = video
        self._points = points
        sizes = np.hypot(*(points[:, 45] - points[:, 36]).T)
        rest = int(np.argsort(sizes)[len(sizes) // 2])
        self.landmarks = points[rest]
        self._muscles = Muscles(replace(scene, gaze=()), self.landmarks)
        phases = np.random.default_rng([scene.seed, 3]).uniform(0, 2 * np.pi, 8)
        centre = self.landmarks[27:36].mean(axis=0)
        self._sensor = Sensor(scene, float(phases[7]), centre, self._muscles.fields.d)
        xs, ys = np.meshgrid(np.arange(scene.width), np.arange(scene.height))
        self._grid = np.stack([xs, ys], axis=-1).astype(np.float32)

    def displacement(self, i: int) -> Field | None:
        """Displacement of every point of frame ``i``, (h, w, 2) px; None at rest."""
        still = self._muscles.displacement(i / self.fps)
        if still is None:
            return None
        matrix = _similarity(self.landmarks[list(_STEADY)], self._points[i][list(_STEADY)])
        size = (self.scene.width, self.scene.height)
        carried = cv2.warpAffine(still, matrix, size, flags=cv2.INTER_LINEAR)
        return np.asarray(cv2.transform(carried, matrix[:, :2]), np.float32)

    def frame(self, i: int) -> Image:
        """Frame ``i``, BGR (height, width, 3) uint8; the same for any order of calls."""
        image = self._video.image(i)
        moved = self.displacement(i)
        if moved is not None:
            first = np.asarray(self._grid - moved, np.float32)
            source = np.asarray(self._grid - remap(moved, first, cv2.BORDER_REPLICATE), np.float32)
            image = remap(image, source, cv2.BORDER_REFLECT_101, cv2.INTER_LANCZOS4)
        return self._sensor.seen(np.asarray(image, np.uint8), i, i / self.fps)

    def schedule(self) -> list[Delivered]:
        """What arrives of the nominal frames: some are dropped, some show the one before."""
        return schedule(self.scene)

    def truth(self) -> list[TrueExpression]:
        """The scene's expressions in nominal frames."""
        return truth(self.scene)


def _similarity(a: Points, b: Points) -> Points:
    """The (2, 3) similarity that brings ``a`` closest to ``b``."""
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    real = float((x * y).sum()) / float((x * x).sum())
    turn = float((x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum()) / float((x * x).sum())
    rotation = np.array([[real, -turn], [turn, real]])
    shift = b.mean(axis=0) - rotation @ a.mean(axis=0)
    return np.column_stack([rotation, shift])
