"""What reading an event costs: latency by part and model, throughput by batch size."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import of_items, of_runs
from bench.report import Cell, Result
from models.errors import GpuError, UserError
from models.onnx_session import Compute
from models.recogniser import Recogniser
from models.synthesis import SyntheticFace, demo_scene
from pipeline.build import limit_threads, recognisers
from pipeline.config import load
from stages.alignment import Alignment
from stages.items import Evidence, Grey
from stages.landmarks import FaceMeshLandmarker
from stages.magnify import FlowWarpMagnifier
from stages.prepare import prepare
from stages.region import crop_face, crop_whole
from stages.score import Scorer

_REPEATS = 5  # runs of one batch size, of which the median counts


def numbers(name: str, text: str) -> list[int]:
    """Whole numbers above 0 between commas.

    Raises:
        UserError: something else; the message names the option.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 1024 for part in parts):
        raise UserError(f"--{name} {text}: whole numbers from 1 to 1024, with commas")
    return [int(part) for part in parts]


def key_frames() -> list[Evidence]:
    """Crops of the synthetic camera's expressions."""
    scene = demo_scene(duration_s=20.0, seed=11)
    face = SyntheticFace(scene)
    landmarker = FaceMeshLandmarker(max_faces=1)
    made = []
    for one in scene.expressions:
        align = Alignment()
        eyes: list[Grey] = []
        wholes: list[Grey] = []
        for moment in (one.onset_s, one.apex_s, one.offset_s):
            image = face.frame(round(moment * face.fps))
            frame = align(landmarker.detect(image, moment)[0], moment)
            eyes += crop_face(image, frame)
            wholes.append(crop_whole(image, frame))
        made.append(Evidence(*eyes, *wholes))
    landmarker.close()
    return made


def _timed(run: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """What ``run`` gives, and the milliseconds that it took."""
    begin = time.perf_counter()
    made = run(*given)
    return made, (time.perf_counter() - begin) * 1e3


def _pair(samples: Sequence[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in np.percentile(samples, [50, 95]))


def _devices(paths: Sequence[Path], threads: Sequence[int]) -> tuple[dict[str, Compute], str]:
    """Where it can be measured, and why not on CUDA."""
    found = {f"CPU, {n} thread{'s' * (n > 1)}": Compute(threads=n, cpu=True) for n in threads}
    try:
        Recogniser(paths[0], Compute(require_gpu=True))
    except GpuError as error:
        return found, f"not measured on a GPU: {error}"
    return found | {"CUDA": Compute(require_gpu=True)}, ""


def _key(*names: str) -> str:
    """A figure's key; what is no letter or figure becomes one underscore."""
    return ".".join(["recognition", *(re.sub(r"[^a-z0-9]+", "_", n.lower()) for n in names)])


def _latency(
    table: Result, loaded: Sequence[Recogniser], events: Sequence[Evidence], count: int, on: str
) -> None:
    magnifier = FlowWarpMagnifier()
    together = Scorer(loaded, magnifier)
    together.warm_up()
    preparation: dict[str, list[float]] = {one.card.label: [] for one in loaded}
    network: dict[str, list[float]] = {one.card.label: [] for one in loaded}
    whole: list[float] = []
    for i in range(count):
        crops = events[i % len(events)]
        for one in loaded:
            tensors, taken = _timed(prepare, one.inputs, crops, magnifier)
            preparation[one.card.label].append(taken)
            network[one.card.label].append(_timed(one.score_batch, [tensors])[1])
        whole.append(_timed(together.score, [crops])[1])
    for name in preparation:
        total = [a + b for a, b in zip(preparation[name], network[name], strict=True)]
        cells = [_pair(taken) for taken in (preparation[name], network[name], total)]
        figure = of_items(_key("latency", on, name), total, "ms")
        table.add([name, on, *cells, count], figure)
    if len(loaded) > 1:
        figure = of_items(_key("latency", on, "all together"), whole, "ms")
        table.add(["all together", on, "", "", _pair(whole), count], figure)


def _throughput(
    table: Result, one: Recogniser, events: Sequence[Evidence], batches: Sequence[int], on: str
) -> None:
    magnifier = FlowWarpMagnifier()
    ready = [prepare(one.inputs, crops, magnifier) for crops in events]
    row: list[Cell] = [one.card.label + ("" if one.batched else " (fixed batch)"), on]
    figures = []
    for size in batches:
        batch = [ready[i % len(ready)] for i in range(size)]
        one.score_batch(batch)
        rates = [size / _timed(one.score_batch, batch)[1] * 1e3 for _ in range(_REPEATS)]
        key = _key("throughput", on, one.card.label, f"batch{size}")
        figures.append(of_runs(key, rates, "events/s", larger_is_better=True))
        row.append(round(figures[-1].value, 1))
    table.add(row, *figures)


def measure(
    models: Sequence[Path] | None,
    count: int,
    threads: Sequence[int],
    batches: Sequence[int],
) -> list[Result]:
    """Latency and throughput of ``models``, else of the shipped recognisers.

    Raises:
        UserError: there is no recogniser, or nothing to count.
    """
    limit_threads()
    paths = list(models) if models else recognisers(load())
    if not paths:
        raise UserError("no recogniser is shipped here; give --model FILE.onnx")
    if count < 1:
        raise UserError(f"--events {count}: at least 1")
    devices, why = _devices(paths, threads)
    events = key_frames()
    latency = Result(
        "latency of one event, ms, p50 / p95",
        ["model", "on", "preparation", "network", "total", "n"],
    )
    throughput = Result("events a second by batch size", ["model", "on", *map(str, batches)])
    for device, compute in devices.items():
        loaded = [Recogniser(path, compute) for path in paths]
        _latency(latency, loaded, events, count, device)
        for one in loaded:
            _throughput(throughput, one, events, batches, device)
    trained = {f"{one.card.label}: trained on {one.card.training}" for one in loaded}
    latency.notes += [*sorted(trained), *([why] if why else [])]
    return [latency, throughput]
