"""Spotting in every video of a data set, and the files that the scorer reads.

Below the output folder: ``run.json`` (what was asked for), ``events/<stream>.jsonl`` (one
per finished video, as ``--out`` of ``mespot live`` writes it; frames are positions from 0),
``truth.csv`` and ``predictions.csv`` (the labels' own frame numbers). In all of them a video
bears its stream's name: ``anna/one`` is ``anna-one``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Literal

import msgspec

from models.datasets import Annotation, Clip
from models.errors import SourceError, UserError
from models.evaluate import Labelled
from models.labels import read
from models.prototypes import load as load_prototypes
from pipeline.config import Config, load
from pipeline.inline import run
from pipeline.machine import limit_threads
from pipeline.messages import End
from pipeline.publish import EventFile, Messages
from pipeline.schema import EventMessage
from pipeline.sources import open_source
from pipeline.sources.base import stamped, stream_name
from pipeline.workers import begin_worker
from stages.items import FaceState, Frame

_HEAD = ("video", "onset", "offset", "apex", "kind", "aus")
_RUN, _EVENTS, TRUTH, PREDICTIONS = "run.json", "events", "truth.csv", "predictions.csv"


@dataclass(frozen=True)
class Settings:
    """How the videos are spotted."""

    method: Literal["mespot", "paper"] = "mespot"
    prototypes: Path | None = None  # None: the shipped set
    every: int = 1  # every so many-th frame is seen


@dataclass(frozen=True)
class Done:
    """One video: spotted in, or failed."""

    video: str
    spotted: int = 0
    frames: int = 0
    seconds: float = 0.0
    note: str = ""  # no face, an early end, frames that could not be read
    failure: str = ""  # why there are no events
    again: bool = False  # taken over from an earlier run


Tell = Callable[[int, int, Done], None]  # how many are done, of how many, the last one


def evaluate(
    clips: Sequence[Clip],
    settings: Settings,
    out: Path,
    *,
    identity: str,
    jobs: int = 1,
    again: bool = False,
    tell: Tell = lambda number, total, done: None,
) -> list[Done]:
    """Spot in every clip and write truth and predictions; a failed video is in the answer.

    Args:
        clips: videos with their truth.
        settings: method, prototypes, rate.
        out: folder for the results; what an earlier run of the same settings finished stays.
        identity: data set and folder, by which an earlier run is recognised.
        jobs: processes.
        again: redo finished videos, whatever settings they were made with.
        tell: hears of each video.

    Raises:
        UserError: no clips, two names that are one stream's, ``out`` cannot be written, or
            holds another run's results.
    """
    if not clips:
        raise UserError("no video to spot in")
    _unique(clips)
    asked = {"data": identity, "videos": _videos(clips)} | _asked(
        settings
    )  # a wrong option, before anything is done
    files = _prepared(out, clips, asked, again)
    write_labels(out / TRUTH, (true(clip.video, a) for clip in clips for a in clip.truth))
    read(out / TRUTH)  # a row that cannot be scored, before hours of spotting
    done = {clip.video: _finished(clip, files[clip.video]) for clip in clips}
    made = [found for found in done.values() if found is not None]
    for number, found in enumerate(made, 1):
        tell(number, len(clips), found)
    left = [clip for clip in clips if done[clip.video] is None]
    with closing(_each(left, settings, files, jobs)) as answers:
        for number, found in enumerate(answers, len(made) + 1):
            done[found.video] = found
            tell(number, len(clips), found)
    whole = [found for found in done.values() if found is not None]
    _write_predictions(out / PREDICTIONS, clips, whole, settings, files)
    return whole


# ---------------------------------------------------------------- files


def _unique(clips: Iterable[Clip]) -> None:
    taken: dict[str, str] = {}
    for clip in clips:
        name = stream_name(clip.video)
        if taken.setdefault(name, clip.video) != clip.video:
            raise UserError(f"{taken[name]!r} and {clip.video!r} are one stream's name; rename one")


def _asked(settings: Settings) -> dict[str, Any]:
    """Everything that the events depend on, by its key in the configuration."""
    config = _config(settings)
    given = config.model_dump(mode="json", include={"face", "motion", "spot"})
    asked = {"mespot": version("mespot"), "method": config.method, "every": settings.every}
    for section, values in given.items():
        asked |= {f"{section}.{key}": value for key, value in values.items()}
    return asked | {"motion.prototypes": _digest(config.motion.prototypes)}


def _videos(clips: Sequence[Clip]) -> str:
    """What the videos are made of: their frames and rates."""
    told = [f"{clip.video} {clip.fps} {clip.source}" for clip in clips]
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:16]


def _prepared(
    out: Path, clips: Sequence[Clip], asked: dict[str, Any], again: bool
) -> dict[str, Path]:
    """The events file of each video; the folder is made and belongs to this run."""
    try:
        (out / _EVENTS).mkdir(parents=True, exist_ok=True)
        files = {clip.video: out / _EVENTS / f"{stream_name(clip.video)}.jsonl" for clip in clips}
        if again:
            for file in files.values():
                file.unlink(missing_ok=True)
        else:
            _same(out, asked)
        (out / _RUN).write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from None
    return files


def _digest(prototypes: Path | None) -> str:
    if prototypes is None:
        return "shipped"
    return f"{prototypes.name} {hashlib.sha256(prototypes.read_bytes()).hexdigest()[:16]}"


def _same(out: Path, asked: dict[str, Any]) -> None:
    """Refuse to mix results of different runs."""
    file = out / _RUN
    if not file.exists():
        if any((out / _EVENTS).iterdir()):
            raise UserError(
                f"{out}: holds events of an unknown run; name another --out, or --again"
            )
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{file}: not what a run leaves; name another --out, or --again")
    for key, value in asked.items():
        if found.get(key) != value:
            raise UserError(
                f"{out}: holds results with {key} {found.get(key)}, not {value}; "
                "name another --out, or redo them with --again"
            )


def write_labels(path: Path, items: Iterable[Labelled]) -> None:
    """Intervals as a table that ``mespot score`` reads (docs/scoring.md, "your own CSV").

    Raises:
        UserError: it cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(_HEAD)
            for item in items:
                rows.writerow(
                    (
                        item.video,
                        item.onset if item.onset_known else "",
                        item.offset or "",
                        "" if item.apex is None else item.apex,
                        item.kind or "",
                        "+".join(map(str, item.aus)),
                    )
                )
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def true(video: str, item: Annotation) -> Labelled:
    """An annotation of ``video`` as a labelled interval; its borders may be missing.

    Raises:
        UserError: its borders contradict each other.
    """
    try:
        return Labelled(
            stream_name(video),
            item.onset or 0,
            item.offset or 0,
            item.apex,
            item.kind,
            tuple(sorted(item.au_numbers)),
            onset_known=item.onset is not None,
        )
    except ValueError as error:
        raise UserError(f"{video}, row {item.row}: {error}") from None


