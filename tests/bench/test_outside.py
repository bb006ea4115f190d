"""What the subscriber and ``/proc`` tell: ages, lateness, memory, processor."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from bench import process
from bench.outside import Heard, Listener

S = 1_000_000_000
MS = 1_000_000


def curves(frame: int, captured_ns: int) -> dict[str, Any]:
    return {"type": "curves", "at": {"frame": frame, "pts": frame / 100, "utc_ns": captured_ns}}


def event(phase: str, apex_s: float, published_ns: int, processing_ms: float) -> dict[str, Any]:
    return {
        "type": "event",
        "phase": phase,
        "apex": {"frame": 0, "pts": apex_s, "utc_ns": 0},
        "published_utc_ns": published_ns,
        "delays": {"decision_s": 0.1, "processing_ms": processing_ms},
    }


def heard() -> Heard:
    """100 fps; frame 2 is captured 15 ms late; every frame's curves come 5 ms after capture."""
    made = Heard()
    for frame, captured in ((0, 0), (1, 10), (2, 35), (3, 36), (4, 40)):
        at = S + captured * MS
        made.take(b"curves.c", curves(frame, at), at + 5 * MS)
    return made


def test_lateness_is_against_the_cameras_own_clock() -> None:
    assert heard().late_ms(100.0) == pytest.approx([0, 0, 15, 6, 0])
    assert heard().late_ms(100.0, after_s=0.03) == pytest.approx([6, 0])
    assert Heard().late_ms(100.0) == []


def test_a_frames_age_is_from_capture_to_its_first_curves() -> None:
    made = heard()
    made.take(b"curves.c", curves(3, S), S + 900 * MS)  # redone: not the frame's first
    assert made.frames == [0, 1, 2, 3, 4]
    assert made.ages_ms() == pytest.approx([5] * 5)
    assert len(made.ages_ms(after_s=0.036)) == 2
    assert Heard().ages_ms() == []


def test_events_are_aged_from_the_deciding_frame_and_kept_by_phase() -> None:
    made = Heard()
    made.take(b"event.c.apex", event("apex", 1.0, S, 7.0), S + 2 * MS)
    made.take(b"event.c.final", event("final", 1.0, S, 30.0), S + 1 * MS)
    made.take(b"event.c.apex", event("apex", 5.0, S, 3.0), S + 1 * MS)
    assert made.event_ages_ms("apex") == pytest.approx([9, 4])
    assert made.event_ages_ms("apex", after_s=2.0) == pytest.approx([4])
    assert sorted(made.event_ages_ms()) == pytest.approx([4, 9, 31])
    assert made.event_ages_ms("update") == []


def test_the_listener_hears_a_publisher_that_comes_later(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path / 'events'}"
    listener = Listener(address)
    listener.start()
    with zmq.Context() as context, context.socket(zmq.PUB) as link:
        link.bind(address)
        deadline = time.monotonic() + 10
        count = 0
        while not listener.heard.frames and time.monotonic() < deadline:
            body = curves(count, time.time_ns())
            link.send_multipart([b"curves.c", msgspec.msgpack.encode(body)])
            count += 1
            time.sleep(0.01)
        ended = {"type": "state", "state": "ended"}
        link.send_multipart([b"state.c", msgspec.msgpack.encode(ended)])
        listener.join(10)
    assert not listener.is_alive()
    assert listener.heard.ended
    assert listener.heard.frames
    assert all(age >= 0 for age in listener.heard.ages_ms())


def test_a_listener_can_be_closed(tmp_path: Path) -> None:
    listener = Listener(f"ipc://{tmp_path / 'nobody'}")
    listener.start()
    listener.close()
    assert not listener.is_alive()


CHILD = """
import sys, time
held = bytearray(60_000_000)
for i in range(0, len(held), 4096): held[i] = 1
end = time.process_time() + 0.2
while time.process_time() < end: pass
print("ready", flush=True)
sys.stdin.read()
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_children_are_counted() -> None:
    process.check()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        assert parent.stdout.readline() == b"ready\n"
        used = process.usage(parent.pid)
        parent.stdin.close()
    assert used is not None
    assert used.peak + 1 >= used.rss > 60
    assert 60 < used.pss <= used.rss
    assert used.cpu_s >= 0.2
    assert process.usage(parent.pid) is None
