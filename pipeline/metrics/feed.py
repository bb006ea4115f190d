"""From reports to metrics: counters that never go back, each sample once."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any

from pipeline import arrived
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.metrics import labels
from pipeline.metrics.families import Families
from pipeline.sockets import NODES
from pipeline.wire import WireError


class Feed:
    """The reports of one graph.

    What nodes count begins anew with each of their lives; the graph adds the lives up, and
    here only what came since the last report is added: a graph that follows another one of
    the same camera goes on from its counters.

    Args:
        families: where to.
        camera: the stream's name.
    """

    def __init__(self, families: Families, camera: str) -> None:
        self._to = families
        self._camera = camera
        self._counted: Counter[tuple[str, str]] = Counter()
        self._epochs: dict[str, int] = {}
        self._faces: set[int] = set()
        self._away = False  # the camera is lost, and being sought
        self._recognisers: list[tuple[str, str, str]] = []
        self._touch()

    def _touch(self) -> None:
        """What may never happen is 0, not absent, so that rates and alerts work."""
        to, camera = self._to, self._camera
        for plain in (
            to.frames, to.not_scored, to.losses, to.attempts, to.reconnects, to.malformed,
            to.faces, to.overloaded, to.log_failed, to.revision, to.camera_up,
        ):  # fmt: skip
            plain.labels(camera)
        for node in NODES:
            for by_node in (to.items, to.restarts, to.up, to.idle, to.latency, to.work):
                by_node.labels(camera, node)
        to.dropped.labels(camera, "capture", "newer_frame_won")
        for kind in ("micro", "macro"):
            to.events.labels(camera, "final", kind)
        for phase in ("apex", "final"):
            for delay in (to.decision, to.processing, to.delay):
                delay.labels(camera, phase)

    def take(self, report: Report, graph: Graph) -> None:
        """One report, after the graph took it."""
        to, camera, node = self._to, self._camera, report.node
        state = graph.nodes[node]
        current = report.epoch == state.epoch
        if current:
            self._samples(report)
        self._totals(graph)
        to.up.labels(camera, node).set(float(current and state.ready and report.kind != "death"))
        if report.kind == "beat":
            to.idle.labels(camera, node).set(float(report.idle))
        if report.kind == "ready" and current:
            self._ready(report)
        elif report.kind == "published":
            with contextlib.suppress(WireError):
                self._published(arrived.body(report.payload))

    def _samples(self, report: Report) -> None:
        latency = self._to.latency.labels(self._camera, report.node)
        for value in report.latencies_ms:
            latency.observe(value / 1e3)
        work = self._to.work.labels(self._camera, report.node)
        for value in report.work_ms:
            work.observe(value / 1e3)

    def _totals(self, graph: Graph) -> None:
        to, camera = self._to, self._camera
        for node, state in graph.nodes.items():
            handled = self._new(node, "items", state.total_received)
            to.items.labels(camera, node).inc(handled)
            if node == "capture" and handled:
                to.frames.labels(camera).inc(handled)
                to.last_frame.labels(camera).set(time.time())
                if not self._away:  # frames from before a loss may be counted after it
                    to.camera_up.labels(camera).set(1)
            for key, total in state.total_dropped.items():
                self._lost(node, key, total)
            if blamed := self._new(node, "blamed", state.caused):
                to.blamed.labels(camera, node).inc(blamed)
            to.restarts.labels(camera, node).inc(self._new(node, "lives", state.epoch))
            if not state.ready:
                to.up.labels(camera, node).set(0)
            to.revision.labels(camera).set(graph.revision)
        to.malformed.labels(camera).inc(self._new("", "malformed", graph.malformed))

    def _lost(self, node: str, key: str, total: int) -> None:
        count = self._new(node, f"lost {key}", total)
        if not count:
            return
        to, camera, place = self._to, self._camera, labels.loss(key)
        if place.kind == "replay":
            to.replay.labels(camera, place.reason).inc(count)
        elif place.kind == "refused":
            to.refused.labels(camera, place.socket, place.reason).inc(count)
        else:
            to.dropped.labels(camera, node, place.reason).inc(count)
        if place.reason == "not_scored":
            to.not_scored.labels(camera).inc(count)

    def _new(self, node: str, what: str, total: int) -> int:
        """How much of ``total`` was not counted before."""
        key = node, what
        more = max(total - self._counted[key], 0)
        self._counted[key] += more
        return more

    def _ready(self, report: Report) -> None:
        to, camera = self._to, self._camera
        if report.node == "publish":
            first = report.text.rpartition("\t")[2]
            if not report.epoch and first.isdecimal():
                to.log_seq.labels(camera).set(int(first) - 1)
        elif report.node == "classify":
            for gone in self._recognisers:
                to.recogniser.remove(camera, *gone)
            self._recognisers = labels.recognisers(report.text)
            for one in self._recognisers:
                to.recogniser.labels(camera, *one).set(1)

    def _published(self, message: dict[str, Any]) -> None:
        if message["type"] == "event":
            self._event(message)
        else:
            self._state(message["state"], message)

    def _event(self, message: dict[str, Any]) -> None:
        to, camera, phase = self._to, self._camera, message["phase"]
        to.events.labels(camera, phase, message["kind"]).inc()
        to.log_seq.labels(camera).set(message["seq"])
        if phase in ("apex", "final"):  # what is withdrawn or repeated bears the delays of others
            decision = message["delays"]["decision_s"]
            processing = message["delays"]["processing_ms"] / 1e3
            to.decision.labels(camera, phase).observe(decision)
            to.processing.labels(camera, phase).observe(processing)
            to.delay.labels(camera, phase).observe(decision + processing)
        if phase == "final":
            for one in message["aus"]:
                to.aus.labels(camera, labels.au(one["au"])).inc()
            if message["emotions"]:
                category = labels.category(message["emotions"][0]["category"])
                to.emotions.labels(camera, category).inc()

    def _state(self, name: str, message: dict[str, Any]) -> None:
        to, camera = self._to, self._camera
        to.states.labels(camera, labels.state(name)).inc()
        if name in ("face_found", "face_lost"):
            (self._faces.add if name == "face_found" else self._faces.discard)(message["face"])
        if name == "node_restarted" and message["detail"] in ("capture", "face"):
            self._faces.clear()
        to.faces.labels(camera).set(0 if name == "ended" else len(self._faces))
        if name in ("camera_lost", "camera_back"):
            self._away = name == "camera_lost"
        elif name == "node_restarted" and message["detail"] == "capture":
            self._away = False  # its new life may find the camera at once
        if name == "camera_lost":
            to.losses.labels(camera).inc()
        elif name == "camera_retrying":
            to.attempts.labels(camera).inc()
        elif name == "camera_back":
            to.reconnects.labels(camera).inc()
        elif name in ("overloaded", "recovered"):
            to.overloaded.labels(camera).set(float(name == "overloaded"))
        elif name in ("log_failed", "log_back"):
            to.log_failed.labels(camera).set(float(name == "log_failed"))
        if name in ("camera_lost", "camera_back", "ended"):
            to.camera_up.labels(camera).set(float(name == "camera_back"))