def _write_predictions(
    path: Path,
    clips: Sequence[Clip],
    done: Sequence[Done],
    settings: Settings,
    files: dict[str, Path],
) -> None:
    failed = {found.video for found in done if found.failure}
    items: list[Labelled] = []
    for clip in clips:
        if clip.video not in failed:
            items += _numbered(clip, settings, read(files[clip.video]).predictions)
    write_labels(path, items)


def _numbered(clip: Clip, settings: Settings, items: Iterable[Labelled]) -> Iterator[Labelled]:
    """Spotted intervals in the labels' frame numbers."""
    for item in sorted(items, key=lambda one: (one.onset, one.offset)):
        onset, offset, apex = (
            None if frame is None else clip.source.number(frame * settings.every)
            for frame in (item.onset, item.offset, item.apex)
        )
        assert onset is not None and offset is not None
        yield replace(item, video=stream_name(clip.video), onset=onset, offset=offset, apex=apex)


# ---------------------------------------------------------------- spotting


def _config(settings: Settings) -> Config:
    options: dict[str, Any] = {"method": settings.method, "model": []}
    if settings.prototypes is not None:
        options["motion"] = {"prototypes": settings.prototypes}
    config = load(None, **options)
    chosen = config.motion.prototypes
    if chosen is not None and load_prototypes(chosen).joint is None and config.method == "mespot":
        raise UserError(f"{chosen}: holds no joint model; fit it again, or --method paper")
    return config


def _finished(clip: Clip, file: Path) -> Done | None:
    """A video that an earlier run finished; its file only has its name once it is whole."""
    if not file.is_file():
        return None
    return Done(clip.video, len(read(file).predictions), again=True)


