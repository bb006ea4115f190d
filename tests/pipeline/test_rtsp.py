"""From a real RTSP server to a plain subscriber, each in its own process (synthetic clip)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.clip import render
from models.errors import SourceError
from pipeline.sources import open_source
from tests.rtsp_server import serving, why_not

ROOT = Path(__file__).parents[2]
REASON = why_not()
needs_server = pytest.mark.skipif(REASON is not None, reason=str(REASON))

SUBSCRIBER = """
import sys, json, msgpack, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1])
socket.subscribe(b"")
while True:
    topic, body = socket.recv_multipart()
    message = msgpack.unpackb(body)
    print(json.dumps([topic.decode(), message]), flush=True)
    if message["type"] == "state" and message["state"] == "ended":
        break
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rtsp") / "synthetic.mp4"
    render(path, 11.0)
    return path


@needs_server
def test_camera_to_subscriber_over_rtsp(clip: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with serving(clip) as camera:
        listener = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, address], stdout=subprocess.PIPE, text=True
        )
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_live.py"), camera, "--events", address],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        heard, _ = listener.communicate(timeout=30)
    messages = [json.loads(line) for line in heard.splitlines()]
    states = [m["state"] for t, m in messages if t.startswith("state.")]
    assert states[0] == "started"
    assert "face_found" in states
    assert states[-1] == "ended"
    events = [m for t, m in messages if t.startswith("event.")]
    finals = [m for m in events if m["phase"] == "final"]
    # the scripted smile, AU 6+12, lasts from 4.80 to 5.75 s
    assert any(
        m["kind"] == "macro"
        and 12 in [a["au"] for a in m["aus"]]
        and m["onset"]["pts"] < 5.2 < m["offset"]["pts"]
        for m in finals
    )
    assert [m["seq"] for m in events] == list(range(len(events)))


@needs_server
def test_frames_of_a_camera_carry_rising_time_and_gaps_for_drops(clip: Path) -> None:
    with serving(clip) as address:
        source = open_source(address, fps="source")
        stamps = [frame.stamp for frame, _ in zip(source.frames(), range(60), strict=False)]
        source.close()
    assert all(b.pts > a.pts and b.frame > a.frame for a, b in zip(stamps, stamps[1:], strict=False))
    span = stamps[-1].frame - stamps[0].frame
    assert stamps[-1].pts - stamps[0].pts == pytest.approx(span / 30, abs=0.1)


def test_an_unreachable_camera_is_one_line_without_the_password() -> None:
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        open_source("rtsp://user:secret@127.0.0.1:9/cam", open_timeout_s=2)
    assert "secret" not in str(caught.value)


def test_a_camera_that_accepts_and_never_answers_times_out() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(mute.accept()[0]), daemon=True)
        thread.start()
        port = mute.getsockname()[1]
        with pytest.raises(SourceError, match="cannot be reached"):
            open_source(f"rtsp://127.0.0.1:{port}/cam", open_timeout_s=1.0)
        for one in held:
            one.close()
