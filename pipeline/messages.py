"""What nodes and supervisor say to each other besides items."""

from __future__ import annotations

from typing import Literal

import msgspec


class End(msgspec.Struct, frozen=True, tag=True):
    """The stream is over; every stage flushes. ``warning`` says why, when it ended early."""

    stream: str
    warning: str = ""


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """A node upstream died and was restarted: what was open is lost."""

    stream: str
    node: str


class Sync(msgspec.Struct, frozen=True, tag=True):
    """Motion asks spot: have you answered everything before this? Spot sends it back."""

    number: int


class Notice(msgspec.Struct, frozen=True, tag=True):
    """The supervisor's word to whoever listens to the run: published as a state."""

    stream: str
    state: str
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """A node's word to the supervisor; counters are since the node's start."""

    node: str
    epoch: int
    kind: Literal["ready", "beat", "note", "published", "fatal", "death", "done"]
    received: int = 0
    sent: int = 0
    dropped: dict[str, int] = {}  # by reason
    latencies_ms: list[float] = []  # capture to here, since the last report
    work_ms: list[float] = []  # time inside the stage per item, since the last report
    idle: bool = False  # nothing waits for the node
    text: str = ""
    exit_code: int = 1
    payload: bytes = b""


class Command(msgspec.Struct, frozen=True):
    """The supervisor's word to all nodes."""

    kind: Literal["go", "stop"]
