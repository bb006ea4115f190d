"""Coders' files and spotted intervals of every layout, also those that count in seconds.

Beside the layouts of ``models.labels``:

| layout | told by | times |
| --- | --- | --- |
| ``eaf`` | ``.eaf``, or XML | seconds; AUs and kinds by the tiers' names |
| ``elan-text`` | tab-separated rows of ELAN's tab-delimited export | seconds, same names |
| ``export`` | a header with stream, onset_frame, offset_frame (``mespot export-events``) | frames |
| ``seconds`` | a header with onset and duration (BIDS), or onset_s and offset_s | seconds |

Seconds become frames by ``--fps``, else by the rate that the file tells, else by that of the
file it is compared with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models import labels
from models.elan import Document, is_text_export, read_eaf, read_text_export
from models.errors import UserError
from models.frame_ruler import FrameRuler, Rulers, Times
from models.labels import Labels
from models.second_tables import BEGIN, END, EXPORT, NUMBER, of_rows, read_table, stream_of
from models.tiers import labelled, meaning

_NO_RATE = Times()


def read(path: Path, times: Times = _NO_RATE) -> Labels:
    """Read ``path``; the layout is told from its content.

    Raises:
        UserError: the file cannot be read, is none of the layouts, or counts in seconds and
            nothing tells the frame rate.
    """
    if path.is_dir():
        return labels.read(path)
    if _is_document(path):
        document = read_eaf(path)
        rates = (times.linked(path.parent / name) for name in document.media)
        own = document.fps or next(filter(None, rates), None)
        return _of_tiers(document, "eaf", times, own)
    table = read_table(path)
    if table is None:
        return labels.read(path)
    if is_text_export(table.rows) and not table.header_is(("onset", "duration")):
        return _of_tiers(read_text_export(path, table.rows), "elan-text", times, None)
    if table.header_is(EXPORT):
        return of_rows(table, "export", times)
    if table.header_is(("onset", "duration")) and not table.header_is(("video", "offset")):
        return of_rows(table, "seconds", times)
    if table.has_one(BEGIN) and table.has_one(END):
        return of_rows(table, "seconds", times)
    if table.delimiter == ",":
        return labels.read(path)
    raise UserError(
        f"{path} line 1: a table of no layout that is read (docs/lab.md, docs/scoring.md)"
    )


def rulers(path: Path) -> Rulers:
    """Frames against seconds, for each video of which ``path`` tells both.

    A file that cannot be read tells nothing here; ``read`` says why.
    """
    points: dict[str, set[tuple[int, float]]] = {}
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        try:
            _moments(file, points)
        except (OSError, UnicodeDecodeError, UserError):
            continue
    found = {video: FrameRuler.measured(known) for video, known in points.items()}
    return {video: ruler for video, ruler in found.items() if ruler is not None}


def meet(files: Sequence[Labels]) -> list[Labels]:
    """The files, those that name no video taken for the one that the others are about.

    Where none names a video, all are taken to be about the same; where the others name
    several, all stay as they are.
    """
    about = frozenset[str]().union(*(one.videos for one in files if one.named))
    unnamed = [one for one in files if not one.named and one.videos]
    if not about and unnamed:
        about = unnamed[0].videos
    if len(about) != 1 or len(files) < 2:
        return list(files)
    (video,) = about
    return [_taken_for(one, video) for one in files]


def _taken_for(one: Labels, video: str) -> Labels:
    if one.named or not one.videos or one.videos == {video}:
        return one
    items = tuple(replace(item, video=video) for item in one.truth)
    notes = (*one.notes, f"names no video: taken for {video}")
    return replace(one, truth=items, predictions=items, videos=frozenset({video}), notes=notes)


# --- documents of tiers


def _of_tiers(document: Document, layout: labels.Layout, times: Times, own: float | None) -> Labels:
    name = document.stream or next(iter(document.media), document.path.stem)
    video = stream_of(name, lambda text: UserError(f"{document.path}: {text}"))
    named = bool(document.stream or document.media)
    wanted = any(meaning(note.tier) for note in document.annotations)
    ruler = times.ruler(document.path, video, named, own) if wanted else FrameRuler(1)
    items, notes = labelled(document, video, ruler)
    if wanted:
        notes.insert(0, f"{ruler.fps:.6g} frames a second")
    return Labels(
        document.path, layout, tuple(items), tuple(items), frozenset({video}), tuple(notes), named
    )


def _is_document(path: Path) -> bool:
    if path.suffix.lower() == ".eaf":
        return True
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")
    except OSError:
        return False


# --- what tells a rate


def _moments(path: Path, points: dict[str, set[tuple[int, float]]]) -> None:
    if path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            _of_event(line, points)
        return
    table = None if _is_document(path) else read_table(path)
    if table is None or not table.header_is((*EXPORT, "onset_s")):
        return
    for _, row in table.rows[1:]:
        cells = dict(zip(table.header, row, strict=False))
        for name in ("onset", "apex", "offset"):
            frame, second = cells.get(f"{name}_frame", ""), cells.get(f"{name}_s", "")
            if frame.isdecimal() and NUMBER.fullmatch(second):
                points.setdefault(cells["stream"], set()).add((int(frame), float(second)))


def _of_event(line: str, points: dict[str, set[tuple[int, float]]]) -> None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict) or not isinstance(event.get("stream"), str):
        return
    for name in ("onset", "apex", "offset"):
        moment = event.get(name)
        if isinstance(moment, dict):
            frame, pts = moment.get("frame"), moment.get("pts")
            if isinstance(frame, int) and isinstance(pts, int | float) and pts >= 0:
                points.setdefault(event["stream"], set()).add((frame, float(pts)))
