"""Prototypes from synthesised samples: ``python -m stages.fit --out FILE``.

Onset and apex frames are rendered, landmarked and cropped like camera frames;
the flow between them is averaged per AU (eqs 14-18) and freed of whole-crop
motion (``--paper`` leaves it in). theta_j is calibrated on training sequences
alone: above what eq. 24 sees in a neutral, moving, noisy face, and in proportion
to the response to a small movement of that AU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from models.prototypes import (
    PAPER_AUS,
    SIZES,
    FlowSample,
    PrototypeSet,
    fit,
    without_whole_motion,
)
from models.synthesis import Expression, HeadMotion, Scene, SyntheticFace
from stages.alignment import Alignment
from stages.farneback import farneback
from stages.flow import WindowFlow
from stages.items import Floats, Grey
from stages.landmarks import FaceMeshLandmarker, Landmarker
from stages.match import Matcher
from stages.peaks import smooth
from stages.region import crop_face

_SECONDS = 2.0
_APEX_S = 1.0
_AMPLITUDES_PX = (1.5, 3.0, 4.5)
_HEAD = HeadMotion(shift_px=1.2, roll_deg=0.25, scale=0.002, period_s=7.0)
_SEEDS = (101, 102, 103, 104)
_SIDES = ("both", "both", "left", "right")
_SMALL_PX = 1.0  # the movement that theta is measured against, px of the frame (1.6 of the crop)
_NEUTRAL_SEEDS = (201, 202, 203, 204, 205, 206)
_NEUTRAL_S = 8.0
_NOISE_TIMES = 2.0
_RESPONSE_SHARE = 0.5
_SMOOTH_S, _SEARCH_S = 0.1, 1.0  # as spotting does
PROVENANCE = (
    "synthetic: displacement figures measured on 3D-scanned expression shapes (ICT-FaceKit, "
    "USC ICT, MIT licence), rendered on one public-domain portrait; no licensed "
    "micro-expression data"
)


@dataclass(frozen=True)
class Calibration:
    """How one theta came about."""

    au: int
    noise: float  # largest rise that eq. 24 sees in neutral sequences
    response: float  # median rise at the apex of a 1 px movement
    theta: float


def _scene(au: int, amplitude: float, seed: int, side: str) -> Scene:
    expression = Expression(0.5, _APEX_S, 1.5, (au,), amplitude, side)  # type: ignore[arg-type]
    head = HeadMotion(shift_px=0.8, roll_deg=0.2, scale=0.001, period_s=8.0)
    return Scene(_SECONDS, (expression,), head=head, seed=seed)


def _crops(
    face: SyntheticFace, frames: Sequence[int], landmarker: Landmarker
) -> Iterator[tuple[Grey, Grey]]:
    """Eye and mouth crops of ``frames``, aligned as in the face stage."""
    align = Alignment()
    for i in frames:
        image = face.frame(i)
        found = landmarker.detect(image, i / face.fps)
        if not found:
            raise RuntimeError(f"no face in synthesised frame {i}")
        yield crop_face(image, align(found[0], i / face.fps))


def samples(aus: Sequence[int], landmarker: Landmarker) -> Iterator[FlowSample]:
    """Onset-to-apex flow samples of each AU (eqs 16-17)."""
    for au in aus:
        for amplitude in _AMPLITUDES_PX:
            for seed, side in zip(_SEEDS, _SIDES, strict=True):
                face = SyntheticFace(_scene(au, amplitude, seed + au, side))
                wanted = (*range(10, 15), round(_APEX_S * face.fps))
                crops = list(_crops(face, wanted, landmarker))
                (eye0, mouth0), (eye1, mouth1) = crops[-2], crops[-1]
                yield FlowSample(frozenset({au}), farneback(eye0, eye1), farneback(mouth0, mouth1))


class CurveMaker:
    """Matching curves of a crop sequence against its first crop."""

    def __init__(self, prototypes: PrototypeSet) -> None:
        self._parts = []
        for region in ("eye", "mouth"):
            rows = [i for i, p in enumerate(prototypes.prototypes) if p.region == region]
            flow = WindowFlow(SIZES[region], "fast")
            fields: list[Floats] = [prototypes.prototypes[i].field for i in rows]
            self._parts.append((rows, flow, Matcher(fields, (flow.shape[0], flow.shape[1]))))
        self._count = len(prototypes.prototypes)

    def __call__(self, crops: Sequence[tuple[Grey, Grey]]) -> npt.NDArray[np.float64]:
        """(n, V) matching indices."""
        out = np.zeros((len(crops), self._count))
        for region, (rows, flow, match) in enumerate(self._parts):
            flow.set_reference(crops[0][region])
            for i, pair in enumerate(crops[1:], 1):
                out[i, rows] = match(flow.flow(pair[region]))
        return out


def calibrate(
    prototypes: PrototypeSet, landmarker: Landmarker
) -> tuple[PrototypeSet, list[Calibration]]:
    """Set every theta_j from synthetic training sequences."""
    curves = CurveMaker(prototypes)
    noise = _noise(curves, landmarker)
    made, log = [], []
    for row, prototype in enumerate(prototypes.prototypes):
        response = _response(curves, prototype.au, row, landmarker)
        theta = max(_NOISE_TIMES * float(noise[row]), _RESPONSE_SHARE * response)
        made.append(replace(prototype, theta=theta))
        log.append(Calibration(prototype.au, float(noise[row]), response, theta))
    return replace(prototypes, prototypes=tuple(made)), log


def rise(curves: npt.NDArray[np.float64], fps: float) -> npt.NDArray[np.float64]:
    """What eq. 24 compares with theta, (n, V): height above the minima before and after."""
    times = np.arange(len(curves)) / fps
    smoothed = smooth(times, curves, _SMOOTH_S)
    m = round(_SEARCH_S * fps)
    out = np.zeros_like(smoothed)
    for i in range(1, len(smoothed) - 1):
        past = smoothed[max(0, i - m) : i].min(axis=0)
        future = smoothed[i + 1 : i + 1 + m].min(axis=0)
        out[i] = smoothed[i] - np.maximum(past, future)
    return out


def _noise(curves: CurveMaker, landmarker: Landmarker) -> npt.NDArray[np.float64]:
    """Largest rise of each curve in neutral faces: head motion, light, sensor, landmarks."""
    most = []
    for seed in _NEUTRAL_SEEDS:
        face = SyntheticFace(Scene(_NEUTRAL_S, head=_HEAD, light=0.01, seed=seed))
        values = curves(list(_crops(face, range(face.n_frames), landmarker)))
        most.append(rise(values, face.fps).max(axis=0))
    return np.asarray(np.max(most, axis=0), np.float64)


def _response(curves: CurveMaker, au: int, row: int, landmarker: Landmarker) -> float:
    peaks = []
    for seed in (301, 302, 303):
        face = SyntheticFace(_scene(au, _SMALL_PX, seed + au, "both"))
        values = curves(list(_crops(face, range(face.n_frames), landmarker)))
        apex = round(_APEX_S * face.fps)
        peaks.append(rise(values, face.fps)[apex - 3 : apex + 4, row].max())
    return float(np.median(peaks))


def build(aus: Sequence[int], paper: bool = False) -> tuple[PrototypeSet, list[Calibration]]:
    """The synthetic prototype set for ``aus``, calibrated.

    Args:
        aus: the AUs, in the order of the curves.
        paper: keep the mean flow as it is (eq. 18); otherwise whole-crop motion is taken out.

    Raises:
        PrototypeError: an AU without a region.
        ValueError: an AU without displacement figures.
    """
    landmarker = FaceMeshLandmarker()
    note = "as measured" if paper else "freed of whole-crop (affine) motion"
    made = fit(
        samples(aus, landmarker),
        aus,
        name="synthetic-paper" if paper else "synthetic",
        version="1",
        provenance=f"{PROVENANCE}; mean flow {note}",
    )
    if not paper:
        freed = [replace(p, field=without_whole_motion(p.field)) for p in made.prototypes]
        made = replace(made, prototypes=tuple(freed))
    made, log = calibrate(made, landmarker)
    landmarker.close()
    return made, log


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a prototype file and print how each theta came about."""
    parser = argparse.ArgumentParser(prog="python -m stages.fit", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--aus", default=",".join(map(str, PAPER_AUS)))
    parser.add_argument("--paper", action="store_true", help="the mean flow as it is (eq. 18)")
    options = parser.parse_args(arguments)
    try:
        made, log = build([int(au) for au in options.aus.split(",")], options.paper)
        made.save(options.out)
    except (ValueError, UserError, OSError) as error:
        parser.error(str(error))
    print("rise of the matching index (eq. 24): neutral, at 1 px, and the theta between")
    for row in log:
        print(f"AU {row.au}: {row.noise:.4g}, {row.response:.4g}, {row.theta:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
