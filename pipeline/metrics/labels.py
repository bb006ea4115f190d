"""Label values: few and known ones, whatever nodes report."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.redaction import redacted

OTHER = "other"
_REASONS = {
    "capture: newer frame won": "newer_frame_won",
    "capture: stale": "stale",
    "capture: damaged": "damaged",
    "capture: repeated picture": "repeated_picture",
    "classify: not scored": "not_scored",
    "malformed": "malformed",
    "publish: closed already": "closed_already",
    "clips: frame too late": "clip_frame_too_late",
    "clips: event too late": "clip_event_too_late",
    "clips: clip too late": "clip_too_late",
    "clips: no frames left": "clip_without_frames",
    "clips: at the end": "clip_at_the_end",
}
_OF_NODES = {"out of order": "out_of_order", "left at the stop": "left_at_the_stop"}
_REPLAY = ("malformed", "refused", "turned away", "failed")
_KEYS = ("no key", "unknown key", "revoked key", "wrong server key")
_CATEGORIES = ("positive", "negative", "surprise", "others")
_STATES = (
    "started", "face_found", "face_lost", "camera_lost", "camera_retrying", "camera_back",
    "node_restarted", "overloaded", "recovered", "log_failed", "log_back", "ended",
)  # fmt: skip
_HIGHEST_AU = 99
_LONGEST = 120
_CARD = re.compile(r"(.+?)@(\S+) on (\S+?), trained on: ", re.S)


class Loss(NamedTuple):
    """Where a counter of losses belongs."""

    kind: str  # "dropped", "replay", "refused"
    reason: str
    socket: str = ""  # of "refused"


def loss(key: str) -> Loss:
    """The place of what nodes count under ``key``."""
    head, _, rest = key.partition(": ")
    if head == "replay":
        return Loss("replay", _slug(rest) if rest in _REPLAY else OTHER)
    if head in ("client refused", "stage refused"):
        return Loss("refused", _slug(rest) if rest in _KEYS else OTHER, head.split()[0])
    if key in _REASONS:
        return Loss("dropped", _REASONS[key])
    if head == "clips" and rest.startswith("not written"):
        return Loss("dropped", "clip_not_written")
    if key.endswith(" failed"):
        return Loss("dropped", "stage_failed")
    return Loss("dropped", _OF_NODES.get(rest, OTHER))


def category(name: str) -> str:
    """An emotion's category."""
    return name if name in _CATEGORIES else OTHER


def state(name: str) -> str:
    """A state of docs/protocol.md."""
    return name if name in _STATES else OTHER


def au(number: int) -> str:
    """An action unit."""
    return str(number) if 0 < number <= _HIGHEST_AU else OTHER


def text(value: str) -> str:
    """What the user named, without secrets and of bounded length."""
    return redacted(value)[:_LONGEST]


def recognisers(lines: str) -> list[tuple[str, str, str]]:
    """Name, version and device of each recogniser that classify tells of when it is ready."""
    found = (_CARD.match(line) for line in lines.splitlines())
    return [(text(one[1]), text(one[2]), text(one[3])) for one in found if one]


def _slug(words: str) -> str:
    return words.replace(" ", "_")
