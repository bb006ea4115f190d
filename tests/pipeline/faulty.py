"""A real graph behind a real RTSP server and a proxy that spoils what passes (synthetic)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import msgspec
import pytest

import pipeline.stage_nodes
from bench import barcode
from bench.clip import dense_scene
from models.synthesis import SyntheticFace
from pipeline.build import build
from pipeline.config import load
from pipeline.graph import Graph, Summary
from pipeline.messages import Report
from stages.base import Stage
from stages.items import Stamp

FPS = 20
PATIENCE_S = 90.0  # a shared machine may be slow


@dataclass(frozen=True)
class Processed:
    """A frame that the face stage was given."""

    stamp: Stamp
    number: int | None  # what is written in its picture
    shape: tuple[int, ...]
    at: float  # monotonic, s


class _Noting:
    """A stage that notes what it is given."""

    def __init__(self, stage: Stage, frames: list[Processed]) -> None:
        self._stage = stage
        self._frames = frames

    def process(self, item: Any) -> Iterable[Any]:
        number, shape = barcode.read(item.image), item.image.shape[:2]
        self._frames.append(Processed(item.stamp, number, shape, time.monotonic()))
        return self._stage.process(item)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)


@dataclass
class Watched:
    """A run in a thread: what it publishes and which frames it processes."""

    graph: Graph
    thread: threading.Thread
    frames: list[Processed]
    messages: list[dict[str, Any]]
    result: list[Summary | BaseException] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """Of the camera, without its attempts."""
        return [s for s in self.all_states if s.startswith("camera") and s != "camera_retrying"]

    @property
    def all_states(self) -> list[str]:
        return [m["state"] for m in self.messages if m["type"] == "state"]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == "event"]

    def detail(self, state: str) -> str:
        """Of the last such state."""
        return next(str(m["detail"]) for m in reversed(self.messages) if m.get("state") == state)

    def until(self, happened: Callable[[], Any], what: str = "it") -> None:
        """Wait for something."""
        end = time.monotonic() + PATIENCE_S
        while not happened():
            assert not self.result, f"the run ended: {self.result}"
            assert time.monotonic() < end, f"{what} did not happen; {self.all_states}"
            time.sleep(0.02)

    def frames_more(self, count: int) -> None:
        """Wait for so many frames more."""
        goal = len(self.frames) + count
        self.until(lambda: len(self.frames) >= goal, f"{count} more frames")

    def back(self, times: int = 1) -> None:
        """Wait until the camera has been lost and found again so often."""
        self.until(lambda: self.states.count("camera_back") >= times, "camera_back")

    def end(self) -> Summary:
        """Stop the run and wait for its end."""
        self.graph.stop()
        self.thread.join(PATIENCE_S)
        assert self.result, "the run did not end"
        if isinstance(self.result[0], BaseException):
            raise self.result[0]
        return self.result[0]


def pictures(seconds: float, size: tuple[int, int] = (480, 360)) -> list[Any]:
    """A synthetic face with a micro-expression every 1.6 s."""
    scene = changed(dense_scene(seconds), fps=float(FPS), width=size[0], height=size[1])
    face = SyntheticFace(scene)
    return [face.frame(i) for i in range(scene.n_frames)]


@contextlib.contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, source: str, **options: Any) -> Iterator[Watched]:
    """A run over ``source`` with ``options`` of the configuration; ended at the latest here."""
    frames: list[Processed] = []
    messages: list[dict[str, Any]] = []

    def noting(name: str, config: Any, epoch: int) -> Stage:
        stage = build(name, config, epoch)
        return _Noting(stage, frames) if name == "face" else stage

    monkeypatch.setattr(pipeline.stage_nodes, "build", noting)

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "published":
            messages.append(msgspec.msgpack.decode(report.payload))

    def work() -> None:
        try:
            run.result.append(graph.run())
        except BaseException as error:  # noqa: BLE001  raised again by ``end``
            run.result.append(error)

    config = load(source=source, events="tcp://127.0.0.1:*", model=[], **options)
    graph = Graph(config, on_report)
    run = Watched(graph, threading.Thread(target=work, daemon=True), frames, messages)
    run.thread.start()
    try:
        yield run
    finally:
        graph.stop()
        run.thread.join(PATIENCE_S)


def film(path: Path, seconds: float, times: int, size: tuple[int, int] = (480, 360)) -> Path:
    """A numbered film of ``pictures``."""
    barcode.film(path, pictures(seconds, size), FPS, times)
    return path
