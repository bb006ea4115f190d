"""The face: a scene's frames."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Image, Points
from models.synthesis.eyes import Eyeball, eyeballs
from models.synthesis.fields import Field, remap
from models.synthesis.motion import HeadPath, Pose
from models.synthesis.muscles import Muscles
from models.synthesis.portrait import FINE, framed, load_portrait, varied
from models.synthesis.script import Delivered, Scene, TrueExpression, schedule, truth
from models.synthesis.sensor import Sensor

_STEP = 8  # the head's turning is interpolated from every 8th pixel
_BLUR = 1.5  # of the depth, steps


class SyntheticFace:
    """Frames of a scene; each depends only on the scene, the portrait and its index.

    Args:
        scene: what happens.
        portrait: BGR uint8 image and its iBUG landmarks (68, 2); default: the shipped one.
        depth: of the landmarks (68,) in eye distances; default: an average face's.
    """

    def __init__(
        self,
        scene: Scene,
        portrait: tuple[Image, Points] | None = None,
        depth: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.scene = scene
        self.fps = scene.fps
        self.n_frames = scene.n_frames
        size = (scene.width, scene.height)
        image, landmarks = varied(portrait or load_portrait(), scene.identity)
        self._base, self.landmarks = framed(image, landmarks, size, scene.eye_px)
        self._muscles = Muscles(scene, self.landmarks)
        self.fields = self._muscles.fields
        phases = np.random.default_rng([scene.seed, 3]).uniform(0, 2 * np.pi, 8)
        self._path = HeadPath(scene, phases)
        self._centre = self.landmarks[27:36].mean(axis=0)
        self._sensor = Sensor(scene, float(phases[7]), self._centre, self.fields.d)
        self._eyes: list[Eyeball] = []
        if scene.gaze or scene.blinks:
            self._eyes = eyeballs(self._base, self.landmarks)
        xs, ys = np.meshgrid(np.arange(scene.width), np.arange(scene.height))
        self._grid = np.stack([xs, ys], axis=-1).astype(np.float32)
        self._fine = FINE * self._grid + np.float32((FINE - 1) / 2)
        self._solid: Field | None = None
        if _turns(scene):
            self._solid = self._depth(depth)

    def _depth(self, depth: npt.NDArray[np.float64] | None) -> Field:
        """Depth and share of the head on the coarse nodes, (h, w, 2)."""
        nodes = self._nodes()
        solid = self.fields.depth(nodes.reshape(-1, 2).astype(np.float64), depth)
        coarse = solid.reshape(nodes.shape).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(coarse, (0, 0), _BLUR), np.float32)

    def _nodes(self) -> Field:
        """Where enlarging by ``_STEP`` and cutting a margin of one step takes its values."""
        xs = _STEP * np.arange(-1, -(-self.scene.width // _STEP) + 1) + (_STEP - 1) / 2
        ys = _STEP * np.arange(-1, -(-self.scene.height // _STEP) + 1) + (_STEP - 1) / 2
        return np.asarray(np.stack(np.meshgrid(xs, ys), axis=-1), np.float32)

    def displacement(self, t: float) -> Field | None:
        """Displacement of every point at ``t`` seconds, (h, w, 2) px; None at rest.

        The head's motion comes on top (``head``, ``turned``).
        """
        return self._muscles.displacement(t)

    def gaze(self, t: float) -> tuple[float, float]:
        """How far the irises stand off at ``t`` seconds, px."""
        return self._muscles.gaze(t)

    def pose(self, t: float) -> Pose:
        """The head's six freedoms at ``t`` seconds."""
        return self._path.at(t)

    def head(self, t: float) -> npt.NDArray[np.float64]:
        """2x3 similarity of the head at ``t`` seconds, rest to moved, px."""
        pose = self._path.at(t)
        cos, sin = np.cos(pose.roll), np.sin(pose.roll)
        rotation = pose.scale * np.array([[cos, -sin], [sin, cos]])
        shift = np.array([pose.x, pose.y])
        return np.column_stack([rotation, self._centre - rotation @ self._centre + shift])

    def turned(self, t: float) -> Field | None:
        """Displacement by yaw and pitch at ``t`` s on every 8th pixel; None: a flat motion.

        Axes through the ears; yaw first. The similarity ``head`` comes after it.
        """
        pose = self._path.at(t)
        if self._solid is None or not (pose.yaw or pose.pitch):
            return None
        z, part = self._solid[..., 0], self._solid[..., 1]
        x, y = np.moveaxis(part[..., None] * (self._nodes() - self._centre), 2, 0)
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        dx = x * (cos - 1) + z * sin
        forward = z * cos - x * sin
        dy = y * (np.cos(pose.pitch) - 1) + forward * np.sin(pose.pitch)
        return np.asarray(np.stack([dx, dy], axis=-1), np.float32)

    def points(self, t: float) -> Points:
        """Where the landmarks stand at ``t`` seconds, (68, 2) px."""
        at = self.landmarks[None].astype(np.float32)
        moved = self.landmarks.copy()
        displacement = self.displacement(t)
        if displacement is not None:
            moved += remap(displacement, at, cv2.BORDER_REPLICATE)[0]
        turned = self.turned(t)
        if turned is not None:
            moved += _coarsely(turned, moved[None])[0]
        matrix = self.head(t)
        return np.asarray(moved @ matrix[:, :2].T + matrix[:, 2], np.float64)

    def frame(self, i: int) -> Image:
        """Frame ``i``, BGR (height, width, 3) uint8; the same for any order of calls."""
        t = i / self.fps
        displacement = self.displacement(t)
        maps = self._placed(None if displacement is None else self._inverse(displacement), t)
        image = remap(self._looking(t), maps, cv2.BORDER_REFLECT_101)
        return self._sensor.seen(np.asarray(image, np.uint8), i, t)

    def _looking(self, t: float) -> Image:
        """The portrait, its eyes turned and closed lids drawn."""
        dx, dy = self.gaze(t)
        shut = self._muscles.shut(t)[0]
        if not (dx or dy or shut):
            return self._base
        image = self._base.copy()
        for eye in self._eyes:
            image[eye.window] = eye.turned(dx, dy, shut)
        return image

    def _placed(self, source: Field | None, t: float) -> Field:
        """``source`` (None: the face at rest) seen where the head stands."""
        size = (self.scene.width, self.scene.height)
        matrix, turned = self.head(t), self.turned(t)
        if turned is None:
            flat = self._fine if source is None else source
            return np.asarray(
                cv2.warpAffine(
                    flat, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                ),
                np.float32,
            )
        back = cv2.invertAffineTransform(matrix)
        nodes = np.asarray(cv2.transform(self._nodes(), back), np.float32)
        off = -_coarsely(turned, nodes)
        for _ in range(3):
            off = -_coarsely(turned, nodes + off)
        large = cv2.resize(
            off, (_STEP * off.shape[1], _STEP * off.shape[0]), interpolation=cv2.INTER_CUBIC
        )
        cut = large[_STEP : _STEP + size[1], _STEP : _STEP + size[0]]
        maps = np.asarray(cv2.add(cv2.transform(self._grid, back), cut), np.float32)
        if source is None:
            return np.asarray(FINE * maps + np.float32((FINE - 1) / 2), np.float32)
        return np.asarray(remap(source, maps, cv2.BORDER_REPLICATE), np.float32)

    def _inverse(self, displacement: Field) -> Field:
        """Where each pixel of the moved face comes from, px of the fine portrait."""
        first = cv2.subtract(self._grid, displacement)
        again = remap(displacement, np.asarray(first, np.float32), cv2.BORDER_REPLICATE)
        return np.asarray(cv2.scaleAdd(again, -float(FINE), self._fine), np.float32)

    def schedule(self) -> list[Delivered]:
        """What arrives of the nominal frames: some are dropped, some show the one before."""
        return schedule(self.scene)

    def truth(self) -> list[TrueExpression]:
        """The scene's expressions in nominal frames."""
        return truth(self.scene)


def _coarsely(coarse: Field, at: npt.NDArray[Any]) -> Field:
    """``coarse``, given on ``_nodes``, at px ``at``."""
    nodes = np.asarray((at - (_STEP - 1) / 2) / _STEP + 1, np.float32)
    return np.asarray(remap(coarse, nodes, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC), np.float32)


def _turns(scene: Scene) -> bool:
    head = scene.head
    return bool(head.yaw_deg or head.pitch_deg or any(e.axis != "roll" for e in head.episodes))
