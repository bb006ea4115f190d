"""CAS(ME)² (Qu et al., 2017): 30 fps, micro- and macro-expressions in 98 long videos.

Workbook ``CAS(ME)^2code_final.xlsx``. Sheet ``CASFEcode_final`` has no header: subject's
index, expression (``anger1_1``), onset, apex, offset, AUs, emotion, type, self-report; the
updated file adds a duration at the end. Sheet ``naming rule1`` gives the subject of an index
(``s15``), ``naming rule2`` the video of a name (``0401`` for ``anger1``). Frames count from
1; offset 0 (44 macro rows) and apex 0 (one): not annotated. A video is named ``15_0401``, the
beginning of its folder (``rawpic/s15/15_0401girlcrashing/img001.jpg``) or file
(``rawvideo/s15/15_0401girlcrashing.avi``); the subject is taken from there, too, because
copies of the release hold ``s19/23_0502funnyerrors``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from models.datasets.places import find_places
from models.datasets.records import Annotation, Dataset
from models.datasets.tables import (
    Cell,
    Raw,
    Row,
    Workbook,
    annotation,
    at,
    beside,
    find_workbook,
    padded,
    text,
)
from models.errors import UserError

NAME, FPS = "casme_sq", 30.0
_TYPE = 7  # the last column that is read; self-report and duration follow


def read(
    root: Path,
    *,
    corrections: bool = True,
    workbook: Path | None = None,
    images: Path | None = None,
) -> Dataset:
    """CAS(ME)² from its official workbook and its images or videos.

    Args:
        root: folder that holds the workbook and, at any depth, ``15_0101...`` folders or files.
        corrections: no mistake is known; for the readers' common form.
        workbook: where several fit.
        images: the folder to take frames from, where there are several.

    Raises:
        UserError: workbook or a cell of it missing, ambiguous or malformed.
    """
    pattern, wanted = r"CAS\(?ME\)?.*code_final.*\.xlsx", "CAS(ME)^2code_final.xlsx"
    path = find_workbook(root, pattern, wanted, workbook)
    book = Workbook(path)
    subjects = _subjects(path, book.rows(r"naming\s*rule\s*1", "naming rule1"))
    names = _names(path, book.rows(r"naming\s*rule\s*2", "naming rule2"))
    rows = book.rows(r"CAS(FE|ME)code_final.*", "CASFEcode_final")
    raws, reports = _raws(path, rows)
    if corrections:
        reports.append("no correction is known for this set")
    return Dataset(
        NAME,
        FPS,
        tuple(_annotation(path, raw, subjects, names) for raw in raws),
        tuple(reports),
        root,
        find=partial(find_places, images or root, _key, ("rawpic", "rawvideo")),
        subject_of=subject_of,
    )


def subject_of(video: str) -> str:
    """The subject of a video, also of one without annotations: ``s15`` of ``15_0401``."""
    return f"s{video.partition('_')[0]}"


def _subjects(path: Path, rows: Iterable[Row]) -> dict[str, str]:
    """Number of the subject (``15``) by its index; the columns' order is not relied on."""
    found: dict[str, str] = {}
    for row, cells in rows:
        words = [text(cell) for cell in cells if text(cell)]
        folder = next((word for word in words if re.fullmatch(r"[sS]\d{1,2}", word)), "")
        numbers = [word for word in words if word.isdecimal()]
        if not folder and len(numbers) < 2:
            continue  # a title
        if not numbers:
            raise at(path, row)(f"naming rule1: {folder} without its index")
        subject = (folder or numbers[0]).lower().lstrip("s").zfill(2)
        index = ([n for n in numbers if int(n) != int(subject)] or numbers)[-1]
        if found.setdefault(index, subject) != subject:
            raise at(path, row)(f"naming rule1: index {index} stands for two subjects")
    return found


def _names(path: Path, rows: Iterable[Row]) -> dict[str, str]:
    """Code of the video (``0401``) by its name (``anger1``)."""
    found: dict[str, str] = {}
    for row, cells in rows:
        words = [text(cell) for cell in cells if text(cell)]
        codes = [word.zfill(4) for word in words if re.fullmatch(r"\d{3,4}", word)]
        names = [word.lower() for word in words if re.fullmatch(r"[A-Za-z]+\d", word)]
        if not codes and not names:
            continue  # a title
        if len(codes) != 1 or len(names) != 1:
            raise at(path, row)(f"naming rule2: {' '.join(words)!r} is not a code and a name")
        if found.setdefault(names[0], codes[0]) != codes[0]:
            raise at(path, row)(f"naming rule2: {names[0]} stands for two videos")
    return found


def _raws(path: Path, rows: Iterable[Row]) -> tuple[list[Raw], list[str]]:
    made: list[Raw] = []
    reports: list[str] = []
    for row, cells in rows:
        if sum(bool(text(cell)) for cell in cells[:3]) < 2:
            reports.append(beside(path, row, cells))
        elif not made and not text(cells[0]).isdecimal():
            reports.append(beside(path, row, cells))  # a header, which the release has not
        else:
            made.append(_raw(path, row, cells))
    if not made:
        raise UserError(f"{path}: CASFEcode_final holds no annotations")
    return made, reports


def _raw(path: Path, row: int, cells: Sequence[Cell]) -> Raw:
    spot = at(path, row)
    words = [text(cell) for cell in cells]
    if len(words) <= _TYPE or not words[_TYPE]:
        raise spot("the eighth cell must say micro-expression or macro-expression; it is blank")
    index = padded(cells[0], 1, "subject", spot)
    onset, apex, offset, *_ = cells[2:]
    return Raw(row, index, words[1], onset, apex, offset, words[5], words[6], words[_TYPE])


def _annotation(
    path: Path, raw: Raw, subjects: dict[str, str], names: dict[str, str]
) -> Annotation:
    spot = at(path, raw.row)
    if raw.subject not in subjects:
        raise spot(f"subject {raw.subject} is not in naming rule1")
    name = raw.name.lower().partition("_")[0]
    if name not in names:
        raise spot(f"video {raw.name!r} is not in naming rule2")
    video = f"{subjects[raw.subject]}_{names[name]}"
    return annotation(path, raw, subject_of(video), video)


def _key(path: Path) -> str | None:
    """``15_0101disgustingteeth`` and ``15_0101disgustingteeth.avi`` are ``15_0101``."""
    fits = re.match(r"(\d{2}_\d{4})(?!\d)", path.name)
    return fits[1] if fits else None
