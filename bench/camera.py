"""Cameras at work: processes of mespot, each heard by a subscriber and watched from outside.

A *synthetic camera* is a recording rendered beforehand that is replayed at the camera's rate:
rendering alongside would take more of the processor than what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.outside import Heard, Listener
from bench.process import Usage, usage
from models.errors import UserError

ROOT = Path(__file__).parents[1]
_START_S = 120.0  # a start, compilation of every kernel included, may take so long
_END_S = 60.0
_FRAMES = re.compile(r"frames\W+(\d+) in")
_DROPS = re.compile(r"drops\W+(.*?)\s*[│┃|]?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Camera:
    """One camera.

    Attributes:
        source: a recording.
        fps: rate of the replay.
        models: recognisers run; else the coding guide alone.
        more: further options of ``pipeline.config.load``.
    """

    source: Path
    fps: float | str
    models: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    def options(self, address: str) -> dict[str, Any]:
        """Everything that ``pipeline.config.load`` is to be given."""
        publish = {"curves": True} | dict(self.more.get("publish", {}))
        given: dict[str, Any] = {"source": str(self.source), "fps": self.fps, "events": address}
        if not self.models:
            given["model"] = []
        return given | self.more | {"publish": publish}


@dataclass
class Run:
    """What came of one camera.

    Attributes:
        heard: by the subscriber.
        frames: captured, by mespot's own account.
        dropped: by reason, by mespot's own account; "none" where nothing was.
        told: what ``bench.together`` wrote; empty after ``run_live.py``.
    """

    heard: Heard
    frames: int = 0
    dropped: str = "none"
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Items dropped."""
        return sum(int(number) for number in re.findall(r": (\d+)", self.dropped))


@dataclass
class Watched:
    """What the processes used between the first frame and the last.

    Attributes:
        begin_ns: UTC at which they were started.
        samples: (seconds since the first frame of all cameras, usage of all processes).
    """

    begin_ns: int = 0
    samples: list[tuple[float, Usage]] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """Processor cores kept busy, on average."""
        if len(self.samples) < 2:
            return float("nan")
        (a, first), (b, last) = self.samples[0], self.samples[-1]
        return (last.cpu_s - first.cpu_s) / (b - a)

    def most(self, name: str) -> float:
        """The largest ``rss``, ``pss`` or ``peak`` seen, MB."""
        return max((getattr(one, name) for _, one in self.samples), default=float("nan"))


Processes = Sequence["subprocess.Popen[bytes]"]


