"""Every metric of a run, in a registry of its own."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipeline.exports.version import version
from pipeline.sockets import NODES

_LATENCIES_S = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
_WORK_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0)
_DECISIONS_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)


class Families:
    """The metrics; all bear the label ``camera``, the stream's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"mespot_{name}", text, ("camera", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"mespot_{name}", text, ("camera", *labels), registry=registry)

        def histogram(name: str, text: str, steps: tuple[float, ...], label: str) -> Histogram:
            return Histogram(
                f"mespot_{name}_seconds", text, ("camera", label), registry=registry, buckets=steps
            )

        self.frames = counter("frames", "Frames captured.")
        self.items = counter("items", "Items that a node handled.", "node")
        self.dropped = counter("dropped", "What was dropped, by node and reason.", "node", "reason")
        self.blamed = counter(
            "frames_blamed", "Frames that a live camera dropped because this node was slow.", "node"
        )
        self.latency = histogram(
            "node_latency", "Age of an item since capture when a node was done.", _LATENCIES_S,
            "node",
        )  # fmt: skip
        self.work = histogram("node_work", "Time a node worked on an item.", _WORK_S, "node")
        self.up = gauge("node_up", "1: the node is at work.", "node")
        self.idle = gauge("node_idle", "1: nothing waited for the node at its last beat.", "node")
        self.restarts = counter("node_restarts", "Nodes that died and were replaced.", "node")

        self.events = counter("events", "Events published, by phase and kind.", "phase", "kind")
        self.aus = counter("event_action_units", "Action units of final events.", "au")
        self.emotions = counter(
            "event_emotions", "Primary emotion of final events, by category.", "category"
        )
        self.decision = histogram(
            "event_decision", "Source time from the apex to the frame that decided an event.",
            _DECISIONS_S, "phase",
        )  # fmt: skip
        self.processing = histogram(
            "event_processing", "Time from the deciding frame's capture to publication.",
            _LATENCIES_S, "phase",
        )  # fmt: skip
        self.delay = histogram(
            "event_delay", "Time from the apex to publication: decision and processing.",
            _DECISIONS_S, "phase",
        )  # fmt: skip
        self.not_scored = counter("events_not_scored", "Events that a recogniser did not score.")

        self.camera_up = gauge("camera_up", "1: frames come; 0: lost and sought, or over.")
        self.losses = counter("camera_losses", "Times that the camera was lost.")
        self.attempts = counter("camera_attempts", "Attempts to get a lost camera back.")
        self.reconnects = counter("camera_reconnects", "Times that a lost camera came back.")
        self.last_frame = gauge("last_frame_timestamp_seconds", "Unix time of the last frame.")
        self.faces = gauge("faces", "Faces seen at present.")
        self.states = counter("states", "States published (docs/protocol.md).", "state")
        self.overloaded = gauge("overloaded", "1: more frames come than can be processed.")

        self.log_seq = gauge("log_last_seq", "Number of the last event given; -1: none.")
        self.log_failed = gauge("log_failed", "1: the event log cannot be written.")
        self.replay = counter("replay_refusals", "Replay requests not answered.", "reason")
        self.refused = counter(
            "clients_refused", "Connections turned away, by socket and reason.", "socket", "reason"
        )
        self.malformed = counter("malformed_reports", "Reports that were none.")
        self.revision = gauge("config_revision", "Reloads of the configuration taken so far.")
        self.recogniser = gauge(
            "recogniser_info", "1: a recogniser, and the device that it really runs on.",
            "recogniser", "version", "device",
        )  # fmt: skip
        build = Gauge("mespot_build_info", "1: which mespot.", ("version",), registry=registry)
        build.labels(version()).set(1)

    def forget(self, camera: str) -> None:
        """No gauge of a camera that was taken out; counters stay, as Prometheus wants it."""
        for gauge in (
            self.camera_up,
            self.last_frame,
            self.faces,
            self.overloaded,
            self.log_failed,
        ):
            with contextlib.suppress(KeyError):
                gauge.remove(camera)
        for gauge in (self.up, self.idle):
            for node in NODES:
                with contextlib.suppress(KeyError):
                    gauge.remove(camera, node)
