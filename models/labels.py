"""Readers of annotation tables and of spotted intervals, whichever layout they have.

| layout | told by | frames |
| --- | --- | --- |
| ``csv`` | a header with video, onset, offset; optional apex, kind, aus, emotion | the user's own |
| ``table`` | a header with video_name, start_frame, end_frame (AUW-GCN's tables) | from 1 |
| ``predictions`` | no header; video, truth start, truth end, predicted start, predicted end, \
TP, FP or FN, optional number (He's MEGC 2024 code) | as written |
| ``events`` | JSON Lines with events, as ``--out`` writes them (``docs/protocol.md``) | from 0 |
| ``truth`` | a JSON object of clips with ``events``, as beside mespot's clips | from 0 |

Nothing is repaired or skipped in silence: what cannot be read ends in a ``UserError``
that names file and line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from models.errors import UserError
from models.evaluate import Kind, Labelled
from models.files import read_text

Layout = Literal[
    "csv", "table", "predictions", "events", "truth", "eaf", "elan-text", "export", "seconds"
]  # the last four are those of ``models.coders``

_NUMBER = re.compile(r"-?[0-9]{1,9}(\.0*)?")
_AU = re.compile(r"[LRABT]?([0-9]{1,2})[A-E]?", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")  # as pipeline.sources.base.stream_name has it
_KINDS: dict[str, Kind] = {"micro": "micro", "macro": "macro"}
_TYPES: dict[str, Kind] = {"1": "macro", "2": "micro"}
_MESSAGES = ("event", "state", "curves")  # the last two hold no interval
_MARKS = {"TP": (True, True), "FN": (True, False), "FP": (False, True)}
_PLAIN = ("video", "onset", "offset")
_TABLE = ("video_name", "start_frame", "apex_frame", "end_frame", "type_idx", "au")
_VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".wmv"})
_WHAT = "a CSV table, a predictions file, an events file or a truth.json (docs/scoring.md)"

Row = Mapping[str, str]
Spot = Callable[[str], UserError]  # words a mistake at a place


@dataclass(frozen=True)
class Labels:
    """What a file says.

    Only the ``predictions`` layout tells the two lists apart; every other layout holds
    one list, which serves as either.
    """

    path: Path
    layout: Layout
    truth: tuple[Labelled, ...]
    predictions: tuple[Labelled, ...]
    videos: frozenset[str]  # every video named, also those without an interval
    notes: tuple[str, ...] = ()  # what the reader has to say of it
    named: bool = True  # False: the video is called by the file's own name


def read(path: Path) -> Labels:
    """Read ``path``; the layout is told from its content. A folder is its events files.

    Raises:
        UserError: the file cannot be read, or is none of the layouts.
    """
    if path.is_dir():
        return _folder(path)
    text = text_of(path)
    if text.lstrip()[:1] in {"{", "["} or path.suffix in {".jsonl", ".json"}:
        return _json(path, text)
    rows = list(_rows(path, text))
    if not rows:
        raise UserError(f"{path}: empty; give {_WHAT}")
    header = [cell.strip().lower() for cell in rows[0][1]]
    if set(_TABLE) <= set(header):
        return _one(path, "table", _records(path, header, rows[1:], _table_row))
    if set(_PLAIN) <= set(header):
        return _one(path, "csv", _as_streams(path, _records(path, header, rows[1:], _plain_row)))
    if len(header) in (6, 7) and header[5].upper() in _MARKS:
        return _predictions(path, rows)
    raise UserError(
        f"{path} line 1: neither a header with {', '.join(_PLAIN)} nor a row of a "
        f"predictions file; give {_WHAT}"
    )


def _folder(path: Path) -> Labels:
    """The events files of a folder, one or more streams each."""
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise UserError(f"{path}: a folder without events files (*.jsonl)")
    items: list[Labelled] = []
    of_stream: dict[str, Path] = {}
    for file in files:
        labels = read(file)
        for stream in sorted(labels.videos):
            if of_stream.setdefault(stream, file) != file:
                raise UserError(f"{file}: has events of {stream}, and so has {of_stream[stream]}")
        items += labels.predictions
    return _one(path, "events", items, list(of_stream))


def _one(
    path: Path, layout: Layout, items: Sequence[Labelled], videos: Sequence[str] = ()
) -> Labels:
    named = frozenset(videos) | {item.video for item in items}
    return Labels(path, layout, tuple(items), tuple(items), named)


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    return read_text(path, _WHAT)


def stream_name(video: str) -> str:
    """The name that mespot gives the stream of a video file; other names stay."""
    file = PurePosixPath(video)
    if file.suffix.lower() not in _VIDEO_SUFFIXES:
        return video
    return _UNSAFE.sub("-", file.stem).strip("-") or "stream"


def _stream_names(path: Path, videos: Iterable[str]) -> dict[str, str]:
    """Video files by the name that mespot gives their stream; other names stay.

    Raises:
        UserError: two videos would be one.
    """
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for video in videos:
        _video(video, lambda text: UserError(f"{path}: {text}"))
        names[video] = stream_name(video)
        first = taken.setdefault(names[video], video)
        if first != video:
            raise UserError(f"{path}: {first!r} and {video!r} are one stream's name; rename one")
    return names


def _as_streams(path: Path, items: Sequence[Labelled]) -> list[Labelled]:
    names = _stream_names(path, dict.fromkeys(item.video for item in items))
    return [replace(item, video=names[item.video]) for item in items]


def _spot(path: Path, line: int) -> Spot:
    return lambda text: UserError(f"{path} line {line}: {text}")


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV with the line each ends on; blank lines hold no row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV: {error}") from None


def _records(
    path: Path,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str]]],
    labelled: Callable[[Row, Spot], Labelled],
) -> list[Labelled]:
    """Rows under a header, each turned into an interval."""
    if len(set(header)) != len(header):
        raise UserError(f"{path} line 1: a column name occurs twice")
    items = []
    for line, row in rows:
        spot = _spot(path, line)
        if len(row) != len(header):
            raise spot(f"{len(row)} cells under a header of {len(header)}")
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        items.append(labelled(cells, spot))
    return items


def _plain_row(cells: Row, spot: Spot) -> Labelled:
    """A row of the user's own CSV; an empty onset or offset is one not annotated."""
    return _labelled(
        spot,
        cells["video"],
        _maybe(cells["onset"], "onset", spot),
        _maybe(cells["offset"], "offset", spot) or 0,
        _maybe(cells.get("apex", ""), "apex", spot),
        named_kind(cells.get("kind", ""), spot),
        plain_aus(cells.get("aus", ""), spot),
        _emotion(cells.get("emotion", ""), spot),
    )


