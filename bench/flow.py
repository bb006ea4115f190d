"""Farnebäck of both crops: OpenCV, ours exact, ours fast; one thread, one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from bench.report import Result
from models.synthesis import SyntheticFace, demo_scene
from pipeline.build import limit_threads
from stages.flow import WindowFlow
from stages.items import Grey
from stages.landmarks import FaceMeshLandmarker
from stages.motion import EYE_SIZE, MOUTH_SIZE
from stages.region import crop_regions


def _crops(count: int) -> list[tuple[Grey, Grey]]:
    face = SyntheticFace(demo_scene(duration_s=20, seed=11))
    landmarker = FaceMeshLandmarker(max_faces=1)
    crops = []
    for i in range(count):
        image = face.frame(i)
        crops.append(crop_regions(image, landmarker.detect(image, i / face.fps)[0]))
    return crops


def _opencv(crops: list[tuple[Grey, Grey]]) -> None:
    for eye, mouth in crops[1:]:
        for reference, image in ((crops[0][0], eye), (crops[0][1], mouth)):
            cv2.calcOpticalFlowFarneback(reference, image, None, 0.5, 3, 15, 3, 5, 1.2, 0)


def _ours(preset: str) -> Callable[[list[tuple[Grey, Grey]]], None]:
    eye_flow = WindowFlow(EYE_SIZE, preset)  # type: ignore[arg-type]
    mouth_flow = WindowFlow(MOUTH_SIZE, preset)  # type: ignore[arg-type]

    def run(crops: list[tuple[Grey, Grey]]) -> None:
        eye_flow.set_reference(crops[0][0])
        mouth_flow.set_reference(crops[0][1])
        for eye, mouth in crops[1:]:
            eye_flow.flow(eye)
            mouth_flow.flow(mouth)

    return run


def measure(count: int = 60, repeat: int = 5) -> list[Result]:
    """Milliseconds for both crops of a frame, and how many times faster than OpenCV."""
    limit_threads()
    crops = _crops(count)
    runners = {"OpenCV": _opencv, "exact": _ours("exact"), "fast": _ours("fast")}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run(crops[:3])
    for _ in range(repeat):
        for name, run in runners.items():
            begin = time.perf_counter()
            run(crops)
            times[name].append((time.perf_counter() - begin) * 1e3 / (count - 1))
    table = Result("flow of both crops, ms a frame", ["flow", "median", "min", "max", "x OpenCV"])
    for name, values in times.items():
        ratio = np.median(np.divide(times["OpenCV"], values))
        table.rows.append(
            [
                name,
                round(statistics.median(values), 2),
                round(min(values), 2),
                round(max(values), 2),
                round(float(ratio), 2),
            ]
        )
    return [table]
