"""Made-up event messages, as a run would publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.schema import AUMessage, Delays, EventMessage, Moment
from stages.items import Reading, Side, Veto

START_NS = 1_777_887_000_123_456_789  # 2026-05-04T09:30:00.123456789Z


def moment(frame: int, fps: float = 30.0) -> Moment:
    """A frame of a constant rate that began at ``START_NS``."""
    return Moment(frame, frame / fps, START_NS + round(frame / fps * 1e9))


def au(number: int, side: Side, onset: int, apex: int, offset: int, fps: float = 30.0) -> AUMessage:
    """One action unit's interval."""
    return AUMessage(number, side, 2.5, moment(onset, fps), moment(apex, fps), moment(offset, fps))


def final(number: int, onset: int, apex: int, offset: int, **fields: Any) -> EventMessage:
    """A final event; by default AU 12 alone, micro, read as happiness."""
    fps = fields.pop("fps", 30.0)
    values: dict[str, Any] = {
        "seq": number,
        "id": f"cam/0/0-{number}",
        "stream": "cam",
        "face": 0,
        "phase": "final",
        "kind": "micro",
        "onset": moment(onset, fps),
        "apex": moment(apex, fps),
        "offset": moment(offset, fps),
        "aus": [au(12, "both", onset, apex, offset, fps)],
        "height": 9.5,
        "explained": 0.75,
        "vetoes": [Veto("blink", 0.25, 1.0)],
        "emotions": [Reading("coding-guide", "happiness", "positive", "rule 1")],
        "prototypes": "synthetic@2",
        "models": ["map@1"],
        "delays": Delays(0.25, 12.5),
        "reason": "",
        "published_utc_ns": START_NS + 10**9,
    }
    return EventMessage(**(values | fields))


def phase(
    event: EventMessage, name: Literal["apex", "retracted", "update"], **fields: Any
) -> EventMessage:
    """Another phase of ``event``."""
    if name == "update":
        return msgspec.structs.replace(event, phase=name, **fields)
    empty: dict[str, Any] = {"kind": "unknown", "onset": None, "offset": None, "emotions": []}
    bare = [AUMessage(a.au, a.side, a.index, None, a.apex, None) for a in event.aus]
    return msgspec.structs.replace(event, phase=name, aus=bare, **(empty | fields))


def write(path: Path, messages: list[EventMessage]) -> Path:
    """As ``--out`` writes them."""
    path.write_bytes(b"".join(msgspec.json.encode(message) + b"\n" for message in messages))
    return path


def session() -> list[EventMessage]:
    """A short run with all that an export must keep.

    Sides, several AUs with their own borders, an update, a retraction, two expressions at once
    with AUs in both, and one that was never closed.
    """
    guide = Reading("coding-guide", "surprise", "surprise", "rule 2")
    brows = [au(1, "both", 48, 53, 59), au(2, "left", 49, 53, 57)]
    first = final(1, 48, 53, 59, aus=brows, emotions=[guide])
    scores = {"surprise": 0.75, "others": 0.25}
    late = [guide, Reading("map", "surprise", "surprise", "", scores, "CPU")]
    smile = [au(12, "both", 100, 130, 160), au(6, "right", 104, 130, 150)]
    slow = final(4, 100, 130, 160, kind="macro", aus=smile)
    leak = [au(12, "right", 120, 125, 130), au(4, "both", 121, 125, 129)]
    odd = Reading("coding-guide", "negative", "negative", '<&"; rule')
    during = final(5, 120, 125, 130, aus=leak, emotions=[odd])
    gone = final(7, 200, 205, 210)
    never = final(9, 300, 305, 310)
    return [
        phase(first, "apex", seq=0),
        first,
        phase(first, "update", seq=2, emotions=late),
        phase(slow, "apex", seq=3),
        slow,
        during,
        phase(gone, "apex", seq=6),
        phase(gone, "retracted", seq=7, reason="too weak"),
        phase(never, "apex", seq=8),
    ]
