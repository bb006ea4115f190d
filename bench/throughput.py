"""Frames a second of whole pipelines on one file, in paired runs."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.clip import clip
from bench.plain import PlainPipeline
from bench.report import Result
from pipeline.build import limit_threads, prototypes
from pipeline.config import Config, load
from pipeline.graph import Graph, Summary
from pipeline.inline import InlineGraph
from pipeline.sources import open_source


def _ours(config: Config) -> tuple[float, Summary]:
    marks: list[float] = []

    def on_report(report: object, graph: Graph) -> None:
        if not marks and graph.nodes["capture"].ready:
            marks.append(time.perf_counter())

    summary = Graph(config, on_report).run()
    return summary.frames / (time.perf_counter() - marks[0]), summary


def _inline(path: Path, config: Config) -> float:
    graph = InlineGraph.from_config(config)
    begin = time.perf_counter()
    count = 0
    for frame in open_source(str(path), fps="max").frames():
        graph.feed(frame)
        count += 1
    graph.flush()
    return count / (time.perf_counter() - begin)


def _plain(path: Path, config: Config) -> float:
    pipeline = PlainPipeline(prototypes(config), config.motion.window_s)
    begin = time.perf_counter()
    count = pipeline.run(open_source(str(path), fps="max").frames())
    return count / (time.perf_counter() - begin)


def _spread(values: list[float]) -> list[str | float]:
    return [round(statistics.median(values), 1), round(min(values), 1), round(max(values), 1)]


def measure(source: Path | None, seconds: float, repeat: int) -> list[Result]:
    """Paired runs of plain, inline and graph; medians with spread, ratios pair by pair."""
    limit_threads()
    fps: dict[str, list[float]] = {"plain": [], "inline": [], "graph (inproc)": []}
    with clip(source, seconds) as path:
        config = load(source=str(path), fps="max", events="tcp://127.0.0.1:*")
        _inline(path, config)  # warm-up: kernels compiled and cached
        for _ in range(repeat):
            fps["plain"].append(_plain(path, config))
            fps["inline"].append(_inline(path, config))
            rate, summary = _ours(config)
            fps["graph (inproc)"].append(rate)
    table = Result("throughput, frames a second", ["pipeline", "median", "min", "max", "x plain"])
    for name, values in fps.items():
        ratios = [a / b for a, b in zip(values, fps["plain"], strict=True)]
        table.rows.append([name, *_spread(values), round(statistics.median(ratios), 2)])
    table.notes.append(f"{summary.frames} frames, {repeat} paired runs, decoding included")
    return [table]
