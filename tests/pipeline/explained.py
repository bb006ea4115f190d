"""Windows made by hand, for the tests of ``mespot explain``: columns and crops, no video.

Synthetic throughout: the columns are the shipped prototypes' own responses, in noise drawn
from the covariance that the model states; the crops are a texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.prototypes import SIZES
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.explain_account import Run
from pipeline.explain_record import OverheardSpot, accounts
from stages.items import Column, Curves, FaceState, Interval, Item, Stamp

FPS = 30.0


@dataclass(frozen=True)
class Movement:
    """AUs that move together, in px at the apex."""

    apex_s: float
    px: dict[int, float]
    half_s: float = 0.2


@dataclass
class Take:
    """A take of one face."""

    movements: Sequence[Movement] = ()
    seconds: float = 6.0
    lost_s: float | None = None
    seed: int = 0
    shut: list[float] = field(default_factory=list)

    def items(self, config: Config) -> list[Item]:
        """What the motion stage would say; spotting's own requests are not obeyed."""
        known = prototypes(config)
        assert known.joint is not None
        model, draw = known.joint, np.random.default_rng(self.seed)
        noise = draw.multivariate_normal(np.zeros(model.size), 0.02 * model.noise, 2000)
        texture = _texture(draw)
        made: list[Item] = [FaceState(_stamp(0), 0, True)]
        for i in range(int(self.seconds * FPS)):
            time = i / FPS
            if self.lost_s is not None and time >= self.lost_s:
                made.append(FaceState(_stamp(i), 0, False))
                break
            x = noise[i].copy()
            values = draw.normal(0, 0.05, len(known.aus)) * known.thetas
            for movement in self.movements:
                now = _profile((time - movement.apex_s) / movement.half_s)
                for au, px in movement.px.items():
                    for half in ("left", "right"):
                        x += now * px * model.responses[model.rows.index((au, half))]  # type: ignore[arg-type]
                    if au in known.aus:
                        row = known.aus.index(au)
                        values[row] += now * px * known.thetas[row]
            parts = np.stack([x, np.zeros_like(x)]).astype(np.float32)
            column = Column(0, values.astype(np.float32), parts)
            shift = round(3 * sum(_profile((time - m.apex_s) / m.half_s) for m in self.movements))
            eye, mouth = (np.roll(part, -shift, axis=0) for part in texture)
            shut = any(abs(time - t) < 0.05 for t in self.shut)
            made.append(Curves(_stamp(i), 0, [column], shut, eye, mouth))
        return made


def _stamp(i: int) -> Stamp:
    return Stamp("made", i, i / FPS, i, i)


def _profile(t: float) -> float:
    return float(np.cos(np.pi / 2 * t) ** 2) if abs(t) < 1 else 0.0


def _texture(draw: np.random.Generator) -> list[npt.NDArray[np.uint8]]:
    import cv2

    return [
        cv2.GaussianBlur(draw.integers(0, 256, (h, w)).astype(np.uint8), (0, 0), 3)
        for w, h in (SIZES["eye"], SIZES["mouth"])
    ]


def said(stage: Any, take: Take, config: Config) -> list[Interval]:
    """The intervals that a spotting stage makes of a take."""
    found = [made for item in take.items(config) for made in stage.process(item)]
    return [made for made in [*found, *stage.flush()] if isinstance(made, Interval)]


def overheard(take: Take, config: Config) -> Run:
    """What ``mespot explain`` knows of a take."""
    stage = OverheardSpot(config)
    return accounts(said(stage, take, config), stage.recorder, config)
