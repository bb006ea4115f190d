"""Prototypes from onset and apex images of a data set (He et al., ECAI 2023, eqs 14-18).

Both images of an annotated expression are landmarked, cropped as in the pipeline, and the
exact flow from onset to apex, averaged per AU, is the paper's prototype. A further, pooled
flow per AU and side (``stages.separate``) makes the joint model (``models.joint_refit``).
What cannot be had from images of expressions alone is taken from the shipped, synthetic set:
theta and the noise. How and why is in ``docs/datasets.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.datasets import Dataset, Pair
from models.errors import UserError
from models.joint import BLINK, JointModel, Row
from models.joint_refit import refit
from models.prototypes import (
    AU_REGIONS,
    SIZES,
    FlowSample,
    Prototype,
    PrototypeSet,
    Region,
    fit,
)
from stages.farneback import farneback
from stages.flow import WindowFlow
from stages.items import Floats
from stages.landmarks import Landmarker
from stages.pooling import pool
from stages.region import crop_face
from stages.separate import Pooled, Separated, separate
from stages.stills import aligned_faces

Tell = Callable[[int, int], None]  # pairs done, of how many


@dataclass(frozen=True)
class AUReport:
    """How one AU was fitted."""

    au: int
    samples: int  # of the paper's prototype
    theta: float
    cosine: float | None  # to the shipped prototype; None: it has none
    left: int  # samples of the joint model, by the subject's side
    right: int
    note: str = ""  # why it is not in the joint model


@dataclass(frozen=True)
class Fitted:
    """A fitted set and how it came about."""

    prototypes: PrototypeSet
    aus: tuple[AUReport, ...]
    used: int  # pairs
    others: int  # pairs that carry none of the AUs that are fitted
    left_out: tuple[str, ...]  # further annotations without a sample, and why


@dataclass
class _Gathered:
    """What the pairs gave so far."""

    pooled: list[Pooled] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    others: int = 0


def fit_dataset(
    dataset: Dataset,
    aus: Sequence[int],
    shipped: PrototypeSet,
    landmarker: Landmarker,
    tell: Tell = lambda done, total: None,
) -> Fitted:
    """Prototypes, thetas and joint model of a data set's onset and apex images.

    Args:
        dataset: annotations with frames.
        aus: AUs to fit, in the order of the matching curves.
        shipped: gives theta and the joint model's noise and blink.
        landmarker: finds one face in an image; may track.
        tell: hears about the progress.

    Raises:
        UserError: an AU that cannot be fitted or has no sample, or no usable image pair.
    """
    check_aus(aus)
    pairs, left_out = dataset.pairs()
    missing = [au for au in aus if not any(au in pair.aus for pair in pairs)]
    if missing:
        named = ", ".join(map(str, missing))
        raise UserError(f"{dataset.name}: no image pair carries AU {named}; name others (--aus)")
    gathered = _Gathered(left_out=list(left_out))
    samples = _samples(pairs, frozenset(aus), landmarker, gathered, tell)
    made = fit(samples, aus, name=dataset.name, version="1", provenance=_provenance(dataset))
    made = calibrated(made, shipped)
    separated = separate(gathered.pooled, aus)
    joint = _joint(shipped, separated.fields)
    reports = tuple(_report(p, shipped, separated) for p in made.prototypes)
    made = replace(made, joint=joint)
    left = tuple(gathered.left_out)
    return Fitted(made, reports, len(gathered.pooled), gathered.others, left)


def check_aus(aus: Sequence[int]) -> None:
    """Refuse AUs that no prototype can be made of.

    Raises:
        UserError: none, one twice, an unknown one, or the blink.
    """
    if not aus:
        raise UserError("no action unit to fit is named")
    for au in aus:
        if au == BLINK:
            raise UserError(f"AU {au} is the blink, which is kept from the shipped set")
        if au not in AU_REGIONS:
            known = ", ".join(str(one) for one in sorted(AU_REGIONS) if one != BLINK)
            raise UserError(f"AU {au} is not known; known are {known}")
        if list(aus).count(au) > 1:
            raise UserError(f"AU {au} is named twice")


def _provenance(dataset: Dataset) -> str:
    return (
        f"mean onset-to-apex flow of {dataset.name} (licensed data: ask its makers before "
        "passing this file on); theta and the joint model's noise from mespot's synthetic set"
    )


# ---------------------------------------------------------------- flow


def _samples(
    pairs: Sequence[Pair],
    wanted: frozenset[int],
    landmarker: Landmarker,
    gathered: _Gathered,
    tell: Tell,
) -> Iterator[FlowSample]:
    """Flow of every pair that carries a wanted AU; the pooled flow is kept in ``gathered``."""
    fast = {region: WindowFlow(SIZES[region], "fast") for region in ("eye", "mouth")}
    for number, pair in enumerate(pairs):
        tell(number, len(pairs))
        note = pair.annotation
        where = f"row {note.row} ({note.video})"
        if not wanted & pair.aus:
            gathered.others += 1
            continue
        try:
            faces = aligned_faces([pair.onset, pair.apex], [0.0, 1.0], landmarker)
            onset, apex = (crop_face(image, face) for image, face in faces)
        except UserError as error:
            gathered.left_out.append(f"{where}: {error}")
            continue
        parts = []
        for region, before, after in zip(("eye", "mouth"), onset, apex, strict=True):
            fast[region].set_reference(before)
            parts.append(fast[region].flow(after))
        gathered.pooled.append(Pooled(note.aus, pool(*parts)))
        yield FlowSample(pair.aus, farneback(onset[0], apex[0]), farneback(onset[1], apex[1]))
    tell(len(pairs), len(pairs))
    if not gathered.pooled:
        first = gathered.left_out[0] if gathered.left_out else "no annotations"
        raise UserError(f"no usable sample: {len(pairs)} image pairs, none used; {first}")


# ---------------------------------------------------------------- theta


def calibrated(made: PrototypeSet, shipped: PrototypeSet) -> PrototypeSet:
    """Every theta_j such that the same movement raises it as in the shipped set.

    A movement u (px) along a prototype of norm \\|M\\| has the matching index u \\|M\\|, and
    flow noise goes in with \\|M\\|, too: theta / \\|M\\| is what a movement must reach, and is
    carried over. An AU that the shipped set lacks takes the median of its region.
    """
    reach = {p.au: p.theta / _norm(p) for p in shipped.prototypes}
    usual: dict[Region, float] = {}
    for region in SIZES:
        values = [reach[p.au] for p in shipped.prototypes if p.region == region]
        usual[region] = float(np.median(values or list(reach.values())))
    flat = [p.au for p in made.prototypes if _norm(p) == 0]
    if flat:
        raise UserError(f"AU {flat[0]}: onset and apex images do not differ at all")
    return replace(
        made,
        prototypes=tuple(
            replace(p, theta=reach.get(p.au, usual[p.region]) * _norm(p)) for p in made.prototypes
        ),
    )


def _norm(prototype: Prototype) -> float:
    return float(np.linalg.norm(prototype.field.astype(np.float64)))


# ---------------------------------------------------------------- joint model


def _joint(shipped: PrototypeSet, fields: Mapping[Row, Floats]) -> JointModel | None:
    if not fields or shipped.joint is None:
        return None
    return refit(shipped.joint, fields)


def _report(prototype: Prototype, shipped: PrototypeSet, separated: Separated) -> AUReport:
    au = prototype.au
    cosine = None
    for other in shipped.prototypes:
        if other.au == au:
            product = float((prototype.field.astype(np.float64) * other.field).sum())
            cosine = product / (_norm(prototype) * _norm(other))
    left, right = separated.counts[au, "left"], separated.counts[au, "right"]
    note = separated.notes.get(au, "")
    return AUReport(au, prototype.samples, prototype.theta, cosine, left, right, note)
