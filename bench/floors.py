"""What each stage must at least spend on a frame, and what it spends.

Bytes and operations are counted from sizes alone (``docs/performance.md`` says how), and set
against what one thread of this machine moves and computes in the same run. A floor is the
longer of the two times. Decoding and landmarks are libraries': their floor is the library's
own bare call. Reached is the time inside the stage, inline, one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numba import njit

from bench.clip import clip
from bench.figures import Figure
from bench.report import Result, rounded
from models.prototypes import load_default
from pipeline.build import build, limit_threads
from pipeline.config import load
from pipeline.routing import step
from pipeline.sources import open_source
from pipeline.wire import decode, encode
from stages.items import Face, Frame
from stages.landmarks import FaceMeshLandmarker
from stages.motion import EYE_SIZE, MOUTH_SIZE
from stages.pooling import LENGTH

_WIDTH, _HEIGHT = 640, 480
_PIXELS = EYE_SIZE[0] * EYE_SIZE[1] + MOUTH_SIZE[0] * MOUTH_SIZE[1]
_FLOW_SHARE = 0.25  # of those pixels at half size
_PYRAMID = 1 + 1 / 4 + 1 / 16  # all scales of it
_TAPS, _ITERATIONS = 7, 2  # radius 3; iterations at each scale
# a pixel of one scale, by the equations of Farnebäck (2003), separable:
_EXPANSION = (3 + 6) * (2 * (_TAPS // 2 + 1) + _TAPS // 2) + 10  # 3 sums down, 6 across
_UPDATE = 8 + 5 * 7 + 25  # where to look, 5 interpolated coefficients, 5 products and sums
_BLUR_AND_SOLVE = 5 * 4 + 12  # running sums of 5 products in rows and columns; a 2×2 system
_EXPANSION_BYTES = 4 * (1 + 5)
_UPDATE_BYTES = 4 * (5 + 5 + 2 + 5)
_SOLVE_BYTES = 4 * (5 + 2)
_LENGTH_S = 6.0
_COLD = 10  # frames before everything is warm
_FMA_LANES, _FMA_CHAINS = 16, 16


@dataclass(frozen=True)
class Need:
    """Bytes moved and operations (a multiply or an add each) of one stage on one frame."""

    stage: str
    what: str
    bytes: float
    operations: float


def needs(basis: int) -> list[Need]:
    """By counting; ``basis`` is the number of projections of the joint model."""
    small = _PIXELS * _FLOW_SHARE
    scales = small * _PYRAMID
    return [
        Need("crops", "read once, interpolate twice, write", 5 * _PIXELS, 12 * _PIXELS),
        Need("half size", "read, average four, write", _PIXELS * 1.25, _PIXELS),
        Need("expansion", "one image, all scales", _EXPANSION_BYTES * scales, _EXPANSION * scales),
        Need(
            "update",
            f"{_ITERATIONS} iterations, all scales",
            _ITERATIONS * _UPDATE_BYTES * scales,
            _ITERATIONS * _UPDATE * scales,
        ),
        Need(
            "blur and solve",
            f"{_ITERATIONS} iterations, all scales",
            _ITERATIONS * _SOLVE_BYTES * scales,
            _ITERATIONS * _BLUR_AND_SOLVE * scales,
        ),
        Need(
            "matching",
            "pool, then project on the basis",
            4 * (2 * small + basis * LENGTH),
            2 * small + 2 * basis * LENGTH,
        ),
        Need("messages", "frame and crops handed on, copied once", 3 * _WIDTH * _HEIGHT, 0),
    ]


@njit(fastmath=True)
def _fma(values: Any, rounds: int) -> float:
    """Multiply-adds on an array that stays in the first cache."""
    for _ in range(rounds):
        for i in range(values.shape[0]):
            values[i] = values[i] * np.float32(0.999) + np.float32(0.001)
    return float(values[0])


def rates(repeat: int = 5) -> tuple[float, float]:
    """(bytes a second, operations a second) of one thread: copying, and multiply-adds."""
    source = np.zeros(64_000_000, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    moved = (
        2 * source.nbytes / min(_taken(lambda: np.copyto(target, source)) for _ in range(repeat))
    )
    values = np.ones(_FMA_LANES * _FMA_CHAINS, np.float32)
    _fma(values, 1)
    rounds = 20_000
    done = min(_taken(lambda: _fma(values, rounds)) for _ in range(repeat))
    return moved, 2 * rounds * len(values) / done


def _taken(run: Callable[..., Any], *given: Any) -> float:
    begin = time.perf_counter()
    run(*given)
    return time.perf_counter() - begin


def measure(source: Path | None = None, seconds: float = _LENGTH_S) -> list[Result]:
    """The count, and floor against reached."""
    limit_threads()
    path = clip(source, seconds)
    joint = load_default().joint
    assert joint is not None
    counted = needs(joint.size)
    speed, reckoned = rates()
    floors = {one.stage: 1e3 * max(one.bytes / speed, one.operations / reckoned) for one in counted}
    count = Result("counted: one frame, both crops", ["stage", "what", "kB", "Mop", "floor ms"])
    for one in counted:
        cells = [rounded(one.bytes / 1e3), rounded(one.operations / 1e6)]
        count.add([one.stage, one.what, *cells, rounded(floors[one.stage])])
    count.notes.append(
        f"one thread here copies {speed / 1e9:.1f} GB/s (read and write) and does "
        f"{reckoned / 1e9:.1f} Gop/s of float32"
    )
    return [count, _gaps(path, floors)]


def _gaps(path: Path, floors: dict[str, float]) -> Result:
    """Floor, reached and gap by stage."""
    reached, landmarks = _reached(path)
    flow = sum(floors[name] for name in ("half size", "expansion", "update", "blur and solve"))
    rows = {
        "decode": (min(_bare_decoding(path) for _ in range(3)), "FFmpeg alone, no conversion"),
        "face": (landmarks + floors["crops"], "FaceMesh's call alone, each frame; crops counted"),
        "motion": (flow + floors["matching"], "flow and matching, counted"),
        "spot": (0.0, "some thousand operations"),
        "messages": (floors["messages"], "one copy"),
    }
    result = Result("floor and reached, ms a frame", ["stage", "floor", "reached", "x", "floor is"])
    for name, (floor, why) in rows.items():
        spent = typical(reached[name])
        figure = Figure(f"floors.{name}.reached_ms", spent, "ms")
        times = rounded(spent / floor) if floor else "-"
        result.add([name, rounded(floor), rounded(spent), times, why], figure)
    total = sum(floor for floor, _ in rows.values())
    spent = sum(typical(reached[name]) for name in rows)
    result.add(
        ["all", rounded(total), rounded(spent), rounded(spent / total), ""],
        Figure("floors.all.reached_ms", spent, "ms"),
    )
    result.notes.append(
        "means without the slowest hundredth, inline, one thread (decoding ahead has threads of "
        "its own, so what is waited for may be less than its floor). messages: encoding and "
        "decoding of a frame and a face. Where a stage leaves work out (landmarks below the frame "
        "rate), reached may be below the floor."
    )
    return result


def typical(times: list[float]) -> float:
    """The mean of a frame's times once everything is warm, without the slowest hundredth.

    Not the median: a stage may do its work on every other frame only.
    """
    warm = np.sort(times[min(_COLD, len(times) // 2) :])
    return float(warm[: max(1, math.ceil(0.99 * len(warm)))].mean())


def _bare_decoding(path: Path) -> float:
    """Mean ms of a decoded frame that nobody looks at, one thread."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        begin, count = time.perf_counter(), 0
        for _ in container.decode(stream):
            count += 1
        return 1e3 * (time.perf_counter() - begin) / max(count, 1)


