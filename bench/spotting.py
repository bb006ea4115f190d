"""How well the pipeline spots: the paper's method and ours on the same frames.

Clips are rendered in memory (``models.synthesis.chance``) or read from a folder with a
``truth.json``; every frame goes through both variants in turn, so that both see the same.
Figures are those of ``models.evaluate``: totals over clips first (``docs/scoring.md``).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np

from bench.figures import Aim, Figure
from bench.machine import cores
from bench.report import Result, say
from models.errors import UserError
from models.evaluate import (
    DEFAULT,
    PROTOCOLS,
    THRESHOLDS,
    Kind,
    Labelled,
    Protocol,
    aus_f1,
    border_errors,
    match,
    matched,
    table,
)
from models.files import within
from models.labels import read
from models.synthesis import SyntheticFace, load_portrait, random_scene, truth_rows
from models.synthesis.chance import Level
from pipeline.build import limit_threads
from pipeline.cli_synth import truth_entry
from pipeline.config import Config, load
from pipeline.inline import InlineGraph
from pipeline.sources import open_source
from pipeline.sources.base import stamped
from stages.items import Event, Frame, Interval, Stamp

# what each variant's configuration says; every other option is the caller's
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"method": "paper"},
    "ours": {"method": "mespot"},
    "fast": {"method": "mespot", "motion": {"flow": "fast"}},
    "exact": {"method": "mespot", "motion": {"flow": "exact"}},
}
USUAL = "paper,ours"
_F1_APART = 0.01  # fast flow may cost, or bring, so much
_TOLERANCE = 0.02  # of an F1 between two runs
LEVELS: tuple[Level, ...] = get_args(Level)
SEED = 500_000  # the shipped prototypes are fitted on seeds below 100 000
PORTRAITS = "astronaut,obama"  # the shipped prototypes are fitted on "biden"
LEAST_IOU = THRESHOLDS[0]

_CLIP_S = 60.0
_LEVEL_SEEDS = 10_000  # seeds of the levels lie so far apart: more minutes, the same first clips
_EMPTY_EVERY = 5
_LEAST_MIN = 0.25  # three clips of 5 s
_MINUTES = f"0, or at least {_LEAST_MIN:g}"
_FPS = (25.0, 200.0)
_EYE_PX = 126.0
_SACCADE_S = 0.1
_BINS = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
_KEYS = {"blink": "blinks", "gaze": "gaze", "speech": "speech", "head": "head_episodes"}
_SYNTH, _FOLDER = "all synth", "folder"
_KINDS: dict[str, Kind] = {"micro": "micro", "macro": "macro"}

Span = tuple[float, float]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Truth:
    """One true expression: frames of the events' count, and source time."""

    onset: int
    apex: int | None
    offset: int  # 0: not annotated
    kind: Kind | None
    aus: tuple[int, ...]
    onset_s: float
    apex_s: float | None
    offset_s: float
    amplitude_px: float | None  # at the apex; at an eye distance of 126 px where that is known
    onset_known: bool = True


@dataclass(frozen=True)
class Spotted:
    """One ``final``, with the source times at which it was announced and decided."""

    id: str
    kind: Kind | None
    onset: int
    apex: int
    offset: int
    aus: tuple[int, ...]
    indices: dict[str, float]  # matching index by AU and side
    onset_s: float
    apex_s: float
    offset_s: float
    announced_s: float
    decided_s: float
    reference: int


@dataclass(frozen=True)
class Retracted:
    """One announcement that was withdrawn."""

    id: str
    reason: str
    apex: int
    apex_s: float
    decided_s: float


