"""Many cameras at once, each a process of its own; or all in one."""

from __future__ import annotations

from bench import camera, process
from bench.camera import Camera, Run, Watched
from bench.clip import looped, rendered, scene
from bench.figures import Aim, Figure, of_items
from bench.machine import cores
from bench.replay import KEPT_UP_MS, WARM_UP_S, check
from bench.report import Result, rounded, say
from models.errors import UserError

_FPS = 30.0
_CLIP_S = 20.0
_CLIPS = 3  # different recordings; more cameras share them
_COLUMNS = ["camera", "frames", "drops", "late p50 ms", "late p99 ms", "late most ms"]
_COLUMNS += ["curves' age p50 ms", "p99 ms", "events"]


def films(count: int, seconds: float) -> list[Camera]:
    """``count`` synthetic cameras: recordings of the script with other seeds, replayed."""
    length = min(seconds, _CLIP_S)
    paths = [rendered(scene(length, _FPS, seed=7 + i)) for i in range(min(count, _CLIPS))]
    chosen = [looped(paths[i % len(paths)], seconds, length) for i in range(count)]
    return [Camera(path, _FPS, more={"duration": seconds}) for path in chosen]


def measure(count: int = 6, seconds: float = 60.0, one_process: bool = True) -> list[Result]:
    """``count`` cameras in a process each, and (``one_process``) all as graphs of one.

    Raises:
        UserError: a number is out of range.
    """
    check(seconds)
    process.check()
    if not 1 <= count <= 64:
        raise UserError(f"--count {count}: from 1 to 64")
    given = films(count, seconds)
    say(f"{count} cameras, a process each: {seconds:g} s in real time")
    tables = table(*camera.apart(given), "processes")
    if one_process:
        say(f"{count} cameras in one process: {seconds:g} s in real time")
        tables += table(*camera.together(given), "one_process")
    return tables


def table(runs: list[Run], watched: Watched, way: str) -> list[Result]:
    """Drops and lag by camera; processor and memory of all."""
    words = "a process each, one process group" if way == "processes" else "graphs of one process"
    key = f"cameras.{way}.{len(runs)}"
    each = Result(f"{len(runs)} synthetic {_FPS:g} fps cameras, {words}", _COLUMNS)
    lates = []
    for i, run in enumerate(runs):
        late = run.heard.late_ms(_FPS, WARM_UP_S)
        lates += late
        each.rows.append([i + 1, run.frames, run.dropped, *_of(late), *_of_ages(run)])
    each.notes.append("late: captured later than due; recorded input is held back, not dropped.")
    lost = sum(run.lost for run in runs)
    total = Result(f"all {len(runs)} cameras, {words}", ["what", "measured"])
    drops = Figure(f"{key}.drops", lost, "frames", portable=True, aim=Aim("==", 0))
    total.add(["frames dropped", lost], drops)
    latest = of_items(f"{key}.late_ms", lates, "ms", at=100, aim=Aim("<=", KEPT_UP_MS))
    total.add(["latest capture after it was due, ms", "-" if latest is None else
               rounded(latest.value)], latest)  # fmt: skip
    ages = [age for run in runs for age in run.heard.ages_ms(WARM_UP_S)]
    for at in (50, 99):
        age = of_items(f"{key}.curves_p{at}", ages, "ms", at=at)
        total.add([f"age of curves at a subscriber, p{at} ms", "-" if age is None else
                   rounded(age.value)], age)  # fmt: skip
    used = {"cores": ("processor cores busy", watched.cores, "cores")}
    for name, word in (("rss", "RSS summed, MB"), ("pss", "PSS summed, MB (shared pages once)")):
        used[f"{name}_mb"] = (word, watched.most(name), "MB")
    for name, (word, value, unit) in used.items():
        total.add([word, rounded(value)], Figure(f"{key}.{name}", value, unit))
    total.notes.append(
        f"of {cores()} cores; a camera is a recording rendered beforehand and replayed at "
        f"{_FPS:g} fps, so that no rendering is measured"
    )
    return [each, total]


def _of(late: list[float]) -> list[str | float]:
    figures = [of_items("", late, "ms", at=at) for at in (50, 99, 100)]
    return ["-" if figure is None else rounded(figure.value) for figure in figures]


def _of_ages(run: Run) -> list[str | float]:
    ages = run.heard.ages_ms(WARM_UP_S)
    figures = [of_items("", ages, "ms", at=at) for at in (50, 99)]
    cells = ["-" if figure is None else rounded(figure.value) for figure in figures]
    return [*cells, sum(map(len, run.heard.events.values()))]
