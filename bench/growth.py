"""How cost grows: with frame rate, image size, faces, AUs and cameras; a curve each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import camera, process
from bench.camera import Camera, Run, Watched
from bench.cameras import films
from bench.clip import encode, folder, images, rendered, scene
from bench.figures import Figure, of_items
from bench.replay import KEPT_UP_MS, WARM_UP_S, check
from bench.report import Result, rounded, say
from models.joint import BLINK, JointModel
from models.prototypes import PrototypeSet, load_default

RATES = (15.0, 30.0, 60.0, 120.0, 200.0)
SIZES = ((320, 240), (640, 480), (960, 720), (1280, 960))
FACES = (1, 2, 3, 4)
CAMERAS = (1, 2, 4, 6)
_FPS = 30.0
_LEAST_S = 3.0


@dataclass(frozen=True)
class Point:
    """What one setting costs.

    Attributes:
        x: the setting, in the dimension's unit.
        label: the same in words.
        cpu_ms: processor time a frame, ms.
        p50_ms: capture to curves at a subscriber, ms; None when none came.
        kept_up: no frame was captured more than 100 ms late.
    """

    x: float
    label: str
    cpu_ms: float
    p50_ms: float | None
    kept_up: bool


@dataclass(frozen=True)
class Dimension:
    """One curve: its name, the unit of x, and its points."""

    key: str
    name: str
    unit: str
    points: list[Point]

    def slope(self) -> float:
        """Least-squares slope of the processor time a frame, ms per unit; nan of one point."""
        return _slope([(p.x, p.cpu_ms) for p in self.points])

    def slope_p50(self) -> float:
        """The same of the latency, over the points that kept up."""
        held = [(p.x, p.p50_ms) for p in self.points if p.kept_up and p.p50_ms is not None]
        return _slope(held)


def _slope(pairs: Sequence[tuple[float, float]]) -> float:
    known = [(x, y) for x, y in pairs if math.isfinite(y)]
    if len({x for x, _ in known}) < 2:
        return math.nan
    xs, ys = zip(*known, strict=True)
    return float(np.polyfit(xs, ys, 1)[0])


def measure(seconds: float, plot: Path | None, short: bool = False) -> list[Result]:
    """Every dimension, each point a run of ``seconds`` in real time, without recognisers.

    Args:
        seconds: of each point.
        plot: PNG file for the curves; None: no picture.
        short: the ends and the middle of each dimension alone.

    Raises:
        UserError: ``seconds`` is out of range, or there is no ``/proc``.
    """
    check(seconds, _LEAST_S)
    process.check()
    made = [make(seconds, short) for make in (_rates, _sizes, _faces, _aus, _cameras)]
    if plot is not None:
        draw(made, plot)
    return tables(made, seconds)


def _chosen(values: Sequence[Any], short: bool) -> Sequence[Any]:
    return [values[0], values[len(values) // 2], values[-1]] if short else values


def _rates(seconds: float, short: bool) -> Dimension:
    points = [
        _point(
            fps,
            f"{fps:g} fps",
            [Camera(rendered(scene(seconds, fps)), fps, False)],
            fps,
        )
        for fps in _chosen(RATES, short)
    ]
    return Dimension("rate", "frame rate", "fps", points)


def _sizes(seconds: float, short: bool) -> Dimension:
    points = []
    for size in _chosen(SIZES, short):
        path = folder() / f"size{size[0]}-{seconds:g}.mp4"
        _composed(path, seconds, partial(_resized, size=size))
        label = f"{size[0]}×{size[1]}"
        points.append(_point(size[0] * size[1] / 1e6, label, [Camera(path, _FPS, False)], _FPS))
    return Dimension("size", "image size", "megapixel", points)


def _faces(seconds: float, short: bool) -> Dimension:
    points = []
    for count in _chosen(FACES, short):
        path = folder() / f"faces{count}-{seconds:g}.mp4"
        _composed(path, seconds, partial(tiled, count=count))
        one = Camera(path, _FPS, False, {"faces": count})
        points.append(_point(count, str(count), [one], _FPS))
    return Dimension("faces", "faces", "face", points)


def _aus(seconds: float, short: bool) -> Dimension:
    known = load_default()
    assert known.joint is not None
    every = [au for au in known.joint.aus if au != BLINK]
    counts = _chosen((1, 4, 8, 12, len(every)), short)
    path = rendered(scene(seconds, _FPS))
    points = []
    for count in counts:
        # those of the prototypes first, so that both the curves and the mixture shrink
        ordered = sorted(every, key=lambda au: au not in known.aus)
        file = folder() / f"aus{count}.npz"
        subset(known, ordered[:count]).save(file)
        one = Camera(path, _FPS, False, {"motion": {"prototypes": str(file)}})
        points.append(_point(count, str(count), [one], _FPS))
    return Dimension("aus", "AUs known", "AU", points)


def _cameras(seconds: float, short: bool) -> Dimension:
    points = []
    for count in _chosen(CAMERAS, short):
        given = [replace(one, models=False) for one in films(count, seconds)]
        points.append(_point(count, str(count), given, _FPS, apart=True))
    return Dimension("cameras", "cameras", "camera", points)


def subset(known: PrototypeSet, aus: Sequence[int]) -> PrototypeSet:
    """The set with these AUs and the blink; the joint model's basis stays as it is."""
    joint = known.joint
    assert joint is not None
    rows = tuple(row for row in joint.rows if row[0] in aus or row[0] == BLINK)
    numbers = [joint.rows.index(row) for row in rows]
    smaller = JointModel(
        rows,
        joint.eye_length,
        joint.basis,
        joint.responses[numbers],
        joint.noise,
        {au: joint.mismatch[au] for au in dict.fromkeys(au for au, _ in rows)},
    )
    kept = tuple(p for p in known.prototypes if p.au in aus) or known.prototypes[:1]
    return replace(known, prototypes=kept, joint=smaller)


