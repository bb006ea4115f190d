"""The movement of each AU alone, from flows of expressions that carry several.

Annotated expressions come in combinations: of the 38 of CASME II that carry AU 7, all but a
few carry AU 4, too, and the mean of their flows is mostly AU 4's. The flow of half a face, per
px of movement, is therefore taken as a sum of one field per AU,

    F_s = sum_j w_sj phi_j + n_s,

solved for all AUs together by least squares, with a little ridge for AUs that always come
together. Right halves are mirrored, so that both sides of a face say what they can about an AU.
Not in the paper, whose prototypes (eq. 18) are plain means; this feeds the joint model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.datasets import AUCode
from models.joint import BLINK, Half, Row
from models.prototypes import AU_REGIONS, SIZES, Region
from stages.fit import lid_cells
from stages.items import Floats
from stages.pooling import EYE_GRID, EYE_LENGTH, LENGTH, MOUTH_GRID
from stages.region import PX_PER_D

_MIDDLE_D = 0.1  # the two sides share this much on either side of the mid-line, d
# the fastest cell of pooled flow moves this many px when the fastest landmark moves one:
# 0.74 to 0.90 over 12 AUs of the synthetic training faces
_CELL_PX = 0.81
_LEAST_PX = 0.5  # px of the crop; a smaller movement divided by itself is mostly noise
_LEAST_SHARE = 0.2  # of the movement that an AU must have of its own
_RIDGE = 1.0  # samples without any movement
_LID_AUS = frozenset((5, 7, 43, BLINK))
_HALVES: tuple[Half, Half] = ("left", "right")
_ABSENT = "not in the joint model"


@dataclass(frozen=True)
class Pooled:
    """Pooled flow of one expression and what was coded in it."""

    codes: tuple[AUCode, ...]
    flow: Floats  # (D,)


@dataclass(frozen=True)
class Separated:
    """What the joint model is made of.

    Attributes:
        fields: (D,) pooled flow of a movement of 1 px, for either side of each AU; one is the
            mirror image of the other. An AU that cannot be told is absent.
        counts: samples of each side.
        notes: why an AU is absent.
    """

    fields: dict[Row, Floats]
    counts: dict[Row, int]
    notes: dict[int, str]


@dataclass(frozen=True)
class _HalfFace:
    """One half, as if it were the subject's left; flow per px of its fastest landmark."""

    half: Half
    shares: dict[int, float]  # by AU: its region's share of that movement
    flow: Floats  # (D,)


def separate(pooled: Sequence[Pooled], aus: Sequence[int]) -> Separated:
    """The movement of each of ``aus``, freed of the other AUs that came with it."""
    halves = [half for sample in pooled for half in _halves(sample)]
    known = sorted({au for half in halves for au in half.shares})
    made = Separated(
        {}, {(au, side): _count(halves, au, side) for au in aus for side in _HALVES}, {}
    )
    alone = _solved(halves, known)
    for au in aus:
        own = movement_px(alone[au], au) if au in alone else 0.0
        if au not in alone:
            made.notes[au] = f"no side moves by {_LEAST_PX:g} px of the crop: {_ABSENT}"
        elif own < _LEAST_SHARE:
            made.notes[au] = f"cannot be told from the AUs that it comes with: {_ABSENT}"
        else:
            made.fields[au, "left"] = alone[au] / np.float32(own)
            made.fields[au, "right"] = mirrored(made.fields[au, "left"][None])[0]
    return made


def _count(halves: Sequence[_HalfFace], au: int, side: Half) -> int:
    return sum(half.half == side and au in half.shares for half in halves)


def _solved(halves: Sequence[_HalfFace], known: Sequence[int]) -> dict[int, Floats]:
    """The field of each AU, as if on the left, by least squares."""
    if not halves:
        return {}
    weights = np.array([[half.shares.get(au, 0.0) for au in known] for half in halves])
    flows = np.array([half.flow for half in halves], np.float64)
    inner = weights.T @ weights + _RIDGE * np.eye(len(known))
    fields = np.linalg.solve(inner, weights.T @ flows)
    return {au: np.asarray(field, np.float32) for au, field in zip(known, fields, strict=True)}


def _halves(sample: Pooled) -> list[_HalfFace]:
    """The halves that move; certain AUs only."""
    left = left_share()
    found = []
    for half, share in (("left", left), ("right", 1 - left)):
        name: Half = "left" if half == "left" else "right"
        other = "R" if half == "left" else "L"
        aus = {
            code.number
            for code in sample.codes
            if code.certain and code.side != other and code.number in AU_REGIONS
        }
        flow = np.asarray(sample.flow * share, np.float32)
        if name == "right":
            flow = mirrored(flow[None])[0]
        moves = {
            region: max(
                (movement_px(flow, au) for au in aus if AU_REGIONS[au] == region), default=0
            )
            for region in SIZES
        }
        most = max(moves.values())
        if aus and most >= _LEAST_PX:
            shares = {au: moves[AU_REGIONS[au]] / most for au in sorted(aus)}
            found.append(_HalfFace(name, shares, flow / np.float32(most)))
    return found


def left_share() -> Floats:
    """(D,) share of each cell that belongs to the subject's left (the image's right).

    1 on one side and 0 on the other, with a ramp of 0.1 d on either side of the crop's
    mid-line. Both crops are centred on the middle of the outer eye corners (the mouth's
    along the face's axis), which is where the face's mid-line runs.
    """
    parts = []
    for (columns, lines), width in ((EYE_GRID, SIZES["eye"][0]), (MOUTH_GRID, SIZES["mouth"][0])):
        x = (np.arange(columns) + 0.5) * width / columns - width / 2
        share = np.clip(0.5 + x / (2 * _MIDDLE_D * PX_PER_D), 0.0, 1.0)
        parts.append(np.repeat(np.broadcast_to(share, (lines, columns)).ravel(), 2))
    return np.asarray(np.concatenate(parts), np.float32)


def mirrored(flows: Floats) -> Floats:
    """Pooled flow (n, D) of the mirrored faces."""
    n = len(flows)
    out = []
    for part, grid in ((flows[:, :EYE_LENGTH], EYE_GRID), (flows[:, EYE_LENGTH:], MOUTH_GRID)):
        turned = part.reshape(n, grid[1], grid[0], 2)[:, :, ::-1] * np.array([-1, 1], np.float32)
        out.append(turned.reshape(n, -1))
    return np.asarray(np.concatenate(out, axis=1), np.float32)


def movement_px(flow: Floats, au: int) -> float:
    """Movement of the fastest landmark, px of the crop, as the fastest cell tells it.

    FaceMesh's own landmarks jitter by 0.2 px and lag behind small movements; the mean flow
    of a cell does neither. Only cells of the AU's region count, and those of the eye opening
    only for AUs of the lids: the gaze may have moved between onset and apex.
    """
    cells = flow.copy()
    if au not in _LID_AUS:
        cells[lid_cells()] = 0
    own = cells[inside(AU_REGIONS[au])].reshape(-1, 2)
    return float(np.hypot(own[:, 0], own[:, 1]).max()) / _CELL_PX


def inside(region: Region) -> slice:
    """The numbers of pooled flow that belong to ``region``."""
    return slice(0, EYE_LENGTH) if region == "eye" else slice(EYE_LENGTH, LENGTH)
