"""Farnebäck of both crops: OpenCV, ours exact, ours fast; one thread, one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from bench import agreement
from bench.figures import Aim, Figure, of_runs, ratios
from bench.report import Result, rounded, spread_cells
from models.errors import UserError
from models.synthesis import SyntheticFace, demo_scene
from pipeline.build import limit_threads
from stages.flow import Preset, WindowFlow
from stages.items import Grey
from stages.landmarks import FaceMeshLandmarker
from stages.motion import EYE_SIZE, MOUTH_SIZE
from stages.region import crop_regions

Crops = list[tuple[Grey, Grey]]
OPENCV = (0.5, 3, 15, 3, 5, 1.2, 0)
AIMS = {"exact": Aim(">=", 2), "fast": Aim(">=", 20)}
_PARITY_PX = 0.001  # mean difference that still counts as OpenCV's result
_FIRST = 45  # the demonstration's first expression begins soon after


def crops(count: int) -> Crops:
    """Eye and mouth crops of so many frames of the synthetic camera, an expression among them."""
    face = SyntheticFace(demo_scene(duration_s=20, seed=11))
    landmarker = FaceMeshLandmarker(max_faces=1)
    made = []
    for i in range(_FIRST, _FIRST + count):
        image = face.frame(i)
        made.append(crop_regions(image, landmarker.detect(image, i / face.fps)[0]))
    landmarker.close()
    return made


def opencv(given: Crops) -> None:
    """Every frame against the first, both crops."""
    for eye, mouth in given[1:]:
        for reference, image in ((given[0][0], eye), (given[0][1], mouth)):
            cv2.calcOpticalFlowFarneback(reference, image, None, *OPENCV)


def ours(preset: Preset) -> Callable[[Crops], None]:
    """The same by ``stages.flow``, the reference's share included."""
    eye_flow, mouth_flow = WindowFlow(EYE_SIZE, preset), WindowFlow(MOUTH_SIZE, preset)

    def run(given: Crops) -> None:
        eye_flow.set_reference(given[0][0])
        mouth_flow.set_reference(given[0][1])
        for eye, mouth in given[1:]:
            eye_flow.flow(eye)
            mouth_flow.flow(mouth)

    return run


def measure(count: int = 60, repeat: int = 7, windows: int = 48) -> list[Result]:
    """Milliseconds for both crops of a frame against OpenCV; parity; agreement of curves.

    Raises:
        UserError: fewer than two frames, no run, or a negative number of windows.
    """
    if count < 2 or repeat < 1 or windows < 0:
        raise UserError("flow: --frames at least 2, --repeat at least 1, --windows 0 or more")
    limit_threads()
    given = crops(count)
    tables = [_speed(given, repeat), _parity(given)]
    return [*tables, agreement.measure(windows)] if windows else tables


def _speed(given: Crops, repeat: int) -> Result:
    runners = {"OpenCV": opencv, "exact": ours("exact"), "fast": ours("fast")}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run(given[:3])
    for _ in range(repeat):
        for name, run in runners.items():
            begin = time.perf_counter()
            run(given)
            times[name].append((time.perf_counter() - begin) * 1e3 / (len(given) - 1))
    table = Result("flow of both crops, ms a frame", ["flow", "median", "min", "max", "x OpenCV"])
    for name, values in times.items():
        taken = of_runs(f"flow.{name.lower()}.ms", values, "ms")
        faster: list[Figure] = []
        if name in AIMS:
            more: dict[str, Any] = {"larger_is_better": True, "portable": True, "aim": AIMS[name]}
            faster = [of_runs(f"flow.{name}.x_opencv", ratios(times["OpenCV"], values), **more)]
        ratio = rounded(faster[0].value) if faster else 1
        table.add([name, *spread_cells(taken), ratio], taken, *faster)
    table.notes.append(
        f"{len(given)} synthetic frames against the first, {repeat} runs in turn, one thread; "
        "x OpenCV: median of the runs' ratios"
    )
    return table


def _parity(given: Crops) -> Result:
    """How far ``exact`` is from OpenCV."""
    errors = []
    for region, size in ((0, EYE_SIZE), (1, MOUTH_SIZE)):
        engine = WindowFlow(size, "exact")
        reference = given[0][region]
        engine.set_reference(reference)
        for pair in given[1 :: max(1, len(given) // 10)]:
            want = cv2.calcOpticalFlowFarneback(reference, pair[region], None, *OPENCV)
            errors.append(np.hypot(*np.moveaxis(engine.flow(pair[region]) - want, 2, 0)).ravel())
    error = np.concatenate(errors)
    mean, most = float(error.mean()), float(np.percentile(error, 99.9))
    table = Result("exact against OpenCV, px", ["", "mean", "99.9 % of pixels below"])
    figure = Figure("flow.exact.parity_px", mean, "px", portable=True, aim=Aim("<=", _PARITY_PX))
    table.add(["difference", f"{mean:.2g}", f"{most:.2g}"], figure)
    return table
