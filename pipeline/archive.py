"""Whole archives over Ray: a task a video, what is done stays done (docs/scale.md)."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.archive_files import Video, videos
from pipeline.archive_settings import fingerprint, settings
from pipeline.archive_tables import join, load_parquet
from pipeline.archive_task import (
    PARTS,
    RUN,
    Job,
    Outcome,
    Receipt,
    StorageError,
    attempt,
    receipt_of,
    target,
)
from pipeline.config import Config
from pipeline.exports.files import whole
from pipeline.ray_start import check_room

_WAIT_S = 0.5
_PENDING = 2  # tasks that wait for each that runs
_LEAST_PENDING = 4
_COLUMNS = (
    "video", "state", "reason", "size", "frames", "duration_s", "fps", "events", "blinks",
    "warning", "cpu_s", "wall_s", "node", "file",
)  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """What a task takes of a node, and how often a dead worker's task is begun again."""

    cpus: float = 1.0
    memory_mb: float = 1000.0
    gpus: float = 0.0
    retries: int = 2

    def by_name(self) -> dict[str, float]:
        """By Ray's names; memory in bytes."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_mb * 1e6}


@dataclass
class State:
    """How far an archive is; ``reasons``: why videos failed."""

    archive: list[Video]
    done: dict[str, Receipt] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    skipped: int = 0  # done already when the run began
    stopped: bool = False

    @property
    def left(self) -> list[Video]:
        """Neither done nor failed."""
        return [v for v in self.archive if v.name not in self.done and v.name not in self.reasons]

    @property
    def events(self) -> int:
        """Events of all videos that are done."""
        return sum(receipt.events for receipt in self.done.values())


Tell = Callable[[State], bool]  # hears of progress; False: stop


class Archive:
    """One folder of videos and the folder of what is found in them.

    Args:
        root: of the videos.
        out: of the results; made when it is not there.
        config: what to spot, and how.
        patterns: which videos; none: all.
        kinds: what to keep besides events: ``blinks``, ``curves``.

    Raises:
        UserError: a folder cannot be read or written, or the configuration names what is none.
    """

    def __init__(
        self,
        root: Path,
        out: Path,
        config: Config,
        patterns: Sequence[str] = (),
        kinds: Sequence[str] = (),
    ) -> None:
        load_parquet()
        self.root, self.out = root.absolute(), out.absolute()
        unnamed = config.capture.model_copy(update={"name": ""})
        self.config = config.model_copy(update={"capture": unnamed, "source": "-"})
        self.kinds = ("events", *kinds)
        self.settings = fingerprint(self.config)
        images = not isinstance(config.fps, str)
        self.state = State(videos(self.root, patterns, images))
        if not self.state.archive:
            raise UserError(f"{root}: no videos{' of these patterns' if patterns else ''}")
        self.state.reasons = {v.name: v.reason for v in self.state.archive if v.reason}
        for video in self.state.left:
            receipt = receipt_of(self.out, self.settings, video, self.kinds)
            if receipt is not None:
                self.state.done[video.name] = receipt
        self.state.skipped = len(self.state.done)

    def run(self, ray: Any, needs: Needs, tell: Tell = lambda state: True) -> State:
        """Spot what is not done, on ``ray``'s cluster.

        Raises:
            UserError: no node has room, or a node does not see what this one sees.
        """
        check_room(ray, needs.by_name())
        with self._own():
            run = self._begin()
            # the longest first: none of them is what all others wait for at the end
            waiting = sorted(self.state.left, key=lambda video: video.size)
            jobs = [self._job(run, video) for video in waiting]
            try:
                _Tasks(ray, needs, jobs, self.state, tell).run()
            finally:
                with contextlib.suppress(OSError):
                    shutil.rmtree(self.out / PARTS)
                self.list()
            if not self.state.stopped:
                self.collect()
        return self.state

    def _job(self, run: str, video: Video) -> Job:
        root, out = str(self.root), str(self.out)
        return Job(root, out, run, video, self.config, self.settings, self.kinds)

    @contextlib.contextmanager
    def _own(self) -> Iterator[None]:
        """OUT belongs to one run at a time."""
        import fcntl

        with _writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            lock = (self.out / ".lock").open("a")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.out}: another mespot archive works here") from None
            yield

    def _begin(self) -> str:
        run = uuid.uuid4().hex
        about = {"run": run, "archive": str(self.root), "settings": settings(self.config)}
        with whole(self.out / RUN) as (part,):
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        return run

    def collect(self) -> int:
        """``events.parquet`` of all videos that are done, by name; how many events it has."""
        names = sorted(self.state.done)
        return join((target(self.out, "events", name) for name in names), self.events)

    @property
    def events(self) -> Path:
        """The file of all videos' events."""
        return self.out / "events.parquet"

    def list(self) -> None:
        """``manifest.csv``, a row a video; and ``failed.csv``, where some failed."""
        rows = [self._row(video) for video in self.state.archive]
        failed = [row for row in rows if row["state"] == "failed"]
        with _writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        _table(self.out / "manifest.csv", _COLUMNS, rows)
        _table(self.out / "failed.csv", ("video", "reason"), failed)

    def _row(self, video: Video) -> dict[str, Any]:
        row: dict[str, Any] = {"video": video.name, "size": video.size, "state": "left"}
        if video.name in self.state.reasons:
            return row | {"state": "failed", "reason": self.state.reasons[video.name]}
        receipt = self.state.done.get(video.name)
        if receipt is None:
            return row
        told = {name: getattr(receipt, name) for name in _COLUMNS if hasattr(receipt, name)}
        file = target(self.out, "events", video.name).relative_to(self.out).as_posix()
        return row | told | {"state": "done", "file": file}


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def _table(path: Path, names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with whole(path) as (part,):
        part.write_bytes(text.getvalue().encode(errors="backslashreplace"))


class _Tasks:
    """A bounded number of tasks at a time, until there are none left."""

    def __init__(self, ray: Any, needs: Needs, jobs: list[Job], state: State, tell: Tell) -> None:
        self._ray = ray
        self._task = ray.remote(attempt).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory_mb * 1e6),
            max_retries=needs.retries,
            retry_exceptions=False,
            name="mespot archive",
        )
        self._cpus = needs.cpus
        self._jobs = jobs
        self._state = state
        self._tell = tell
        self._pending: dict[Any, Job] = {}

    def run(self) -> None:
        try:
            while self._jobs or self._pending:
                self._submit()
                ready, _ = self._ray.wait(list(self._pending), timeout=_WAIT_S)
                for ref in ready:
                    self._take(self._pending.pop(ref), ref)
                if not self._tell(self._state):
                    self._state.stopped = True
                    return
        finally:
            for ref in self._pending:
                self._ray.cancel(ref, force=True)

    def _submit(self) -> None:
        """Nodes come and go: what may wait is counted anew each time."""
        cores = self._ray.cluster_resources().get("CPU", 1.0)
        most = max(_LEAST_PENDING, int(_PENDING * cores / max(self._cpus, 0.1)))
        while self._jobs and len(self._pending) < most:
            job = self._jobs.pop()
            self._pending[self._task.remote(job)] = job

    def _take(self, job: Job, ref: Any) -> None:
        outcome = self._outcome(job, ref)
        if outcome.storage:
            raise StorageError(outcome.reason)
        if outcome.receipt is not None:
            self._state.done[job.video.name] = outcome.receipt
        else:
            self._state.reasons[job.video.name] = outcome.reason

    def _outcome(self, job: Job, ref: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            made: Outcome = self._ray.get(ref)
            return made
        except errors.RayTaskError as error:
            cause = error.cause or error
            if isinstance(cause, ModuleNotFoundError):
                return Outcome(job.video, reason=f"a node lacks mespot: {cause}", storage=True)
            reason = f"{type(cause).__name__}: {_first(cause)}"
        except errors.RayError as error:  # its worker or node died, and did so again
            reason = f"{type(error).__name__}: {_first(error)}"
        return Outcome(job.video, reason=reason)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
