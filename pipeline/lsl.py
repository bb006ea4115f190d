"""LabStreamingLayer: events as markers and matching curves as a regular stream (docs/lab.md).

A bridge, not a node: a thread that hears what is published. It can be late, fail or hang
without the pipeline noticing.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from models.errors import UserError
from pipeline.config import Config
from pipeline.exports.version import version
from pipeline.lsl_clock import CaptureClock
from pipeline.messages import Report
from pipeline.watchers import Watcher

if TYPE_CHECKING:
    from pipeline.graph import Graph

_WAITING = 100_000  # messages that liblsl has not taken
_TOPICS = (b"event.", b"curves.")
_MOMENTS = ("onset", "apex", "offset")
_HELD = 10  # frames after which the rate is known
_FILLED_S = 1.0  # a longer gap is one; readers of XDF split a regular stream there as well
_GONE_S = 10.0  # of capture, after which a face without curves has left: most get a new number
_DRAIN_S = 6.0  # for what liblsl has not taken when the run is over
_AT_ONCE_S = 0.0005  # two clocks read within are read at once
_TRIES = 5
_SENT_S = 0.5  # for what liblsl has not sent when its outlets close


def load() -> Any:
    """The module ``pylsl``, with liblsl behind it.

    Raises:
        UserError: either is missing or does not load.
    """
    try:
        import pylsl
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--lsl needs pylsl ({reason}): pip install 'mespot[lab]'") from None
    return pylsl


class LslBridge(Watcher):
    """From the tap to LSL, in a thread of its own.

    Args:
        config: of the run.
        note: told once why the bridge ended early.

    Raises:
        UserError: pylsl is missing.
    """

    def __init__(self, config: Config, note: Callable[[str], None] = lambda text: None) -> None:
        self._outlets = Outlets(load(), config)
        self._note = note
        self._queue: queue.Queue[str | bytes | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="lsl", daemon=True)
        self._thread.start()

    def on_report(self, report: Report, graph: Graph) -> None:
        """Offer the marker stream before the first event, so that recorders find it."""
        if report.kind == "ready" and report.node == "capture":
            self.announce(report.text.partition("\t")[0])

    def announce(self, stream: str) -> None:
        """Offer the markers of ``stream``."""
        self._put(stream)

    def on_message(self, parts: Sequence[bytes]) -> None:
        """An event, or curves."""
        if parts[0].startswith(_TOPICS):
            self._put(parts[1])

    def _put(self, item: str | bytes | None) -> None:
        with contextlib.suppress(queue.Full):  # liblsl hangs; the run goes on
            self._queue.put_nowait(item)

    def close(self) -> None:
        """Send what was published, then take the streams away."""
        self._put(None)
        self._thread.join(timeout=_DRAIN_S)

    def _run(self) -> None:
        try:
            try:
                while (item := self._queue.get()) is not None:
                    if isinstance(item, str):
                        self._outlets.markers(item)
                    else:
                        self._outlets.push(msgspec.msgpack.decode(item))
            finally:
                self._outlets.close()
        except Exception as error:  # noqa: BLE001  whatever liblsl raises must not end the run
            self._note(f"LSL ended: {type(error).__name__}: {error}")


class Outlets:
    """The LSL streams of one run.

    Args:
        pylsl: the module.
        config: of the run.
        clock: of captures; by default this machine's.
    """

    def __init__(self, pylsl: Any, config: Config, clock: CaptureClock | None = None) -> None:
        self._lsl = pylsl
        self._config = config
        self._clock = clock or CaptureClock()
        self._markers: dict[str, Any] = {}
        self._curves: dict[tuple[str, int], _CurvesOutlet] = {}

    def push(self, message: dict[str, Any]) -> None:
        """One message of the event socket."""
        self._clock.observe()
        if message["type"] == "event":
            self._event(message)
        elif message["type"] == "curves" and self._config.lsl.curves:
            key, at = (message["stream"], message["face"]), self._at(message["at"])
            if key not in self._curves:
                self._curves[key] = _CurvesOutlet(self._make_curves)
            self._curves[key].push(message, at)
            self._take_away(message["stream"], at - _GONE_S)

    def _take_away(self, stream: str, before: float) -> None:
        """Drop outlets of faces last captured ``before`` (LSL s); liblsl ends theirs."""
        for key, curves in list(self._curves.items()):
            if key[0] == stream and curves.captured < before:
                del self._curves[key]

    def markers(self, stream: str) -> Any:
        """The outlet of ``stream``'s events, made when it is first asked for."""
        if stream not in self._markers:
            name = f"{self._config.lsl.name} {stream} events"
            info = self._lsl.StreamInfo(
                name, "Markers", 1, self._lsl.IRREGULAR_RATE, self._lsl.cf_string,
                _source_id(stream, "events"),
            )  # fmt: skip
            _describe(info.desc(), stream, self._config.lsl.offset_s, self._clock)
            channel = info.desc().append_child("channels").append_child("channel")
            channel.append_child_value("label", "event")
            channel.append_child_value("type", "JSON")
            channel.append_child_value("unit", "docs/protocol.md, schema 1")
            self._markers[stream] = self._lsl.StreamOutlet(info)
        return self._markers[stream]

    def close(self) -> None:
        """Take the streams away, once what was pushed is sent."""
        outlets = [*self._markers.values(), *(c.outlet for c in self._curves.values() if c.outlet)]
        try:
            if any(outlet.have_consumers() for outlet in outlets):
                time.sleep(_SENT_S)
        finally:
            self._markers.clear()
            self._curves.clear()

    def _at(self, moment: dict[str, Any]) -> float:
        """``local_clock() - age`` of a moment."""
        before = after = float(self._lsl.local_clock())
        age = 0.0
        for _ in range(_TRIES):
            age = self._clock.age_s(moment["utc_ns"])
            after = float(self._lsl.local_clock())
            if after - before < _AT_ONCE_S:
                break  # nothing came between
            before = after
        return (before + after) / 2 - age

    def _event(self, message: dict[str, Any]) -> None:
        times = {name: self._at(message[name]) if message[name] else None for name in _MOMENTS}
        text = json.dumps(message | {"lsl": times}, ensure_ascii=False, separators=(",", ":"))
        self.markers(message["stream"]).push_sample([text], times["apex"])

    def _make_curves(self, message: dict[str, Any], fps: float) -> Any:
        stream, face, aus = message["stream"], message["face"], message["aus"]
        live_pace = self._config.fps != "max"
        info = self._lsl.StreamInfo(
            f"{self._config.lsl.name} {stream} curves face {face}", "FACS", len(aus) + 1,
            fps if live_pace else self._lsl.IRREGULAR_RATE, self._lsl.cf_double64,
            _source_id(stream, f"curves/{face}"),
        )  # fmt: skip
        _describe(
            info.desc(), stream, self._config.lsl.offset_s, self._clock,
            face=str(face), method=self._config.method,
        )  # fmt: skip
        channels = info.desc().append_child("channels")
        labels = [(f"AU{au}", "ActionUnit", "matching index") for au in aus]
        for label, kind, unit in [*labels, ("reference", "Reference", "frames")]:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("type", kind)
            channel.append_child_value("unit", unit)
        return self._lsl.StreamOutlet(info)


