"""What can happen to a camera, its run and its subscribers; each is over when it returns."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.soak.rig import Rig


@dataclass(frozen=True)
class Kind:
    """A fault: how often it comes relative to others, and whether it needs node processes."""

    name: str
    inject: Callable[[Rig, random.Random], None]
    weight: float = 1.0
    processes: bool = False
    picture: bool = True  # frames stop; else only events' way to a subscriber is disturbed


Begin = Callable[[Rig, random.Random, float], None]


def _lasting(begin: Begin, least_s: float = 1.0) -> Callable[[Rig, random.Random], None]:
    """A fault that ends by itself, 4 s after it began at the latest."""

    def inject(rig: Rig, rng: random.Random) -> None:
        seconds = rng.uniform(least_s, 4.0)
        begin(rig, rng, seconds)
        time.sleep(seconds)

    return inject


_stall = _lasting(lambda rig, rng, s: rig.proxy.stall(s), 0.3)
_trickle = _lasting(lambda rig, rng, s: rig.proxy.trickle(rng.uniform(2e3, 2e4), s))
_loss = _lasting(lambda rig, rng, s: rig.proxy.loss(0.3, s))
_garbage = _lasting(lambda rig, rng, s: rig.proxy.garbage(rng.uniform(0.02, 0.5), s))
_refuse = _lasting(lambda rig, rng, s: rig.proxy.refuse(s), 0.5)


def another_camera(addresses: Sequence[str]) -> Kind:
    """The camera comes back with another picture size: one of ``addresses``."""

    def inject(rig: Rig, rng: random.Random) -> None:
        rig.proxy.redirect(rng.choice(addresses))
        rig.proxy.cut()

    return Kind("camera back with another size", inject)


def _kill_node(rig: Rig, rng: random.Random) -> None:
    nodes = rig.nodes()
    if nodes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(nodes), signal.SIGKILL)


def _freeze_node(rig: Rig, rng: random.Random) -> None:
    nodes = rig.nodes()
    if not nodes:
        return
    node = rng.choice(nodes)
    with contextlib.suppress(ProcessLookupError):
        os.kill(node, signal.SIGSTOP)
        time.sleep(rng.uniform(0.5, 3.0))
        os.kill(node, signal.SIGCONT)


def _kill_run(rig: Rig, rng: random.Random) -> None:
    del rng
    rig.kill_and_start()


def _kill_subscriber(rig: Rig, rng: random.Random) -> None:
    rng.choice(rig.subscribers).kill()


def _pause_subscriber(rig: Rig, rng: random.Random) -> None:
    rng.choice(rig.subscribers).pause(rng.uniform(0.5, 4.0))


def _hostile(rig: Rig, rng: random.Random) -> None:
    """Bytes that are no message to the event and replay sockets."""
    for address in (rig.events, rig.replay):
        parts = urlsplit(address)
        where = (parts.hostname, parts.port)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(where, timeout=2) as link,
        ):
            link.sendall(rng.randbytes(rng.randrange(1, 100_000)))
            time.sleep(0.05)


KINDS = (
    Kind("connection cut", lambda rig, rng: rig.proxy.cut()),
    Kind("connection reset", lambda rig, rng: rig.proxy.reset()),
    Kind("stall, then a burst", _stall),
    Kind("trickle", _trickle),
    Kind("30 % of packets lost", _loss, 0.7),
    Kind("garbage in packets", _garbage, 0.7),
    Kind("camera down", _refuse),
    Kind("node killed", _kill_node, 3.0, processes=True),
    Kind("node frozen", _freeze_node, 1.5, processes=True),
    Kind("whole run killed", _kill_run, 0.5, processes=True),
    Kind("subscriber killed", _kill_subscriber, 1.5, picture=False),
    Kind("subscriber stopped for a while", _pause_subscriber, 0.7, picture=False),
    Kind("garbage at open sockets", _hostile, 0.7, picture=False),
)
