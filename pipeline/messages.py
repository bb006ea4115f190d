"""What nodes and supervisor say to each other besides items."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from stages.items import Name, Text

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Samples = Annotated[list[float], msgspec.Meta(max_length=1_000_000)]


class End(msgspec.Struct, frozen=True, tag=True):
    """The stream is over; every stage flushes. ``warning`` says why, when it ended early."""

    stream: Name
    warning: Text = ""


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """A node upstream died and was restarted: what was open is lost."""

    stream: Name
    node: Name


CameraKind = Literal["lost", "retrying", "back"]


class Camera(msgspec.Struct, frozen=True, tag=True):
    """What happens to a live camera. When it is lost, what was open is closed."""

    stream: Name
    kind: CameraKind
    detail: Text = ""


class Sync(msgspec.Struct, frozen=True, tag=True):
    """Motion asks spot: have you answered everything before this? Spot sends it back."""

    number: _Count


class Notice(msgspec.Struct, frozen=True, tag=True):
    """The supervisor's word to whoever listens to the run: published as a state."""

    stream: Name
    state: Name
    detail: Text = ""


class Report(msgspec.Struct, frozen=True):
    """A node's word to the supervisor; counters are since the node's start."""

    node: Name
    epoch: _Count
    kind: Literal["ready", "beat", "note", "published", "fatal", "death", "done"]
    received: _Count = 0
    sent: _Count = 0
    dropped: Annotated[dict[Name, _Count], msgspec.Meta(max_length=1000)] = {}  # by reason
    latencies_ms: _Samples = []  # capture to here, since the last report
    work_ms: _Samples = []  # time inside the stage per item, since the last report
    idle: bool = False  # nothing waits for the node
    text: Text = ""
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    payload: bytes = b""
    revision: _Count = 0  # of the configuration that the node has heard


Setting = bool | int | float | None  # the value of a key that can change within a run


class Command(msgspec.Struct, frozen=True):
    """The supervisor's word to all nodes."""

    kind: Literal["go", "stop", "reload"]
    revision: _Count = 0
    settings: Annotated[dict[Name, Setting], msgspec.Meta(max_length=1000)] = {}  # by key