def _each(
    clips: Sequence[Clip], settings: Settings, files: dict[str, Path], jobs: int
) -> Generator[Done, None, None]:
    if jobs <= 1 or len(clips) <= 1:
        for clip in clips:
            yield spot(clip, settings, files[clip.video])
        return
    limit_threads()  # the processes are the parallelism
    # children begin afresh: a fork of a process that runs threads may hang
    pool = ProcessPoolExecutor(
        min(jobs, len(clips)), mp_context=get_context("spawn"), initializer=begin_worker
    )
    others = set(active_children())
    try:
        yield from _answers(pool, clips, settings, files)
    except BaseException:
        for child in set(active_children()) - others:
            child.terminate()  # an interrupted run does not wait for the videos in work
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _answers(
    pool: Executor, clips: Sequence[Clip], settings: Settings, files: dict[str, Path]
) -> Iterator[Done]:
    asked: dict[Future[Done], Clip] = {
        pool.submit(spot, clip, settings, files[clip.video]): clip for clip in clips
    }
    for future in as_completed(asked):
        try:
            yield future.result()
        except BrokenExecutor:
            yield Done(asked[future].video, failure="a process died (out of memory?); run it again")


def spot(clip: Clip, settings: Settings, file: Path) -> Done:
    """Spot in one video and write its events; a failure is said in the answer.

    Args:
        clip: the video.
        settings: method, prototypes, rate.
        file: the events file, which appears when the video is finished.
    """
    begin = time.monotonic()
    part = file.with_suffix(".part")
    try:
        spotted, frames, note = _spot(clip, settings, part)
        part.replace(file)
    except (UserError, OSError) as error:
        part.unlink(missing_ok=True)
        return Done(clip.video, failure=str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001  one video must not end a night's run
        part.unlink(missing_ok=True)
        return Done(clip.video, failure=f"{type(error).__name__}: {error}")
    return Done(clip.video, spotted, frames, time.monotonic() - begin, note)


def _spot(clip: Clip, settings: Settings, part: Path) -> tuple[int, int, str]:
    config = _config(settings)
    stream = stream_name(clip.video)
    messages, events = Messages(stream, ()), EventFile(part)
    notes: list[str] = []
    spotted = seen = frames = 0

    def counted() -> Iterator[Frame]:
        nonlocal frames
        for frame in frames_of(clip, stream, settings.every, notes):
            frames += 1
            yield frame

    with closing(events):
        for item in chain(run(counted(), config), [End(stream)]):
            seen += isinstance(item, FaceState) and item.visible
            for message in messages.of(item):
                if isinstance(message, EventMessage):
                    events.write(message)
                    spotted += message.phase == "final"
    if not frames:
        raise SourceError(f"{clip.source.path}: no frame can be read")
    if not seen:
        notes.append("no face was seen")
    return spotted, frames, "; ".join(notes)


def frames_of(clip: Clip, stream: str, every: int, notes: list[str]) -> Iterator[Frame]:
    """Frames of a video at the data set's rate, which counts for more than a file's own.

    Args:
        clip: the video.
        stream: name in the stamps.
        every: every so many-th frame is given, numbered anew; frame i is at position
            ``i * every`` of the source.
        notes: takes remarks on what could not be read.
    """
    if clip.source.is_file:
        yield from _of_file(clip, stream, every, notes)
        return
    if clip.fps is None:
        raise UserError(f"{clip.source.path}: images have no rate; give fps in the table")
    unreadable = 0
    from stages.stills import read_image

    for i, path in enumerate(clip.source.images[::every]):
        try:
            image = read_image(path)
        except UserError:
            unreadable += 1
            continue
        yield stamped(stream, i, i * every / clip.fps, image)
    if unreadable:
        notes.append(f"{unreadable} unreadable images left out")


def _of_file(clip: Clip, stream: str, every: int, notes: list[str]) -> Iterator[Frame]:
    with closing(open_source(str(clip.source.path), fps="max", stream=stream)) as source:
        for frame in source.frames():
            index = frame.stamp.frame
            if index % every:
                continue
            pts = frame.stamp.pts if clip.fps is None else index / clip.fps
            stamp = msgspec.structs.replace(frame.stamp, frame=index // every, pts=pts)
            yield Frame(stamp, frame.image)
        if source.warning:
            notes.append(source.warning)