@dataclass
class Run:
    """What one variant said about one clip."""

    spotted: list[Spotted] = field(default_factory=list)
    retracted: list[Retracted] = field(default_factory=list)
    announced: dict[str, float] = field(default_factory=dict)  # id: source time

    def hear(self, interval: Interval) -> None:
        """Take in one event."""
        self.announced.setdefault(interval.id, interval.decided.pts)
        if interval.phase == "final" and interval.onset and interval.offset:
            self.spotted.append(self._final(interval, interval.onset, interval.offset))
        elif interval.phase == "retracted":
            apex, decided = interval.apex, interval.decided
            self.retracted.append(
                Retracted(interval.id, interval.reason, apex.frame, apex.pts, decided.pts)
            )

    def _final(self, interval: Interval, onset: Stamp, offset: Stamp) -> Spotted:
        return Spotted(
            id=interval.id,
            kind=_KINDS.get(interval.kind),
            onset=onset.frame,
            apex=interval.apex.frame,
            offset=offset.frame,
            aus=tuple(sorted({a.au for a in interval.aus})),
            indices={f"{a.au} {a.side}": float(a.index) for a in interval.aus},
            onset_s=onset.pts,
            apex_s=interval.apex.pts,
            offset_s=offset.pts,
            announced_s=self.announced[interval.id],
            decided_s=interval.decided.pts,
            reference=interval.reference,
        )


@dataclass
class Clip:
    """One clip: what it holds, and what each variant said about it."""

    name: str
    data: str  # a level, or the folder
    fps: float
    frames: int
    seconds: float
    took_s: float
    about: dict[str, Any]  # its entry in a truth.json, without the events
    truth: list[Truth]
    runs: dict[str, Run]

    @property
    def movements(self) -> dict[str, list[Span]]:
        """When the face moved otherwise; empty where the entry does not say."""
        return movements(self.about)

    def true(self) -> list[Labelled]:
        """The truth as the scorer takes it."""
        return [
            Labelled(self.name, t.onset, t.offset, t.apex, t.kind, t.aus, t.onset_known)
            for t in self.truth
        ]

    def spotted(self, variant: str) -> list[Labelled]:
        """What ``variant`` spotted, as the scorer takes it."""
        return [
            Labelled(self.name, s.onset, s.offset, s.apex, s.kind, s.aus)
            for s in self.runs[variant].spotted
        ]


def movements(entry: dict[str, Any]) -> dict[str, list[Span]]:
    """Spans of what else moved, by kind, from a clip's entry; of gaze, the saccades.

    Raises:
        UserError: a span has no ``start_s`` or ``end_s``.
    """
    spans = {name: _spans(entry, key) for name, key in _KEYS.items() if key in entry}
    if spans.get("gaze"):
        ends = [((a, a + _SACCADE_S), (b - _SACCADE_S, b)) for a, b in spans["gaze"]]
        spans["gaze"] = list(chain.from_iterable(ends))
    return spans


def _spans(entry: dict[str, Any], key: str) -> list[Span]:
    try:
        return [(float(row["start_s"]), float(row["end_s"])) for row in entry[key]]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"truth.json: {key} is not a list of spans with start_s and end_s"
        ) from None


# ---------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Material:
    """A clip's frames, its entry in a truth.json and its truth in the frames' count."""

    frames: Iterator[Frame]
    entry: dict[str, Any]
    truth: list[Labelled]
    fps: float


@dataclass(frozen=True)
class Rendered:
    """A synthetic clip, rendered frame by frame as the synthetic source does."""

    level: Level
    seed: int
    portrait: str
    seconds: float
    fps: float
    empty: bool

    @property
    def name(self) -> str:
        """Level, seed, portrait."""
        return f"{self.level}-{self.seed}-{self.portrait}" + ("-empty" if self.empty else "")

    @property
    def data(self) -> str:
        """The set it belongs to."""
        return self.level

    def open(self) -> Material:
        """Its frames; their stamps count nominal frames, and so does the truth."""
        scene = random_scene(self.seed, self.level, self.seconds, self.fps, empty=self.empty)
        face = SyntheticFace(scene, load_portrait(self.portrait))
        entry = truth_entry(face, self.portrait, self.level)
        nominal = truth_rows(face.truth())
        for row, frames in zip(entry["events"], nominal, strict=True):
            row |= {key: frames[key] for key in ("onset", "apex", "offset")}
        truth = [
            Labelled(self.name, r["onset"], r["offset"], r["apex"], r["kind"], tuple(r["aus"]))
            for r in nominal
        ]
        return Material(self._frames(face), entry, truth, self.fps)

    def _frames(self, face: SyntheticFace) -> Iterator[Frame]:
        for arrived in face.schedule():
            yield stamped(self.name, arrived.index, arrived.pts, face.frame(arrived.shows))


