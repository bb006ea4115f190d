"""What strangers do to open sockets: garbage, half-open connections, lies about sizes."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import zmq

from pipeline import arrived
from pipeline.keys import ClientKey
from pipeline.wire import WireError, decode
from tests.fuzz.hostile import damaged_bytes, damaged_tree
from tests.fuzz.messages import ITEMS, REPORTS, wire

_GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + bytes(48)
_HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"


def _ready(kind: bytes) -> bytes:
    body = b"\5READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return b"\4" + bytes([len(body)]) + body


class Attack:
    """Strangers at TCP addresses, in a thread of their own until ``stop``.

    ``sent`` counts what was done, by kind; ``malformed`` the messages given to a socket, each
    of them refused by the decoder here as well. Only with ``key``, the run's own, can a node or
    the supervisor take them off its socket; everything else is done without.
    """

    def __init__(
        self,
        pulls: Sequence[str],
        others: Sequence[str],
        seed: int,
        key: ClientKey | None = None,
    ) -> None:
        self._pulls, self._others, self._key = list(pulls), list(others), key
        self._draw = random.Random(seed)
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.sent: Counter[str] = Counter()
        self.malformed = 0
        self.whole = False  # it went on until it was stopped

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        assert self.whole, "the attack itself failed"

    def _go(self) -> None:
        acts: list[Callable[[], None]] = [
            self._raw,
            self._lie,
            *[self._messages] * 3,
            self._subscribe,
        ]
        with zmq.Context() as context:
            self._context = context
            context.linger = 0
            while not self._over.is_set():
                act = self._draw.choice(acts)
                with contextlib.suppress(OSError, zmq.ZMQError):
                    act()
                    self.sent[act.__name__.strip("_")] += 1
                self._over.wait(0.005)
            for held in self._open:
                held.close()
        self.whole = True

    def _connect(self, address: str) -> socket.socket:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        made = socket.create_connection((host, int(port)), timeout=2)
        self._open.append(made)
        if len(self._open) > 40:
            self._open.pop(0).close()
        return made

    def _raw(self) -> None:
        """Bytes of another protocol, of none, or nothing at all; the connection stays half open."""
        draw = self._draw
        link = self._connect(draw.choice(self._pulls + self._others))
        garbage = [
            *(_HTTP, b"", b"\0" * 100, draw.randbytes(500), _GREETING[:11], _GREETING[:40]),
            *(_GREETING.replace(b"NULL", b"EVIL"), _GREETING + draw.randbytes(200)),
            b"\x16\x03\x01\x02\x00\x01\x00" + draw.randbytes(200),
        ]
        link.sendall(draw.choice(garbage))

    def _lie(self) -> None:
        """The right greeting, then frames that promise far more bytes than come."""
        draw = self._draw
        link = self._connect(draw.choice(self._pulls + self._others))
        kind = draw.choice([b"PUSH", b"SUB", b"DEALER", b"PUB", b"?" * 200])
        link.sendall(_GREETING + _ready(kind))
        size = draw.choice([2**31, 2**40, 2**62, 2**63 - 1, 200_000_000])
        for _ in range(draw.randrange(1, 4)):
            link.sendall(bytes([draw.choice([2, 3, 7])]) + size.to_bytes(8, "big") + b"x" * 64)

    def _messages(self) -> None:
        """Whole messages that are none of ours."""
        draw = self._draw
        with self._context.socket(zmq.PUSH) as link:
            link.setsockopt(zmq.SNDTIMEO, 500)
            link.setsockopt(zmq.LINGER, 500)
            if self._key is not None:
                link.setsockopt(zmq.CURVE_SERVERKEY, self._key.server)
                link.setsockopt(zmq.CURVE_PUBLICKEY, self._key.pair.public)
                link.setsockopt(zmq.CURVE_SECRETKEY, self._key.pair.secret)
            link.connect(draw.choice(self._pulls))
            for _ in range(10):
                parts = self._malformed()
                link.send_multipart(parts)
                self.malformed += 1
                self.sent["malformed messages"] += 1

    def _malformed(self) -> list[bytes]:
        draw = self._draw
        while True:
            what = draw.randrange(4)
            if what == 0:
                sizes = [0, 1, 9, 1000]
                parts = [
                    draw.randbytes(draw.choice(sizes)) for _ in range(draw.choice([1, 2, 9, 300]))
                ]
            elif what == 1:
                parts = wire(draw.choice(ITEMS))
                parts[0] = damaged_bytes(parts[0], draw, 2)
            elif what == 2:
                parts = wire(draw.choice(ITEMS))
                tree = damaged_tree(msgspec.msgpack.decode(parts[0]), draw, 2)
                parts[0] = msgspec.msgpack.encode(tree)
            else:
                tree = damaged_tree(msgspec.to_builtins(draw.choice(REPORTS)), draw, 2)
                tree = tree | {"node": "evil"} if isinstance(tree, dict) else tree
                parts = [msgspec.msgpack.encode(tree)]
            if parts and not any(_fits(decoder, parts) for decoder in (decode, arrived.report)):
                return parts

    def _subscribe(self) -> None:
        """Subscriptions by the hundred, long ones, and words that a publisher does not know."""
        draw = self._draw
        with self._context.socket(zmq.XSUB) as link:
            link.setsockopt(zmq.LINGER, 100)
            link.connect(draw.choice(self._others))
            for _ in range(100):
                link.send(
                    draw.choice([b"\1", b"\0", b"\2", b""])
                    + draw.randbytes(draw.choice([0, 9, 5000]))
                )
            time.sleep(0.01)


def _fits(decoder: Any, parts: list[bytes]) -> bool:
    try:
        decoder(parts)
    except WireError:
        return False
    return True
