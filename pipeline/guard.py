"""Who may reach the public sockets: this machine alone, or clients with keys."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq

from pipeline.config import SecurityConfig
from pipeline.door import Door, KeyFolder
from pipeline.keys import KeysError, has_server, load_server

_NOTE_S = 60.0
_FREED_S = 2.0

Reach = Literal["file", "loopback", "network"]


def reach(address: str) -> Reach:
    """How far a socket bound to ``address`` can be reached.

    Whatever is not known to be this machine alone counts as the network: wildcards, interface
    names, host names other than ``localhost``, and odd spellings of 127.0.0.1.
    """
    kind, _, rest = address.partition("://")
    if kind in ("ipc", "inproc"):
        return "loopback" if rest.startswith("@") else "file"  # abstract: no file, no owner
    host = rest.rpartition(":")[0]
    if host == "localhost":
        return "loopback"
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        number = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return "network"
    return "loopback" if number.is_loopback and "%" not in host else "network"


def bind(socket: zmq.Socket[bytes], address: str) -> str:
    """Bind ``socket``; the address that it really has.

    ``localhost`` is taken as a number, since names resolve to what others say. Socket files
    are for their owner alone.

    Raises:
        zmq.ZMQError: it cannot be bound.
    """
    number = address.replace("tcp://localhost:", "tcp://127.0.0.1:", 1)
    socket.setsockopt(zmq.IPV6, "[" in number)
    before = os.umask(0o077) if number.startswith("ipc://") else None
    try:
        socket.bind(number)
    finally:
        if before is not None:
            os.umask(before)
    bound = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")
    file = Path(bound.removeprefix("ipc://"))
    if bound.startswith("ipc://") and file.is_socket():
        file.chmod(0o600)
    return bound


def _bind_again(socket: zmq.Socket[bytes], address: str) -> None:
    """``bind``; ZeroMQ frees the address a moment after it was unbound."""
    end = time.monotonic() + _FREED_S
    while True:
        try:
            bind(socket, address)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > end:
                raise
        time.sleep(0.005)


@dataclass
class _Lock:
    door: Door
    who: KeyFolder
    cuts: int = 0


class Guard:
    """Refuses addresses that others reach, or locks them; cuts off whoever is revoked.

    One for each thread that owns public sockets.

    Args:
        context: of the sockets.
        settings: the ``security`` section.
    """

    def __init__(self, context: zmq.Context[Any], settings: SecurityConfig) -> None:
        self._context = context
        self._settings = settings
        self._locks: dict[zmq.Socket[bytes], _Lock] = {}
        self.warnings: list[str] = []  # what must be said at each start

    def lock(self, socket: zmq.Socket[bytes], address: str, what: str) -> None:
        """Lock ``socket``, which is not bound yet, where ``address`` asks for it.

        Args:
            what: the socket's name in messages.

        Raises:
            KeysError: others would reach it without a key; or the keys cannot be used.
        """
        settings, far = self._settings, reach(address) == "network"
        if not far and settings.curve == "auto":
            return
        if has_server(settings.folder):
            pair = load_server(settings.folder)
            lock = _Lock(Door.of(self._context), KeyFolder(settings.folder))
            lock.door.lock(socket, pair, lock.who)
            self._locks[socket] = lock
        elif settings.curve == "always":
            raise KeysError(
                f"security.curve: always, but {settings.folder} holds no keys; "
                "make them with mespot keys new NAME"
            )
        elif settings.insecure:
            self.warnings.append(
                f"{what}: {address} is open to everybody who reaches this machine (--insecure)"
            )
        else:
            raise KeysError(
                f"{what}: {address} could be reached by others; make keys with mespot keys new "
                "NAME, or say --insecure"
            )

    def check(self, socket: zmq.Socket[bytes], asked: str, bound: str) -> None:
        """What was really bound must reach no further than what was asked for.

        Raises:
            KeysError: it does, and is not locked.
        """
        if reach(asked) != "network" and reach(bound) == "network" and socket not in self._locks:
            raise KeysError(f"{asked}: is {bound} here, which others could reach")

    def tend(self, socket: zmq.Socket[bytes], address: str) -> bool:
        """Cut off the clients that were revoked; True when it did.

        All connections of the socket are cut: those of clients with keys come back by
        themselves within a fraction of a second. Call it from the thread that owns the
        socket, at least once a second.

        Raises:
            RuntimeError: the doorkeeper is gone.
        """
        lock = self._locks.get(socket)
        if lock is None:
            return False
        if not lock.door.alive:
            raise RuntimeError("the doorkeeper is gone")
        if lock.cuts == lock.who.cuts:
            return False
        seen = lock.who.cuts
        with contextlib.suppress(zmq.ZMQError):  # bound no more: an earlier try ended in between
            socket.unbind(address)
        _bind_again(socket, address)
        lock.cuts = seen
        return True

    def admits(self, socket: zmq.Socket[bytes], part: zmq.Frame) -> bool:
        """Whether the sender of ``part`` of a message that ``socket`` received is let in still."""
        lock = self._locks.get(socket)
        if lock is None:
            return True
        return lock.who.holds(str(part.get("User-Id")).encode())


class Turned:
    """Counts who was turned away, and words it once a minute at most."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self._context = context
        self._unsaid: Counter[str] = Counter()
        self._said = -_NOTE_S

    def take(self) -> tuple[Counter[str], str]:
        """New refusals by reason; and a note, "" where there is none."""
        new = Door.refused(self._context)
        self._unsaid += new
        if not self._unsaid or time.monotonic() - self._said < _NOTE_S:
            return new, ""
        note = ", ".join(f"{reason} ({n})" for reason, n in sorted(self._unsaid.items()))
        self._unsaid.clear()
        self._said = time.monotonic()
        return new, note