class _CurvesOutlet:
    """The curves of one face: each frame once, in order, by the window that was open first.

    Columns that are computed again against a later reference are of frames already sent.
    Frames that are missing for up to a second become NaN, so that the rate holds.

    Attributes:
        captured: when the newest column was, LSL s.
        outlet: None until the rate is known.
    """

    def __init__(self, make: Callable[[dict[str, Any], float], Any]) -> None:
        self._make = make
        self._held: list[tuple[dict[str, Any], float]] = []
        self._last: tuple[int, float, float] | None = None  # frame, source s, LSL s
        self._fps = 0.0
        self.captured = -math.inf
        self.outlet: Any = None

    def push(self, message: dict[str, Any], at: float) -> None:
        """One column, captured at ``at`` (LSL s)."""
        self.captured = max(self.captured, at)
        frame = message["at"]["frame"]
        newest = self._held[-1][0]["at"]["frame"] if self._held else -1
        if self._last is not None:
            newest = self._last[0]
        if frame <= newest:
            return
        if self.outlet is not None:
            self._send(message, at)
            return
        self._held.append((message, at))
        if len(self._held) >= _HELD:
            self._open()

    def _open(self) -> None:
        first, last = (self._held[n][0]["at"] for n in (0, -1))
        span = last["pts"] - first["pts"]
        self._fps = round((last["frame"] - first["frame"]) / span, 3) if span > 0 else 0.0
        self.outlet = self._make(self._held[0][0], self._fps)
        for message, at in self._held:
            self._send(message, at)
        self._held.clear()

    def _send(self, message: dict[str, Any], at: float) -> None:
        frame, pts = message["at"]["frame"], message["at"]["pts"]
        sample = [*message["values"], float(message["reference"])]
        if self._last is not None:
            before, pts_before, at_before = self._last
            missing = frame - before - 1
            if missing > 0 and pts - pts_before <= _FILLED_S:
                step = (at - at_before) / (missing + 1)
                for n in range(1, missing + 1):
                    self.outlet.push_sample([math.nan] * len(sample), at_before + n * step)
        self.outlet.push_sample(sample, at)
        self._last = (frame, pts, at)


def _source_id(stream: str, what: str) -> str:
    """The same for the same camera on the same machine, so that inlets recover after a restart."""
    return f"mespot/{platform.node()}/{stream}/{what}"


def _describe(desc: Any, stream: str, offset_s: float, clock: CaptureClock, **more: str) -> None:
    """What XDF's conventions ask for, and how LSL's clock and UTC stand to each other."""
    made = desc.append_child("acquisition")
    made.append_child_value("manufacturer", "mespot")
    made.append_child_value("model", f"mespot {version()}")
    synchronization = desc.append_child("synchronization")
    synchronization.append_child_value("offset_mean", f"{offset_s:g}")
    synchronization.append_child_value("can_drop_samples", "true")
    about = desc.append_child("mespot")
    about.append_child_value("stream", stream)
    about.append_child_value("utc_minus_local_clock_s", f"{clock.utc_offset_s:.6f}")
    for name, value in more.items():
        about.append_child_value(name, value)
