"""Latency at the clip's own rate: inside each node, and outside at a subscriber."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import zmq

from bench.clip import clip
from bench.plain import PlainPipeline
from bench.report import Result, percentile_cells
from pipeline import sockets
from pipeline.build import limit_threads, prototypes
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.sockets import NODES
from pipeline.sources import open_source


class _Outside(threading.Thread):
    """A subscriber of the real socket; ages of frames and events on arrival, ms."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self.curves: list[float] = []
        self._newest = -1
        self.events: dict[str, list[float]] = {}  # by phase
        self.ended = threading.Event()

    def run(self) -> None:
        with zmq.Context() as context, sockets.listen(context, self._address) as link:
            while link.poll(20_000):
                name, body = link.recv_multipart()
                now = time.time_ns()
                message = msgspec.msgpack.decode(body)
                if name.startswith(b"curves."):
                    if message["at"]["frame"] <= self._newest:
                        continue  # redone, or the second window of a frame
                    self._newest = message["at"]["frame"]
                    self.curves.append((now - message["at"]["utc_ns"]) / 1e6)
                elif name.startswith(b"event."):
                    carried = message["delays"]["processing_ms"]
                    age = (now - message["published_utc_ns"]) / 1e6 + carried
                    self.events.setdefault(message["phase"], []).append(age)
                elif message.get("state") == "ended":
                    break
        self.ended.set()


def measure(source: Path | None, seconds: float) -> list[Result]:
    """Run once at the source's own rate, then the plain pipeline on the same frames."""
    limit_threads()
    outside: list[_Outside] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "ready" and report.node == "publish":
            outside.append(_Outside(report.text))
            outside[0].start()

    with clip(source, seconds) as path:
        config = load(source=str(path), events="tcp://127.0.0.1:*", publish={"curves": True})
        summary = Graph(config, on_report).run()
        outside[0].ended.wait(10)
        plain = PlainPipeline(prototypes(config), config.motion.window_s)
        plain.run(open_source(str(path), fps="max").frames())
    columns = ["what", "p50 ms", "p95 ms", "p99 ms", "n"]
    stages = Result("work per item, ms", columns)
    for name in NODES[1:-1]:
        stages.rows.append([name, *percentile_cells(summary.nodes[name].work_ms)])
    for name in ("face", "flow", "matching", "frame"):
        stages.rows.append([f"plain: {name}", *percentile_cells(plain.times_ms[name])])
    ends = Result("age since capture, ms", columns)
    for name in NODES[1:]:
        ends.rows.append([f"through {name}", *percentile_cells(summary.nodes[name].latencies_ms)])
    ends.rows.append(["frame's curves at a subscriber", *percentile_cells(outside[0].curves)])
    for phase, ages in sorted(outside[0].events.items()):
        ends.rows.append([f"event ({phase}) at a subscriber", *percentile_cells(ages)])
    rate = round(summary.frames / max(seconds, 1e-9), 1) if source is None else "own"
    ends.notes.append(f"{summary.frames} frames at {rate} fps, drops: {dict(summary.dropped)}")
    return [stages, ends]
