"""ELAN's files: the annotations of an ``.eaf`` document, or of its tab-delimited export.

They come from outside. A document is read up to a size, one with a document type (and so with
entities) not at all, and no address that it names is opened.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

from models.errors import UserError

FPS_PROPERTY = "mespot-fps"
STREAM_PROPERTY = "mespot-stream"
BEGIN_PROPERTY = "mespot-begin-s"  # source time at the document's 0, where that is elsewhere
NO_BEGIN = "none"  # it is not one time: the document follows another clock
LARGEST = 64 * 2**20  # bytes of a document
_CHUNK = 2**16
_TIME = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")
_SECONDS = re.compile(r"-?\d{1,9}(?:[.,]\d{1,9})?")
_MILLISECONDS = re.compile(r"\d{1,12}")

Spot = Callable[[str], UserError]


@dataclass(frozen=True)
class Annotation:
    """One annotation of a tier."""

    tier: str
    participant: str  # "" where the tier names none
    name: str  # how to find it: "annotation a12", "line 7"
    begin: float  # s of the media
    end: float  # s
    text: str


@dataclass(frozen=True)
class Document:
    """What is read of an ELAN file."""

    path: Path
    media: tuple[str, ...]  # names of the linked files, without their folders
    fps: float | None  # told by mespot's own exports
    stream: str  # likewise; "" elsewhere
    tiers: tuple[str, ...]  # also those without an annotation
    annotations: tuple[Annotation, ...]


class _Builder(ElementTree.TreeBuilder):
    """A tree; a document type ends the reading before an entity can be declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse."""
        raise ValueError(f"it has a document type ({name}), which ELAN's files have not")


def read_eaf(path: Path) -> Document:
    """The annotations of an ``.eaf`` document.

    Raises:
        UserError: the file cannot be read or is no such document; names tier and annotation.
    """
    root = _root(path)
    media, origin = _media(path, root)
    begin = _number(path, root, BEGIN_PROPERTY, "follows another clock than the video's frames")
    origin = origin if begin is None else begin
    slots = _slots(path, root)
    found: dict[str, Annotation] = {}
    references: dict[str, tuple[ElementTree.Element, str, ElementTree.Element]] = {}
    tiers = []
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID") or ""
        if not name.strip():
            raise UserError(f"{path}: a tier without a name")
        tiers.append(name)
        for item in tier.iter("ALIGNABLE_ANNOTATION"):
            one = _aligned(path, tier, name, item, slots, origin)
            _once(path, one.tier, one.name, one.name in found)
            found[one.name] = one
        for item in tier.iter("REF_ANNOTATION"):
            label = f"annotation {item.get('ANNOTATION_ID') or '?'}"
            _once(path, name, label, label in references)
            references[label] = (tier, name, item)
    for label in references:
        found[label] = _referring(path, label, references, found)
    stream = _property(root, STREAM_PROPERTY) or ""
    return Document(path, media, _fps(path, root), stream, tuple(tiers), tuple(found.values()))


def _once(path: Path, tier: str, label: str, again: bool) -> None:
    if again:
        raise UserError(f"{path} tier {tier!r} {label}: a second one of this name")


def _root(path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_Builder())
    read = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                read += len(chunk)
                if read > LARGEST:
                    raise UserError(f"{path}: larger than {LARGEST // 2**20} MB")
                parser.feed(chunk)
        root = parser.close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not XML that can be read: {error}") from None
    except (ValueError, LookupError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(root, ElementTree.Element) or root.tag != "ANNOTATION_DOCUMENT":
        raise UserError(f"{path}: XML, but not an ELAN document (ANNOTATION_DOCUMENT)")
    return root


def _media(path: Path, root: ElementTree.Element) -> tuple[tuple[str, ...], float]:
    """Names of the linked files, and the time of the first at which the document begins, s."""
    descriptors = list(root.iter("MEDIA_DESCRIPTOR"))
    names = []
    for item in descriptors:
        address = item.get("MEDIA_URL") or item.get("RELATIVE_MEDIA_URL") or ""
        name = PurePosixPath(unquote(address).replace("\\", "/")).name
        if name:
            names.append(name)
    text = descriptors[0].get("TIME_ORIGIN", "0") if descriptors else "0"
    if not _MILLISECONDS.fullmatch(text.removeprefix("-")):
        raise UserError(f"{path}: TIME_ORIGIN {text!r} of {names[:1]} is not a time in ms")
    return tuple(names), int(text) / 1000


def _slots(path: Path, root: ElementTree.Element) -> dict[str, float | None]:
    slots: dict[str, float | None] = {}
    for slot in root.iter("TIME_SLOT"):
        name, value = slot.get("TIME_SLOT_ID") or "", slot.get("TIME_VALUE")
        if value is not None and not _MILLISECONDS.fullmatch(value):
            raise UserError(f"{path} time slot {name!r}: {value!r} is not a time in ms")
        slots[name] = None if value is None else int(value) / 1000
    return slots


def _fps(path: Path, root: ElementTree.Element) -> float | None:
    fps = _number(path, root, FPS_PROPERTY, "is no frame rate")
    if fps is not None and not 0 < fps <= 10_000:
        raise UserError(f"{path}: property {FPS_PROPERTY} '{fps:g}' is no frame rate")
    return fps


def _number(path: Path, root: ElementTree.Element, name: str, wrong: str) -> float | None:
    """A property of mespot's that is a number."""
    text = _property(root, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}: property {name} {text!r} {wrong}")
    return value


