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
from pipeline.door import Door, OneKey
from pipeline.guard import Guard, bind
from pipeline.keys import ClientKey, KeyPair, KeysError

Transport = Literal["inproc", "ipc", "tcp"]
LINGER_MS = 1000  # ZeroMQ's own default is forever
LARGEST_REQUEST = 4096  # bytes, of a part that a client sends
_LARGEST_ANSWER = 16_000_000
_TO_READ = 100_000  # messages of a subscriber that have not been read
MOST_BYTES = 128 * 1024 * 1024  # of one part; a peer that sends a larger one is disconnected
_MOST_SUBSCRIPTION = 4096  # bytes; all that a publisher receives
REPORTS = 10_000  # of a node that wait for a supervisor; 1 kB each
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 1,
    zmq.TCP_KEEPALIVE_CNT: 5,
}
NODES = ("capture", "face", "motion", "spot", "classify", "publish")
_ENDPOINTS = (
    *NODES[1:],
    "feedback",
    "reports",
    "commands",
    "tap",
)


@dataclass(frozen=True)
class StageKeys:
    """The pairs of the binding and of the connecting ends of one run."""

    server: KeyPair
    client: KeyPair


@dataclass(frozen=True)
class Endpoint:
    """An address between nodes, and the keys without which nobody gets in."""

    address: str
    keys: StageKeys | None = None


@dataclass(frozen=True)
class Addresses:
    """Where each node receives; ``feedback`` is motion's, ``reports`` the supervisor's.

    ``keys`` (tcp): made for this run, known to its processes alone. ``scoring``: where
    recognisers are that several runs share.
    """

    table: dict[str, str]
    keys: StageKeys | None = None
    scoring: Endpoint | None = None

    def __getitem__(self, name: str) -> Endpoint:
        return Endpoint(self.table[name], self.keys)


def beside(events: str) -> str:
    """Where the replay socket is by default: on the port after the event socket's."""
    if not events.startswith("tcp://"):
        return f"{events}.replay"
    host, _, port = events.rpartition(":")
    return f"{host}:{int(port) + 1 if port.isdecimal() and int(port) < 65535 else '*'}"


