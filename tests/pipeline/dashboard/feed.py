"""A scripted camera for the page: what nodes would put on the tap. All of it is synthetic."""

from __future__ import annotations

import functools
import http.client
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import cv2
import msgspec
import numpy as np

from models.synthesis import SyntheticFace, demo_scene
from pipeline.config import Config, load
from pipeline.dashboard.page import Dashboard
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.schema import (
    AUMessage,
    Delays,
    EventMessage,
    Moment,
    StateMessage,
)
from pipeline.sockets import NODES
from pipeline.summary import NodeState
from stages.items import Reading, Veto

AUS = [1, 2, 4, 12]
FPS = 30.0
TOKEN = "a-token-of-this-test-alone"


@functools.cache
def portrait() -> bytes:
    """One frame of the synthetic camera as JPEG."""
    image = SyntheticFace(demo_scene(1.0, 7)).frame(0)
    done, data = cv2.imencode(".jpg", image)
    assert done
    return bytes(data.tobytes())


def settings(**more: Any) -> Config:
    """A run of the synthetic camera with the page on a free port."""
    return load(source="synthetic:", dashboard={"enabled": True, "port": 0} | more)


def moment(pts: float) -> Moment:
    """A frame at ``pts``."""
    return Moment(round(pts * FPS), pts, time.time_ns())


class Feed:
    """Speaks to a dashboard as a run would.

    Args:
        dashboard: hears it.
        config: of the run.
        stream: the camera's name.
    """

    def __init__(self, dashboard: Dashboard, config: Config, stream: str = "synthetic") -> None:
        self.dashboard = dashboard
        self.stream = stream
        self.pts = 0.0
        config = config.model_copy(
            update={"capture": config.capture.model_copy(update={"name": stream})}
        )
        self._graph = SimpleNamespace(config=config, nodes={n: NodeState() for n in NODES})
        self._ids = itertools.count()
        self._running = False

    def begin(self) -> None:
        """All nodes are ready and a face is there."""
        for name in NODES:
            self._graph.nodes[name].ready = True
            self.report(name, "ready")
        self.state("started")
        self.state("face_found", face=0)

    def again(self, **changes: Any) -> None:
        """The camera's graph is begun again: source time and ids start anew."""
        config = self._graph.config.model_copy(update=changes)
        self._graph = SimpleNamespace(config=config, nodes={n: NodeState() for n in NODES})
        self.pts, self._ids = 0.0, itertools.count()
        self.begin()

    def report(self, node: str, kind: Any = "beat", **more: Any) -> None:
        """A node's report."""
        report = Report(node=node, epoch=0, kind=kind, **more)
        self._graph.nodes[node].update(report)
        self.dashboard.on_report(report, cast("Graph", self._graph))

    def tell(self, topic: str, *parts: Any) -> None:
        """A message on the tap."""
        bodies = [p if isinstance(p, bytes) else msgspec.msgpack.encode(p) for p in parts]
        self.dashboard.on_message([f"{topic}.{self.stream}".encode(), *bodies])

    def state(self, state: str, face: int | None = None, detail: str = "") -> None:
        """A change of state."""
        message = StateMessage(
            stream=self.stream,
            state=state,
            face=face,
            detail=detail,
            published_utc_ns=time.time_ns(),
        )
        self.tell("state", message)

    def picture(self) -> None:
        """A frame with its regions, and the flow in them."""
        at = msgspec.to_builtins(moment(self.pts))
        eye = [[230.0, 120.0], [410.0, 120.0], [410.0, 270.0], [230.0, 270.0]]
        mouth = [[240.0, 240.0], [400.0, 240.0], [400.0, 340.0], [240.0, 340.0]]
        face = {"face": 0, "regions": [eye, mouth]}
        self.tell("picture", at | {"width": 640, "height": 480, "faces": [face]}, portrait())
        flow = {
            name: {"columns": c, "rows": r, "width": 20 * c, "height": 20 * r}
            | {"values": [20, -10] * (c * r)}
            for name, c, r in (("eye", 14, 12), ("mouth", 13, 8))
        }
        self.tell("flow", at | {"face": 0, "unit": 0.1} | flow)

    def rise(self, face: int = 0, height: float | None = None) -> None:
        """Curves of the next frame."""
        self.pts += 1 / FPS
        if height is None:
            height = max(0.0, 5 * float(np.sin(4 * self.pts)))
        values = [height, 0.1, 0.2, 0.3]
        body = {"face": face, "pts": self.pts, "utc_ns": time.time_ns()}
        self.tell("rises", body | {"aus": AUS, "values": values})

    def event(self, phase: Any = "final", ident: str = "", **more: Any) -> EventMessage:
        """An expression of AU 12, its apex half a second ago."""
        apex = max(self.pts - 0.5, 0.3)
        whole = phase in ("final", "update")
        onset, offset = (moment(apex - 0.2), moment(apex + 0.2)) if whole else (None, None)
        fields: dict[str, Any] = {
            "seq": 0,
            "id": ident or f"{self.stream}/0/0-{next(self._ids)}",
            "stream": self.stream,
            "face": 0,
            "phase": phase,
            "kind": "micro" if whole else "unknown",
            "onset": onset,
            "apex": moment(apex),
            "offset": offset,
            "aus": [AUMessage(12, "both", 2.5, onset, moment(apex), offset)],
            "height": 14.2 if whole else 0.0,
            "explained": 0.83 if whole else 0.0,
            "vetoes": [Veto("explained", 0.83, 0.36), Veto("height", 14.2, 6.0)] if whole else [],
            "emotions": [Reading("coding-guide", "happiness", "positive", "rule 1: AU12")],
            "prototypes": "shipped@2",
            "models": [],
            "delays": Delays(0.3, 12.5),
            "reason": "",
            "published_utc_ns": time.time_ns(),
        }
        message = EventMessage(**fields | more)
        topic = f"event.{self.stream}.{phase}".encode()
        self.dashboard.on_message([topic, msgspec.msgpack.encode(message)])
        return message

    def crops(self, ident: str) -> None:
        """Crops of an event."""
        names = [f"{m}_{r}" for m in ("onset", "apex", "offset") for r in ("eye", "mouth")]
        self.tell("crops", {"id": ident, "face": 0, "crops": {n: portrait() for n in names}})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Pictures and curves go on in a thread."""
        self._running = True

        def run() -> None:
            while self._running:
                self.rise()
                self.picture()
                self.report("capture", received=round(self.pts * FPS))
                self.report("spot", latencies_ms=[20.0, 30.0], work_ms=[1.0], dropped={"late": 3})
                time.sleep(1 / FPS)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            self._running = False
            thread.join()


@contextmanager
def served(**more: Any) -> Iterator[Feed]:
    """A dashboard on a free port and its scripted camera."""
    config = settings(**more)
    dashboard = Dashboard(config.dashboard)
    try:
        feed = Feed(dashboard, config)
        feed.begin()
        yield feed
    finally:
        dashboard.close()


def port_of(feed: Feed) -> int:
    """The page's port."""
    return urlsplit(feed.dashboard.address).port or 0


def get(feed: Feed, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request; underscores of header names become hyphens."""
    link = http.client.HTTPConnection("127.0.0.1", port_of(feed), timeout=60)
    link.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = link.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read()
    link.close()
    return answer.status, found, body
