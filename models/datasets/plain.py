"""Anyone's own data: a CSV table and a folder of videos, or of folders of images.

Header: ``subject,video,onset,apex,offset,aus,kind`` and, if wanted, ``fps`` and ``emotion``;
apex, aus and kind may be blank. ``video`` is the path of the video file or folder below the
root, with or without the file's ending. Frames are numbered as the image files are; in a
video file they count from 0, as mespot counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from models.datasets.aus import Spot, parse
from models.datasets.records import IMAGES, VIDEOS, Annotation, Dataset
from models.datasets.tables import Cell, at, frame, kind_of, read_csv, records, text
from models.errors import UserError
from models.files import within

NAME = "plain"
_FIELDS = ("subject", "video", "onset", "apex", "offset", "aus", "kind")
_COLUMNS = {name: (name,) for name in (*_FIELDS, "fps", "emotion")}


def read(table: Path, root: Path | None = None, *, fps: float | None = None) -> Dataset:
    """A plain table with the videos below ``root``.

    Args:
        table: the CSV file.
        root: folder of the videos; default: the table's own.
        fps: frames a second of every video that the table gives none; a video file's own
            rate when None.

    Raises:
        UserError: the table cannot be read, a row is malformed or a rate contradicts another.
    """
    rows = list(records(table, read_csv(table), _COLUMNS, _FIELDS))
    if not rows:
        raise UserError(f"{table}: holds no annotations")
    made = tuple(_annotation(at(table, row), row, cells) for row, cells in rows)
    rates: dict[str, float] = {}
    for row, cells in rows:
        _rate(at(table, row), text(cells["video"]), text(cells.get("fps")), rates)
    folder = root or table.resolve().parent
    subjects = {annotation.video: annotation.subject for annotation in made}
    where = partial(_places, folder, subjects)
    return Dataset(NAME, fps, made, (), folder, first=0, rates=rates, find=where)


def _annotation(spot: Spot, row: int, cells: Mapping[str, Cell]) -> Annotation:
    if any(cells[name] is None for name in _FIELDS):
        raise spot("too few cells")
    words = {name: text(cell) for name, cell in cells.items()}
    for name in ("subject", "video"):
        if not words[name]:
            raise spot(f"no {name}")
    onset, apex, offset = (_moment(words[n], n, spot) for n in ("onset", "apex", "offset"))
    if onset is not None and offset is not None and offset < onset:
        raise spot(f"offset {offset} is before onset {onset}")
    kind, codes = kind_of(words["kind"], spot), parse(words["aus"], spot)
    emotion = words.get("emotion", "")
    return Annotation(
        words["subject"],
        words["video"],
        onset,
        apex,
        offset,
        codes,
        kind,
        emotion,
        row,
        words["aus"],
    )


def _moment(words: str, name: str, spot: Spot) -> int | None:
    """A frame; 0 is the first frame here, only a blank is not annotated."""
    if words == "0":
        return 0
    number = frame(words, name, spot)
    if number is None and words:
        raise spot(f"{name} {words!r} is not a frame number (leave it blank when unknown)")
    return number


def _rate(spot: Spot, video: str, words: str, rates: dict[str, float]) -> None:
    if not words:
        return
    try:
        fps = float(words)
    except ValueError:
        fps = math.nan
    if not (math.isfinite(fps) and fps > 0):
        raise spot(f"fps {words!r} is not a rate above 0")
    if rates.setdefault(video, fps) != fps:
        raise spot(f"fps {fps:g} of {video} contradicts {rates[video]:g} above")


def _places(root: Path, videos: Mapping[str, str]) -> dict[str, Path]:
    """Where the named videos lie; those of the folder that no row names are not taken."""
    found = {video: _place(root, video) for video in videos}
    return {video: path for video, path in found.items() if path is not None}


def _place(root: Path, video: str) -> Path | None:
    path = root / video
    if not within(path, root):
        raise UserError(f"{path}: leads out of {root}; name the folder that holds it with --root")
    if path.is_dir() or (path.is_file() and path.suffix.lower() in VIDEOS):
        return path
    if path.is_file():
        kind = "an image; name its folder" if path.suffix.lower() in IMAGES else "not a video"
        raise UserError(f"{path}: {kind}")
    fits = [path.with_name(path.name + suffix) for suffix in sorted(VIDEOS)]
    files = [file for file in fits if file.is_file()]
    if len(files) > 1:
        raise UserError(f"{path}: both {files[0].name} and {files[1].name} are there")
    if files and not within(files[0], root):
        raise UserError(f"{files[0]}: leads out of {root}; name the folder that holds it instead")
    return files[0] if files else None
