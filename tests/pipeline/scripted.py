"""The real nodes with the real message logic around stages that cost nothing (scripted faces).

Windows, strides, spotting, classification and publication are the product's own; only the
landmarker and the optical flow are replaced: a face is there by the frame's number, and the
matching curves are pulses in source time. ``make`` can be given to ``Graph`` and works in a
process of its own as well.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import nodes, publish_node, stage_nodes
from pipeline.config import Config, load
from pipeline.node import Links, Node
from stages.classify import ClassifyStage
from stages.items import (
    EYE_SHAPE,
    LANDMARKS_SHAPE,
    MOUTH_SHAPE,
    Column,
    Face,
    FaceState,
    Frame,
)
from stages.motion import MotionStage
from stages.peaks import SpotParams
from stages.rules import PaperRules
from stages.spot import SpotStage

AUS = (4, 12)
PERIOD_S = 1.1  # between two pulses
WINDOW_S = 3.0
_EYE, _MOUTH = np.zeros(EYE_SHAPE, np.uint8), np.zeros(MOUTH_SHAPE, np.uint8)
_LANDMARKS = np.zeros(LANDMARKS_SHAPE, np.float32)


class Set:
    """What the publisher asks of a prototype set."""

    aus = AUS


def pulse(pts: float) -> float:
    """Height of the movement at ``pts``."""
    off = (pts + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2
    return 5.0 * math.exp(-((off / 0.08) ** 2))


class Faces:
    """A face in every frame, but for a third of a second in every fourth."""

    def __init__(self) -> None:
        self._visible = False

    def there(self, frame: Frame) -> bool:
        return (frame.stamp.pts % 4.0) > 0.35

    def process(self, item: Frame) -> Iterable[Any]:
        stamp = item.stamp
        visible = self.there(item)
        if visible != self._visible:
            self._visible = visible
            yield FaceState(stamp, 0, visible)
        if visible:
            yield Face(stamp, 0, _EYE, _MOUTH, _LANDMARKS, 100.0, 0.3, (0.0, 0.0, 0.0))

    def flush(self) -> Iterable[Any]:
        return []

    def reset(self) -> None:
        self._visible = False


class _Engine:
    """Pulses in place of optical flow."""

    def __init__(self) -> None:
        self._rest = 0.0

    def set_reference(self, held: Any) -> Column:
        self._rest = pulse(held.stamp.pts)
        return Column(held.stamp.frame, np.zeros(len(AUS), np.float32))

    def column(self, reference: int, held: Any) -> Column:
        moved = pulse(held.stamp.pts) - self._rest
        return Column(reference, np.full(len(AUS), moved, np.float32))


class Motion(MotionStage):
    """The real windows."""

    def __init__(self) -> None:
        self._method = "paper"
        self._window_s, self._max_gap_s = WINDOW_S, 0.5
        self._faces, self._free, self._newest, self._ending = {}, [], None, False

    def _take(self) -> Any:
        return self._free.pop() if self._free else _Engine()


def spot(epoch: int) -> SpotStage:
    """The real stage with the paper's rules."""
    rules = PaperRules(AUS, np.ones(len(AUS), np.float32), SpotParams(search_s=0.4, smooth_s=0.0))
    return SpotStage(rules, window_s=WINDOW_S, epoch=1000 * epoch)


def stage(name: str, epoch: int) -> Any:
    """The stage called ``name``."""
    if name == "face":
        return Faces()
    if name == "motion":
        return Motion()
    return spot(epoch) if name == "spot" else ClassifyStage("none@0", None)


def install(build: Any = stage) -> None:
    """Let this process's nodes take ``build``'s stages."""
    stage_nodes.build = lambda name, config, epoch=0: build(name, epoch)  # type: ignore[assignment]
    publish_node.prototypes = lambda config: Set  # type: ignore


def make(name: str, config: Config, links: Links, epoch: int) -> Node:
    """As ``pipeline.nodes.make``, with scripted stages."""
    install()
    return nodes.make(name, config, links, epoch)


class Slow:
    """A stage made slower by ``seconds`` an item, as long as ``until`` does not exist."""

    def __init__(self, inner: Any, seconds: float, until: Path | None = None) -> None:
        self._inner, self._seconds, self._until = inner, seconds, until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def process(self, item: Any) -> Iterable[Any]:
        if self._until is None or not self._until.exists():
            time.sleep(self._seconds)
        return self._inner.process(item)


def make_slow_spot(name: str, config: Config, links: Links, epoch: int) -> Node:
    """Spot takes 0.33 s an item: ten times too slow for 30 fps."""
    install(lambda n, e: Slow(stage(n, e), 0.33) if n == "spot" else stage(n, e))
    return nodes.make(name, config, links, epoch)


class _Hanging:
    """Hangs at the 20th item."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._count = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def process(self, item: Any) -> Iterable[Any]:
        self._count += 1
        if self._count == 20:
            time.sleep(float(os.environ.get("SCRIPTED_HANG_S", "60")))
        return self._inner.process(item)


def make_hanging_spot(name: str, config: Config, links: Links, epoch: int) -> Node:
    """Spot hangs in its first life."""
    install(lambda n, e: _Hanging(stage(n, e)) if n == "spot" and not e else stage(n, e))
    return nodes.make(name, config, links, epoch)


def config(**options: Any) -> Config:
    """A configuration for scripted stages."""
    given = {"source": "synthetic:", "events": "tcp://127.0.0.1:*", "model": []}
    return load(**(given | options))


def closings(events: Iterable[dict[str, Any]], over: bool = True) -> tuple[int, int]:
    """Announced and closed expressions of ``events``, which must be in order.

    Args:
        events: from the first of a run.
        over: the run is over: all must be closed.

    Raises:
        AssertionError: one is closed twice or never, or something follows a closing.
    """
    opened: set[str] = set()
    closed: dict[str, str] = {}
    for number, event in enumerate(events):
        assert event["seq"] == number, f"seq {event['seq']} at place {number}"
        name, phase = event["id"], event["phase"]
        if phase == "apex":
            assert name not in opened and name not in closed, f"{name} announced twice or late"
            opened.add(name)
        elif phase == "update":
            assert closed.get(name) == "final", f"update of {name}: {closed.get(name)}"
            closed[name] = "update"
        else:
            assert name not in closed, f"{name}: {phase} after {closed[name]}"
            assert phase == "final" or name in opened, f"{name} retracted but never announced"
            closed[name] = phase
    assert not over or opened <= set(closed), f"never closed: {opened - set(closed)}"
    return len(opened), len(closed)