@dataclass(frozen=True)
class Recorded:
    """A video beside a truth.json."""

    path: Path
    entry: dict[str, Any]
    truth: tuple[Labelled, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def data(self) -> str:
        """The set it belongs to."""
        return _FOLDER

    def open(self) -> Material:
        """Its frames, decoded."""
        source = open_source(str(self.path), fps="max")
        fps = float(self.entry.get("fps") or source.fps or 0)
        if fps <= 0:
            raise UserError(f"{self.path}: its frame rate is unknown; give fps in truth.json")
        return Material(source.frames(), self.entry, list(self.truth), fps)


Job = Rendered | Recorded


def planned(minutes: float, seed: int, fps: float, portraits: Sequence[str]) -> list[Job]:
    """Synthetic clips of about a minute, as many of each level; one in five is empty.

    Raises:
        UserError: a number is out of range, or a portrait is not shipped.
    """
    for wrong, text in (
        (minutes and not _LEAST_MIN <= minutes < 10_000, f"--minutes {minutes:g}: {_MINUTES}"),
        (seed < 0, f"--seed {seed}: 0 or more"),
        (not _FPS[0] <= fps <= _FPS[1], f"--fps {fps:g}: {_FPS[0]:g} to {_FPS[1]:g}"),
        (not portraits, "--portraits: name at least one"),
    ):
        if wrong:
            raise UserError(text)
    for name in portraits:
        load_portrait(name)
    each = 60.0 * minutes / len(LEVELS)
    count = max(1, round(each / _CLIP_S)) if minutes else 0
    return [
        Rendered(
            level,
            seed + _LEVEL_SEEDS * number + k,
            portraits[(number + k) % len(portraits)],
            each / count,
            fps,
            k % _EMPTY_EVERY == _EMPTY_EVERY - 1,
        )
        for number, level in enumerate(LEVELS)
        for k in range(count)
    ]


def recorded(folder: Path) -> list[Job]:
    """The clips that the folder's truth.json names.

    Raises:
        UserError: there is none, it cannot be read, or a clip is missing.
    """
    file = folder / "truth.json"
    if not file.is_file():
        raise UserError(f"{folder}: no truth.json beside the clips")
    truth = list(read(file).truth)
    jobs: list[Job] = []
    for name, entry in json.loads(file.read_text(encoding="utf-8-sig")).items():
        count = len(entry["events"])
        own, truth = truth[:count], truth[count:]
        movements(entry)
        if not within(folder / name, folder) or not (folder / name).is_file():
            raise UserError(f"{file}: names {name}, which is not there")
        jobs.append(Recorded(folder / name, entry, tuple(own)))
    return jobs


def config(variant: str, source: str) -> Config:
    """The configuration of a variant: every other option at the caller's default."""
    return load(source=source, fps="max", model=[], **VARIANTS[variant])


def chosen(text: str) -> list[str]:
    """Variants between commas.

    Raises:
        UserError: one is unknown, or none is named.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names or not set(names) <= VARIANTS.keys():
        raise UserError(f"--variants {text}: of {', '.join(VARIANTS)}, with commas")
    return names


def listen(job: Job, variants: Sequence[str]) -> Clip:
    """Run every variant over the clip; each frame is made once."""
    limit_threads()
    begin = time.perf_counter()
    material = job.open()
    source = str(job.path) if isinstance(job, Recorded) else "synthetic:"
    graphs = {variant: InlineGraph.from_config(config(variant, source)) for variant in variants}
    runs = {variant: Run() for variant in variants}
    times: dict[int, float] = {}
    for frame in material.frames:
        times[frame.stamp.frame] = frame.stamp.pts
        for variant, graph in graphs.items():
            _hear(runs[variant], graph.feed(frame))
    for variant, graph in graphs.items():
        _hear(runs[variant], graph.flush())
    about = {key: value for key, value in material.entry.items() if key != "events"}
    frames = max(times, default=-1) + 1
    return Clip(
        name=job.name,
        data=job.data,
        fps=material.fps,
        frames=frames,
        seconds=frames / material.fps,
        took_s=round(time.perf_counter() - begin, 2),
        about=about,
        truth=_timed(material, times),
        runs=runs,
    )


def _hear(run: Run, items: Iterable[object]) -> None:
    for item in items:
        if isinstance(item, Event):
            run.hear(item.interval)


def _timed(material: Material, times: dict[int, float]) -> list[Truth]:
    """The truth with source times; of a lost frame, the time that it would have had."""
    eye = material.entry.get("eye_px")
    scale = _EYE_PX / eye if eye else 1.0

    def at(frame: int) -> float:
        return times.get(frame, frame / material.fps)

    return [
        Truth(
            onset=t.onset,
            apex=t.apex,
            offset=t.offset,
            kind=t.kind,
            aus=t.aus,
            onset_s=at(t.onset),
            apex_s=None if t.apex is None else at(t.apex),
            offset_s=at(t.offset),
            amplitude_px=round(row["peak_px"] * scale, 3) if "peak_px" in row else None,
            onset_known=t.onset_known,
        )
        for t, row in zip(material.truth, material.entry["events"], strict=True)
    ]


def listened(jobs: Sequence[Job], workers: int, say: Say, variants: Sequence[str]) -> list[Clip]:
    """Every clip, in the order of ``jobs``, over so many processes."""
    clips: dict[int, Clip] = {}

    def done(number: int, clip: Clip) -> None:
        clips[number] = clip
        say(f"[{len(clips)}/{len(jobs)}] {clip.name}: {clip.seconds:.0f} s in {clip.took_s:.0f} s")

    limit_threads()  # before the processes start: they inherit it
    if workers == 1:
        for number, job in enumerate(jobs):
            done(number, listen(job, variants))
    else:
        with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn")) as pool:
            futures = {
                pool.submit(listen, job, variants): number for number, job in enumerate(jobs)
            }
            for future in as_completed(futures):
                done(futures[future], future.result())
    return [clips[number] for number in range(len(jobs))]


# ---------------------------------------------------------------- what it amounts to


@dataclass(frozen=True)
class Pair:
    """A true expression and what was taken for it."""

    clip: str
    data: str
    variant: str
    truth: Truth
    spotted: Spotted


@dataclass(frozen=True)
class FalseAlarm:
    """A spotted expression that fits no true one."""

    clip: str
    data: str
    variant: str
    coincides: tuple[str, ...]  # "expression", "nothing", "not told" alone; or movements
    best_iou: float  # with any true expression
    spotted: Spotted


@dataclass(frozen=True)
class Miss:
    """A true expression that was not found."""

    clip: str
    data: str
    variant: str
    why: str  # "kind", "borders" or "nothing" spotted there
    best_iou: float  # with any spotted expression
    truth: Truth


@dataclass
class Outcome:
    """All clips compared with their truth."""

    pairs: list[Pair] = field(default_factory=list)
    false_alarms: list[FalseAlarm] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)


def compare(clips: Iterable[Clip], protocol: Protocol) -> Outcome:
    """Who matched whom at IoU 0.5, and what became of the rest."""
    outcome = Outcome()
    for clip in clips:
        for variant in clip.runs:
            _compare(clip, variant, protocol, outcome)
    return outcome


def _compare(clip: Clip, variant: str, protocol: Protocol, outcome: Outcome) -> None:
    truth, spotted = clip.true(), clip.spotted(variant)
    pairs = match(truth, spotted, protocol, LEAST_IOU)
    at = (clip.name, clip.data, variant)
    said = clip.runs[variant].spotted
    outcome.pairs += [Pair(*at, clip.truth[i], said[j]) for i, j in pairs]
    known = [t for t in truth if t.known]
    for j in sorted(set(range(len(spotted))) - {j for _, j in pairs}):
        best = max((protocol.iou(t, spotted[j]) for t in known), default=0.0)
        coincides = ("expression",) if best > 0 else _coincides(clip, said[j])
        outcome.false_alarms.append(FalseAlarm(*at, coincides, round(best, 4), said[j]))
    for i in sorted(set(range(len(truth))) - {i for i, _ in pairs}):
        if truth[i].known:
            best, why = _why(truth[i], spotted, protocol)
            outcome.misses.append(Miss(*at, why, round(best, 4), clip.truth[i]))


def _coincides(clip: Clip, spotted: Spotted) -> tuple[str, ...]:
    known = clip.movements
    found = tuple(
        name
        for name, spans in known.items()
        if any(a <= spotted.offset_s and spotted.onset_s <= b for a, b in spans)
    )
    return found or ("nothing" if known else "not told",)


def _why(true: Labelled, spotted: Sequence[Labelled], protocol: Protocol) -> tuple[float, str]:
    if not spotted:
        return 0.0, "nothing"
    best, nearest = max(
        ((protocol.iou(true, s), s) for s in spotted), key=lambda pair: (pair[0], -pair[1].onset)
    )
    if best == 0:
        return best, "nothing"
    fits = best >= LEAST_IOU and protocol.types == "same" and nearest.kind != true.kind
    return best, "kind" if fits else "borders"


def _sets(clips: Sequence[Clip]) -> list[tuple[str, list[Clip]]]:
    """Data sets in the order of the tables, each with its clips."""
    levels: list[str] = [level for level in LEVELS if any(c.data == level for c in clips)]
    sets = [(level, [c for c in clips if c.data == level]) for level in levels]
    if levels:
        sets.append((_SYNTH, [c for c in clips if c.data != _FOLDER]))
    folder = [c for c in clips if c.data == _FOLDER]
    return [*sets, (_FOLDER, folder)] if folder else sets


def _minutes(clips: Iterable[Clip]) -> float:
    return sum(clip.seconds for clip in clips) / 60


def _rate(count: int, minutes: float) -> str | float:
    return round(count / minutes, 2) if minutes else "-"


def _cell(value: float | None, digits: int = 1) -> str | float:
    return "-" if value is None else round(value, digits)


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.percentile(values, share)) if values else None


def accuracy(clips: Sequence[Clip], protocol: Protocol) -> Result:
    """Data sets by variants: F1, false alarms, borders, AUs."""
    columns = ["data", "variant", "minutes", "true", "spotted", "recall", "F1", "F1 micro"]
    columns += ["F1 macro", "F1 at 0.4", "F1 at 0.3", "false/min", "false/min empty"]
    columns += ["onset", "apex", "offset", "AU F1"]
    result = Result(f"accuracy ({_said(protocol)})", columns)
    for data, some in _sets(clips):
        for variant in _variants(clips):
            row = [data, variant, *_accuracy(some, variant, protocol)]
            result.add(row, *_f1_figures(dict(zip(columns, row, strict=True))))
    rates = ", ".join(f"{rate:g}" for rate in sorted({clip.fps for clip in clips}))
    result.notes = [
        f"protocol {protocol.name}: {protocol.meaning}.",
        "false/min: spotted without a match; empty: on clips without expressions. onset, apex, "
        f"offset: median error of matched pairs, frames at {rates} fps. AU F1: AU sets of matched "
        "pairs.",
    ]
    return result


def _variants(clips: Sequence[Clip]) -> list[str]:
    return list(dict.fromkeys(variant for clip in clips for variant in clip.runs))


def _f1_figures(cells: dict[str, Any]) -> list[Figure]:
    """F1 of one row of the table of accuracy."""
    key = f"spotting.{cells['data'].replace(' ', '_')}.{cells['variant']}"
    more: dict[str, Any] = {"larger_is_better": True, "portable": True, "tolerance": _TOLERANCE}
    spread = {"n": float(cells["true"])}
    names = {"f1": "F1", "f1_micro": "F1 micro"}
    return [
        Figure(f"{key}.{name}", float(cells[column]), "", spread, **more)
        for name, column in names.items()
    ]


def flows(clips: Sequence[Clip], protocol: Protocol) -> list[Result]:
    """F1 with the fast flow against the exact one, where both were scored."""
    variants = _variants(clips)
    fast = next((name for name in ("fast", "ours") if name in variants), None)
    if fast is None or "exact" not in variants:
        return []
    result = Result(
        f"fast flow against exact ({_said(protocol)})", ["data", "F1 fast", "F1 exact", "apart"]
    )
    for data, some in _sets(clips):
        f1 = [_f1(some, variant, protocol) for variant in (fast, "exact")]
        apart = abs(f1[0] - f1[1])
        # only over all clips are there expressions enough for a hundredth to mean something
        aim = Aim("<=", _F1_APART) if data == _SYNTH else None
        key = f"spotting.{data.replace(' ', '_')}.fast_apart_from_exact"
        figure = Figure(key, apart, portable=True, aim=aim)
        result.add([data, *(round(value, 3) for value in f1), round(apart, 4)], figure)
    return [result]


def _f1(clips: Sequence[Clip], variant: str, protocol: Protocol) -> float:
    truth = list(chain.from_iterable(clip.true() for clip in clips))
    spotted = list(chain.from_iterable(clip.spotted(variant) for clip in clips))
    return float(table(truth, spotted, protocol)[0].all.f1)


def _accuracy(clips: Sequence[Clip], variant: str, protocol: Protocol) -> list[str | float]:
    truth = list(chain.from_iterable(clip.true() for clip in clips))
    spotted = list(chain.from_iterable(clip.spotted(variant) for clip in clips))
    first, *others = table(truth, spotted, protocol, THRESHOLDS)
    pairs = matched(truth, spotted, protocol, LEAST_IOU)
    borders = border_errors(pairs)
    bare = [clip for clip in clips if not clip.truth]
    on_bare = sum(len(clip.runs[variant].spotted) for clip in bare)
    minutes = _minutes(clips)
    f1 = [first.all.recall, first.all.f1, first.micro.f1, first.macro.f1]
    f1 += [score.all.f1 for score in others]
    return [
        round(minutes, 1),
        first.all.truth,
        first.all.predictions,
        *(round(value, 3) for value in f1),
        _rate(first.all.fp, minutes),
        _rate(on_bare, _minutes(bare)),
        *(_cell(error) for error in (borders.onset, borders.apex, borders.offset)),
        round(aus_f1(pairs).f1, 3),
    ]


def delays(clips: Sequence[Clip], outcome: Outcome, protocol: Protocol) -> Result:
    """When micro-expressions were announced and decided; what was withdrawn."""
    said = [r for clip in clips for run in clip.runs.values() for r in run.retracted]
    reasons = sorted({_reason(r.reason) for r in said})
    columns = ["data", "variant", "micro", "apex p50", "apex p95", "final p50", "final p95"]
    columns += ["announced/min", "retracted/min", *reasons]
    result = Result(f"decision delay, s of source time ({_said(protocol)})", columns)
    for data, some in _sets(clips):
        for variant in _variants(clips):
            names = {clip.name for clip in some}
            pairs = [p for p in outcome.pairs if p.clip in names and p.variant == variant]
            row = _delays(pairs) + _withdrawn(some, variant, reasons)
            result.rows.append([data, variant, *row])
    result.notes = [
        "apex: from the true apex to the announcement; final: from the true offset to the final "
        "event; of matched micro-expressions. Last columns: retracted a minute, by reason."
    ]
    return result


def _delays(pairs: Iterable[Pair]) -> list[str | float]:
    micro = [p for p in pairs if p.truth.kind == "micro"]
    apex = [p.spotted.announced_s - p.truth.apex_s for p in micro if p.truth.apex_s is not None]
    final = [p.spotted.decided_s - p.truth.offset_s for p in micro]
    quantiles = [_quantile(values, share) for values in (apex, final) for share in (50, 95)]
    return [len(micro), *(_cell(value, 2) for value in quantiles)]


def _withdrawn(clips: Sequence[Clip], variant: str, reasons: Sequence[str]) -> list[str | float]:
    runs = [clip.runs[variant] for clip in clips]
    counts = Counter(_reason(r.reason) for run in runs for r in run.retracted)
    announced = sum(len(run.announced) for run in runs)
    totals = (announced, counts.total(), *(counts[reason] for reason in reasons))
    return [_rate(count, _minutes(clips)) for count in totals]


def _reason(text: str) -> str:
    """A reason without the id or node that it names."""
    if text.startswith("merged into"):
        return "merged"
    return "restarted" if text.endswith(" restarted") else text


def coincidences(clips: Sequence[Clip], outcome: Outcome, protocol: Protocol) -> Result:
    """What else the face did where nothing was to be spotted."""
    names = ("expression", *_KEYS, "nothing", "not told")
    columns = ["data", "variant", "false alarms", *names]
    result = Result(f"what false alarms coincide with ({_said(protocol)})", columns)
    for data, some in _sets(clips):
        within = {clip.name for clip in some}
        for variant in _variants(clips):
            alarms = [a for a in outcome.false_alarms if a.clip in within and a.variant == variant]
            counts = Counter(name for alarm in alarms for name in alarm.coincides)
            result.rows.append([data, variant, len(alarms), *(counts[name] for name in names)])
        shares = [_share(some, name) for name in _KEYS]
        result.rows.append([data, "% of time", "", "", *shares, "", ""])
    result.notes = [
        "expression: overlaps a true one, but of another kind, with an IoU below 0.5, or a second "
        "time; such an alarm is counted there alone. The others may coincide with several. gaze: "
        "its saccades. not told: the truth.json names no movements."
    ]
    return result


def _share(clips: Sequence[Clip], name: str) -> str | float:
    """Percentage of the time that a movement takes, of the clips that tell."""
    told = [(clip, clip.movements[name]) for clip in clips if name in clip.movements]
    taken = sum(b - a for _, spans in told for a, b in spans)
    seconds = sum(clip.seconds for clip, _ in told)
    return _cell(100 * taken / seconds if seconds else None)


def reasons(clips: Sequence[Clip], outcome: Outcome, protocol: Protocol) -> Result:
    """What was spotted where a true expression was missed."""
    columns = ["data", "variant", "missed", "another kind", "other borders", "nothing spotted"]
    result = Result(f"why true expressions were missed ({_said(protocol)})", columns)
    for data, some in _sets(clips):
        within = {clip.name for clip in some}
        for variant in _variants(clips):
            missed = [m for m in outcome.misses if m.clip in within and m.variant == variant]
            counts = Counter(miss.why for miss in missed)
            cells = [counts[why] for why in ("kind", "borders", "nothing")]
            result.rows.append([data, variant, len(missed), *cells])
    return result


def missed(clips: Sequence[Clip], outcome: Outcome, protocol: Protocol) -> Result:
    """Which true expressions were missed: by AU, by amplitude."""
    columns = ["data", "true expressions", "true", *(f"missed by {v}" for v in _variants(clips))]
    result = Result(f"which true expressions were missed ({_said(protocol)})", columns)
    for data, some in _sets(clips):
        if data not in (_SYNTH, _FOLDER):
            continue
        within = {clip.name for clip in some}
        true = [t for clip in some for t in clip.truth if t.onset_known and t.offset]
        lost = {
            v: [m.truth for m in outcome.misses if m.clip in within and m.variant == v]
            for v in _variants(clips)
        }
        for name, fits in _groups(true):
            counts = [sum(map(fits, truths)) for truths in (true, *lost.values())]
            result.rows.append([data, name, *counts])
    result.notes = [
        "Amplitude: movement at the apex of the point that moves most, px at an eye distance of "
        "126 px where the truth tells it, else px of the frame."
    ]
    return result


def _groups(true: Sequence[Truth]) -> list[tuple[str, Callable[[Truth], bool]]]:
    """Names and tests of the rows; an expression stands under each of its AUs."""
    edges = [f"{low:g} to {high:g} px" for low, high in pairwise(_BINS)]
    tests = [(kind, partial(_is, kind)) for kind in _KINDS]
    tests += [(f"AU {au}", partial(_moves, au)) for au in sorted({a for t in true for a in t.aus})]
    tests += [
        (name, partial(_between, low, high))
        for name, low, high in zip(
            [*edges, f"{_BINS[-1]:g} px and more"], _BINS, (*_BINS[1:], float("inf")), strict=True
        )
    ]
    return [(name, test) for name, test in tests if any(map(test, true))]


def _is(kind: str, true: Truth) -> bool:
    return true.kind == kind


def _moves(au: int, true: Truth) -> bool:
    return au in true.aus


def _between(low: float, high: float, true: Truth) -> bool:
    return true.amplitude_px is not None and low <= true.amplitude_px < high


def _said(protocol: Protocol) -> str:
    return f"protocol {protocol.name}, IoU 0.5"


# ---------------------------------------------------------------- the command


@dataclass(frozen=True)
class Scored:
    """A measurement: its tables and all they are made from."""

    tables: list[Result]
    clips: list[Clip]
    outcome: Outcome
    protocol: Protocol
    settings: dict[str, Any]  # the configuration of each variant, and the options given


def measure(folder: Path | None, minutes: float, **options: Any) -> list[Result]:
    """The tables of ``scored``."""
    return scored(folder, minutes, **options).tables


def scored(
    folder: Path | None,
    minutes: float,
    portraits: str = PORTRAITS,
    seed: int = SEED,
    fps: float = 30.0,
    jobs: int | None = None,
    protocol: str = DEFAULT.name,
    variants: str = USUAL,
) -> Scored:
    """Every variant over every clip, scored.

    Raises:
        UserError: an option is wrong, or there is nothing to measure.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol {protocol}: one of {', '.join(PROTOCOLS)}")
    jobs = cores() if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: at least 1")
    wanted = chosen(variants)
    names = [name.strip() for name in portraits.split(",") if name.strip()]
    work = planned(minutes, seed, fps, names)
    work += recorded(folder) if folder is not None else []
    if not work:
        raise UserError("nothing to measure: give --minutes above 0 or a folder")
    rule = PROTOCOLS[protocol]
    settings: dict[str, Any] = {
        variant: config(variant, "synthetic:").model_dump(mode="json") for variant in wanted
    }
    settings["given"] = {"minutes": minutes, "portraits": names, "seed": seed, "fps": fps}
    clips = listened(work, jobs, say, wanted)
    outcome = compare(clips, rule)
    return Scored(tables(clips, outcome, rule), clips, outcome, rule, settings)


def tables(clips: Sequence[Clip], outcome: Outcome, protocol: Protocol) -> list[Result]:
    """Accuracy, delays, false alarms, misses."""
    made = (delays, coincidences, reasons, missed)
    first = [accuracy(clips, protocol), *flows(clips, protocol)]
    return [*first, *(make(clips, outcome, protocol) for make in made)]


def everything(what: Scored) -> dict[str, Any]:
    """What ``--json`` writes beside the tables: all they are made from."""
    protocol = what.protocol
    return {
        "protocol": {"name": protocol.name, "meaning": protocol.meaning},
        "iou": list(THRESHOLDS),
        "settings": what.settings,
        "clips": [asdict(clip) | {"scores": _scores(clip, protocol)} for clip in what.clips],
        **asdict(what.outcome),
    }


def _scores(clip: Clip, protocol: Protocol) -> dict[str, list[dict[str, Any]]]:
    """A clip's own totals by variant, one row per least IoU."""
    return {
        variant: [
            {"iou": score.least_iou, "micro": asdict(score.micro), "macro": asdict(score.macro)}
            for score in table(clip.true(), clip.spotted(variant), protocol)
        ]
        for variant in clip.runs
    }
