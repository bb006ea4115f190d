"""Frames a second of whole pipelines on one file, in paired runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.clip import clip
from bench.figures import Aim, of_runs, ratios
from bench.plain import PlainPipeline
from bench.report import Result, rounded, say, spread_cells
from models.errors import UserError
from pipeline.build import limit_threads, prototypes
from pipeline.config import Config, load
from pipeline.graph import Graph
from pipeline.inline import InlineGraph
from pipeline.messages import Report
from pipeline.sources import open_source

TIMES, FPS = Aim(">=", 10), Aim(">=", 300)
RATES = (30.0, 200.0)
_AIMED = "graph (inproc)"  # what ``run_live.py FILE --fps max`` runs

Runner = Callable[[Path, Config], tuple[float, int]]  # frames a second, frames


def _graph(path: Path, config: Config) -> tuple[float, int]:
    """From the moment when all nodes are ready to the end of the last."""
    del path
    marks: list[float] = []

    def on_report(report: Report, graph: Graph) -> None:
        begun, ended = len(marks) > 0, len(marks) > 1
        if not begun and all(node.ready for node in graph.nodes.values()):
            marks.append(time.perf_counter())
        if begun and not ended and report.kind == "done" and report.node == "publish":
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory(prefix="mespot-bench-") as folder:
        log = config.log.model_copy(update={"path": Path(folder) / "log.db"})
        summary = Graph(config.model_copy(update={"log": log}), on_report).run()
    if len(marks) < 2:
        raise UserError("throughput: the clip is too short to be timed; give more --seconds")
    return summary.frames / (marks[1] - marks[0]), summary.frames


def _over_ipc(path: Path, config: Config) -> tuple[float, int]:
    return _graph(path, config.model_copy(update={"transport": "ipc"}))


def _inline(path: Path, config: Config) -> tuple[float, int]:
    graph = InlineGraph.from_config(config)
    begin = time.perf_counter()
    count = 0
    for frame in open_source(str(path), fps="max").frames():
        graph.feed(frame)
        count += 1
    graph.flush()
    return count / (time.perf_counter() - begin), count


def _plain(path: Path, config: Config) -> tuple[float, int]:
    pipeline = PlainPipeline(prototypes(config), config.motion.window_s)
    begin = time.perf_counter()
    count = pipeline.run(open_source(str(path), fps="max").frames())
    return count / (time.perf_counter() - begin), count


RUNNERS: dict[str, Runner] = {
    "plain": _plain,
    "inline": _inline,
    "graph (inproc)": _graph,
    "graph (ipc)": _over_ipc,
}
_KEYS = {
    "plain": "plain",
    "inline": "inline",
    "graph (inproc)": "graph",
    "graph (ipc)": "graph_ipc",
}


def measure(source: Path | None, seconds: float, repeat: int) -> list[Result]:
    """Paired runs of plain, inline and both graphs; one table for each clip.

    Raises:
        UserError: no run is asked for, or the source cannot be read.
    """
    if repeat < 1 or seconds <= 0:
        raise UserError("throughput: --repeat at least 1, --seconds above 0")
    limit_threads()
    if source is not None:
        return [_table(str(source.name), "own", source, repeat)]
    # as many frames of either, so that a run takes as long
    lengths = {rate: seconds * RATES[0] / rate for rate in RATES}
    paths = {rate: clip(None, lengths[rate], rate) for rate in RATES}
    return [
        _table(f"synthetic, {rate:g} fps", f"at{rate:g}", path, repeat)
        for rate, path in paths.items()
    ]


def _table(name: str, key: str, path: Path, repeat: int) -> Result:
    config = load(source=str(path), fps="max", events="tcp://127.0.0.1:*")
    fps: dict[str, list[float]] = {runner: [] for runner in RUNNERS}
    _inline(path, config)  # warm-up: kernels compiled and cached
    frames = 0
    for number in range(repeat):
        say(f"throughput {name}: run {number + 1} of {repeat}")
        for runner, run in RUNNERS.items():
            rate, frames = run(path, config)
            fps[runner].append(rate)
    table = Result(
        f"throughput, frames a second ({name})", ["pipeline", "median", "min", "max", "x plain"]
    )
    for runner, values in fps.items():
        _row(table, runner, f"throughput.{key}.{_KEYS[runner]}", values, fps["plain"])
    table.notes.append(
        f"{frames} frames, {repeat} paired runs, decoding included; x plain: median of the "
        "runs' ratios"
    )
    return table


def _row(table: Result, runner: str, key: str, values: list[float], plain: list[float]) -> None:
    more: dict[str, Any] = {"larger_is_better": True}
    aimed = runner == _AIMED
    rate = of_runs(f"{key}.fps", values, "fps", aim=FPS if aimed else None, **more)
    if runner == "plain":
        table.add([runner, *spread_cells(rate), 1], rate)
        return
    more |= {"portable": True, "aim": TIMES if aimed else None}
    times = of_runs(f"{key}.x_plain", ratios(values, plain), **more)
    table.add([runner, *spread_cells(rate), rounded(times.value)], rate, times)