def _table_row(cells: Row, spot: Spot) -> Labelled:
    """A row of the long-video tables: frames from 1, 0 (apex also -1) is not annotated."""
    apex = "0" if cells["apex_frame"] == "-1" else cells["apex_frame"]
    if cells["type_idx"] not in _TYPES:
        raise spot(f"type_idx {cells['type_idx']!r} is neither 1 (macro) nor 2 (micro)")
    return _labelled(
        spot,
        cells["video_name"],
        frame_number(cells["start_frame"], "start_frame", spot) or None,
        frame_number(cells["end_frame"], "end_frame", spot),
        frame_number(apex, "apex_frame", spot) or None,
        _TYPES[cells["type_idx"]],
        _numbers(cells["au"]),
    )


def _predictions(path: Path, rows: Sequence[tuple[int, list[str]]]) -> Labels:
    """The six or seven columns of a predictions file.

    A prediction that fits two truths stands in two rows: duplicates of predictions
    within a video are dropped, here and nowhere else.
    """
    truth: list[Labelled] = []
    spotted: dict[Labelled, None] = {}
    for line, row in rows:
        spot = _spot(path, line)
        if len(row) not in (6, 7):
            raise spot(f"{len(row)} columns instead of 6 or 7")
        video, *borders, mark = (cell.strip() for cell in row[:6])
        if mark not in _MARKS:
            raise spot(f"mark {mark!r} is none of TP, FP, FN")
        sides = (_span(video, borders[:2], spot), _span(video, borders[2:], spot))
        if (sides[0] is not None, sides[1] is not None) != _MARKS[mark]:
            raise spot(f"marked {mark}, but its borders do not say so")
        truth += [sides[0]] if sides[0] else []
        spotted |= {sides[1]: None} if sides[1] else {}
    videos = frozenset(item.video for item in (*truth, *spotted))
    return Labels(path, "predictions", tuple(truth), tuple(spotted), videos)


