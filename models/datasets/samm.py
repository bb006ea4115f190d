"""SAMM (Davison et al., 2018): 200 fps, 29 subjects here, micro-expressions in clips.

Workbook ``SAMM_Micro_FACS_Codes_v2.xlsx``, sheet ``MICRO_ONLY``, header in row 14: Subject,
Filename, Inducement Code, Onset Frame, Apex Frame, Offset Frame, Duration, Micro, Action
Units, Estimated Emotion, Objective Classes, Notes. Images ``006/006_1_2/006_05562.jpg``. A
video is named ``006_1_2``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from models.datasets import corrections as known
from models.datasets.places import find_places
from models.datasets.records import Annotation, Dataset
from models.datasets.tables import (
    Cell,
    Raw,
    Workbook,
    annotation,
    at,
    find_workbook,
    padded,
    records,
    split_rows,
    text,
)

NAME, FPS = "samm", 200.0
COLUMNS = {
    "subject": ("subject",),
    "name": ("filename",),
    "onset": ("onsetframe", "onset"),
    "apex": ("apexframe", "apex"),
    "offset": ("offsetframe", "offset"),
    "aus": ("actionunits",),
    "kind": ("micro", "type"),
    "emotion": ("estimatedemotion", "label"),
    "objective": ("objectiveclasses",),
}
MUST = ("subject", "name", "onset", "apex", "offset", "kind", "aus")


def read(
    root: Path,
    *,
    corrections: bool = True,
    workbook: Path | None = None,
    images: Path | None = None,
) -> Dataset:
    """SAMM from its official workbook and images.

    Args:
        root: folder that holds the workbook and, at any depth, ``006/006_1_2`` and so on.
        corrections: correct the known mistakes of the labels.
        workbook: where several fit.
        images: the folder that holds ``006`` and so on, where there are several.

    Raises:
        UserError: workbook or a cell of it missing, ambiguous or malformed.
    """
    pattern, wanted = r"SAMM_Micro_FACS_Codes.*\.xlsx", "SAMM_Micro_FACS_Codes_v2.xlsx"
    path = find_workbook(root, pattern, wanted, workbook)
    rows = Workbook(path).rows("MICRO_ONLY", "MICRO_ONLY", alone=True)
    raws, reports = split_rows(path, records(path, rows, COLUMNS, MUST), partial(raw_row, path))
    if corrections:
        raws, made = known.apply(raws, known.SAMM)
        reports += made
    where = partial(find_places, images or root, _key)
    return Dataset(NAME, FPS, annotated(path, raws), tuple(reports), root, find=where)


def annotated(path: Path, raws: Sequence[Raw]) -> tuple[Annotation, ...]:
    """Annotations with the videos named as the folders are."""
    return tuple(annotation(path, raw, raw.subject, raw.name) for raw in raws)


def raw_row(path: Path, row: int, cells: dict[str, Cell]) -> Raw:
    """A row of the workbooks of SAMM and of SAMM Long Videos."""
    spot = at(path, row)
    subject = padded(cells["subject"], 3, "subject", spot)
    name = text(cells["name"])
    if not re.fullmatch(r"\d{3}_\d+_\d+", name) or not name.startswith(f"{subject}_"):
        raise spot(f"filename {name!r} is not {subject}_<video>_<number>")
    moments = (cells["onset"], cells["apex"], cells["offset"])
    emotion, kind = text(cells.get("emotion")), text(cells["kind"])
    objective = text(cells.get("objective"))
    return Raw(row, subject, name, *moments, text(cells["aus"]), emotion, kind, objective)


def _key(path: Path) -> str | None:
    return path.name if re.fullmatch(r"\d{3}_\d+_\d+", path.name) and path.is_dir() else None
