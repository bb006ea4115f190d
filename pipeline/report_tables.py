"""The figures of a report: counts, rates, durations, AUs, readings, protocol and versions."""

from __future__ import annotations

import hashlib
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.build import prototypes, recognisers
from pipeline.config import Config
from pipeline.explain_words import au_name
from pipeline.report_run import Seen, Told
from pipeline.schema import VERSION

Row = tuple[str, ...]
Rows = list[Row]

LIBRARIES = ("numpy", "opencv-contrib-python", "mediapipe", "numba", "av")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_PRIVATE = ("source", "out", "events")  # say more of the machine than of the run


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def lasted(told: Told) -> float:
    """Onset to offset, s."""
    interval = told.interval
    assert interval.onset is not None and interval.offset is not None
    return interval.offset.pts - interval.onset.pts


def rate(count: int, seconds: float) -> str:
    """So many a minute."""
    return f"{60 * count / seconds:.2f}" if seconds > 0 else "–"


KIND_HEAD = ("kind", "events", "a minute", "seconds: median (range)", "height: median")


def kind_rows(seen: Seen) -> Rows:
    """Micro, macro, both: counts, rates in the time in which a face was seen, durations."""
    groups = {
        kind: [t for t in seen.events if t.interval.kind == kind] for kind in ("micro", "macro")
    }
    groups["all"] = seen.events
    return [
        (
            kind,
            str(len(group)),
            rate(len(group), seen.seen_s()),
            _spread([lasted(t) for t in group]),
            f"{median(t.interval.height for t in group):.1f}" if group else "–",
        )
        for kind, group in groups.items()
    ]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


AU_HEAD = ("AU", "name", "events", "micro", "macro", "apex: median")


def au_table(seen: Seen, config: Config) -> Rows:
    """Every AU that was seen, the most frequent first."""
    found: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for told in seen.events:
        for one in told.interval.aus:
            found[one.au].append((told.interval.kind, one.index))
    unit = "px" if config.method == "mespot" else "px² × px"
    rows: Rows = []
    for au, events in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        kinds = Counter(kind for kind, _ in events)
        strength = f"{median(index for _, index in events):.3g} {unit}"
        counts = (str(len(events)), str(kinds["micro"]), str(kinds["macro"]))
        rows.append((f"AU {au}", au_name(au), *counts, strength))
    return rows


READING_HEAD = ("from", "reading", "events", "micro", "macro")


def reading_rows(seen: Seen) -> Rows:
    """The first reading of each source, counted."""
    found: Counter[tuple[str, str, str]] = Counter()
    for told in seen.events:
        first: dict[str, str] = {}
        for reading in told.readings:
            first.setdefault(reading.source, reading.label or "no scores")
        for source, label in first.items():
            found[source, label, told.interval.kind] += 1
    rows = []
    for source, label in dict.fromkeys((source, label) for source, label, _ in found):
        micro, macro = found[source, label, "micro"], found[source, label, "macro"]
        rows.append((source, label, micro + macro, micro, macro))
    rows.sort(key=lambda row: (row[0] != "coding-guide", row[0], -row[2], row[1]))
    return [(row[0], row[1], *map(str, row[2:])) for row in rows]


FACE_HEAD = ("face", "seen", "lost", "micro", "macro", "blinks", "a minute", "eyes shut")


def face_rows(seen: Seen) -> Rows:
    """Each face: how long it was seen, what it showed, its blinks."""
    rows: Rows = []
    for face in sorted(seen.faces):
        kinds = Counter(t.interval.kind for t in seen.events if t.interval.face == face)
        own = [closed for closed in seen.blinks if closed.face == face]
        blinks = sum(closed.au == 45 for closed in own)
        shut = [closed.offset_s - closed.onset_s for closed in own if closed.au != 45]
        spans = seen.faces[face]
        lost = sum(end < seen.until_s for _, end in spans)
        rows.append(
            (
                str(face),
                clock(seen.seen_s(face)),
                "never" if not lost else f"{lost} time{'s' * (lost > 1)}",
                str(kinds["micro"]),
                str(kinds["macro"]),
                str(blinks),
                rate(blinks, seen.seen_s(face)),
                f"{len(shut)} times, {sum(shut):.1f} s" if shut else "never",
            )
        )
    return rows


WITHDRAWN_HEAD = ("why", "announcements")
EACH_HEAD = ("apex", "face", "announced as", "withdrawn because")


def withdrawn_rows(seen: Seen) -> Rows:
    """What became of announcements that were taken back, counted by reason."""
    found = Counter("merged" if w.reason.startswith("merged") else w.why for w in seen.withdrawn)
    return [(why, str(count)) for why, count in found.most_common()]


def each_withdrawn(seen: Seen) -> Rows:
    """Every one of them."""
    return [(clock(w.apex_s), str(w.face), w.aus, w.why) for w in seen.withdrawn]


# ---------------------------------------------------------------- protocol


def shown(source: str) -> str:
    """A source's name without the folders that it lies in."""
    return source if source.startswith("synthetic:") else Path(source).resolve().name


def installed(name: str) -> str:
    """The version of a distribution; "" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def protocol_rows(seen: Seen, config: Config) -> Rows:
    """What was done, with what, to what."""
    known = prototypes(config)
    method = {"mespot": "mespot (joint explanation)", "paper": "paper (He et al., eqs 24 to 26)"}
    width, height = seen.size
    size = f"{width} × {height} px, " if width and height else ""
    fps = f"{seen.fps:g} frames a second, " if seen.fps else ""
    runtime = next((f"{n} {installed(n)}" for n in _RUNTIMES if installed(n)), "ONNX Runtime none")
    libraries = [f"{name} {installed(name)}" for name in LIBRARIES]
    missing = f", {seen.missing} missing" if seen.missing else ""
    return [
        ("recording", f"{shown(config.source)} ({size}{fps}{seen.frames} frames{missing})"),
        *_file(config.source),
        ("made", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("mespot", f"{installed('mespot') or 'not installed as a package'}, schema v{VERSION}"),
        ("method", method[config.method]),
        ("prototypes", f"{known.name}@{known.version}: {known.provenance}"),
        *_recognisers(config),
        ("rates", "a minute of the time in which a face was seen, all faces together"),
        ("settings", _settings(config)),
        ("libraries", ", ".join([*libraries, runtime, f"Python {platform.python_version()}"])),
    ]


def _file(source: str) -> Rows:
    path = Path(source)
    if source.startswith("synthetic:"):
        return [("data", "SYNTHETIC: a made face, no person")]
    if not path.is_file():
        return []
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [("file", f"{path.stat().st_size:,} bytes, SHA-256 {digest}")]


def _recognisers(config: Config) -> Rows:
    from models.recogniser import card_of

    rows: Rows = []
    for path in recognisers(config):
        card = card_of(path)
        rows.append((f"recogniser {card.name}@{card.version}", f"trained on {card.training}"))
    return rows or [("recognisers", "none: the coding guide alone")]


def _settings(config: Config) -> str:
    """Those that are not as they come, by their keys."""
    given, plain = (_flat(c.model_dump(mode="json")) for c in (config, Config.model_construct()))
    changed = {key: value for key, value in given.items() if plain.get(key) != value}
    for key in _PRIVATE:
        changed.pop(key, None)
    return ", ".join(f"{key} = {_plain(value)}" for key, value in changed.items()) or "all default"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            made |= _flat(value, f"{prefix}{key}.")
        else:
            made[prefix + key] = value
    return made


def _plain(value: Any) -> str:
    """A value without folders."""
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)
