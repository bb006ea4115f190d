"""What the page knows of one camera: state, stages, events, and the curves around them."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pipeline.config import Config
from pipeline.messages import Report
from pipeline.schema import BlinkMessage, EventMessage, StateMessage
from pipeline.sockets import NODES
from stages.joint_params import JointParams

if TYPE_CHECKING:
    from pipeline.graph import Graph

_ROLL_S = 10.0  # latencies and rates are those of the last so many seconds
_MOST_SAMPLES = 3000
_MOST_EVENTS = 200
_MOST_RISES = 4000
_MOST_LINES = 6
_MOST_OPEN = 20
_MOST_BEATS = 200
KEPT_S = 30.0  # of curves, source time
_AROUND_S = 1.5  # curves before and after an event


class Rolling:
    """The samples of the last seconds."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=_MOST_SAMPLES)

    def extend(self, now: float, values: list[float]) -> None:
        """Take samples at ``now``, s."""
        self._kept.extend((now, value) for value in values)

    def percentiles(self, now: float) -> list[float] | None:
        """p50 and p95; None without samples."""
        while self._kept and self._kept[0][0] < now - _ROLL_S:
            self._kept.popleft()
        if not self._kept:
            return None
        found = np.percentile([value for _, value in self._kept], [50, 95])
        return [round(float(value), 2) for value in found]


@dataclass
class NodeView:
    """One node of the graph."""

    state: str = "starting"
    restarts: int = 0
    received: int = 0
    age: Rolling = field(default_factory=Rolling)  # capture to here, ms
    work: Rolling = field(default_factory=Rolling)  # in the stage, ms an item
    dropped: dict[str, int] = field(default_factory=dict)


class Rises(msgspec.Struct):
    """How far the curves of a face have risen at one frame, in theta."""

    face: int
    pts: float
    utc_ns: int
    aus: list[int]
    values: list[float]


@dataclass
class Record:
    """An event in its newest phase, and what is needed to explain it."""

    message: EventMessage
    rises: list[Rises] = field(default_factory=list)
    crops: dict[str, bytes] = field(default_factory=dict)  # JPEG


