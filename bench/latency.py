"""Latency at the camera's own rate: inside each node, and outside at a subscriber."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import camera
from bench.camera import Camera, Run
from bench.clip import dense_scene, rendered
from bench.figures import Aim, Figure, of_items
from bench.plain import PlainPipeline
from bench.report import Result, percentile_cells, say
from models.errors import UserError
from pipeline.build import limit_threads, prototypes
from pipeline.config import load
from pipeline.sockets import NODES
from pipeline.sources import open_source

WARM_UP_S = 2.0
P50, P99 = Aim("<=", 12), Aim("<=", 35)
_ENOUGH = 50  # events, for a 99th percentile to mean something
_LONGEST_S = 600.0
_COLUMNS = ["what", "p50 ms", "p95 ms", "p99 ms", "n"]
_RUNS = {"with recognisers": True, "--no-models": False}
_KEYS = {"with recognisers": "models", "--no-models": "no_models"}
_DECIDED = ("apex", "final", "retracted")  # an update is late by intent


def measure(source: Path | None, seconds: float) -> list[Result]:
    """Once with the recognisers and once without, then the plain pipeline on the same frames.

    Raises:
        UserError: ``seconds`` is out of range, or the source does not run.
    """
    if not WARM_UP_S + 1 <= seconds <= _LONGEST_S:
        raise UserError(
            f"--seconds {seconds:g}: from {WARM_UP_S + 1:g} to {_LONGEST_S:g}; the first "
            f"{WARM_UP_S:g} are warm-up"
        )
    limit_threads()
    path = source or rendered(dense_scene(seconds))
    runs = {}
    for name, models in _RUNS.items():
        say(f"latency {name}: {seconds:g} s in real time")
        wanted = Camera(path, "source" if source else 30.0, models, {"duration": seconds})
        runs[name] = camera.together([wanted])[0][0]
    tables = [_work(runs, path, seconds), _ages(runs)]
    tables += [_events(name, run, source is None) for name, run in runs.items()]
    return tables


def _work(runs: dict[str, Run], path: Path, seconds: float) -> Result:
    """Inside each stage, ours and the plain pipeline's."""
    result = Result("work per item, ms", _COLUMNS)
    run = runs["with recognisers"]
    for node in NODES[1:-1]:
        work = run.told["nodes"][node]["work_ms"]
        result.add([node, *percentile_cells(work)], of_items(f"latency.work.{node}", work, "ms"))
    config = load(source=str(path), fps="max", duration=seconds)
    plain = PlainPipeline(prototypes(config), config.motion.window_s)
    plain.run(open_source(str(path), fps="max", duration_s=seconds).frames())
    for step in ("face", "flow", "matching", "frame"):
        taken = plain.times_ms[step]
        figure = of_items(f"latency.plain.{step}", taken, "ms")
        result.add([f"plain: {step}", *percentile_cells(taken)], figure)
    return result


def _ages(runs: dict[str, Run]) -> Result:
    """From the capture of a frame: when each node was done with it, and a subscriber heard."""
    result = Result("age since capture, ms", _COLUMNS)
    for name, run in runs.items():
        for node in NODES[1:]:
            ages = run.told["nodes"][node]["age_ms"]
            what = "of an event's deciding frame, " if node in ("classify", "publish") else ""
            figure = of_items(f"latency.{_KEYS[name]}.through_{node}", ages, "ms")
            cells = percentile_cells(ages)
            result.add([f"{what}through {node}, {name}", *cells], figure)
        heard = run.heard.ages_ms(WARM_UP_S)
        key = f"latency.{_KEYS[name]}.curves"
        cells = [f"frame's curves at a subscriber, {name}", *percentile_cells(heard)]
        result.add(cells, of_items(key, heard, "ms"))
        result.notes.append(f"{name}: {run.frames} frames, drops: {run.dropped}")
    return result


def _events(name: str, run: Run, aimed: bool) -> Result:
    """From outside: the deciding frame's capture to the event's arrival."""
    result = Result(f"deciding frame captured → event at a subscriber, {name}, ms", _COLUMNS)
    ages = run.heard.event_ages_ms(*_DECIDED, after_s=WARM_UP_S)
    key = f"latency.{_KEYS[name]}.events"
    wanted = (P50, P99) if aimed else (None, None)
    result.add(["apex, final, retracted", *percentile_cells(ages)], *_pair(key, ages, *wanted))
    for phase in (*_DECIDED, "update"):
        some = run.heard.event_ages_ms(phase, after_s=WARM_UP_S)
        if some:
            figures = _pair(f"latency.{_KEYS[name]}.{phase}", some)
            result.add([phase, *percentile_cells(some)], *figures)
    if len(ages) < _ENOUGH:
        result.notes.append(f"only {len(ages)} events: a longer --seconds makes p99 mean more")
    return result


def _pair(
    key: str, ages: list[float], p50: Aim | None = None, p99: Aim | None = None
) -> list[Figure | None]:
    more: dict[str, Any] = {"unit": "ms"}
    return [
        of_items(f"{key}.p50", ages, at=50, aim=p50, **more),
        of_items(f"{key}.p99", ages, at=99, aim=p99, **more),
    ]
