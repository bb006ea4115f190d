"""Prototypes from synthesised samples: ``python -m stages.fit --out FILE``.

Onset and apex frames are rendered, landmarked and cropped like camera frames;
the flow between them is averaged per AU (eqs 14-18). theta_j is calibrated on
training sequences alone: above the noise of a neutral, moving, noisy face, and
in proportion to the response to a small movement of that AU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.prototypes import PAPER_AUS, SIZES, FlowSample, PrototypeSet, fit
from models.synthesis import Expression, HeadMotion, Scene, SyntheticFace
from stages.alignment import Alignment
from stages.farneback import farneback
from stages.flow import WindowFlow
from stages.items import Floats, Grey
from stages.landmarks import FaceMeshLandmarker, Landmarker
from stages.match import Matcher
from stages.region import crop_face

_SECONDS = 2.0
_APEX_S = 1.0
_AMPLITUDES_PX = (1.5, 3.0, 4.5)
_SEEDS = (101, 102, 103, 104)
_SIDES = ("both", "both", "left", "right")
_SMALL_PX = 1.0  # the movement that theta is measured against
_NOISE_TIMES = 6.0
_RESPONSE_SHARE = 0.5
PROVENANCE = (
    "synthetic: displacement figures measured on 3D-scanned expression shapes (ICT-FaceKit, "
    "USC ICT, MIT licence), rendered on one public-domain portrait; no licensed "
    "micro-expression data"
)


@dataclass(frozen=True)
class Calibration:
    """How one theta came about."""

    au: int
    noise: float  # robust sd of the neutral curve
    response: float  # median index at the apex of a 1 px movement
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
        theta = float(max(_NOISE_TIMES * noise[row], _RESPONSE_SHARE * response))
        made.append(replace(prototype, theta=theta))
        log.append(Calibration(prototype.au, float(noise[row]), response, theta))
    return replace(prototypes, prototypes=tuple(made)), log


def _noise(curves: CurveMaker, landmarker: Landmarker) -> npt.NDArray[np.float64]:
    """Robust sd of the curves of a neutral face, changes over 0.3 s."""
    changes = []
    for seed in (201, 202, 203):
        head = HeadMotion(shift_px=1.2, roll_deg=0.25, scale=0.002, period_s=7.0)
        face = SyntheticFace(Scene(6.0, head=head, light=0.01, seed=seed))
        values = curves(list(_crops(face, range(face.n_frames), landmarker)))
        smoothed = np.apply_along_axis(lambda v: np.convolve(v, np.ones(3) / 3, "valid"), 0, values)
        changes.append(smoothed[9:] - smoothed[:-9])
    spread = np.median(np.abs(np.concatenate(changes)), axis=0)
    return np.asarray(1.4826 * spread, np.float64)


def _response(curves: CurveMaker, au: int, row: int, landmarker: Landmarker) -> float:
    peaks = []
    for seed in (301, 302, 303):
        face = SyntheticFace(_scene(au, _SMALL_PX, seed + au, "both"))
        values = curves(list(_crops(face, range(10, 46), landmarker)))[:, row]
        apex = round(_APEX_S * face.fps) - 10
        peaks.append(
            values[apex - 1 : apex + 2].mean() - min(values[:5].mean(), values[-3:].mean())
        )
    return float(np.median(peaks))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a prototype file and print how each theta came about."""
    parser = argparse.ArgumentParser(prog="python -m stages.fit", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--aus", default=",".join(map(str, PAPER_AUS)))
    options = parser.parse_args(arguments)
    aus = [int(au) for au in options.aus.split(",")]
    landmarker = FaceMeshLandmarker()
    made = fit(samples(aus, landmarker), aus, name="synthetic", version="1", provenance=PROVENANCE)
    made, log = calibrate(made, landmarker)
    made.save(options.out)
    for row in log:
        print(f"AU {row.au}: noise {row.noise:.4g}, 1 px {row.response:.4g}, theta {row.theta:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