def _composed(path: Path, seconds: float, change: Callable[[Any], Any]) -> None:
    """The synthetic camera's frames, each changed, as a file."""
    if not path.exists():
        encode(path, map(change, images(scene(seconds, _FPS))), _FPS)


def _resized(image: Any, size: tuple[int, int]) -> Any:
    import cv2

    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def tiled(image: Any, count: int) -> Any:
    """Two by two pictures, ``count`` of them the face and the rest grey."""
    blank = np.full_like(image, 128)
    parts = [image if i < count else blank for i in range(4)]
    return np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])


def _point(
    x: float, label: str, cameras: Sequence[Camera], fps: float, apart: bool = False
) -> Point:
    say(f"growth: {label}")
    runs, watched = (camera.apart if apart else camera.together)(cameras, every_s=0.5)
    return point(x, label, runs, watched, fps)


def point(x: float, label: str, runs: Sequence[Run], watched: Watched, fps: float) -> Point:
    """What the runs of one setting cost."""
    ages = [age for run in runs for age in run.heard.ages_ms(WARM_UP_S)]
    lates = [late for run in runs for late in run.heard.late_ms(fps, WARM_UP_S)]
    p50 = of_items("", ages, "ms")
    rate = sum(_captured_a_second(run) for run in runs)
    cpu_ms = 1e3 * watched.cores / rate if rate else float("nan")
    kept_up = bool(lates) and max(lates) <= KEPT_UP_MS
    return Point(x, label, cpu_ms, None if p50 is None else p50.value, kept_up)


def _captured_a_second(run: Run) -> float:
    heard = run.heard
    if len(heard.frames) < 2:
        return 0.0
    taken = (heard.captured_ns[-1] - heard.captured_ns[0]) / 1e9
    return (heard.frames[-1] - heard.frames[0]) / taken


def tables(made: Sequence[Dimension], seconds: float) -> list[Result]:
    """The slopes, and every point."""
    slopes = Result(
        "how cost grows", ["with", "processor, ms a frame, per unit", "p50 latency, ms, per unit"]
    )
    points = Result("every point", ["", "", "processor, ms a frame", "p50 latency, ms", "kept up"])
    for one in made:
        figure = Figure(f"growth.{one.key}.slope_ms", one.slope(), f"ms/{one.unit}")
        cells = [f"{rounded(one.slope()):g}", f"{rounded(one.slope_p50()):g}"]
        slopes.add([f"{one.name} (per {one.unit})", *cells], figure)
        for p in one.points:
            cost = Figure(f"growth.{one.key}.{p.x:g}.cpu_ms", p.cpu_ms, "ms")
            age = "-" if p.p50_ms is None else rounded(p.p50_ms)
            kept_up = "yes" if p.kept_up else "no"
            points.add([one.name, p.label, rounded(p.cpu_ms), age, kept_up], cost)
    slopes.notes.append(
        "least squares; latency over the points that kept up (no frame captured more than "
        f"{KEPT_UP_MS:g} ms late), nan where fewer than two did"
    )
    points.notes.append(
        f"{seconds:g} s of synthetic video each, without recognisers; processor time of the whole "
        "process by frames captured. Sizes: one picture enlarged. Faces: two by two pictures, "
        "1280×960. AUs: the joint model's basis stays, its rows and detectors shrink. Cameras: a "
        "process each."
    )
    return [slopes, points]


def draw(made: Sequence[Dimension], path: Path) -> None:
    """One panel a dimension: processor time a frame, and latency.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure as Picture

    from models.errors import UserError

    picture = Picture(figsize=(11, 5.2), layout="constrained")
    panels = picture.subplots(2, 3).ravel()
    for axes, one in zip(panels, made, strict=False):
        xs = [p.x for p in one.points]
        axes.plot(xs, [p.cpu_ms for p in one.points], "o-", color="#1f5fa8", label="processor")
        ages = [(p.x, p.p50_ms) for p in one.points if p.p50_ms is not None and p.kept_up]
        axes.plot(*zip(*ages, strict=True) if ages else ([], []), "s--", color="#c4622d",
                  label="p50 latency, kept up")  # fmt: skip
        axes.set_xlabel(one.unit)
        ys = [*(p.cpu_ms for p in one.points), *(y for _, y in ages)]
        axes.set_ylim(0, 1.15 * max(filter(math.isfinite, ys), default=1.0))
        axes.set_title(f"{one.name}: {one.slope():+.3g} ms a frame per {one.unit}", fontsize=9)
    panels[0].set_ylabel("ms")
    panels[3].set_ylabel("ms")
    panels[0].legend(fontsize=8)
    for axes in panels[len(made) :]:
        axes.set_axis_off()
    try:
        picture.savefig(path, dpi=80)
    except OSError as error:
        raise UserError(f"--plot {path}: cannot be written: {error.strerror}") from None
