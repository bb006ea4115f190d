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

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from models import labels
from models.elan import Document, is_text_export, read_eaf, read_text_export
from models.errors import UserError
from models.evaluate import Kind, Labelled
from models.frame_ruler import FrameRuler
from models.labels import Labels, Row, Spot, plain_aus
from models.tiers import labelled, meaning

Rulers = Mapping[str, FrameRuler]  # by video
_BEGIN = ("onset_s", "begin_s", "start_s")
_END = ("offset_s", "end_s")
_EXPORT = ("stream", "onset_frame", "offset_frame")
_VIDEO = ("video", "stream")
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,12})?")
_WITHDRAWN = "retracted"


@dataclass(frozen=True)
class Times:
    """How seconds become frames.

    ``fps`` is what the user said, ``linked`` the rate of the video that a file links to, by its
    name, ``rulers`` what the files to compare with tell.
    """

    fps: float | None = None
    linked: Callable[[Path], float | None] = lambda path: None
    rulers: Rulers = field(default_factory=dict)

    def ruler(self, path: Path, video: str, named: bool, own: float | None) -> FrameRuler:
        """The ruler of ``video``.

        Raises:
            UserError: nothing tells a frame rate.
        """
        if self.fps is not None:
            return FrameRuler(self.fps)
        if video in self.rulers:
            return self.rulers[video]
        if own is not None:
            return FrameRuler(own)
        if not named and len(self.rulers) == 1:
            return next(iter(self.rulers.values()))
        raise UserError(f"{path}: counts in seconds; give the video's frame rate with --fps")


def read(path: Path, times: Times = Times()) -> Labels:
    """Read ``path``; the layout is told from its content.

    Raises:
        UserError: the file cannot be read, is none of the layouts, or counts in seconds and
            nothing tells the frame rate.
    """
    if path.is_dir():
        return labels.read(path)
    if path.suffix.lower() == ".eaf" or _begins_as_xml(path):
        document = read_eaf(path)
        rates = (times.linked(path.parent / name) for name in document.media)
        own = document.fps or next(filter(None, rates), None)
        return _of_tiers(document, "eaf", times, own)
    table = _table(path)
    if table is None:
        return labels.read(path)
    if is_text_export(table.rows) and not table.header_is(("onset", "duration")):
        return _of_tiers(read_text_export(path, table.rows), "elan-text", times, None)
    if table.header_is(_EXPORT):
        return _of_rows(table, "export", times)
    if table.header_is(("onset", "duration")) and not table.header_is(("video", "offset")):
        return _of_rows(table, "seconds", times)
    if table.has_one(_BEGIN) and table.has_one(_END):
        return _of_rows(table, "seconds", times)
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


def meet(one: Labels, other: Labels) -> tuple[Labels, Labels]:
    """The pair, a file that names no video taken for the only one of its counterpart."""
    return _taken_for(one, other), _taken_for(other, one)


def _taken_for(one: Labels, other: Labels) -> Labels:
    if one.named or not one.videos or len(other.videos) != 1 or one.videos == other.videos:
        return one
    (video,) = other.videos
    items = tuple(replace(item, video=video) for item in one.truth)
    note = f"names no video: taken for {video}"
    return replace(
        one, truth=items, predictions=items, videos=other.videos, notes=(*one.notes, note)
    )


# --- documents of tiers


def _of_tiers(document: Document, layout: labels.Layout, times: Times, own: float | None) -> Labels:
    name = document.stream or next(iter(document.media), document.path.stem)
    video = _stream(name, lambda text: UserError(f"{document.path}: {text}"))
    named = bool(document.stream or document.media)
    wanted = any(meaning(note.tier) for note in document.annotations)
    ruler = times.ruler(document.path, video, named, own) if wanted else FrameRuler(1)
    items, notes = labelled(document, video, ruler)
    if wanted:
        notes.insert(0, f"{ruler.fps:.6g} frames a second")
    return Labels(
        document.path, layout, tuple(items), tuple(items), frozenset({video}), tuple(notes), named
    )


