"""Known mistakes of the official label files: an explicit list, each with its reason.

A correction is bound to a row *and* to what else stands in it: a later release that moved
or mended the row is left as it is, and that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.datasets.tables import Raw, text

Moment = Literal["onset", "apex", "offset"]


@dataclass(frozen=True)
class Correction:
    """One frame number to be replaced."""

    row: int  # of the annotations, from 0, as public code counts them
    subject: str  # as the label file has it, without leading zeros
    name: str
    given: tuple[tuple[Moment, int], ...]  # what else must stand in the row
    moment: Moment
    value: int  # frame
    reason: str

    @property
    def place(self) -> str:
        """The row in words."""
        return f"annotation {self.row} ({self.name}): {self.moment}"


CASME2: tuple[Correction, ...] = (
    Correction(
        60,
        "7",
        "EP06_02_01",
        (("onset", 11), ("apex", 66)),
        "offset",
        91,
        "the released offset is wrong; 91 is what public tables of the set carry",
    ),
)
SAMM: tuple[Correction, ...] = (
    Correction(
        56,
        "13",
        "013_1_9",
        (("onset", 5658), ("apex", 5680)),
        "offset",
        5739,
        "5739 is what the row's own duration says: 5658 + 82 - 1",
    ),
    Correction(
        125,
        "28",
        "028_4_1",
        (("onset", 1071), ("offset", 1134)),
        "apex",
        1105,
        "the released apex lies outside onset to offset",
    ),
    Correction(
        132,
        "32",
        "032_3_1",
        (("onset", 4896), ("offset", 4970)),
        "apex",
        4945,
        "the released apex lies outside onset to offset",
    ),
    Correction(
        133,
        "32",
        "032_3_2",
        (("onset", 5126), ("offset", 5207)),
        "apex",
        5130,
        "the released apex is wrong; in public tables it is one frame after the onset",
    ),
)


def apply(rows: Sequence[Raw], known: Sequence[Correction]) -> tuple[list[Raw], list[str]]:
    """``rows`` with ``known`` mistakes corrected, and one report for each of them."""
    made = list(rows)
    reports = []
    for correction in known:
        why_not = _unlike(made, correction)
        if why_not:
            reports.append(f"{correction.place} not corrected: {why_not}")
            continue
        raw = made[correction.row]
        old = text(getattr(raw, correction.moment))
        if old == str(correction.value):
            reports.append(f"{correction.place} is {old} already")
            continue
        made[correction.row] = _corrected(raw, correction)
        reports.append(
            f"{correction.place} corrected from {old or 'blank'} to {correction.value}: "
            f"{correction.reason}"
        )
    return made, reports


def _corrected(raw: Raw, correction: Correction) -> Raw:
    if correction.moment == "onset":
        return replace(raw, onset=correction.value)
    if correction.moment == "apex":
        return replace(raw, apex=correction.value)
    return replace(raw, offset=correction.value)


def _unlike(rows: Sequence[Raw], correction: Correction) -> str:
    """Why the row is not the one that the correction was made for."""
    if correction.row >= len(rows):
        return f"the table has only {len(rows)} annotations"
    raw = rows[correction.row]
    if raw.name != correction.name or raw.subject.lstrip("0") != correction.subject:
        return f"that row is {raw.subject} {raw.name}"
    for moment, value in correction.given:
        found = text(getattr(raw, moment))
        if found != str(value):
            return f"its {moment} is {found or 'blank'}, not {value}"
    return ""
