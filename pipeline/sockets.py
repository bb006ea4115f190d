"""Every socket option, in one place."""

from __future__ import annotations

import contextlib
import socket as system_socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq

from models.errors import AddressError

Transport = Literal["inproc", "ipc", "tcp"]
LINGER_MS = 1000  # ZeroMQ's own default is forever
LARGEST_REQUEST = 4096  # bytes, of a part that a client sends
_LARGEST_ANSWER = 16_000_000
_TO_READ = 100_000  # messages of a subscriber that have not been read
REPORTS = 10_000  # of a node that wait for a supervisor; 1 kB each
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 1,
    zmq.TCP_KEEPALIVE_CNT: 5,
}
NODES = ("capture", "face", "motion", "spot", "classify", "publish")
_ENDPOINTS = ("face", "motion", "feedback", "spot", "classify", "publish", "reports", "commands")


@dataclass(frozen=True)
class Addresses:
    """Where each node receives; ``feedback`` is motion's, ``reports`` the supervisor's."""

    table: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.table[name]


def _free_port() -> int:
    with system_socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def addresses(transport: Transport, label: str) -> Iterator[Addresses]:
    """Addresses for one graph, unique by ``label``; ipc files vanish with the context."""
    if transport == "inproc":
        yield Addresses({name: f"inproc://{label}-{name}" for name in _ENDPOINTS})
    elif transport == "ipc":
        with tempfile.TemporaryDirectory(prefix="mespot-") as folder:
            yield Addresses({name: f"ipc://{Path(folder) / name}" for name in _ENDPOINTS})
    else:
        yield Addresses({name: f"tcp://127.0.0.1:{_free_port()}" for name in _ENDPOINTS})


Socket = zmq.Socket[bytes]


def _open(context: zmq.Context[Any], kind: int, queue: int) -> Socket:
    opened: Socket = context.socket(kind)
    opened.setsockopt(zmq.LINGER, LINGER_MS)
    opened.setsockopt(zmq.RCVHWM, queue)
    opened.setsockopt(zmq.SNDHWM, queue)
    if kind not in (zmq.PUB, zmq.SUB):
        opened.setsockopt(zmq.IMMEDIATE, 1)  # queue only to a peer that is there
    # the kernel finds a peer that is gone, within 10 s; with ZeroMQ's own heartbeats a peer that
    # vanishes from a full queue aborts this process (zeromq/libzmq, issues 4364 and 3937)
    for option, value in _KEEPALIVE.items():
        opened.setsockopt(option, value)
    return opened


def pull(context: zmq.Context[Any], address: str, queue: int) -> Socket:
    """A bound receiving end."""
    opened = _open(context, zmq.PULL, queue)
    opened.bind(address)
    return opened


def push(context: zmq.Context[Any], address: str, queue: int) -> Socket:
    """A connected sending end."""
    opened = _open(context, zmq.PUSH, queue)
    opened.connect(address)
    return opened


def broadcast(context: zmq.Context[Any], address: str) -> Socket:
    """The supervisor's command socket, bound."""
    opened = _open(context, zmq.PUB, 1000)
    opened.bind(address)
    return opened


def listen(context: zmq.Context[Any], address: str, topic: bytes = b"") -> Socket:
    """A connected subscriber."""
    opened = _open(context, zmq.SUB, _TO_READ)
    opened.setsockopt(zmq.SUBSCRIBE, topic)
    opened.connect(address)
    return opened


def public(
    context: zmq.Context[Any], kind: int, address: str, queue: int, name: str = "events"
) -> tuple[Socket, str]:
    """A socket that strangers may reach, bound to ``address``, and the address it really has.

    Args:
        context: its context.
        kind: ``zmq.PUB`` or ``zmq.ROUTER``.
        address: where to bind.
        queue: messages held for each peer.
        name: the configuration key, for what goes wrong.

    Raises:
        AddressError: the port is occupied or the address cannot be bound.
    """
    opened = _open(context, kind, queue)
    if kind != zmq.PUB:
        opened.setsockopt(zmq.MAXMSGSIZE, LARGEST_REQUEST)  # a peer that sends more is cut off
    try:
        opened.bind(address)
    except zmq.ZMQError as error:
        opened.close()
        hint = f"choose another with --{name}, or port * for a free one"
        if error.errno == zmq.EADDRINUSE:
            raise AddressError(f"{name}: {address} is occupied; {hint}") from None
        raise AddressError(f"{name}: cannot bind {address}: {error.strerror}; {hint}") from None
    return opened, opened.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")


def ask(context: zmq.Context[Any], address: str) -> Socket:
    """A connected client of the replay socket; it refuses to send until there is a peer."""
    opened = _open(context, zmq.DEALER, 10)
    opened.setsockopt(zmq.LINGER, 0)
    opened.setsockopt(zmq.MAXMSGSIZE, _LARGEST_ANSWER)
    opened.connect(address)
    return opened
