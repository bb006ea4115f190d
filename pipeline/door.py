"""Who is let in: the answers to ZeroMQ's question after each CURVE handshake (ZAP, RFC 27).

One doorkeeper for each ZeroMQ context, in a thread of its own. Sockets name a list that it
holds for them; whoever is not on it is turned away. A doorkeeper that is gone lets nobody in.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Protocol

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from pipeline.keys import KeyPair, KeysError, load_public

_ZAP = "inproc://zeromq.zap.01"
_LOOK_S = 1.0  # between two looks at the lists of clients
_POLL_MS = 200
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_WRONG_KEY = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)


class Allowed(Protocol):
    """Whom a socket lets in."""

    label: str  # the socket's, in counters
    cuts: int  # how often one that had come in was struck off

    def name(self, public: bytes) -> str | None:
        """The client with this key (Z85); None: turn it away."""
        ...

    def why_not(self, public: bytes) -> str:
        """In what word a key that was turned away is counted."""
        ...

    def look(self) -> None:
        """See what has changed."""
        ...


class OneKey:
    """The list of sockets between nodes: the run's own key alone."""

    label = "stage"
    cuts = 0

    def __init__(self, public: bytes) -> None:
        self._public = public

    def name(self, public: bytes) -> str | None:
        """As ``Allowed``."""
        return "node" if public == self._public else None

    def why_not(self, public: bytes) -> str:
        """As ``Allowed``."""
        del public
        return "unknown key"

    def look(self) -> None:
        """Nothing changes."""


class KeyFolder:
    """The list of public sockets: ``clients`` of a keys folder, as it is at this moment."""

    def __init__(self, folder: Path, label: str = "client") -> None:
        self.label = label
        self.cuts = 0
        self._folder = folder
        self._seen: dict[str, frozenset[tuple[str, int, int]]] = {}
        self._keys: dict[str, dict[bytes, str]] = {"clients": {}, "revoked": {}}
        self._inside: set[bytes] = set()
        self.look()

    def name(self, public: bytes) -> str | None:
        """As ``Allowed``; read anew where the folder has changed."""
        self.look()
        found = self._keys["clients"].get(public)
        if found is not None:
            self._inside.add(public)
        return found

    def holds(self, public: bytes) -> bool:
        """Whether the client was on the list when it was last looked at."""
        return public in self._keys["clients"]

    def why_not(self, public: bytes) -> str:
        """As ``Allowed``."""
        return "revoked key" if public in self._keys["revoked"] else "unknown key"

    def look(self) -> None:
        """Read what has changed; a folder that cannot be read lets nobody in."""
        for part in self._keys:
            seen = self._fingerprint(part)
            if seen != self._seen.get(part):
                self._seen[part] = seen
                self._keys[part] = dict(self._read(part))
        gone = self._inside - self._keys["clients"].keys()
        if gone:
            self._inside -= gone
            self.cuts += 1

    def _fingerprint(self, part: str) -> frozenset[tuple[str, int, int]]:
        seen = set()
        for path in (self._folder / part).glob("*.key"):
            with contextlib.suppress(OSError):
                told = path.stat()
                seen.add((path.name, told.st_mtime_ns, told.st_ino))
        return frozenset(seen)

    def _read(self, part: str) -> list[tuple[bytes, str]]:
        found = []
        for name, _, _ in self._seen[part]:
            with contextlib.suppress(KeysError):
                path = self._folder / part / name
                found.append((load_public(path), path.stem))
        return found


class Door:
    """The doorkeeper of one context. ``of`` finds or starts it."""

    _all: ClassVar[dict[int, Door]] = {}
    _starting: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, context: zmq.Context[Any]) -> None:
        # sockets of a shadow are not closed from under its thread when the context ends
        self._context: zmq.Context[Any] = zmq.Context.shadow(context.underlying)
        self._lists: dict[str, Allowed] = {}
        self._new: SimpleQueue[tuple[str, str]] = SimpleQueue()  # monitor addresses and labels
        self._monitors: dict[zmq.Socket[bytes], str] = {}
        self._refused: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._requests = self._context.socket(zmq.REP)
        self._requests.setsockopt(zmq.LINGER, 0)
        self._requests.bind(_ZAP)
        self._thread = threading.Thread(target=self._keep, name="door", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, context: zmq.Context[Any]) -> Door:
        """The doorkeeper of ``context``; it ends with it."""
        with cls._starting:
            door = cls._all.get(context.underlying)
            if door is None or not door.alive:
                door = cls._all[context.underlying] = cls(context)
            return door

    @classmethod
    def refused(cls, context: zmq.Context[Any]) -> Counter[str]:
        """Who was turned away since the last call, by reason."""
        door = cls._all.get(context.underlying)
        return Counter() if door is None else door.take_refused()

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def take_refused(self) -> Counter[str]:
        """As ``refused``."""
        with self._lock:
            taken, self._refused = self._refused, Counter()
        return taken

    def lock(self, socket: zmq.Socket[bytes], pair: KeyPair, who: Allowed) -> None:
        """Let only the clients on ``who`` into ``socket``, which is not bound yet."""
        domain = f"{who.label}-{id(who)}"
        self._lists[domain] = who
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        address = f"inproc://door-{id(socket)}"
        socket.monitor(address, _FAILED)
        self._new.put((address, who.label))

    def _keep(self) -> None:
        looked = time.monotonic()
        poller = zmq.Poller()
        poller.register(self._requests, zmq.POLLIN)
        try:
            while True:
                self._listen_to_new(poller)
                for ready, _ in poller.poll(_POLL_MS):
                    if ready is self._requests:
                        self._answer()
                    else:
                        self._heard(ready, poller)
                if time.monotonic() - looked >= _LOOK_S:
                    looked = time.monotonic()
                    for each in list(self._lists.values()):
                        each.look()
        except zmq.ContextTerminated:
            pass
        finally:
            with self._starting:
                if self._all.get(self._context.underlying) is self:
                    del self._all[self._context.underlying]
            for socket in (self._requests, *self._monitors):
                socket.close(0)

    def _listen_to_new(self, poller: zmq.Poller) -> None:
        with contextlib.suppress(Empty):
            while True:
                address, label = self._new.get_nowait()
                monitor = self._context.socket(zmq.PAIR)
                self._monitors[monitor] = label
                monitor.connect(address)
                poller.register(monitor, zmq.POLLIN)

    def _heard(self, monitor: zmq.Socket[bytes], poller: zmq.Poller) -> None:
        """A handshake failed before it came to the question of who is there."""
        event = recv_monitor_message(monitor)
        if event["event"] == zmq.EVENT_MONITOR_STOPPED:
            poller.unregister(monitor)
            del self._monitors[monitor]
            monitor.close(0)
            return
        # a client without a key is told so by either end, and may hang up before it is
        why = "wrong server key" if int(event["value"]) == _WRONG_KEY else "no key"
        self._count(self._monitors[monitor], why)

    def _answer(self) -> None:
        version, request, domain, _, _, mechanism, *credentials = self._requests.recv_multipart()
        who = self._lists.get(domain.decode(errors="replace"))
        status, user = (b"400", b"not let in"), b""
        if who is not None and mechanism == b"CURVE" and len(credentials) == 1:
            public = z85.encode(credentials[0])
            if who.name(public) is not None:
                status, user = (b"200", b"OK"), public
            else:
                self._count(who.label, who.why_not(public))
        self._requests.send_multipart([version, request, *status, user, b""])

    def _count(self, label: str, why: str) -> None:
        with self._lock:
            self._refused[f"{label} refused: {why}"] += 1
