"""SAMM Long Videos (Yap et al., 2020): 200 fps, micro- and macro-expressions in long videos.

Workbook ``SAMM_LongVideos_V*_Release.xlsx``, header in row 10: Subject, Filename, Inducement
Code, Onset, Apex, Offset, Duration, Type (``Micro - 1/2``, ``Macro``), Action Units, Notes.
A video is named by the first two parts of Filename: ``006_1``, as its folder of images
(``006_1/006_1_0001.jpg``) or its file is. Onset 0 (12 macro rows): not annotated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from models.datasets.places import find_places
from models.datasets.records import Annotation, Dataset
from models.datasets.samm import COLUMNS, MUST, raw_row
from models.datasets.tables import (
    Raw,
    Workbook,
    annotation,
    find_workbook,
    records,
    split_rows,
)

NAME, FPS = "samm_lv", 200.0


def read(
    root: Path,
    *,
    corrections: bool = True,
    workbook: Path | None = None,
    images: Path | None = None,
) -> Dataset:
    """SAMM Long Videos from the official workbook and images.

    Args:
        root: folder that holds the workbook and, at any depth, ``006_1`` and so on.
        corrections: no mistake is known; for the readers' common form.
        workbook: where several fit.
        images: the folder that holds ``006_1`` and so on, where there are several.

    Raises:
        UserError: workbook or a cell of it missing, ambiguous or malformed.
    """
    pattern, wanted = r"SAMM_LongVideos.*\.xlsx", "SAMM_LongVideos_V3_Release.xlsx"
    path = find_workbook(root, pattern, wanted, workbook)
    rows = Workbook(path).rows(r"sheet1|.*long.*", "of the long videos", alone=True)
    raws, reports = split_rows(path, records(path, rows, COLUMNS, MUST), partial(raw_row, path))
    if corrections:
        reports.append("no correction is known for this set")
    return Dataset(
        NAME,
        FPS,
        annotated(path, raws),
        tuple(reports),
        root,
        find=partial(find_places, images or root, _key),
        subject_of=subject_of,
    )


def annotated(path: Path, raws: Sequence[Raw]) -> tuple[Annotation, ...]:
    """Annotations with the videos named as the folders are."""
    return tuple(
        annotation(path, raw, raw.subject, "_".join(raw.name.split("_")[:2])) for raw in raws
    )


def subject_of(video: str) -> str:
    """The subject of a video, also of one without annotations: ``006`` of ``006_1``."""
    return video.partition("_")[0]


def _key(path: Path) -> str | None:
    name = path.name if path.is_dir() else path.stem
    return name if re.fullmatch(r"\d{3}_\d+", name) else None
