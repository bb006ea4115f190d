"""A subscriber of an event socket that notes when everything came."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq

_RECONNECT_MS = 5  # ZeroMQ's own 100 ms would be added to every start-up


@dataclass
class Heard:
    """What came: one entry per frame whose curves came, and one per event.

    Attributes:
        frames: index of each frame.
        captured_ns: UTC at its capture.
        received_ns: UTC at its curves' arrival.
        events: by phase, (source time of the apex s, age since the deciding frame's capture ms).
        states: how often each state was told.
        ended: the stream's end was told.
    """

    frames: list[int] = field(default_factory=list)
    captured_ns: list[int] = field(default_factory=list)
    received_ns: list[int] = field(default_factory=list)
    events: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    ended: bool = False

    def take(self, name: bytes, message: dict[str, Any], now_ns: int) -> None:
        """Note one message that came at ``now_ns`` (UTC)."""
        if name.startswith(b"curves."):
            self._curves(message["at"], now_ns)
        elif name.startswith(b"event."):
            since = (now_ns - message["published_utc_ns"]) / 1e6
            age = since + message["delays"]["processing_ms"]
            self.events.setdefault(message["phase"], []).append((message["apex"]["pts"], age))
        elif name.startswith(b"state."):
            self.states[message["state"]] += 1
            self.ended = self.ended or message["state"] == "ended"

    def _curves(self, at: dict[str, Any], now_ns: int) -> None:
        if self.frames and at["frame"] <= self.frames[-1]:
            return  # redone, or the second window of a frame
        self.frames.append(at["frame"])
        self.captured_ns.append(at["utc_ns"])
        self.received_ns.append(now_ns)

    def ages_ms(self, after_s: float = 0.0) -> list[float]:
        """Capture to arrival of each frame's curves, from ``after_s`` seconds on."""
        if not self.frames:
            return []
        begin = self.captured_ns[0] + after_s * 1e9
        pairs = zip(self.captured_ns, self.received_ns, strict=True)
        return [(b - a) / 1e6 for a, b in pairs if a >= begin]

    def late_ms(self, fps: float, after_s: float = 0.0) -> list[float]:
        """How much later than due each frame was captured.

        Recorded input is lossless: what cannot keep up holds the source back, and it shows here.
        """
        if not self.frames:
            return []
        first, begin = self.frames[0], self.captured_ns[0]
        late = [
            (at - begin) / 1e6 - (frame - first) / fps * 1e3
            for frame, at in zip(self.frames, self.captured_ns, strict=True)
        ]
        return late[round(after_s * fps) :]

    def event_ages_ms(self, *phases: str, after_s: float = 0.0) -> list[float]:
        """Ages of the events of these phases; of all without any named."""
        chosen = phases or tuple(self.events)
        pairs = (pair for phase in chosen for pair in self.events.get(phase, []))
        return [age for apex_s, age in pairs if apex_s >= after_s]


class Listener(threading.Thread):
    """Listens at ``address`` until the stream ends or ``close`` is called."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.heard = Heard()

    def run(self) -> None:
        """Take in message after message."""
        with zmq.Context() as context, context.socket(zmq.SUB) as link:
            link.setsockopt(zmq.LINGER, 0)
            link.setsockopt(zmq.RCVHWM, 100_000)
            link.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
            link.setsockopt(zmq.SUBSCRIBE, b"")
            link.connect(self._address)
            while not (self._over.is_set() or self.heard.ended):
                if link.poll(50):
                    name, body = link.recv_multipart()
                    self.heard.take(name, msgspec.msgpack.decode(body), time.time_ns())

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self.join(timeout=5)
