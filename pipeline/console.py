"""What a person sees in the terminal: events, progress, the summary."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.summary import Summary
from pipeline.watchers import Watcher

_PHASE_STYLE = {"apex": "yellow", "final": "bold green", "retracted": "dim", "update": "cyan"}


def percentiles(samples: Any) -> str:
    """``p50 / p95 / p99`` of samples in ms."""
    if not len(samples):
        return "-"
    return " / ".join(f"{value:.1f}" for value in np.percentile(list(samples), [50, 95, 99]))


def event_line(message: dict[str, Any]) -> str:
    """One event on one line, Rich markup."""
    aus = "+".join(str(a["au"]) for a in message["aus"]) or "-"
    phase = message["phase"]

    def at(key: str) -> str:
        moment = message[key]
        return f"{moment['pts']:.2f}" if moment else "…"

    times = f"{at('onset')} → {at('apex')} → {at('offset')} s"
    emotion = _emotion(message["emotions"])
    delays = message["delays"]
    delay = f"{delays['decision_s'] * 1e3:.0f} + {delays['processing_ms']:.1f} ms"
    reason = f" ({escape(message['reason'])})" if message["reason"] else ""
    style = _PHASE_STYLE[phase]
    return (
        f"[{style}]{phase:<9}[/] {message['kind']:<7} AU {aus:<9} {times:<24} "
        f"{emotion:<10} delay {delay:<15} [dim]{escape(message['id'])}[/]{reason}"
    )


def _emotion(readings: list[dict[str, Any]]) -> str:
    """The primary reading, then each recogniser's with its probability."""
    if not readings:
        return "-"
    scored = [
        f"{r['source']}: {r['label']} {r['scores'][r['label']]:.2f}"
        for r in readings
        if r["label"] in r["scores"]
    ]
    return escape(", ".join([readings[0]["label"], *scored]))


