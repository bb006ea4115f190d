"""Trees in exactly the official formats, with a handful of made-up annotations each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl

Cells = Sequence[Any]

CASME2_HEAD = (
    "Subject",
    "Filename",
    None,
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    None,
    "Action Units",
    "Estimated Emotion",
)
SAMM_HEAD = (
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset Frame",
    "Apex Frame",
    "Offset Frame",
    "Duration",
    "Micro",
    "Action Units",
    "Estimated Emotion",
    "Objective Classes",
    "Notes",
)
SAMM_LV_HEAD = (
    "Subject",
    "Filename",
    "Inducement Code",
    "Onset",
    "Apex",
    "Offset",
    "Duration",
    "Type",
    "Action Units",
    "Notes",
)


def workbook(path: Path, sheets: dict[str, Iterable[Cells]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def images(folder: Path, names: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", np.full((8, 8), 128, np.uint8))
    assert done
    for name in names:
        (folder / name).write_bytes(data.tobytes())
    return folder


def casme2(root: Path, rows: Iterable[Cells]) -> Path:
    """Rows: subject, filename, onset, apex, offset, AUs, emotion; put beside blank columns."""
    sheet = [CASME2_HEAD]
    for subject, name, onset, apex, offset, aus, emotion in rows:
        sheet.append((subject, name, None, onset, apex, offset, None, aus, emotion))
    return workbook(root / "CASME2-coding-20190701.xlsx", {"Sheet1": sheet})


def samm(root: Path, rows: Iterable[Cells]) -> Path:
    """Rows: subject, filename, onset, apex, offset, duration, AUs, emotion."""
    title: list[Cells] = [("SAMM Micro-Movement FACS Codes",), (), ("Released for research",)]
    title += [()] * (13 - len(title))
    sheet = [*title, SAMM_HEAD]
    for subject, name, onset, apex, offset, duration, aus, emotion in rows:
        code = str(name).split("_")[1]
        micro = (subject, name, code, onset, apex, offset, duration, "Micro - 1/2")
        sheet.append((*micro, aus, emotion, 7, None))
    return workbook(
        root / "SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": sheet, "ALL": [("other",)]}
    )


def samm_lv(root: Path, rows: Iterable[Cells]) -> Path:
    """Rows: subject, filename, onset, apex, offset, type, AUs."""
    sheet: list[Cells] = [("SAMM Long Videos",), *[()] * 8, SAMM_LV_HEAD]
    for subject, name, onset, apex, offset, kind, aus in rows:
        sheet.append((subject, name, 1, onset, apex, offset, 0, kind, aus, "a note"))
    return workbook(root / "SAMM_LongVideos_V2_Release.xlsx", {"Sheet1": sheet})


def casme_sq(root: Path, rows: Iterable[Cells], name: str = "CAS(ME)^2code_final.xlsx") -> Path:
    """Rows as in the release, without a header."""
    return workbook(
        root / name,
        {
            "CASFEcode_final": rows,
            "naming rule1": [(15, "s15", 1), (16, "s16", 2)],
            "naming rule2": [("0101", "disgust1"), (401, "anger1"), ("0502", "happy1")],
        },
    )
