"""Whether the runs of this process do their work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.node import is_live


@dataclass
class _Camera:
    state: str = "starting"
    detail: str = ""
    frames: int = 0
    moved: float = 0.0  # when a frame was last counted, monotonic s
    stall_s: float = 30.0
    heard: dict[str, float] = field(default_factory=dict)  # of each node that stands
    missing: tuple[str, ...] = ()  # nodes that do not stand, or not any more
    notes: dict[str, bool] = field(default_factory=dict)


class Health:
    """What ``/healthz`` says.

    Args:
        cameras: those that will run; each is unhealthy until its frames come.
        clock: monotonic, s.
    """

    def __init__(self, cameras: list[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras = {name: _Camera() for name in cameras}

    def take(self, report: Report, graph: Graph, name: str) -> None:
        """One report of the graph of camera ``name``."""
        now = self._clock()
        with self._lock:
            camera = self._cameras.setdefault(name, _Camera())
            camera.stall_s = graph.config.metrics.stall_s
            frames = graph.nodes["capture"].total_received
            if frames > camera.frames:
                camera.moved = now
                if camera.state == "starting":  # not sought: these may be counted late
                    camera.state, camera.detail = "running", ""
            camera.frames = frames
            camera.missing = tuple(n for n, s in graph.nodes.items() if not (s.ready or s.done))
            camera.heard[report.node] = now
            for node, state in graph.nodes.items():
                if state.done or not state.ready:
                    camera.heard.pop(node, None)
            if not is_live(graph.config.source) and graph.config.fps != "max":
                camera.heard.pop("capture", None)  # a recording may have a pause of any length
            if report.kind == "published":
                _published(camera, msgspec.msgpack.decode(report.payload))

    def forget(self, name: str) -> None:
        """The camera ``name`` was taken out."""
        with self._lock:
            self._cameras.pop(name, None)

    def look(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well; and the answer's body."""
        now = self._clock()
        with self._lock:
            cameras = {name: self._of(camera, now) for name, camera in self._cameras.items()}
        ok = bool(cameras) and all(one["ok"] for one in cameras.values())
        whys = [f"{name}: {one['reason']}" for name, one in cameras.items() if not one["ok"]]
        body = {"ok": ok, "reason": "; ".join(whys), "cameras": cameras}
        return ok, body if cameras else body | {"reason": "nothing runs"}

    def _of(self, camera: _Camera, now: float) -> dict[str, Any]:
        why = _why_not(camera, now)
        since = round(now - camera.moved, 1) if camera.frames else None
        return {
            "ok": not why, "reason": why, "state": camera.state, "detail": camera.detail,
            "frames": camera.frames, "frame_age_s": since, **camera.notes,
        }  # fmt: skip


def _why_not(camera: _Camera, now: float) -> str:
    if camera.state == "ended":
        return f"ended: {camera.detail}" if camera.detail else ""
    if camera.missing:
        what = "is not there" if camera.frames or camera.state == "sought" else "is not ready yet"
        return f"{camera.missing[0]} {what}"
    silent = [node for node, heard in camera.heard.items() if now - heard > camera.stall_s]
    if silent:
        return f"{silent[0]} has not been heard of for {now - camera.heard[silent[0]]:.0f} s"
    if camera.state == "sought":
        return ""
    if not camera.frames:
        return "no frame yet"
    late = now - camera.moved
    return f"no frame for {late:.0f} s" if late > camera.stall_s else ""


def _published(camera: _Camera, message: dict[str, Any]) -> None:
    if message["type"] != "state":
        return
    name = message["state"]
    if name in ("camera_lost", "camera_retrying"):
        camera.state, camera.detail = "sought", message["detail"]
    elif name == "node_restarted" and message["detail"] == "capture":
        camera.state, camera.detail = "starting", ""  # its new life may find the camera at once
    elif name == "camera_back":
        camera.state, camera.detail = "running", ""
    elif name == "started":  # a graph of several may be begun again
        camera.state, camera.detail, camera.frames = "starting", "", 0
    elif name == "ended":
        camera.state, camera.detail = "ended", message["detail"]
    elif name in ("overloaded", "recovered"):
        camera.notes["overloaded"] = name == "overloaded"
    elif name in ("log_failed", "log_back"):
        camera.notes["log_failed"] = name == "log_failed"
