"""Tables that count in seconds, or that mespot exported: a row an expression, or one of its AUs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models import labels
from models.errors import UserError
from models.evaluate import Kind, Labelled
from models.frame_ruler import Times
from models.labels import Labels, Row, Spot, plain_aus
from models.tiers import meaning

BEGIN = ("onset_s", "begin_s", "start_s")
END = ("offset_s", "end_s")
EXPORT = ("stream", "onset_frame", "offset_frame")
VIDEO = ("video", "stream")
NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,12})?")
_WITHDRAWN = "retracted"


@dataclass(frozen=True)
class Table:
    """The rows of a file, each with the line it ends on."""

    path: Path
    delimiter: str
    rows: list[tuple[int, list[str]]]

    @property
    def header(self) -> list[str]:
        """The first row, in small letters."""
        return [cell.strip().lower() for cell in self.rows[0][1]]

    def header_is(self, names: Sequence[str]) -> bool:
        """Whether all of ``names`` are columns."""
        return set(names) <= set(self.header)

    def has_one(self, names: Sequence[str]) -> bool:
        """Whether one of ``names`` is a column."""
        return bool(set(names) & set(self.header))


def read_table(path: Path) -> Table | None:
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
    return Table(path, delimiter, rows) if rows else None


def of_rows(table: Table, layout: labels.Layout, times: Times) -> Labels:
    """The intervals of a table with a header: ``export`` in frames, ``seconds`` in seconds.

    Raises:
        UserError: a row cannot be read, or nothing tells the frame rate; names the line.
    """
    header = table.header
    if len(set(header)) != len(header):
        raise UserError(f"{table.path} line 1: a column name occurs twice")
    named = table.has_one(VIDEO)
    own = table.path.stem
    streams: dict[str, str] = {}  # what the file calls them
    found: dict[tuple[str, str], Labelled] = {}
    videos: set[str] = set() if named else {own}
    others: dict[str, int] = {}
    for line, row in table.rows[1:]:
        spot = _spot(table.path, line)
        cells = _cells(header, row, spot)
        called = _first(cells, VIDEO) if named else own
        video = stream_of(called, spot)
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
    said = [f"rows of other trial types not read: {', '.join(sorted(others)[:5])}"]
    items = tuple(found.values())
    notes = tuple(said if others else ())
    return Labels(table.path, layout, items, items, frozenset(videos), notes, named)


def _spot(path: Path, line: int) -> Spot:
    return lambda text: UserError(f"{path} line {line}: {text}")


def stream_of(name: str, spot: Spot) -> str:
    """The stream of a video's name; ``spot`` words what is none."""
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
    begin = _seconds(cells["onset"] if bids else _first(cells, BEGIN), "onset", spot)
    if bids:
        end = begin + _seconds(cells["duration"], "duration", spot)
    else:
        end = _seconds(_first(cells, END), "offset", spot)
    if bids and cells.get("event_onset"):
        begin = _seconds(cells["event_onset"], "event_onset", spot)
        end = begin + _seconds(cells.get("event_duration", ""), "event_duration", spot)
    apex = _first(cells, ("event_apex_s", "apex_s"))
    at = ruler.frame(_seconds(apex, "apex", spot)) if apex else None
    return ruler.frame(begin), ruler.frame(end), at


def _seconds(cell: str, name: str, spot: Spot) -> float:
    number = cell.replace(",", ".")
    if not NUMBER.fullmatch(number):
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
