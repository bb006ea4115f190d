"""How long it takes from nothing to the first frame: fresh processes, warm caches."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from bench import camera
from bench.camera import ROOT, Camera, environment
from bench.clip import rendered, scene
from bench.figures import Aim, of_runs
from bench.report import Result, rounded, say, spread_cells
from models.errors import UserError

IMPORT, FIRST = Aim("<=", 0.6), Aim("<=", 3)
_CLIP_S = 3.0
_MODULES = 8  # told of the breakdown
_LIMIT_S = 120.0
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)\s*$")
_HELP = "import sys; sys.argv = ['mespot', '--help']; from pipeline.cli import main; main()"


def measure(repeat: int = 5) -> list[Result]:
    """Import, help and first frame, each ``repeat`` times after one run that warms caches.

    Raises:
        UserError: no run is asked for, or one failed.
    """
    if repeat < 1:
        raise UserError(f"--repeat {repeat}: at least 1")
    path = rendered(scene(_CLIP_S))
    cameras = {
        "first": Camera(path, 30.0),
        "first_no_models": Camera(path, 30.0, models=False),
    }
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(repeat + 1):
        say(f"startup: run {number} of {repeat}" if number else "startup: warming caches")
        taken = {
            "python": _taken(["-c", "pass"]),
            "import": _taken(["-c", "import run_live"]),
            "help": _taken(["-c", _HELP]),
            **{name: _first_frame(one) for name, one in cameras.items()},
        }
        for name, seconds in taken.items():
            if number:
                times[name].append(seconds)
    return [_table(times), breakdown(_imports())]


def _taken(arguments: Sequence[str]) -> float:
    """Seconds of a fresh interpreter, its own start included."""
    begin = time.perf_counter()
    _run(arguments)
    return time.perf_counter() - begin


def _run(arguments: Sequence[str]) -> str:
    """Standard error of a fresh interpreter."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no word"])[-1]
        raise UserError(f"startup: {' '.join(arguments)[:40]}: {last}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"startup: not over within {_LIMIT_S:g} s") from None
    return done.stderr


def _first_frame(one: Camera) -> float:
    """Seconds from the start of ``run_live.py`` to the first curves at a subscriber."""
    (run,), watched = camera.apart([one], every_s=0.5)
    if not run.heard.frames or run.heard.frames[0] > 1:
        raise UserError("startup: the first frame's curves were not heard")
    return (run.heard.received_ns[0] - watched.begin_ns) / 1e9


def _table(times: dict[str, list[float]]) -> Result:
    """Seconds, spread, aims."""
    words = {
        "python": "python -c pass",
        "import": "python -c 'import run_live'",
        "help": "mespot --help",
        "first": "run_live.py FILE to the first frame's curves at a subscriber",
        "first_no_models": "the same, --no-models",
    }
    aims = {"import": IMPORT, "first": FIRST}
    result = Result("start, s (fresh processes, warm caches)", ["what", "median", "min", "max"])
    for name, word in words.items():
        figure = of_runs(f"startup.{name}_s", times[name], "s", aim=aims.get(name))
        result.add([word, *spread_cells(figure)], figure)
    result.notes.append(
        f"{len(times['import'])} runs each in turn; the interpreter's own start is part of each row"
    )
    return result


def _imports() -> str:
    return _run(["-X", "importtime", "-c", "import run_live"])


def breakdown(text: str) -> Result:
    """The packages that ``import run_live`` spends most on, from ``-X importtime``'s lines."""
    own: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        match = _IMPORT_LINE.match(line)
        if match:
            own[match[3].partition(".")[0]] += int(match[1]) / 1e3
    result = Result("import of run_live, ms by package", ["package", "ms", "share %"])
    total = sum(own.values())
    most = sorted(own.items(), key=lambda pair: -pair[1])[:_MODULES]
    for name, taken in most:
        result.add([name, rounded(taken), round(100 * taken / total, 1)])
    rest = total - sum(taken for _, taken in most)
    result.add(["everything else", rounded(rest), round(100 * rest / total, 1) if total else 0])
    result.notes.append("one run under -X importtime, which costs time itself: read the shares")
    return result