def _reached(path: Path) -> tuple[dict[str, list[float]], float]:
    """ms by stage for every frame, and the bare landmarker's ms."""
    config = load(source=str(path), fps="max", model=[])
    stages = {name: build(name, config) for name in ("face", "motion", "spot")}
    bare = FaceMeshLandmarker(max_faces=1)
    times: dict[str, list[float]] = {name: [] for name in ("decode", *stages, "messages")}
    landmarks = []
    # within one window: strides are answered by nobody here
    frames = open_source(str(path), fps="max", duration_s=_LENGTH_S).frames()
    while True:
        begin = time.perf_counter()
        frame = next(frames, None)
        if frame is None:
            break
        times["decode"].append(1e3 * (time.perf_counter() - begin))
        landmarks.append(1e3 * _taken(bare.detect, frame.image, frame.stamp.pts))
        _through(frame, stages, times)
    bare.close()
    return times, typical(landmarks)


def _through(frame: Frame, stages: dict[str, Any], times: dict[str, list[float]]) -> None:
    """One frame through the stages; strides are left out, as they cost at windows' ends alone."""
    items: list[Any] = [frame]
    for name, stage in stages.items():
        begin = time.perf_counter()
        items = [made for item in items for made in step(name, stage, item)]
        times[name].append(1e3 * (time.perf_counter() - begin))
        if name == "face":
            wire = [frame, *(item for item in items if isinstance(item, Face))]
            times["messages"].append(1e3 * _taken(_carried, wire))


def _carried(items: list[Any]) -> None:
    for item in items:
        decode([bytes(part) for part in encode(item)])
