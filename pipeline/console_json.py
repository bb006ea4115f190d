"""What mespot says as JSON Lines on standard output, for log collectors (docs/service.md)."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import numpy as np

from pipeline import arrived
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.redaction import redacted
from pipeline.summary import Summary
from pipeline.watchers import Watcher
from pipeline.wire import WireError

Level = Literal["debug", "info", "warning", "error"]
_WARNINGS = frozenset(
    {"camera_lost", "camera_retrying", "node_restarted", "overloaded", "log_failed"}
)
_LONGEST = 4000  # of one text


class JsonScreen(Watcher):
    """An object a line: ``time``, ``level``, ``event``, ``message``, and what belongs to it.

    Args:
        quiet: warnings and errors alone.
        verbose: what is of use only when something is sought, too.
        out: by default standard output, which then holds nothing else.
    """

    def __init__(self, quiet: bool, verbose: bool, out: TextIO | None = None) -> None:
        self._levels = {"warning", "error"}
        self._levels |= set() if quiet else {"info"}
        self._levels |= {"debug"} if verbose else set()
        self._out = sys.stdout if out is None else out
        self._lock = threading.Lock()

    def write(self, level: Level, event: str, message: str, **fields: Any) -> None:
        """One line; what cannot be written is lost, the run goes on."""
        if level not in self._levels:
            return
        line = {"time": _now(), "level": level, "event": event, "message": message, **fields}
        text = json.dumps(_clean(line), allow_nan=False)  # ASCII: no line ends within
        with self._lock, contextlib.suppress(OSError, ValueError):  # ValueError: closed
            self._out.write(text + "\n")
            self._out.flush()

    def note(self, text: str) -> None:
        """A line of no camera's, about which something may have to be done."""
        self.write("warning", "note", text)

    def say(self, event: str, text: str) -> None:
        """A line of no camera's, for information."""
        self.write("info", event, text)

    def error(self, text: str, **fields: Any) -> None:
        """Why the run cannot go on."""
        self.write("error", "error", text, **fields)

    def on_report(self, report: Report, graph: Graph) -> None:
        """Say what a report says."""
        about = {"camera": _camera(graph), "node": report.node}
        if report.kind == "published":
            with contextlib.suppress(WireError):
                self._published(arrived.body(report.payload), about)
        elif report.kind == "death":
            text = f"{report.node} died: {report.text}; restarting"
            self.write("error", "death", text, **about, epoch=report.epoch)
        elif report.kind == "note":
            self.write("warning", "note", report.text, **about)
        elif report.kind == "ready":
            self._ready(report, about)

    def _ready(self, report: Report, about: dict[str, str]) -> None:
        if report.node == "publish" and not report.epoch:
            events, replay, *_ = report.text.split("\t")
            text = f"events on {events}, replay on {replay}"
            self.write("info", "listening", text, **about, events=events, replay=replay)
        elif report.node == "classify":
            for line in report.text.splitlines():
                self.write("info", "recogniser", line, **about)
        text = f"{report.node} ready"
        self.write("debug", "ready", text, **about, epoch=report.epoch, detail=report.text)

    def _published(self, message: dict[str, Any], about: dict[str, str]) -> None:
        if message["type"] == "event":
            self._expression(message, about)
            return
        name, detail = message["state"], message["detail"]
        level: Level = "warning" if name in _WARNINGS or (name == "ended" and detail) else "info"
        at = message["at"]["pts"] if message["at"] else None
        text = f"{name}: {detail}" if detail else name
        self.write(level, name, text, **about, face=message["face"], pts=at, detail=detail)

    def _expression(self, message: dict[str, Any], about: dict[str, str]) -> None:
        def at(key: str) -> float | None:
            return message[key]["pts"] if message[key] else None

        emotion = message["emotions"][0]["label"] if message["emotions"] else None
        aus = [one["au"] for one in message["aus"]]
        text = f"{message['phase']} {message['kind']} AU {'+'.join(map(str, aus)) or '-'}"
        self.write(
            "info", "expression", text, **about,
            seq=message["seq"], id=message["id"], face=message["face"], phase=message["phase"],
            kind=message["kind"], aus=aus, onset=at("onset"), apex=at("apex"),
            offset=at("offset"), emotion=emotion, reason=message["reason"], **message["delays"],
        )  # fmt: skip

    def summaries(self, summaries: dict[str, Summary]) -> None:
        """The closing figures of several cameras, a line each."""
        for name, summary in summaries.items():
            self.summary(summary, camera=name)

    def summary(self, summary: Summary, **fields: Any) -> None:
        """The closing figures."""
        latency = {
            "capture_to_spotted_ms": summary.nodes["spot"].latencies_ms,
            "decided_to_published_ms": summary.nodes["publish"].latencies_ms,
        }
        finals = summary.events["final"]
        text = f"{summary.frames} frames in {summary.seconds:.1f} s, {finals} events"
        self.write(
            "warning" if summary.warning else "info", "summary",
            f"{text}; {summary.warning}" if summary.warning else text,
            frames=summary.frames, seconds=round(summary.seconds, 3),
            events=dict(summary.events), dropped=dict(summary.dropped),
            too_slow=summary.too_slow, restarts=summary.restarts, warning=summary.warning,
            **{name: _percentiles(samples) for name, samples in latency.items()}, **fields,
        )  # fmt: skip


def _camera(graph: Graph) -> str:
    return graph.config.stream


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _percentiles(samples: Any) -> dict[str, float] | None:
    if not len(samples):
        return None
    found = np.percentile(list(samples), [50, 95, 99])
    names = ("p50", "p95", "p99")
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


def _clean(value: Any) -> Any:
    """What JSON can say, without secrets, of bounded length."""
    if isinstance(value, str):
        return redacted(value[: 4 * _LONGEST])[:_LONGEST].encode(errors="replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_clean(str(key)): _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value