def _property(root: ElementTree.Element, name: str) -> str | None:
    found = (item.text or "" for item in root.iter("PROPERTY") if item.get("NAME") == name)
    return next(found, None)


def _aligned(
    path: Path,
    tier: ElementTree.Element,
    name: str,
    item: ElementTree.Element,
    slots: Mapping[str, float | None],
    origin: float,
) -> Annotation:
    label = f"annotation {item.get('ANNOTATION_ID') or '?'}"
    times = []
    for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"):
        time = slots.get(item.get(key) or "")
        if time is None:
            raise UserError(f"{path} tier {name!r} {label}: its {key} has no time")
        times.append(time + origin)
    if times[1] < times[0]:
        raise UserError(f"{path} tier {name!r} {label}: ends before it begins")
    begin, end = times
    return Annotation(name, tier.get("PARTICIPANT") or "", label, begin, end, _value(item))


def _value(item: ElementTree.Element) -> str:
    return (item.findtext("ANNOTATION_VALUE") or "").strip()


def _referring(
    path: Path,
    label: str,
    references: Mapping[str, tuple[ElementTree.Element, str, ElementTree.Element]],
    found: Mapping[str, Annotation],
) -> Annotation:
    """An annotation of a child tier has the times of the one that it refers to."""
    tier, name, item = references[label]
    seen, above = {label}, item
    while True:
        to = f"annotation {above.get('ANNOTATION_REF') or '?'}"
        if to in found:
            parent = found[to]
            participant = tier.get("PARTICIPANT") or parent.participant
            return Annotation(name, participant, label, parent.begin, parent.end, _value(item))
        if to in seen or to not in references:
            raise UserError(f"{path} tier {name!r} {label}: refers to {to}, which has no time")
        seen.add(to)
        above = references[to][2]


def is_text_export(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether tab-separated rows look like ELAN's tab-delimited export."""
    if not rows or len(rows[0][1]) < 4:
        return False
    first = [cell.strip().lower() for cell in rows[0][1]]
    if "tier" in first:
        return _columns(first) is not None
    return _headless(rows[0][1]) is not None


def read_text_export(path: Path, rows: Sequence[tuple[int, list[str]]]) -> Document:
    """The annotations of a tab-delimited export, with or without its header line.

    Raises:
        UserError: a row cannot be read; names the line.
    """
    columns = _columns([cell.strip().lower() for cell in rows[0][1]])
    body = rows
    if columns is not None:
        body = rows[1:]
    else:
        columns = _headless(rows[0][1])
    assert columns is not None
    found = [_text_row(path, line, row, columns) for line, row in body]
    tiers = tuple(dict.fromkeys(item.tier for item in found))
    return Document(path, (), None, "", tiers, tuple(found))


@dataclass(frozen=True)
class _Columns:
    tier: int
    participant: int | None
    begin: int
    end: int
    text: int


def _columns(header: Sequence[str]) -> _Columns | None:
    """By a header line: the first column of begin times and that of end times."""

    def first(*starts: str) -> int | None:
        return next((n for n, name in enumerate(header) if name.startswith(starts)), None)

    tier, begin, end = first("tier"), first("begin time"), first("end time")
    text = first("annotation", "value")
    if tier is None or begin is None or end is None:
        return None
    return _Columns(
        tier, first("participant"), begin, end, len(header) - 1 if text is None else text
    )


def _headless(row: Sequence[str]) -> _Columns | None:
    """Tier, participant, then each of begin, end and duration in 1 to 3 forms, the value last."""
    times = [n for n, cell in enumerate(row[:-1]) if n and cell.strip() and _is_time(cell)]
    if len(times) < 3 or len(times) % 3 or times != list(range(times[0], times[-1] + 1)):
        return None
    forms = len(times) // 3
    participant = 1 if times[0] > 1 else None
    return _Columns(0, participant, times[0], times[forms], len(row) - 1)


def _is_time(cell: str) -> bool:
    return bool(_TIME.fullmatch(cell.strip()) or _SECONDS.fullmatch(cell.strip()))


def _text_row(path: Path, line: int, row: Sequence[str], columns: _Columns) -> Annotation:
    def at(place: int | None) -> str:
        return "" if place is None or place >= len(row) else row[place].strip()

    times = []
    for name, place in (("begin", columns.begin), ("end", columns.end)):
        cell = at(place)
        if not _is_time(cell):
            raise UserError(f"{path} line {line}: {name} {cell!r} is not a time")
        times.append(_seconds(cell))
    if not at(columns.tier):
        raise UserError(f"{path} line {line}: no tier is named")
    if times[1] < times[0]:
        raise UserError(f"{path} line {line}: ends before it begins")
    begin, end = times
    return Annotation(
        at(columns.tier), at(columns.participant), f"line {line}", begin, end, at(columns.text)
    )


def _seconds(cell: str) -> float:
    """hh:mm:ss.ms, seconds with a decimal point, or whole milliseconds."""
    clock = _TIME.fullmatch(cell)
    if clock:
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return float(cell.replace(",", ".")) if re.search(r"[.,]", cell) else int(cell) / 1000
