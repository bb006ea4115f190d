"""Live replay at a fast camera's rate: does the pipeline keep up?"""

from __future__ import annotations

from bench import camera
from bench.camera import Camera, Run, Watched
from bench.clip import film
from bench.figures import Aim, Figure, of_items
from bench.machine import cores
from bench.report import Result, percentile_cells, rounded, say
from models.errors import UserError
from pipeline.sockets import NODES

KEPT_UP_MS = 100.0  # a frame captured later than this is a pipeline that has fallen behind
WARM_UP_S = 1.0
_OWN_RATES = (200.0, 30.0)  # of the recordings replayed


def check(seconds: float, least: float = 3.0) -> None:
    """Raise a UserError for a run that is too short to tell anything."""
    if not least <= seconds <= 24 * 3600:
        raise UserError(f"--seconds {seconds:g}: from {least:g} to 86400")


def measure(seconds: float = 60.0, fps: float = 200.0, models: bool = True) -> list[Result]:
    """A 200 fps recording and a 30 fps one, both replayed at ``fps``.

    Raises:
        UserError: ``seconds`` or ``fps`` is out of range.
    """
    check(seconds)
    if not 1 <= fps <= 1000:
        raise UserError(f"--fps {fps:g}: from 1 to 1000")
    tables = []
    for own in _OWN_RATES:
        frames = seconds * fps
        path = film(frames / own, own, 10.0 if own > 100 else 20.0)
        say(f"replay of a {own:g} fps recording at {fps:g} fps: {seconds:g} s in real time")
        wanted = Camera(path, fps, models, {"duration": frames / own})
        runs, watched = camera.together([wanted])
        tables.append(table(runs[0], watched, own, fps))
    return tables


def table(run: Run, watched: Watched, own: float, fps: float) -> Result:
    """Drops, lateness of captures, ages at each node, processor."""
    name = f"{own:g} fps recording, replayed at {fps:g} fps (synthetic)"
    result = Result(f"live replay: {name}", ["what", "p50", "p95", "p99", "n"])
    key = f"replay.own{own:g}.at{fps:g}"
    drops = Figure(f"{key}.drops", run.lost, "frames", portable=True, aim=Aim("==", 0))
    result.add(["frames dropped", run.lost, "", "", run.frames], drops)
    late = run.heard.late_ms(fps, WARM_UP_S)
    most = of_items(f"{key}.late_ms", late, "ms", at=100, aim=Aim("<=", KEPT_UP_MS))
    result.add(["captured later than due, ms", *percentile_cells(late)], most)
    for node in NODES[1:4]:
        ages = run.told["nodes"][node]["age_ms"]
        figure = of_items(f"{key}.through_{node}", ages, "ms")
        result.add([f"age through {node}, ms", *percentile_cells(ages)], figure)
    ages = run.heard.ages_ms(WARM_UP_S)
    result.add(["age of curves at a subscriber, ms", *percentile_cells(ages)],
               of_items(f"{key}.curves", ages, "ms"))  # fmt: skip
    busy = Figure(f"{key}.cores", watched.cores, "cores")
    result.add(["processor cores busy (of all)", rounded(busy.value), "", "", cores()], busy)
    result.notes.append(verdict(run, late))
    return result


def verdict(run: Run, late: list[float]) -> str:
    """Kept up or not, in words."""
    if not late:
        return f"no curves were heard; drops: {run.dropped}"
    kept = max(late) <= KEPT_UP_MS and not run.lost
    words = "kept up" if kept else "did not keep up"
    return (
        f"{words}: the latest frame was captured {max(late):.0f} ms after it was due, the last "
        f"{late[-1]:.0f} ms; drops: {run.dropped}. Recorded input is lossless: what cannot keep "
        f"up is not dropped but captured late, by more than {KEPT_UP_MS:g} ms here."
    )
