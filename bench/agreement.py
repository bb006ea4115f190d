"""Do the curves of the fast flow tell what those of the exact flow tell?

Short synthetic windows that hold one expression each, and the windows of the demonstration,
go through the same face stage and then through both flows; the curves of every AU that moves
are correlated. ``paper``: matching indices of full-size prototypes (eq. 22); ``joint``: the
detection curves of the joint explanation, in the training faces' noise.

An AU *moves* when its exact curve rises by more than its threshold: below that no curve can
become a peak, and what it shows is noise, which the two flows need not share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.figures import Aim, Figure
from bench.report import Result, say
from models.joint import BLINK
from models.prototypes import PrototypeSet, load_default
from models.synthesis import (
    Expression,
    HeadMotion,
    Scene,
    SyntheticFace,
    demo_scene,
    load_portrait,
    portrait_names,
)
from stages.face import FaceStage
from stages.flow import Preset
from stages.items import Curves, Face, Frame, Stamp
from stages.joint import JointParams
from stages.landmarks import FaceMeshLandmarker
from stages.motion import Method, MotionStage
from stages.noise import Noise, NoiseParams

Array = npt.NDArray[np.float64]

LEAST_R = 0.995
_NAMES: dict[Method, str] = {"paper": "paper", "mespot": "joint"}
_AUS = ((1, 2), (4,), (12,), (15, 17), (4, 7), (6, 12), (14,), (1,), (2,), (7,), (15,), (17,))
_AMPLITUDES = (2.0, 1.2, 4.0, 6.0)  # px of the frame
_ONSET_S, _RISE_S, _FALL_S, _LENGTH_S = 0.3, 0.2, 0.25, 1.1
_MARGIN_S = 0.4  # around an expression of the demonstration
_TOLERANCE = 0.002
_TOLD = 5


@dataclass(frozen=True)
class Window:
    """Frames ``first`` to ``last`` of a scene; the first is the reference."""

    name: str
    scene: Scene
    portrait: str
    aus: tuple[int, ...]
    first: int
    last: int

    def frames(self) -> Iterator[Frame]:
        """Rendered one by one."""
        face = SyntheticFace(self.scene, load_portrait(self.portrait))
        for i in range(self.first, self.last):
            yield Frame(Stamp(self.name, i, i / face.fps, 0, 0), face.frame(i))


@dataclass(frozen=True)
class Pair:
    """One AU's curve by both flows; ``rise`` is the exact one's, in thresholds."""

    window: str
    au: int
    r: float
    rise: float


def windows(count: int) -> list[Window]:
    """The demonstration's, then ``count`` others: faces, AUs and amplitudes in turn."""
    demo = demo_scene(20.0, seed=11)
    made = []
    for e in demo.expressions:
        first = round((e.onset_s - _MARGIN_S) * demo.fps)
        last = round((e.offset_s + _MARGIN_S) * demo.fps)
        named = "+".join(map(str, e.aus))
        made.append(Window(f"demo AU {named}", demo, "biden", e.aus, first, last))
    faces = portrait_names()
    for k in range(count):
        aus, amplitude = _AUS[k % len(_AUS)], _AMPLITUDES[(k // 3) % len(_AMPLITUDES)]
        portrait = faces[(k + k // len(_AUS)) % len(faces)]
        scene = _scene(aus, amplitude, k)
        name = f"{portrait}/{k} AU {'+'.join(map(str, aus))} {amplitude:g} px"
        made.append(Window(name, scene, portrait, aus, 0, scene.n_frames))
    return made


def _scene(aus: tuple[int, ...], amplitude: float, number: int) -> Scene:
    apex = _ONSET_S + _RISE_S
    expression = Expression(_ONSET_S, apex, apex + _FALL_S, aus, amplitude)
    head = HeadMotion(shift_px=1.0, roll_deg=0.2, scale=0.002, period_s=7.0)
    plain = Scene(_LENGTH_S, (expression,), head=head, light=0.01, seed=number)
    return replace(plain, identity=number // 2)  # every other is another face of the portrait


def pairs(known: PrototypeSet, window: Window) -> dict[str, list[Pair]]:
    """By kind of curve, every AU of the window's expression that has one."""
    frames = list(window.frames())
    made = {}
    for method, name in _NAMES.items():
        faces = _faces(method, frames)
        thetas = _thetas(known, method)
        fast = _curves(known, method, "fast", faces)
        exact = _curves(known, method, "exact", faces)
        made[name] = [
            _pair(window.name, au, fast[:, column], exact[:, column], theta)
            for column, (au, theta) in enumerate(thetas.items())
            if au in window.aus
        ]
    return made


def _thetas(known: PrototypeSet, method: Method) -> dict[int, float]:
    """Threshold of each AU's curve, in the curves' order."""
    if method == "paper":
        return dict(zip(known.aus, known.thetas.tolist(), strict=True))
    assert known.joint is not None
    return {au: JointParams.theta for au in known.joint.aus if au != BLINK}


def _pair(window: str, au: int, fast: Array, exact: Array, theta: float) -> Pair:
    rise = float(exact.max() - exact[0]) / theta
    return Pair(window, au, pearson(fast, exact), rise)


def pearson(a: Array, b: Array) -> float:
    """Correlation; 0 where one of them does not move."""
    if len(a) < 2 or not (np.std(a) > 0 and np.std(b) > 0):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _faces(method: Method, frames: Sequence[Frame]) -> list[Face]:
    landmarker = FaceMeshLandmarker(max_faces=1)
    stage = FaceStage(landmarker, method=method)
    found = [item for frame in frames for item in stage.process(frame) if isinstance(item, Face)]
    landmarker.close()
    return found


def _curves(
    known: PrototypeSet, method: Method, preset: Preset, faces: Sequence[Face]
) -> npt.NDArray[np.float64]:
    """(frames, AUs), against the first frame."""
    stage = MotionStage(known, preset=preset, method=method)
    items = [item for face in faces for item in stage.process(face)]
    columns = [item.columns[0] for item in items if isinstance(item, Curves) and item.columns]
    if method == "paper":
        return np.array([column.values for column in columns], np.float64)
    assert known.joint is not None
    names, _ = known.joint.templates()
    both = [i for i, (_, side) in enumerate(names) if side == "both"]
    detect = Noise(known.joint, NoiseParams()).filters.detect[both]
    parts = np.array([column.parts for column in columns], np.float64).sum(axis=1)
    return np.asarray(parts @ detect.T, np.float64)


def measure(count: int) -> Result:
    """Worst, 5th percentile and median r of every moving AU's curve."""
    known = load_default()
    found: dict[str, list[Pair]] = {name: [] for name in _NAMES.values()}
    chosen = windows(count)
    say(f"agreement: {len(chosen)} synthetic windows")
    for window in chosen:
        for name, some in pairs(known, window).items():
            found[name] += some
    return table(found, len(chosen))


def table(found: dict[str, list[Pair]], count: int) -> Result:
    """The table of all pairs: those that move, which the aim is for, and all."""
    result = Result(
        f"curves of fast against exact, Pearson r over {count} synthetic windows",
        ["curves", "worst", "5th percentile", "median", f"below {LEAST_R}", "n"],
    )
    for name, some in found.items():
        moving = [pair for pair in some if pair.rise > 1]
        key = f"flow.agreement.{name}"
        if moving:
            _row(result, f"{name}, AUs that move", key, moving, Aim(">=", LEAST_R))
        _row(result, f"{name}, every AU of the script", f"{key}.scripted", some, None)
        least = sorted(moving, key=lambda pair: pair.r)[:_TOLD]
        told = "; ".join(f"AU {p.au} in {p.window}: {p.r:.4f}" for p in least)
        result.notes.append(f"{name}, least of those that move: {told}")
    result.notes.append("an AU moves when its exact curve rises by more than its threshold")
    return result


def _row(result: Result, name: str, key: str, some: Sequence[Pair], aim: Aim | None) -> None:
    values = np.array([pair.r for pair in some])
    low, middle = (float(v) for v in np.percentile(values, [5, 50]))
    spread = {"min": float(values.min()), "max": float(values.max()), "n": float(len(values))}
    more: dict[str, Any] = {"larger_is_better": True, "portable": True, "tolerance": _TOLERANCE}
    worst = Figure(f"{key}.worst", spread["min"], "", spread, aim=aim, **more)
    median = Figure(f"{key}.median", middle, "", spread, **more)
    cells = [round(value, 4) for value in (worst.value, low, middle)]
    result.add([name, *cells, int((values < LEAST_R).sum()), len(values)], worst, median)
