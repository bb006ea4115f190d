"""Light on the face and the camera that sees it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.synthesis.arrays import Image, Points
from models.synthesis.script import Scene, step

_NOISE_FRAMES = 8
_NOISE_MARGIN = 32  # a noise frame is a window of a larger one
_DRIFT_S = 9.0
_COARSE = 8
_SWING = 0.9  # the shadow's edge swings so many eye distances to either side
_SOFT = 0.35  # and is so many eye distances wide
_TURN = 0.37  # its direction turns so many times slower


class Sensor:
    """What the camera makes of a picture.

    Args:
        scene: light, noise and compression.
        phase: of the slow brightness drift.
        centre: of the face, px.
        d: eye distance, px.
    """

    def __init__(self, scene: Scene, phase: float, centre: Points, d: float) -> None:
        self._scene = scene
        self._phase = phase
        self._centre = centre
        self._d = d
        self._phases = np.random.default_rng([scene.seed, 7]).uniform(0, 2 * np.pi, 3)
        self._noise = _noise(scene)
        xs = (np.arange(0, scene.width, _COARSE) + (_COARSE - 1) / 2).astype(np.float32)
        ys = (np.arange(0, scene.height, _COARSE) + (_COARSE - 1) / 2).astype(np.float32)
        self._nodes = np.meshgrid(xs, ys)

    def gain(self, t: float) -> float | npt.NDArray[np.float32]:
        """Brightness at ``t`` seconds: one number, or one per pixel, (h, w)."""
        scene, light = self._scene, self._scene.lighting
        gain = float(1 + scene.light * np.sin(2 * np.pi * t / _DRIFT_S + self._phase))
        gain *= self._exposure(t)
        if light.flicker and not light.readout_s:
            gain *= float(1 + light.flicker * np.sin(self._flicker(t)))
        if not light.local and not (light.flicker and light.readout_s):
            return gain
        size = (scene.width, scene.height)
        every = np.full(size[::-1], gain, np.float32)
        if light.local:
            coarse = np.asarray(self._shadow(t), np.float32)
            larger = (coarse.shape[1] * _COARSE, coarse.shape[0] * _COARSE)
            every *= cv2.resize(coarse, larger)[: size[1], : size[0]]
        if light.flicker and light.readout_s:
            rows = t + light.readout_s * np.arange(scene.height) / scene.height
            every *= (1 + light.flicker * np.sin(self._flicker(rows))).astype(np.float32)[:, None]
        return every

    def seen(self, image: Image, i: int, t: float) -> Image:
        """``image`` as frame ``i`` at ``t`` seconds."""
        gain: Any = self.gain(t)
        rng = np.random.default_rng([self._scene.seed, 2, i])
        y, x = rng.integers(_NOISE_MARGIN, size=2)
        noise = self._noise[rng.integers(_NOISE_FRAMES)][y:, x:]
        noise = noise[: self._scene.height, : self._scene.width]
        if not isinstance(gain, float):
            image = np.asarray(
                cv2.multiply(image, cv2.merge([gain, gain, gain]), dtype=cv2.CV_8U), np.uint8
            )
            gain = 1.0
        image = np.asarray(cv2.addWeighted(image, gain, noise, 1.0, -128.0), np.uint8)
        if self._scene.jpeg_quality is None:
            return image
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._scene.jpeg_quality]
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), np.uint8)

    def _flicker(self, t: Any) -> Any:
        return 2 * np.pi * self._scene.lighting.flicker_hz * t + self._phases[0]

    def _exposure(self, t: float) -> float:
        gain = 1.0
        for start, target in self._scene.lighting.exposures:
            gain += (target - gain) * float(step((t - start) / self._scene.lighting.exposure_s))
        return gain

    def _shadow(self, t: float) -> Any:
        light = self._scene.lighting
        swing = 2 * np.pi * t / light.local_period_s
        turned = _TURN * swing + self._phases[1]
        xs, ys = self._nodes[0] - self._centre[0], self._nodes[1] - self._centre[1]
        across = (np.cos(turned) * xs + np.sin(turned) * ys) / self._d
        edge = _SWING * np.sin(swing + self._phases[2])
        return 1 + light.local * np.tanh((across - edge) / _SOFT)


def _noise(scene: Scene) -> Image:
    """Sensor noise, whole grey levels around 128, larger than the frame by a margin."""
    rng = np.random.default_rng([scene.seed, 1])
    shape = (_NOISE_FRAMES, scene.height + _NOISE_MARGIN, scene.width + _NOISE_MARGIN, 3)
    noise = 128.5 + scene.noise * rng.standard_normal(shape, np.float32)
    return np.clip(noise, 0, 255).astype(np.uint8)
