"""A peer that vanishes from a full queue must not take this process with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = r"""
import sys, time, zmq
from pipeline import sockets
from pipeline.config import SecurityConfig
from pipeline.guard import Guard
from pipeline.keys import KeyPair
from pipeline.sockets import Endpoint, StageKeys
kind, address = sys.argv[1:]
ours, theirs = zmq.Context(), zmq.Context()
if kind == "pull":  # between nodes; over tcp with keys, as in a run
    keys = StageKeys(KeyPair.made(), KeyPair.made()) if address.startswith("tcp") else None
    link = sockets.pull(ours, Endpoint(address, keys), 5)
    address = link.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    peer = sockets.push(theirs, Endpoint(address, keys), 100_000)
elif kind == "router":
    guard = Guard(ours, SecurityConfig())
    _, address = sockets.public(ours, zmq.ROUTER, address, 5, guard, "replay")
    peer = theirs.socket(zmq.DEALER)
    peer.sndhwm = 100_000
    peer.connect(address)
else:
    guard = Guard(theirs, SecurityConfig())
    public, address = sockets.public(theirs, zmq.PUB, address, 100_000, guard)
    peer, link = public, sockets.listen(ours, address)
    link.rcvhwm = 5
assert peer.poll(20_000, zmq.POLLOUT)
time.sleep(0.5)
for _ in range(20_000):
    peer.send(bytes(1000), zmq.NOBLOCK)
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
    address = f"ipc://{tmp_path}/q" if transport == "ipc" else "tcp://127.0.0.1:*"
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
