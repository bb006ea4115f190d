"""The tables that public code distributes instead of the workbooks: labels only.

``casme2.csv`` and ``samm.csv`` (of the area-weighted recognition network), and the
long-video tables of AUW-GCN with subject, video_name, start_frame, apex_frame, end_frame,
type_idx and au. They give the same names and records as the workbooks do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from models.datasets import casme2, casme_sq, samm, samm_lv
from models.datasets import corrections as known
from models.datasets.records import Annotation, Dataset
from models.datasets.tables import Cell, Raw, annotation, at, padded, read_csv, records, text
from models.errors import UserError

Name = Literal["casme2", "samm", "casme_sq", "samm_lv"]
SAMM_LV_FPS = 25.0  # the table's frames are every eighth of the release
_CLIPS = {
    "subject": ("subject",),
    "name": ("filename",),
    "onset": ("onset",),
    "apex": ("apex",),
    "offset": ("offset",),
    "aus": ("actionunits",),
    "emotion": ("label",),
    "kind": ("micro",),
    "objective": ("objectiveclasses",),
}
_SAMM_ONLY = ("kind", "objective")
_LONG = {
    "subject": ("subject",),
    "name": ("videoname",),
    "onset": ("startframe",),
    "apex": ("apexframe",),
    "offset": ("endframe",),
    "kind": ("typeidx",),
    "aus": ("au",),
}


def read(path: Path, name: Name, *, corrections: bool = True) -> Dataset:
    """A converted table as a data set without frames.

    Args:
        path: the CSV file.
        name: which data set it is of.
        corrections: correct the known mistakes of the labels.

    Raises:
        UserError: it cannot be read, is another table, or a row is malformed.
    """
    wanted = _CLIPS if name in ("casme2", "samm") else _LONG
    must = [key for key in wanted if key not in _SAMM_ONLY or name != "casme2"]
    table = records(path, read_csv(path), wanted, must)
    raws = [_raw(path, row, cells) for row, cells in table]
    if not raws:
        raise UserError(f"{path}: holds no annotations")
    reports: list[str] = []
    listed = {"casme2": known.CASME2, "samm": known.SAMM}.get(name, ())
    if corrections and listed:
        raws, reports = known.apply(raws, listed)
    make, fps, subject_of = _MAKERS[name]
    return Dataset(name, fps, make(path, raws), tuple(reports), subject_of=subject_of)


def _raw(path: Path, row: int, cells: dict[str, Cell]) -> Raw:
    spot = at(path, row)
    missing = [key for key, cell in cells.items() if cell is None]
    if missing:
        raise spot(f"too few cells, {missing[0]} is missing")
    words = {key: text(cell) for key, cell in cells.items()}
    moments = (words["onset"], words["apex"], words["offset"])
    rest = (words.get(key, "") for key in ("emotion", "kind", "objective"))
    return Raw(row, words["subject"], words["name"], *moments, words["aus"], *rest)


def _casme2(path: Path, raws: Sequence[Raw]) -> tuple[Annotation, ...]:
    for raw in raws:
        padded(raw.subject, 2, "subject", at(path, raw.row))
    return casme2.annotated(path, raws)


def _samm(path: Path, raws: Sequence[Raw]) -> tuple[Annotation, ...]:
    for raw in raws:
        samm.raw_row(path, raw.row, vars(raw))
    return samm.annotated(path, raws)


def _long(
    pattern: str, subject_of: Callable[[str], str], path: Path, raws: Sequence[Raw]
) -> tuple[Annotation, ...]:
    made = []
    for raw in raws:
        fits = re.fullmatch(pattern, raw.name)
        if fits is None:
            raise at(path, raw.row)(f"video {raw.name!r} is not named as this set's videos are")
        made.append(annotation(path, raw, subject_of(fits[1]), fits[1]))
    return tuple(made)


_Maker = Callable[[Path, Sequence[Raw]], tuple[Annotation, ...]]
_MAKERS: dict[str, tuple[_Maker, float, Callable[[str], str]]] = {
    "casme2": (_casme2, casme2.FPS, lambda video: video.partition("/")[0]),
    "samm": (_samm, samm.FPS, samm_lv.subject_of),
    "casme_sq": (
        partial(_long, r"casme_0(\d{2}_\d{4})", casme_sq.subject_of),
        casme_sq.FPS,
        casme_sq.subject_of,
    ),
    "samm_lv": (
        partial(_long, r"samm_(\d{3}_\d+)", samm_lv.subject_of),
        SAMM_LV_FPS,
        samm_lv.subject_of,
    ),
}
