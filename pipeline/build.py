"""From configuration to stage objects; heavy imports happen here, where they are needed."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.machine import limit_threads as limit_threads
from stages.base import Stage

if TYPE_CHECKING:
    from models.onnx_session import Compute
    from models.prototypes import PrototypeSet
    from models.recogniser import Card
    from stages.magnify import Magnifier
    from stages.rules import Rules
    from stages.score import Scorer, Scoring

_EPOCHS = 1000  # ids: rebuilds of spot count thousands, losses upstream of it count ones
_FACES = 1000  # so many face numbers are each rebuild's own, where there are several faces
STAGES = ("face", "motion", "spot", "classify")

_loading = threading.Lock()  # nodes that want the same file at once load it once


@functools.lru_cache(maxsize=4)
def _prototypes(path: str | None) -> PrototypeSet:
    from models.prototypes import load, load_default

    return load_default() if path is None else load(Path(path))


def prototypes(config: Config) -> PrototypeSet:
    """The configured prototype set."""
    path = config.motion.prototypes
    with _loading:
        return _prototypes(None if path is None else str(path))


def recognisers(config: Config) -> list[Path]:
    """The recognisers that run.

    The shipped ones are left out where ONNX Runtime is missing, unless a GPU is demanded.
    """
    demanded = config.model is not None or config.require_gpu or config.classify.tensorrt
    if not demanded and importlib.util.find_spec("onnxruntime") is None:
        return []
    return config.models


@functools.lru_cache(maxsize=16)
def _card(path: Path) -> Card:
    from models.recogniser import card_of

    return card_of(path)


def _wants_whole(config: Config) -> bool:
    """Whether a recogniser looks at the whole face."""
    specs = (spec for path in recognisers(config) for spec in _card(path).inputs.values())
    return any(spec.region == "face" for spec in specs)


def import_ahead() -> None:
    """Import the library that takes longest, while other nodes are being built."""
    with contextlib.suppress(ImportError):  # the face stage will meet it again, and say so
        from stages.landmarks import import_mediapipe

        import_mediapipe()


def _face(config: Config, epoch: int) -> Stage:
    from stages.face import FaceStage
    from stages.identity import Identities, Nearest
    from stages.landmarks import FaceMeshLandmarker, Landmarker, TaskLandmarker

    task = config.face.task
    landmarker: Landmarker = (
        FaceMeshLandmarker(max_faces=config.faces)
        if task is None
        else TaskLandmarker(task, max_faces=config.faces)
    )
    remembered_s = config.face.remembered_s
    stage = FaceStage(
        landmarker,
        max_faces=config.faces,
        lost_after_s=config.face.lost_after_s,
        method=config.method,
        whole=_wants_whole(config),
        landmarks_s=config.face.landmarks_s,
        identify=(
            Nearest(remembered_s)
            if config.faces == 1
            else Identities(remembered_s, first=_FACES * epoch)
        ),
    )
    stage.warm_up()
    return stage


def _motion(config: Config) -> Stage:
    from stages.motion import MotionStage

    stage = MotionStage(
        prototypes(config),
        preset=config.motion.flow,
        window_s=config.motion.window_s,
        max_gap_s=config.motion.max_gap_s,
        method=config.method,
    )
    stage.warm_up()
    return stage


def rules(config: Config) -> Rules:
    """How the configured method spots."""
    from models.prototypes import without_joint
    from stages.joint import JointParams
    from stages.noise import NoiseParams
    from stages.peaks import SpotParams
    from stages.rules import JointRules, PaperRules

    chosen, spot = prototypes(config), config.spot
    if config.method == "paper":
        params = SpotParams(
            search_s=spot.search_s,
            overlap=spot.overlap,
            smooth_s=spot.smooth_s,
            border=spot.border,
            micro_s=spot.micro_s,
        )
        return PaperRules(chosen.aus, chosen.thetas * spot.threshold_scale, params)
    joint = JointParams(
        theta=JointParams.theta * spot.threshold_scale,
        search_s=spot.search_s,
        explained=spot.explained,
        calibrate_s=spot.calibrate_s,
        micro_s=spot.micro_s,
    )
    if chosen.joint is None:
        raise without_joint(chosen)
    return JointRules(chosen.joint, joint, NoiseParams())


def _spot(config: Config, epoch: int) -> Stage:
    from stages.rules import JointRules
    from stages.spot import SpotStage

    chosen = rules(config)
    if isinstance(chosen, JointRules):
        chosen.warm_up()
    return SpotStage(chosen, window_s=config.motion.window_s, epoch=_EPOCHS * epoch)


def _magnifier(config: Config, compute: Compute) -> Magnifier:
    from stages.magnify import FlowWarpMagnifier, OnnxMagnifier

    path = config.classify.magnifier
    return FlowWarpMagnifier() if path is None else OnnxMagnifier(path, compute)


def scorer(config: Config) -> Scorer | None:
    """The configured recognisers, warm; None without any.

    Raises:
        ModelError: two of them have one name.
    """
    paths = recognisers(config)
    if not paths:
        return None
    from models.onnx_session import Compute
    from models.recogniser import Recogniser
    from stages.score import Scorer

    wanted = config.classify
    compute = Compute(wanted.threads, config.require_gpu, wanted.tensorrt)
    loaded = [Recogniser(path, compute) for path in paths]
    _distinct(paths, [recogniser.name for recogniser in loaded])
    made = Scorer(loaded, _magnifier(config, compute), wanted.batch)
    made.warm_up()
    return made


def _distinct(paths: Sequence[Path], names: Sequence[str]) -> None:
    """Refuse equal names: the readings could not be told apart."""
    from models.errors import ModelError

    seen: dict[str, Path] = {}
    for path, name in zip(paths, names, strict=True):
        if name in seen:
            raise ModelError(
                f"model: {seen[name]} and {path} are both called {name}; leave one out, "
                "or give it another mespot.name"
            )
        seen[name] = path


def classify(config: Config, scoring: Scoring | None) -> Stage:
    """The classify stage around ``scoring``."""
    from stages.classify import ClassifyStage

    chosen = prototypes(config)
    return ClassifyStage(f"{chosen.name}@{chosen.version}", scoring)


def build(name: str, config: Config, epoch: int = 0) -> Stage:
    """The stage called ``name``; ``epoch`` counts its rebuilds and enters ids."""
    limit_threads()
    if name == "face":
        return _face(config, epoch)
    if name == "motion":
        return _motion(config)
    if name == "spot":
        return _spot(config, epoch)
    if name == "classify":
        return classify(config, scorer(config))
    raise ValueError(f"no stage called {name}")