class Camera:
    """State of one stream. Whoever calls holds the hub's lock.

    Args:
        name: of the stream.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.config: Config | None = None
        self.life = -1  # how often its graph was begun again
        self.lines: deque[tuple[int, str]] = deque(maxlen=_MOST_LINES)  # UTC ms, what happened
        self._graph: Graph | None = None
        self._begin()

    def _begin(self) -> None:
        """A life of the graph: source time and the ids of events start anew with it."""
        self.life += 1
        self._started = False
        self.phase = "starting"
        self.detail = ""
        self.faces: set[int] = set()
        self.overloaded = ""
        self.log = ""
        self.nodes = {name: NodeView() for name in NODES}
        self.records: OrderedDict[str, Record] = OrderedDict()
        self.rises: deque[Rises] = deque(maxlen=_MOST_RISES)
        self.blinks: deque[BlinkMessage] = deque(maxlen=100)
        self._crops: OrderedDict[str, dict[str, bytes]] = OrderedDict()  # of events to come
        # curves still come for them; none do once the face is gone
        self._following: deque[Record] = deque(maxlen=_MOST_OPEN)
        self._frames: deque[tuple[float, int]] = deque(maxlen=_MOST_BEATS)

    # ------------------------------------------------------------ reports

    def report(self, report: Report, graph: Graph) -> None:
        """A node's word."""
        now = time.monotonic()
        if self._graph is not None and self._graph is not graph:
            self._begin()  # no message of this graph has come yet: its face node begins later
        self._graph = graph
        self.config = graph.config
        node, state = self.nodes[report.node], graph.nodes[report.node]
        node.age.extend(now, report.latencies_ms)
        node.work.extend(now, report.work_ms)
        node.received = state.total_received
        node.dropped = dict(state.total_dropped)
        node.restarts = state.epoch
        node.state = _state_of(report, state.ready, state.done)
        if report.node == "capture":
            self._frames.append((now, node.received))
        if report.kind in ("note", "death", "fatal"):
            verb = (
                "" if report.kind == "note" else "died: " if report.kind == "death" else "ended: "
            )
            self.lines.append((time.time_ns() // 1_000_000, f"{report.node}: {verb}{report.text}"))
        if report.kind == "fatal":
            self.phase, self.detail = "ended", report.text

    def _fps(self, now: float) -> float:
        while len(self._frames) > 2 and self._frames[0][0] < now - _ROLL_S / 2:
            self._frames.popleft()
        if len(self._frames) < 2 or self._frames[-1][0] < now - _ROLL_S / 2:
            return 0.0
        (since, first), (until, last) = self._frames[0], self._frames[-1]
        return round((last - first) / max(until - since, 1e-3), 1)

    # ------------------------------------------------------------ messages

    def event(self, message: EventMessage) -> EventMessage:
        """An event in one of its phases; as it is shown: an update is as late as its final was."""
        record = self.records.get(message.id)
        if record is not None and message.phase == "update":
            message = msgspec.structs.replace(message, delays=record.message.delays)
        if record is None:
            record = self.records[message.id] = Record(message)
            while len(self.records) > _MOST_EVENTS:
                self.records.popitem(last=False)
        record.message = message
        if message.phase == "final":
            record.crops = self._crops.pop(message.id, {})
        if message.phase in ("final", "retracted"):
            first, _ = _span(message)
            record.rises = [r for r in self.rises if r.face == message.face and r.pts >= first]
            self._following.append(record)
        return message

    def crops(self, ident: str, crops: dict[str, bytes]) -> None:
        """Crops come before their event, or just after it."""
        record = self.records.get(ident)
        if record is not None and record.message.phase in ("final", "update"):
            record.crops = crops
            return
        self._crops[ident] = crops
        while len(self._crops) > 20:
            self._crops.popitem(last=False)

    def rise(self, rises: Rises) -> None:
        """Curves of one frame."""
        self.rises.append(rises)
        while self.rises[0].pts < rises.pts - KEPT_S:
            self.rises.popleft()
        for record in list(self._following):
            message = record.message
            if rises.face == message.face:
                if rises.pts > _span(message)[1]:
                    self._following.remove(record)
                else:
                    record.rises.append(rises)

    def state(self, message: StateMessage) -> None:
        """A change of state."""
        name, detail = message.state, message.detail
        if name == "started":
            if self._started:
                self._begin()
            self._started = True
            self.phase, self.detail = "watching", ""
        elif name == "face_found" and message.face is not None:
            self.faces.add(message.face)
        elif name == "face_lost" and message.face is not None:
            self.faces.discard(message.face)
        elif name in ("camera_lost", "camera_retrying"):
            self.phase, self.detail = "camera lost", detail
        elif name == "camera_back":
            self.phase, self.detail = "watching", ""
        elif name == "ended":
            self.phase, self.detail = "ended", detail
            self.faces.clear()
        elif name in ("overloaded", "recovered"):
            self.overloaded = detail if name == "overloaded" else ""
        elif name in ("log_failed", "log_back"):
            self.log = detail if name == "log_failed" else ""
        if name not in ("started", "face_found", "face_lost"):
            words = name.replace("_", " ")
            self.lines.append(
                (message.published_utc_ns // 1_000_000, f"{words}: {detail}" if detail else words)
            )

    # ------------------------------------------------------------ views

    def about(self) -> dict[str, Any]:
        """What does not change during a life."""
        config = self.config
        method = "mespot" if config is None else config.method
        scale = 1.0 if config is None else config.spot.threshold_scale
        joint = f"θ = {JointParams.theta * scale:g} standard deviations of this face's own noise"
        paper = "θ = each prototype's own threshold (eq. 24)"
        return {
            "name": self.name,
            "life": self.life,
            "method": method,
            "theta": joint if method == "mespot" else paper,
            "search_s": 1.0 if config is None else config.spot.search_s,
            "synthetic": config is not None and config.source.startswith("synthetic:"),
            "known": config is not None,
        }

    def health(self) -> dict[str, Any]:
        """Figures of now."""
        now = time.monotonic()
        dropped: dict[str, int] = {}
        for node in self.nodes.values():
            for reason, count in node.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        return {
            "phase": self.phase,
            "detail": self.detail,
            "faces": sorted(self.faces),
            "fps": self._fps(now),
            "frames": self.nodes["capture"].received,
            "overloaded": self.overloaded,
            "log": self.log,
            "dropped": dropped,
            "lines": list(self.lines),
            "nodes": [
                {
                    "name": name,
                    "state": node.state,
                    "restarts": node.restarts,
                    "age": node.age.percentiles(now),
                    "work": node.work.percentiles(now),
                }
                for name, node in self.nodes.items()
            ],
        }


def _state_of(report: Report, ready: bool, done: bool) -> str:
    if report.kind == "death":
        return "restarting"
    if done or report.kind in ("done", "fatal"):
        return "ended"
    if not ready:
        return "starting"
    return "waiting" if report.idle else "working"


def _span(message: EventMessage) -> tuple[float, float]:
    """First and last source time that explains an event."""
    first = message.onset or message.apex
    last = message.offset or message.apex
    return first.pts - _AROUND_S, last.pts + _AROUND_S