def environment() -> dict[str, str]:
    """Of a process that imports this checkout."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}


def start(command: Sequence[str], log: Path, group: int = 0) -> subprocess.Popen[bytes]:
    """A process in process group ``group`` (0 begins one) that prints into ``log``."""
    with log.open("wb") as out:  # a pipe would fill up in an hour and stop the camera
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            # its event log is written as it is shipped, and is its own
            env=environment() | {"XDG_STATE_HOME": str(log.with_suffix(".state"))},
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=group,
        )


def apart(cameras: Sequence[Camera], every_s: float = 1.0) -> tuple[list[Run], Watched]:
    """Each camera by a ``run_live.py`` of its own, all in one process group.

    Raises:
        UserError: one of them failed; its last line is told.
    """
    with _addresses(len(cameras)) as (folder, addresses):
        files = [folder / f"{i}.toml" for i in range(len(cameras))]
        commands = [
            _run_live(camera, file, address)
            for camera, file, address in zip(cameras, files, addresses, strict=True)
        ]
        heard, texts, watched = _watch(commands, addresses, folder, every_s)
    return [_told(text, one) for text, one in zip(texts, heard, strict=True)], watched


def together(cameras: Sequence[Camera], every_s: float = 1.0) -> tuple[list[Run], Watched]:
    """All cameras as graphs of one process.

    Raises:
        UserError: one of them failed.
    """
    with _addresses(len(cameras)) as (folder, addresses):
        jobs, out = folder / "jobs.json", folder / "out.json"
        options = [c.options(address) for c, address in zip(cameras, addresses, strict=True)]
        for number, one in enumerate(options):  # the same film many times is the same stream
            one["log"] = {"path": str(folder / f"{number}.db")} | one.get("log", {})
        jobs.write_text(json.dumps(options), encoding="utf-8")
        command = ["-m", "bench.together", str(jobs), str(out)]
        heard, _, watched = _watch([command], addresses, folder, every_s, lambda: _failure(out))
        made = json.loads(out.read_text(encoding="utf-8"))
    runs = []
    for one, told in zip(heard, made, strict=True):
        drops = ", ".join(f"{reason}: {n}" for reason, n in told["dropped"].items())
        runs.append(Run(one, told["frames"], drops or "none", told))
    return runs, watched


def _failure(out: Path) -> str:
    """What ``bench.together`` says went wrong."""
    if not out.is_file():
        return ""
    made = json.loads(out.read_text(encoding="utf-8"))
    return next((one["error"] for one in made if "error" in one), "")


@contextlib.contextmanager
def _addresses(count: int) -> Iterator[tuple[Path, list[str]]]:
    """Event sockets known beforehand, so that a subscriber waits at each from the start."""
    with tempfile.TemporaryDirectory(prefix="mespot-bench-") as name:
        folder = Path(name)
        yield folder, [f"ipc://{folder / str(i)}.events" for i in range(count)]


def _run_live(camera: Camera, toml: Path, address: str) -> list[str]:
    options = camera.options(address)
    given = [options.pop(name) for name in ("source", "fps", "events")]
    none = [] if options.pop("model", None) is None else ["--no-models"]
    toml.write_text("\n".join(_toml(options)) + "\n", encoding="utf-8")
    named = ["--fps", str(given[1]), "--events", given[2], "--config", str(toml)]
    return ["run_live.py", given[0], *named, *none]


def _toml(options: dict[str, Any]) -> Iterator[str]:
    """Plain values first, then each section."""
    for key, value in options.items():
        if not isinstance(value, dict):
            yield f"{key} = {json.dumps(value)}"
    for key, value in options.items():
        if isinstance(value, dict):
            yield f"[{key}]"
            yield from (f"{name} = {json.dumps(v)}" for name, v in value.items())


def _watch(
    commands: Sequence[Sequence[str]],
    addresses: Sequence[str],
    folder: Path,
    every_s: float,
    reason: Callable[[], str] = lambda: "",
) -> tuple[list[Heard], list[str], Watched]:
    """Start, watch until all have ended; what was heard and printed."""
    listeners = [Listener(address) for address in addresses]
    for listener in listeners:
        listener.start()
    watched = Watched(begin_ns=time.time_ns())
    logs = [folder / f"{i}.log" for i in range(len(commands))]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command, log in zip(commands, logs, strict=True):
            processes.append(start(command, log, processes[0].pid if processes else 0))
        _sample(processes, listeners, watched, every_s)
        jobs = list(zip(commands, processes, logs, strict=True))
        # those that have ended first: one that failed says more than one that is ended for it
        for command, process, log in sorted(jobs, key=lambda job: job[1].poll() is None):
            if process.wait(timeout=_END_S):
                raise UserError(f"{' '.join(command[:2])}: {reason() or _last_line(log)}")
    except subprocess.TimeoutExpired:
        raise UserError(f"a camera did not end within {_END_S:g} s") from None
    finally:
        _end(processes)
        for listener in listeners:
            listener.close()
    texts = [log.read_text(encoding="utf-8", errors="replace") for log in logs]
    return [listener.heard for listener in listeners], texts, watched


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "ended without a word"


def _sample(
    processes: Processes, listeners: Sequence[Listener], watched: Watched, every_s: float
) -> None:
    """Usage of all processes, from the moment when every camera has delivered a frame."""
    begin: float | None = None
    waited = time.monotonic()
    # the processor is counted only while every camera delivers
    while all(p.poll() is None for p in processes) and not any(x.heard.ended for x in listeners):
        now = time.monotonic()
        if begin is None and all(listener.heard.frames for listener in listeners):
            begin = now
        if begin is not None:
            used = [usage(process.pid) for process in processes]
            known = [one for one in used if one is not None]
            if len(known) == len(processes):
                watched.samples.append((now - begin, _sum(known)))
        elif now - waited > _START_S:
            raise UserError(f"no frame within {_START_S:g} s; does the source show a face?")
        time.sleep(every_s if begin is not None else 0.02)


def _sum(used: Sequence[Usage]) -> Usage:
    return Usage(
        sum(one.rss for one in used),
        sum(one.pss for one in used),
        sum(one.peak for one in used),
        sum(one.cpu_s for one in used),
    )


def _end(processes: Processes) -> None:
    """End what still runs: the whole group."""
    if any(process.poll() is None for process in processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.wait()


def _told(text: str, heard: Heard) -> Run:
    """The closing table of ``run_live.py``."""
    frames, drops = _FRAMES.search(text), _DROPS.search(text)
    if frames is None or drops is None:
        raise UserError("run_live.py ended without its closing table")
    return Run(heard, int(frames[1]), drops[1].strip())
