"""CASME II (Yan et al., 2014): 200 fps, 26 subjects, micro-expressions in clips.

Workbook ``CASME2-coding-20190701.xlsx``: Subject, Filename, a blank column, OnsetFrame,
ApexFrame, OffsetFrame, a blank column, Action Units, Estimated Emotion. Some apexes are
``/``. Images ``sub01/EP02_01f/img46.jpg``. A video is named ``sub01/EP02_01f``.
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

NAME, FPS = "casme2", 200.0
_COLUMNS = {
    "subject": ("subject",),
    "name": ("filename",),
    "onset": ("onsetframe", "onset"),
    "apex": ("apexframe", "apex"),
    "offset": ("offsetframe", "offset"),
    "aus": ("actionunits",),
    "emotion": ("estimatedemotion", "label"),
}


def read(
    root: Path,
    *,
    corrections: bool = True,
    workbook: Path | None = None,
    images: Path | None = None,
) -> Dataset:
    """CASME II from its official workbook and images.

    Args:
        root: folder that holds the workbook and, at any depth, ``sub01`` and so on.
        corrections: correct the known mistakes of the labels.
        workbook: where several fit.
        images: the folder that holds ``sub01`` and so on, where there are several.

    Raises:
        UserError: workbook or a cell of it missing, ambiguous or malformed. Missing frames
            are noticed when they are asked for.
    """
    path = find_workbook(root, r"CASME2-coding.*\.xlsx", "CASME2-coding-20190701.xlsx", workbook)
    rows = Workbook(path).rows(r"sheet1", "Sheet1", alone=True)
    table = records(path, rows, _COLUMNS, ("subject", "name", "onset", "apex", "offset", "aus"))
    raws, reports = split_rows(path, table, partial(_raw, path))
    if corrections:
        raws, made = known.apply(raws, known.CASME2)
        reports += made
    where = partial(find_places, images or root, _key, ("raw",))
    return Dataset(NAME, FPS, annotated(path, raws), tuple(reports), root, find=where)


def annotated(path: Path, raws: Sequence[Raw]) -> tuple[Annotation, ...]:
    """Annotations with the videos named as the folders are."""
    return tuple(annotation(path, raw, *_named(raw), "micro") for raw in raws)


def _named(raw: Raw) -> tuple[str, str]:
    return f"sub{raw.subject}", f"sub{raw.subject}/{raw.name}"


def _raw(path: Path, row: int, cells: dict[str, Cell]) -> Raw:
    subject = padded(cells["subject"], 2, "subject", at(path, row))
    name = text(cells["name"])
    if not name:
        raise at(path, row)("no filename")
    moments = (cells["onset"], cells["apex"], cells["offset"])
    return Raw(row, subject, name, *moments, text(cells["aus"]), text(cells.get("emotion")))


def _key(path: Path) -> str | None:
    """``.../sub01/EP02_01f`` is that clip."""
    fits = re.fullmatch(r"sub\d{2}", path.parent.name, re.IGNORECASE)
    if fits and path.name.upper().startswith("EP") and path.is_dir():
        return f"{path.parent.name.lower()}/{path.name}"
    return None