class Screen(Watcher):
    """Prints reports as they come; a progress line on recorded input in a terminal."""

    def __init__(self, quiet: bool, verbose: bool, live: bool, several: bool = False) -> None:
        self._several = several
        self._of = ""  # the camera's name before its lines, where there are several
        self._told: set[str] = set()  # lines on recognisers
        self._quiet = quiet
        self._verbose = verbose
        self._out = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._err = Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._progress = not (live or quiet or several) and self._err.is_terminal
        self._begin: float | None = None
        self._shown = 0.0

    def note(self, text: str) -> None:
        """A line of no camera's, about which something may have to be done."""
        self._clear()
        self._err.print(f"mespot: {escape(text)}", emoji=False)

    def say(self, event: str, text: str) -> None:
        """A line of no camera's, for information."""
        del event
        if not self._quiet:
            self._clear()
            self._out.print(escape(text), emoji=False)

    def on_report(self, report: Report, graph: Graph) -> None:
        """Show what a report says."""
        self._of = f"[bold]{escape(graph.config.capture.name)}[/] " if self._several else ""
        if report.kind == "published":
            self._published(msgspec.msgpack.decode(report.payload))
        elif report.kind == "death":
            self._err.print(
                f"{self._of}[red]{report.node} died: {escape(report.text)}; restarting[/]"
            )
        elif report.kind == "note":
            self._err.print(f"{self._of}[yellow]{report.node}: {escape(report.text)}[/]")
        elif report.kind == "ready":
            self._ready(report)
        self._line(graph)

    def _ready(self, report: Report) -> None:
        if report.node == "publish" and not self._quiet:
            if not report.epoch:
                events, replay, *_ = report.text.split("\t")
                self._out.print(f"{self._of}events on {events}")
                self._out.print(f"{self._of}replay on {replay}")
        elif report.node == "classify" and not self._quiet:
            new = [line for line in report.text.splitlines() if line not in self._told]
            self._told.update(new)  # cameras share them
            for line in new:
                self._out.print(f"recogniser {escape(line)}")
        elif self._verbose:
            self._err.print(f"{self._of}[dim]{report.node} ready {escape(report.text)}[/]")

    def _published(self, message: dict[str, Any]) -> None:
        if self._quiet:
            return
        self._clear()
        if message["type"] == "event":
            self._out.print(self._of + event_line(message))
        elif message["state"] == "log_failed":
            self._err.print(f"{self._of}[yellow]log: {escape(message['detail'])}[/]")
        elif message["state"] not in ("started", "ended") or self._verbose:
            face = "" if message["face"] is None else f" {message['face']}"
            at = f" at {message['at']['pts']:.2f} s" if message["at"] else ""
            state = f"[blue]{message['state']}{face}[/]{at} {escape(message['detail'])}"
            self._out.print(self._of + state)

    def _clear(self) -> None:
        if self._progress and self._shown:
            self._err.file.write("\r\x1b[K")
            self._err.file.flush()

    def _line(self, graph: Graph) -> None:
        frames = graph.nodes["capture"].total_received
        if not self._progress or not frames:
            return
        now = time.monotonic()
        if self._begin is None:
            self._begin = self._shown = now
        if now - self._shown < 0.2:
            return
        self._shown = now
        fps = frames / max(now - self._begin, 1e-3)
        total = graph.nodes["capture"].detail.partition("\t")[2]
        of = f"/{total}" if total not in ("", "0") else ""
        finals = graph.events["final"]
        self._err.file.write(f"\r\x1b[K{frames}{of} frames  {fps:.0f} fps  {finals} events")
        self._err.file.flush()

    def summary(self, summary: Summary) -> None:
        """The closing table."""
        self._clear()
        if summary.warning:
            self._err.print(f"[yellow]{escape(summary.warning)}[/]")
        if self._quiet:
            return
        table = Table(title="summary", show_header=False, title_justify="left")
        finals = summary.events["final"]
        table.add_row("frames", f"{summary.frames} in {summary.seconds:.1f} s")
        drops = ", ".join(f"{escape(k)}: {v}" for k, v in summary.dropped.items()) or "none"
        table.add_row("drops", drops)
        if summary.too_slow:
            slow = ", ".join(f"{name}: {count}" for name, count in summary.too_slow.items())
            table.add_row("frames dropped, by the node too slow", slow)
        table.add_row(
            "events",
            f"{finals} ({summary.events['micro']} micro, {summary.events['macro']} macro), "
            f"{summary.events['retracted']} retracted, {summary.events['update']} scored late",
        )
        if summary.restarts:
            table.add_row("restarts", str(summary.restarts))
        spot, publish = summary.nodes["spot"], summary.nodes["publish"]
        table.add_row(
            "capture → curves spotted, ms", f"{percentiles(spot.latencies_ms)} (p50/p95/p99)"
        )
        table.add_row("deciding frame → event out, ms", percentiles(publish.latencies_ms))
        for name in ("face", "motion", "spot"):
            table.add_row(f"{name}, ms an item", percentiles(summary.nodes[name].work_ms))
        self._out.print(table)

    def summaries(self, summaries: dict[str, Summary]) -> None:
        """The closing table of several cameras."""
        for name, summary in summaries.items():
            if summary.warning:
                self._err.print(f"[yellow]{escape(name)}: {escape(summary.warning)}[/]")
        if self._quiet:
            return
        table = Table(title="summary", title_justify="left")
        heads = ("camera", "frames", "s", "drops", "micro", "macro", "retracted", "restarts")
        for head in (*heads, "event out, ms (p50/p95/p99)"):
            table.add_column(head, justify="left" if head == "camera" else "right")
        for name, one in summaries.items():
            counts = (one.events["micro"], one.events["macro"], one.events["retracted"])
            table.add_row(
                escape(name),
                str(one.frames),
                f"{one.seconds:.1f}",
                str(sum(one.dropped.values())),
                *map(str, counts),
                str(one.restarts),
                percentiles(one.nodes["publish"].latencies_ms),
            )
        self._out.print(table)
