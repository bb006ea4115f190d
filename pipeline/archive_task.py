"""One video of an archive, from its frames to its files: the inline driver in a Ray task.

Below OUT: ``events/<video>.parquet``, ``blinks/…`` and ``curves/…`` where wanted, and last of
all ``done/<video>.json``, the receipt. What has no receipt was never done.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.errors import UserError
from pipeline.archive_files import Video, seen
from pipeline.archive_settings import fingerprint
from pipeline.archive_tables import write_blinks, write_curves, write_events
from pipeline.config import Config
from pipeline.known import known
from pipeline.library import Pipeline, Result

PARTS = ".parts"
RUN = "archive.json"
_SEEN_S = 10.0  # a shared folder may show a new file so much later


class StorageError(UserError):
    """A node does not see what the others see, or runs another mespot: no video's fault."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a video. ``cpu_s``: of the whole process meanwhile."""

    video: str
    size: int
    stamp: str
    settings: str
    kinds: list[str]  # events, blinks, curves
    stream: str
    frames: int
    duration_s: float  # source time of the last frame
    fps: float | None
    events: int
    blinks: int
    warning: str
    cpu_s: float
    wall_s: float
    node: str


@dataclass(frozen=True)
class Job:
    """One video and all that its task must know."""

    root: str
    out: str
    run: str
    video: Video
    config: Config
    settings: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a task says: a receipt, or why there is none; ``storage``: not for this video alone."""

    video: Video
    receipt: Receipt | None = None
    reason: str = ""
    storage: bool = False


def target(out: Path, kind: str, video: str) -> Path:
    """Where what was found in ``video`` lies."""
    suffix = ".json" if kind == "done" else ".parquet"
    return out / kind / f"{'_' if video == '.' else video}{suffix}"


def attempt(job: Job) -> Outcome:
    """Spot the video of ``job``; a user's mistake is an answer and not tried again."""
    try:
        _check(job)
        return Outcome(job.video, spot(job))
    except UserError as error:
        return Outcome(job.video, reason=str(error), storage=isinstance(error, StorageError))


def spot(job: Job) -> Receipt:
    """Spot the video of ``job`` and put its files in their places, the receipt last.

    Raises:
        UserError: it cannot be read, or changed meanwhile, or nothing can be written.
    """
    root = Path(job.root)
    _named(job.video.name)
    if seen(root, job.video.name) != job.video:
        raise UserError("it changed after the archive was looked through; start again")
    cpu, wall = time.process_time(), time.monotonic()
    pipeline = _pipeline(job.settings, job.config)
    try:
        result = pipeline.run(root / job.video.name, curves="curves" in job.kinds)
    except BaseException:
        _made.clear()  # it was left in the middle
        raise
    receipt = Receipt(
        video=job.video.name,
        size=job.video.size,
        stamp=job.video.stamp,
        settings=job.settings,
        kinds=list(job.kinds),
        stream=result.stream,
        frames=result.frames,
        duration_s=result.duration,
        fps=result.fps,
        events=len(result.events),
        blinks=len(result.blinks),
        warning=result.warning,
        cpu_s=round(time.process_time() - cpu, 3),
        wall_s=round(time.monotonic() - wall, 3),
        node=platform.node(),
    )
    if seen(root, job.video.name) != job.video:
        raise UserError("it changed while it was read; start again")
    _place(job, pipeline, result, receipt)
    return receipt


def _named(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError("its name is not UTF-8; rename it") from None


_made: dict[str, Pipeline] = {}


def _pipeline(settings: str, config: Config) -> Pipeline:
    """Recognisers are loaded once in a worker."""
    if settings not in _made:
        _made.clear()
        _made[settings] = Pipeline.of(config)
    return _made[settings]


_checked: set[tuple[str, str]] = set()


def _check(job: Job) -> None:
    """Is this the same storage, and the same mespot, as where the run was started?"""
    if (job.run, job.settings) in _checked:
        return
    node = platform.node()
    if not Path(job.root).is_dir():
        raise StorageError(f"node {node} does not see {job.root}: {_EVERYWHERE}")
    until = time.monotonic() + _SEEN_S
    while _run_of(Path(job.out)) != job.run:
        if time.monotonic() > until:
            raise StorageError(f"node {node} does not see {job.out} as here: {_EVERYWHERE}")
        time.sleep(0.2)
    if fingerprint(job.config) != job.settings:
        raise StorageError(
            f"node {node} has another version of mespot, its prototypes or its recognisers; "
            "install the same on every node"
        )
    _checked.add((job.run, job.settings))


_EVERYWHERE = "DIR and --out must be on storage that every node sees under the same path"


def _run_of(out: Path) -> str:
    try:
        return str(msgspec.json.decode((out / RUN).read_bytes())["run"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return ""


def _place(job: Job, pipeline: Pipeline, result: Result, receipt: Receipt) -> None:
    """All files beside each other first; then each in its place, and the receipt last.

    A second task for the same video (its node was thought dead) puts the same there.
    """
    out, name = Path(job.out), job.video.name
    folder = out / PARTS / uuid.uuid4().hex
    try:
        folder.mkdir(parents=True)
        write_events(result, name, folder / "events")
        if "blinks" in job.kinds:
            write_blinks(result, name, folder / "blinks")
        if "curves" in job.kinds:
            write_curves(result, name, folder / "curves", pipeline.aus)
        (folder / "done").write_bytes(msgspec.json.encode(receipt))
        done = target(out, "done", name)
        done.unlink(missing_ok=True)  # from here on until the end it is not done
        for kind in (*job.kinds, "done"):
            place = target(out, kind, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            _sync(folder / kind)
            (folder / kind).replace(place)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def receipt_of(
    out: Path, job_settings: str, video: Video, kinds: tuple[str, ...]
) -> Receipt | None:
    """The receipt of ``video`` as it is now under these settings; None: it is to be done."""
    try:
        found = msgspec.json.decode(
            target(out, "done", video.name).read_bytes(), type=known(Receipt)
        )
    except (OSError, msgspec.DecodeError):
        return None
    same = (found.video, found.size, found.stamp) == (video.name, video.size, video.stamp)
    if not same or found.settings != job_settings or not set(kinds) <= set(found.kinds):
        return None
    there = all(target(out, kind, video.name).is_file() for kind in kinds)
    return found if there else None
