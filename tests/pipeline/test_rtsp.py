"""From a real RTSP server to a plain subscriber, each in its own process (synthetic clip)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.clip import encode, images, scene
from bench.rtsp_server import missing, serving

ROOT = Path(__file__).parents[2]

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
    encode(path, images(scene(11.0)), 30)
    return path


@pytest.mark.skipif(bool(missing()), reason=missing() or "there is a server")
def test_camera_to_subscriber_over_rtsp(clip: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with serving(clip) as server:
        listener = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, address], stdout=subprocess.PIPE, text=True
        )
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_live.py"), server.address, "--events", address],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            # this camera plays its film once: a lost one would be sought, and play it again
            env=os.environ | {"MESPOT_CAPTURE__RECONNECT": "false"},
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
    # the scripted smile, AU 6+12, takes 0.95 s; when it comes depends on when we joined
    smiles = [m for m in finals if m["kind"] == "macro" and 12 in [a["au"] for a in m["aus"]]]
    assert [m["offset"]["pts"] - m["onset"]["pts"] for m in smiles] == [
        pytest.approx(0.95, abs=0.3)
    ]
    assert [m["seq"] for m in events] == list(range(len(events)))
