"""A head shake against every prototype: Figure 9 of He et al., ECAI 2023, measured.

The paper argues with two vectors at the mouth corners: a shake towards five of eight
directions does not match AU 12, one towards the other three matches it in part. Here a
rendered head really turns towards each of eight directions and back, everything else at
rest, and goes through the same stages as a camera's frames. A curve's answer is stated in px
of its own AU: how large a movement of that AU the shake pretends to be (negative is 0, as in
the paper). Synthetic faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.figures import Figure
from bench.report import Result
from models.errors import UserError
from models.joint import BLINK
from models.prototypes import PrototypeSet, load_default
from models.synthesis import Expression, HeadEpisode, HeadMotion, Scene, SyntheticFace
from models.synthesis import load_portrait as portrait_of
from stages.face import FaceStage
from stages.items import Curves, Face, Frame, Stamp
from stages.landmarks import FaceMeshLandmarker
from stages.motion import Method, MotionStage
from stages.noise import Noise, NoiseParams

Array = npt.NDArray[np.float64]

DIRECTIONS = ("→", "↘", "↓", "↙", "←", "↖", "↑", "↗")  # of the camera's picture
_FPS = 30.0
_STILL_S, _SWING_S = 0.3, 0.5
_PX = 2.0  # movement that a curve's answer is measured by, px of the frame
_CROP_D = 200.0  # outer eye corners, px of the crop
_METHODS: dict[str, Method] = {"paper": "paper", "ours": "mespot"}


@dataclass(frozen=True)
class Answers:
    """What one method's curves say, px of the AU, at the moment of most movement."""

    aus: tuple[int, ...]
    shakes: Array  # (8, V)


def measure(portrait: str, degrees: float) -> list[Result]:
    """One table per method: rows prototypes, columns directions."""
    if not 0 < degrees <= 15:
        raise UserError(f"--degrees {degrees:g}: must be above 0 and at most 15")
    known = load_default()
    answers = {
        name: _answers(known, method, portrait, degrees) for name, method in _METHODS.items()
    }
    return [_table(name, found, portrait, degrees) for name, found in answers.items()] + [
        _summary(answers)
    ]


def _table(name: str, found: Answers, portrait: str, degrees: float) -> Result:
    title = (
        f"{name}: px of the AU that a turn of the head by {degrees:g} degrees pretends "
        f"(synthetic, {portrait})"
    )
    result = Result(title, ["AU", *DIRECTIONS, "most"])
    for column, au in enumerate(found.aus):
        cells = [round(float(v), 2) for v in found.shakes[:, column]]
        result.rows.append([au, *cells, max(cells)])
    return result


def _summary(answers: dict[str, Answers]) -> Result:
    both = [au for au in answers["paper"].aus if au in answers["ours"].aus]
    result = Result("the AUs that both know", ["", "median", "most", "directions at 0 of all"])
    for name, found in answers.items():
        chosen = found.shakes[:, [found.aus.index(au) for au in both]]
        none = f"{int((chosen <= 0).sum())} of {chosen.size}"
        numbers = {"median": float(np.median(chosen)), "most": float(chosen.max())}
        figures = [
            Figure(f"directions.{name}.{key}_px", value, "px", portable=True)
            for key, value in numbers.items()
        ]
        result.add([name, *(round(value, 2) for value in numbers.values()), none], *figures)
    result.notes.append("px of the crop: the outer eye corners lie 200 px apart")
    return result


def _answers(known: PrototypeSet, method: Method, portrait: str, degrees: float) -> Answers:
    aus = _aus(known, method)
    scenes = [_shake(number, degrees) for number in range(len(DIRECTIONS))]
    shakes = np.array([_values(known, method, portrait, scene) for scene in scenes])
    movements = [_movement(au) for au in aus]
    own = np.array([_values(known, method, portrait, scene) for scene in movements])
    per_px = np.diag(own) / (_PX * _CROP_D / _eye_px(portrait))
    return Answers(aus, np.maximum(shakes / per_px, 0.0))


def _aus(known: PrototypeSet, method: Method) -> tuple[int, ...]:
    if method == "paper":
        return known.aus
    assert known.joint is not None
    return tuple(au for au in known.joint.aus if au != BLINK)


def _shake(number: int, degrees: float) -> Scene:
    angle = 2 * np.pi * number / len(DIRECTIONS)
    turns = {"yaw": degrees * np.cos(angle), "pitch": degrees * np.sin(angle)}
    episodes = (
        HeadEpisode(_STILL_S, _SWING_S, float(turns["yaw"]), "yaw", 0.5 / _SWING_S),
        HeadEpisode(_STILL_S, _SWING_S, float(turns["pitch"]), "pitch", 0.5 / _SWING_S),
    )
    return Scene(_STILL_S + _SWING_S, head=HeadMotion(episodes=episodes), seed=number)


def _movement(au: int) -> Scene:
    middle = _STILL_S + _SWING_S / 2
    expression = Expression(_STILL_S, middle, _STILL_S + 0.95 * _SWING_S, (au,), _PX)
    return Scene(_STILL_S + _SWING_S, (expression,), seed=au)


def _eye_px(portrait: str) -> float:
    face = SyntheticFace(Scene(0.1), portrait_of(portrait))
    landmarker = FaceMeshLandmarker()
    try:
        points = landmarker.detect(face.frame(0), 0.0)[0]
    finally:
        landmarker.close()
    return float(np.hypot(*(points[263] - points[33])))


def _values(known: PrototypeSet, method: Method, portrait: str, scene: Scene) -> Array:
    """Each curve when the movement is at its most, (V,)."""
    values = _curves(known, method, _frames(SyntheticFace(scene, portrait_of(portrait))))
    middle = round((_STILL_S + _SWING_S / 2) * _FPS)
    return np.asarray(np.median(values[middle - 1 : middle + 2], axis=0), np.float64)


def _frames(face: SyntheticFace) -> list[Frame]:
    return [Frame(Stamp("shake", i, i / _FPS, 0, 0), face.frame(i)) for i in range(face.n_frames)]


def _curves(known: PrototypeSet, method: Method, frames: Sequence[Frame]) -> Array:
    landmarker = FaceMeshLandmarker()
    faces = FaceStage(landmarker, method=method)
    motion = MotionStage(known, method=method)
    rows = []
    for frame in frames:
        for face in faces.process(frame):
            if isinstance(face, Face):
                rows += [c.columns[0] for c in motion.process(face) if isinstance(c, Curves)]
    landmarker.close()
    if method == "paper":
        return np.array([column.values for column in rows], np.float64)
    assert known.joint is not None
    names, _ = known.joint.templates()
    both = [i for i, (_, side) in enumerate(names) if side == "both"]
    detect = Noise(known.joint, NoiseParams()).filters.detect[both]
    parts = np.array([column.parts for column in rows], np.float64).sum(axis=1)
    return np.asarray(parts @ detect.T, np.float64)
