"""UTC may step and slew: events keep their durations and their order (synthetic camera)."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest

from pipeline.build import prototypes
from pipeline.config import load
from pipeline.inline import run
from pipeline.publish import Messages
from pipeline.schema import without_wall_clock
from pipeline.sources import open_source

SECONDS = 9.0


def _messages(utc_ns: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Everything published of one clip while UTC is what ``utc_ns`` says."""
    config = load(source="synthetic:", model=[])
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", utc_ns)
        source = open_source("synthetic:", fps="max", duration_s=SECONDS)
        messages = Messages("synthetic", prototypes(config).aus, utc_ns=utc_ns)
        made = [m for item in run(source.frames(), config) for m in messages.of(item)]
    return [msgspec.to_builtins(message) for message in made]


def test_a_jumping_utc_changes_nothing_but_the_utc_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = time.time_ns
    rng = random.Random(4)

    def jumping() -> int:
        """Steps of hours in both directions, at every look."""
        return real() + rng.randrange(-(10**13), 10**13)

    steady = _messages(real, monkeypatch)
    jumped = _messages(jumping, monkeypatch)
    assert sum(m["type"] == "event" and m["phase"] == "final" for m in steady) >= 2
    assert [without_wall_clock(m) for m in jumped] == [without_wall_clock(m) for m in steady]
    looked = [m["apex"]["utc_ns"] for m in jumped if m["type"] == "event"]
    assert looked != sorted(looked)  # UTC did go back meanwhile


def test_both_time_lines_are_in_every_moment_of_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [m for m in _messages(time.time_ns, monkeypatch) if m["type"] == "event"]
    moments = [m[key] for m in events for key in ("onset", "apex", "offset") if m[key]]
    moments += [au["apex"] for m in events for au in m["aus"]]
    assert moments
    for moment in moments:
        assert 0 <= moment["pts"] <= SECONDS
        assert abs(moment["utc_ns"] - time.time_ns()) < 600e9