def _span(video: str, borders: Sequence[str], spot: Spot) -> Labelled | None:
    if not any(borders):
        return None
    onset, offset = (
        frame_number(cell, name, spot) for name, cell in zip(("start", "end"), borders, strict=True)
    )
    if offset == 0:
        raise spot("end 0; this layout holds no row without its borders")
    return _labelled(spot, video, onset, offset)


def _json(path: Path, text: str) -> Labels:
    """One object without ``type`` is a truth.json; anything else is JSON Lines."""
    try:
        whole = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".json":
            raise UserError(f"{path}: not JSON that can be read: {_said(error)}") from None
        return _events(path, text)
    if isinstance(whole, dict) and "type" not in whole:
        return _truth(path, whole)
    return _events(path, text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that occurs twice would lose a clip."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} occurs twice")
        found[name] = value
    return found


def _said(error: BaseException) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _truth(path: Path, clips: dict[str, Any]) -> Labels:
    names = _stream_names(path, clips)
    items: list[Labelled] = []
    for name, clip in clips.items():
        events = clip.get("events") if isinstance(clip, dict) else None
        if not isinstance(events, list):
            raise UserError(f"{path}: {name!r} has no list of events; give {_WHAT}")
        for number, event in enumerate(events):
            items.append(_truth_event(names[name], event, _at_event(path, name, number)))
    return _one(path, "truth", items, list(names.values()))


def _at_event(path: Path, name: str, number: int) -> Spot:
    return lambda text: UserError(f"{path} {name!r} event {number}: {text}")


def _truth_event(video: str, event: Any, spot: Spot) -> Labelled:
    if not isinstance(event, dict):
        raise spot("not an object")
    aus = event.get("aus", [])
    if not isinstance(aus, list) or not all(_whole(au) for au in aus):
        raise spot("aus is not a list of AU numbers")
    return _labelled(
        spot,
        video,
        _json_frame(event.get("onset"), "onset", spot),
        _json_frame(event.get("offset"), "offset", spot),
        None if event.get("apex") is None else _json_frame(event["apex"], "apex", spot),
        named_kind(event.get("kind") or "", spot),
        tuple(sorted(set(aus))),
    )


def _events(path: Path, text: str) -> Labels:
    """The final events of an events file; all faces of a stream are one video."""
    items: list[Labelled] = []
    streams: list[str] = []
    seen: set[str] = set()
    for line, words in enumerate(text.split("\n"), start=1):
        if not words.strip():
            continue
        spot = _spot(path, line)
        event = _event(words, spot)
        streams.append(event["stream"])
        if event["type"] == "event" and event.get("phase") == "final":
            name = str(event.get("id"))
            if name in seen:
                raise spot(f"a second final event with the id {name!r}")
            seen.add(name)
            items.append(_final(event, spot))
    return _one(path, "events", items, streams)


def _event(words: str, spot: Spot) -> dict[str, Any]:
    try:
        event = json.loads(words)
    except (ValueError, RecursionError):
        raise spot("not a JSON object; was the file cut off?") from None
    if not isinstance(event, dict) or event.get("type") not in _MESSAGES:
        raise spot("not a message of mespot's (docs/protocol.md)")
    if event.get("v") != 1:
        raise spot(f"schema version {event.get('v')!r}; this mespot reads version 1")
    if not isinstance(event.get("stream"), str):
        raise spot("a message without its stream")
    _video(event["stream"], spot)
    return event