def _begins_as_xml(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")
    except OSError:
        return False


# --- tables


@dataclass(frozen=True)
class _Table:
    path: Path
    delimiter: str
    rows: list[tuple[int, list[str]]]

    @property
    def header(self) -> list[str]:
        return [cell.strip().lower() for cell in self.rows[0][1]]

    def header_is(self, names: Sequence[str]) -> bool:
        return set(names) <= set(self.header)

    def has_one(self, names: Sequence[str]) -> bool:
        return bool(set(names) & set(self.header))


def _table(path: Path) -> _Table | None:
    """The rows of a delimited text, comma, semicolon or tab; None where it is something else."""
    if path.suffix in {".json", ".jsonl"}:
        return None
    text = labels.text_of(path)
    first = text.partition("\n")[0]
    if not first.strip() or text.lstrip()[:1] in {"{", "["}:
        return None
    delimiter = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV: {error}") from None
    return _Table(path, delimiter, rows) if rows else None


def _of_rows(table: _Table, layout: labels.Layout, times: Times) -> Labels:
    header = table.header
    if len(set(header)) != len(header):
        raise UserError(f"{table.path} line 1: a column name occurs twice")
    named = table.has_one(_VIDEO)
    own = table.path.stem
    streams: dict[str, str] = {}  # what the file calls them
    found: dict[tuple[str, str], Labelled] = {}
    videos: set[str] = set() if named else {own}
    others: dict[str, int] = {}
    for line, row in table.rows[1:]:
        spot = _spot(table.path, line)
        cells = _cells(header, row, spot)
        called = _first(cells, _VIDEO) if named else own
        video = _stream(called, spot)
        if streams.setdefault(video, called) != called:
            raise spot(f"{streams[video]!r} and {called!r} are one stream's name; rename one")
        videos.add(video)
        if cells.get("phase") == _WITHDRAWN:
            continue
        kind, aus = _trial(cells, spot)
        if kind is None and not aus and "trial_type" in cells:
            others[cells["trial_type"]] = others.get(cells["trial_type"], 0) + 1
            if cells["trial_type"] != "unknown":
                continue
        borders = _borders(cells, layout, table.path, video, named, times, spot)
        item = _item(cells, video, borders, kind, aus, spot)
        key = (video, f"{cells.get('run', '')} {cells['id']}" if cells.get("id") else f"\0{line}")
        found[key] = _joined(found[key], item, spot) if key in found else item
    others.pop("unknown", None)
    rows = [f"rows of other trial types not read: {', '.join(sorted(others)[:5])}"]
    items = tuple(found.values())
    notes = tuple(rows if others else ())
    return Labels(table.path, layout, items, items, frozenset(videos), notes, named)


def _spot(path: Path, line: int) -> Spot:
    return lambda text: UserError(f"{path} line {line}: {text}")


def _stream(name: str, spot: Spot) -> str:
    if not name or not name.isprintable():
        raise spot(f"{name!r} is not a video's name")
    return labels.stream_name(name)


def _cells(header: Sequence[str], row: Sequence[str], spot: Spot) -> Row:
    if len(row) != len(header):
        raise spot(f"{len(row)} cells under a header of {len(header)}")
    stripped = (cell.strip() for cell in row)
    return {
        name: "" if cell.lower() == "n/a" else cell
        for name, cell in zip(header, stripped, strict=True)
    }


def _first(cells: Row, names: Sequence[str]) -> str:
    return next((cells[name] for name in names if cells.get(name)), "")


def _trial(cells: Row, spot: Spot) -> tuple[Kind | None, tuple[int, ...]]:
    """Kind and AUs of a row, wherever they stand."""
    trial = cells.get("trial_type", "")
    said = meaning(trial) if trial else None
    word = cells.get("kind", "") or cells.get("event_kind", "")
    kind = labels.named_kind("" if word == "unknown" else word, spot)
    if kind is None and said is not None:
        kind = said.kind
    aus = set(plain_aus(cells.get("aus", ""), spot)) | set(plain_aus(cells.get("au", ""), spot))
    if said is not None and said.role == "au":
        aus.add(said.au)
    return kind, tuple(sorted(aus))


def _borders(
    cells: Row,
    layout: labels.Layout,
    path: Path,
    video: str,
    named: bool,
    times: Times,
    spot: Spot,
) -> tuple[int, int, int | None]:
    """Onset, offset and apex as frames; those of the event in a row of one of its AUs."""
    if layout == "export":
        whole = "event_" if "event_onset_frame" in cells else ""
        onset, offset = (
            labels.frame_number(cells[f"{whole}{n}_frame"], n, spot) for n in ("onset", "offset")
        )
        apex = cells.get(f"{whole}apex_frame", "")
        return onset, offset, labels.frame_number(apex, "apex", spot) if apex else None
    ruler = times.ruler(path, video, named, None)
    bids = "duration" in cells and "onset" in cells
    begin = _seconds(cells["onset"] if bids else _first(cells, _BEGIN), "onset", spot)
    if bids:
        end = begin + _seconds(cells["duration"], "duration", spot)
    else:
        end = _seconds(_first(cells, _END), "offset", spot)
    if bids and cells.get("event_onset"):
        begin = _seconds(cells["event_onset"], "event_onset", spot)
        end = begin + _seconds(cells.get("event_duration", ""), "event_duration", spot)
    apex = _first(cells, ("event_apex_s", "apex_s"))
    at = ruler.frame(_seconds(apex, "apex", spot)) if apex else None
    return ruler.frame(begin), ruler.frame(end), at


def _seconds(cell: str, name: str, spot: Spot) -> float:
    number = cell.replace(",", ".")
    if not _NUMBER.fullmatch(number):
        raise spot(f"{name} {cell!r} is not a time in seconds")
    return float(number)


def _item(
    cells: Row,
    video: str,
    borders: tuple[int, int, int | None],
    kind: Kind | None,
    aus: tuple[int, ...],
    spot: Spot,
) -> Labelled:
    onset, offset, apex = borders
    emotion = cells.get("emotion", "").strip().lower() or None
    if offset == 0:
        raise spot("ends with the first frame, which no expression does")
    try:
        return Labelled(video, onset, offset, apex, kind, aus, emotion=emotion)
    except ValueError as error:
        raise spot(str(error)) from None


def _joined(one: Labelled, other: Labelled, spot: Spot) -> Labelled:
    """Two rows of one event: the AUs of both."""
    if replace(one, aus=()) != replace(other, aus=()):
        raise spot("a second event of one id")
    return replace(one, aus=tuple(sorted({*one.aus, *other.aus})))


# --- what tells a rate


def _moments(path: Path, points: dict[str, set[tuple[int, float]]]) -> None:
    if path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            _of_event(line, points)
        return
    table = _table(path)
    if table is None or not table.header_is((*_EXPORT, "onset_s")):
        return
    for _, row in table.rows[1:]:
        cells = dict(zip(table.header, row, strict=False))
        for name in ("onset", "apex", "offset"):
            frame, second = cells.get(f"{name}_frame", ""), cells.get(f"{name}_s", "")
            if frame.isdecimal() and _NUMBER.fullmatch(second):
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
