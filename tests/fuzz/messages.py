"""Valid messages of every kind, as seeds (made up)."""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.messages import Command, End, Report, Restarted, Sync
from pipeline.publish import Messages
from pipeline.schema import blink_message, event_message, topic
from pipeline.wire import Wire, encode
from stages.items import (
    EYE_SHAPE,
    FACE_SHAPE,
    MOUTH_SHAPE,
    AUInterval,
    Blink,
    Column,
    Curves,
    Event,
    Evidence,
    Face,
    FaceState,
    Frame,
    Interval,
    Reading,
    Stamp,
    Stride,
    Veto,
    WindowEnd,
)

STAMP = Stamp("cam", 7, 0.25, 123, 456)
_CROPS = [np.full(s, 9, np.uint8) for s in [EYE_SHAPE, MOUTH_SHAPE] * 3 + [FACE_SHAPE] * 3]
_EYE, _MOUTH, _WHOLE = _CROPS[0], _CROPS[1], _CROPS[6]
_AU = AUInterval(4, "both", 1.5, STAMP, STAMP, STAMP)
_INTERVAL = Interval(
    "cam/0/0-1",
    0,
    "final",
    "micro",
    STAMP,
    STAMP,
    STAMP,
    [_AU],
    STAMP,
    3,
    evidence=Evidence(*_CROPS),
    vetoes=[Veto("height", 9.0, 5.0)],
)
_EVENT = Event(
    msgspec.structs.replace(_INTERVAL, evidence=None),
    [Reading("map", "positive", scores={"positive": 1.0}, training="synthetic", aus={"4": 0.5})],
    "p@1",
    ["map@1"],
)
ITEMS: list[Wire] = [
    Frame(STAMP, np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
    Frame(STAMP, np.zeros((8, 8), np.uint8)),
    Face(
        STAMP,
        1,
        _EYE,
        _MOUTH,
        np.linspace(0, 1, 936, dtype=np.float32).reshape(468, 2),
        180.5,
        0.3,
        (1.0, -2.0, 3.5),
        _WHOLE,
    ),
    FaceState(STAMP, 0, True),
    Blink(0, 45, STAMP, STAMP, STAMP, 0.8),
    Curves(
        STAMP,
        0,
        [Column(3, np.ones(8, np.float32), np.ones((2, 114), np.float32))],
        False,
        _EYE,
        _MOUTH,
        _WHOLE,
    ),
    WindowEnd(STAMP, 0, 3, "full"),
    Stride(0, 3, 9, True),
    _INTERVAL,
    _EVENT,
    End("cam", "cut short"),
    Restarted("cam", "face"),
    Sync(4),
]
_MESSAGE = event_message(_EVENT, 3, 10**9, 2 * 10**9)
_STATE = Messages("cam", (4,), lambda: 1, lambda: 2).state("face_found", face=0)
PUBLISHED = [
    [topic(message), msgspec.msgpack.encode(message)]
    for message in (_MESSAGE, _STATE, blink_message(Blink(0, 45, STAMP, STAMP, STAMP, 0.8), 1))
]
REPORTS = [
    Report("face", 0, "beat", 5, 4, {"face failed": 1}, [1.0, 2.0], [0.5]),
    Report("publish", 1, "published", payload=PUBLISHED[0][1]),
    Report("capture", 0, "fatal", text="no such file", exit_code=4),
]
COMMANDS = [
    Command("go"),
    Command("stop"),
    Command(
        "reload", 2, {"publish.beat_s": 0.5, "publish.curves": True, "capture.give_up_s": None}
    ),
]


def wire(item: Wire) -> list[bytes]:
    """The parts of ``item`` as bytes."""
    return [bytes(part) for part in encode(item)]