def _final(event: dict[str, Any], spot: Spot) -> Labelled:
    onset, apex, offset = (_moment(event, name, spot) for name in ("onset", "apex", "offset"))
    entries = event.get("aus")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and _whole(entry.get("au")) for entry in entries
    ):
        raise spot("aus is not a list of entries with an au each")
    kind = event.get("kind")
    aus = tuple(sorted({entry["au"] for entry in entries}))
    named = "" if kind == "unknown" else kind
    return _labelled(
        spot,
        event["stream"],
        onset,
        offset,
        apex,
        named_kind(named, spot),
        aus,
        _first_label(event.get("emotions", []), spot),
    )


def _first_label(readings: Any, spot: Spot) -> str | None:
    """The label of an event's primary reading; None without readings."""
    if readings == []:
        return None
    first = readings[0] if isinstance(readings, list) else None
    if not isinstance(first, dict) or not isinstance(first.get("label"), str):
        raise spot("emotions is not a list of readings with a label each")
    return _emotion(first["label"], spot)


def _emotion(text: str, spot: Spot) -> str | None:
    """A coder's word for an emotion, in small letters; None for an empty one."""
    if not text.isprintable():
        raise spot(f"emotion {text!r} has characters that cannot be printed")
    return text.strip().lower() or None


def _moment(event: dict[str, Any], name: str, spot: Spot) -> int:
    moment = event.get(name)
    return _json_frame(moment.get("frame") if isinstance(moment, dict) else None, name, spot)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _json_frame(value: Any, name: str, spot: Spot) -> int:
    if not _whole(value):
        raise spot(f"{name} is not a frame number")
    return int(value)


def frame_number(cell: str, name: str, spot: Spot) -> int:
    """A frame number; ``spot`` words what is none."""
    if not _NUMBER.fullmatch(cell):
        raise spot(f"{name} {cell!r} is not a frame number")
    number = int(cell.partition(".")[0])
    if number < 0:
        raise spot(f"{name} {number} is negative")
    return number


def _maybe(cell: str, name: str, spot: Spot) -> int | None:
    """A frame number, or None for an empty cell."""
    return frame_number(cell, name, spot) if cell else None


def named_kind(text: Any, spot: Spot) -> Kind | None:
    """A kind by its name, None by an empty one; ``spot`` words anything else."""
    if text == "":
        return None
    if not isinstance(text, str) or text.lower() not in _KINDS:
        raise spot(f"kind {text!r} is neither micro nor macro")
    return _KINDS[text.lower()]


def plain_aus(text: str, spot: Spot) -> tuple[int, ...]:
    """AU numbers between ``+``, ``;`` or spaces; side and intensity (L4B) are dropped.

    Raises:
        UserError: of ``spot``; a word is no action unit.
    """
    found = set()
    for word in re.split(r"[+;\s]+", text.strip()) if text.strip() else ():
        au = _AU.fullmatch(word)
        if not au:
            raise spot(f"aus: {word!r} is not an action unit (write 4+7)")
        found.add(int(au[1]))
    return tuple(sorted(found))


def _numbers(text: str) -> tuple[int, ...]:
    """Every number in an annotator's text: sides, intensities and words fall away.

    ``R12 or R14`` gives both, ``ref(7)`` gives 7, ``Chewing`` gives none.
    """
    found = {int(number) for number in re.findall(r"(?<![0-9])[0-9]{1,2}(?![0-9x])", text)}
    return tuple(sorted(found - {0}))


def _video(name: str, spot: Spot) -> str:
    """``name``, which must fit into a line of text."""
    if not name:
        raise spot("no video is named")
    if not name.isprintable():
        raise spot(f"a video's name {name!r} has characters that cannot be printed")
    return name


def _labelled(
    spot: Spot,
    video: str,
    onset: int | None,
    offset: int,
    apex: int | None = None,
    kind: Kind | None = None,
    aus: tuple[int, ...] = (),
    emotion: str | None = None,
) -> Labelled:
    known = onset is not None
    video = _video(video, spot)
    try:
        return Labelled(video, onset or 0, offset, apex, kind, aus, known, emotion)
    except ValueError as error:
        raise spot(str(error)) from None
