"""A peer that vanishes from a full queue must not take this process with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys, time, zmq
from pipeline import sockets
kind, address = sys.argv[1:]
ours, theirs = zmq.Context(), zmq.Context()
def plain(kind, address):
    link = theirs.socket(kind)
    link.sndhwm = 100_000
    link.connect(address)
    return link
if kind == "pull":
    sockets.pull(ours, address, 5)
    peer = plain(zmq.PUSH, address)
elif kind == "router":
    _, address = sockets.public(ours, zmq.ROUTER, address, 5, "replay")
    peer = plain(zmq.DEALER, address)
else:
    public, address = sockets.public(theirs, zmq.PUB, address, 100_000)
    peer, link = public, sockets.listen(ours, address)
    link.rcvhwm = 5
time.sleep(0.5)
for _ in range(20_000):
    try:
        peer.send(bytes(1000), zmq.NOBLOCK)
    except zmq.Again:
        break
time.sleep(0.5)
theirs.destroy(linger=0)
time.sleep(2.5)
print("alive")
ours.destroy(linger=0)
"""


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
@pytest.mark.parametrize("kind", ["pull", "router", "sub"])
def test_a_peer_that_vanishes_from_a_full_queue_ends_nothing(
    kind: str, transport: str, tmp_path: Path
) -> None:
    from pipeline.sockets import _free_port

    address = f"ipc://{tmp_path}/q" if transport == "ipc" else f"tcp://127.0.0.1:{_free_port()}"
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, address],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "alive", done.stderr
    assert done.returncode == 0