@contextlib.contextmanager
def _held_port() -> Iterator[int]:
    """A port that the system gives to no other connection, while nodes may bind it."""
    with system_socket.socket() as holder:
        holder.setsockopt(system_socket.SOL_SOCKET, system_socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


@contextlib.contextmanager
def addresses(transport: Transport, label: str) -> Iterator[Addresses]:
    """Addresses for one graph, unique by ``label``; ipc files vanish with the context."""
    if transport == "inproc":
        yield Addresses({name: f"inproc://{label}-{name}" for name in _ENDPOINTS})
    elif transport == "ipc":
        with tempfile.TemporaryDirectory(prefix="mespot-") as folder:
            yield Addresses({name: f"ipc://{Path(folder) / name}" for name in _ENDPOINTS})
    else:
        keys = StageKeys(KeyPair.made(), KeyPair.made())
        with contextlib.ExitStack() as held:
            ports = {name: held.enter_context(_held_port()) for name in _ENDPOINTS}
            table = {name: f"tcp://127.0.0.1:{port}" for name, port in ports.items()}
            yield Addresses(table, keys)


@contextlib.contextmanager
def private_endpoint() -> Iterator[Endpoint]:
    """An address that processes of this run alone can reach, over contexts."""
    if zmq.has("ipc"):
        with tempfile.TemporaryDirectory(prefix="mespot-") as folder:
            yield Endpoint(f"ipc://{Path(folder) / 'scoring'}")
    else:
        with _held_port() as port:
            keys = StageKeys(KeyPair.made(), KeyPair.made())
            yield Endpoint(f"tcp://127.0.0.1:{port}", keys)


Socket = zmq.Socket[bytes]


def _open(context: zmq.Context[Any], kind: int, queue: int) -> Socket:
    opened: Socket = context.socket(kind)
    opened.setsockopt(zmq.LINGER, LINGER_MS)
    opened.setsockopt(zmq.RCVHWM, queue)
    opened.setsockopt(zmq.SNDHWM, queue)
    opened.setsockopt(zmq.MAXMSGSIZE, _MOST_SUBSCRIPTION if kind == zmq.PUB else MOST_BYTES)
    if kind not in (zmq.PUB, zmq.SUB):
        opened.setsockopt(zmq.IMMEDIATE, 1)  # queue only to a peer that is there
    # the kernel finds a peer that is gone, within 10 s; with ZeroMQ's own heartbeats a peer that
    # vanishes from a full queue aborts this process (zeromq/libzmq, issues 4364 and 3937)
    for option, value in _KEEPALIVE.items():
        opened.setsockopt(option, value)
    return opened


def _bound(opened: Socket, context: zmq.Context[Any], endpoint: Endpoint) -> Socket:
    keys = endpoint.keys
    if keys is not None:
        Door.of(context).lock(opened, keys.server, OneKey(keys.client.public))
    opened.bind(endpoint.address)
    return opened


def _connected(opened: Socket, endpoint: Endpoint) -> Socket:
    if endpoint.keys is not None:
        _unlock(opened, ClientKey(endpoint.keys.client, endpoint.keys.server.public))
    opened.connect(endpoint.address)
    return opened


def _unlock(opened: Socket, key: ClientKey) -> None:
    opened.setsockopt(zmq.CURVE_SERVERKEY, key.server)
    opened.setsockopt(zmq.CURVE_PUBLICKEY, key.pair.public)
    opened.setsockopt(zmq.CURVE_SECRETKEY, key.pair.secret)


def pull(context: zmq.Context[Any], endpoint: Endpoint, queue: int) -> Socket:
    """A bound receiving end."""
    return _bound(_open(context, zmq.PULL, queue), context, endpoint)


def push(context: zmq.Context[Any], endpoint: Endpoint, queue: int) -> Socket:
    """A connected sending end."""
    return _connected(_open(context, zmq.PUSH, queue), endpoint)


def answers(context: zmq.Context[Any], endpoint: Endpoint, queue: int) -> Socket:
    """A bound end that answers each of those who ask."""
    return _bound(_open(context, zmq.ROUTER, queue), context, endpoint)


def questions(context: zmq.Context[Any], endpoint: Endpoint) -> Socket:
    """A connected end that asks."""
    opened = _open(context, zmq.DEALER, 1)
    opened.setsockopt(zmq.LINGER, 0)
    return _connected(opened, endpoint)


def broadcast(context: zmq.Context[Any], endpoint: Endpoint) -> Socket:
    """The supervisor's command socket, bound."""
    return _bound(_open(context, zmq.PUB, 1000), context, endpoint)


def commands(context: zmq.Context[Any], endpoint: Endpoint) -> Socket:
    """A node's ear for the supervisor's commands."""
    opened = _open(context, zmq.SUB, 1000)
    opened.setsockopt(zmq.SUBSCRIBE, b"")
    return _connected(opened, endpoint)


def client(
    context: zmq.Context[Any], kind: int, address: str, queue: int, key: ClientKey | None = None
) -> Socket:
    """A socket connected to a public one; ``key`` where that one asks for it.

    Raises:
        AddressError: not an address.
    """
    opened = _open(context, kind, queue)
    opened.setsockopt(zmq.IPV6, "[" in address)
    if key is not None:
        _unlock(opened, key)
    try:
        opened.connect(address)
    except zmq.ZMQError as error:
        opened.close()
        raise AddressError(f"{address}: not a ZeroMQ address: {error.strerror}") from None
    return opened


def listen(
    context: zmq.Context[Any], address: str, topic: bytes = b"", key: ClientKey | None = None
) -> Socket:
    """A subscriber of the event socket.

    Raises:
        AddressError: not an address.
    """
    opened = client(context, zmq.SUB, address, _TO_READ, key)
    opened.setsockopt(zmq.SUBSCRIBE, topic)
    return opened


def public(
    context: zmq.Context[Any],
    kind: int,
    address: str,
    queue: int,
    guard: Guard,
    what: str = "events",
) -> tuple[Socket, str]:
    """A socket for others, bound to ``address`` as far as ``guard`` allows; its real address.

    Whoever owns it calls ``guard.tend(socket, real address)`` at least once a second.

    Args:
        context: its context.
        kind: ``zmq.PUB`` or ``zmq.ROUTER``.
        address: where to bind.
        queue: messages held for each peer.
        guard: of the thread that owns it.
        what: the configuration's key, for messages.

    Raises:
        AddressError: the port is occupied or the address cannot be bound.
        KeysError: others could reach it without a key.
    """
    opened = _open(context, kind, queue)
    # a peer that sends more is cut off
    opened.setsockopt(zmq.MAXMSGSIZE, LARGEST_REQUEST)
    try:
        guard.lock(opened, address, what)
        bound = bind(opened, address)
        guard.check(opened, address, bound)
    except zmq.ZMQError as error:
        opened.close()
        hint = f"choose another with --{what}, or port * for a free one"
        if error.errno == zmq.EADDRINUSE:
            raise AddressError(f"{what}: {address} is occupied; {hint}") from None
        raise AddressError(f"{what}: cannot bind {address}: {error.strerror}; {hint}") from None
    except KeysError:
        opened.close()
        raise
    return opened, bound


def ask(context: zmq.Context[Any], address: str, key: ClientKey | None = None) -> Socket:
    """A connected client of the replay socket; it refuses to send until there is a peer.

    Raises:
        AddressError: not an address.
    """
    opened = client(context, zmq.DEALER, address, 10, key)
    opened.setsockopt(zmq.LINGER, 0)
    opened.setsockopt(zmq.MAXMSGSIZE, _LARGEST_ANSWER)
    return opened
