"""A TCP proxy that spoils what an RTSP server sends: cut, reset, stall, trickle, loss, garbage.

It stands between a real server and the pipeline, at an address that stays while the server
behind it changes, as an address of a camera does. It knows as much of RTSP as it takes to
tell RTP packets (interleaved, RFC 2326 10.12) from what the two say to each other.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

_CHUNK = 65536
_TICK_S = 0.02
_RTP_HEADER = 12
_LENGTH = b"content-length:"


class Interleaved:
    """Splits the server's bytes into RTP packets and RTSP answers, whole ones only."""

    def __init__(self) -> None:
        self._held = bytearray()

    def __call__(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Whether it is an RTP packet (with its 4 bytes of framing), and its bytes."""
        self._held += data
        while (size := self._size()) and len(self._held) >= size:
            unit = bytes(self._held[:size])
            del self._held[:size]
            # odd channels carry RTCP
            yield unit[:1] == b"$" and unit[1] % 2 == 0, unit

    def _size(self) -> int:
        """Bytes of the unit in front; 0 while that is not known."""
        if self._held[:1] == b"$":
            return 4 + int.from_bytes(self._held[2:4], "big") if len(self._held) >= 4 else 0
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return 0
        lines = bytes(self._held[:end]).lower().split(b"\r\n")
        lengths = [line[len(_LENGTH) :] for line in lines if line.startswith(_LENGTH)]
        return end + 4 + (int(lengths[0]) if lengths else 0)


class _Connection:
    """One client, and its own connection to the server."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._waiting: queue.Queue[tuple[bool, bytes] | None] = queue.Queue()
        self._open = True
        self._closing = threading.Lock()

    def start(self) -> None:
        for work in (self._upward, self._read, self._write):
            threading.Thread(target=work, name="fault-proxy", daemon=True).start()

    def _upward(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(_CHUNK):
                self._server.sendall(data)
        self.close()

    def _read(self) -> None:
        """Take what the server sends at once: what is held back is held here."""
        split = Interleaved()
        with contextlib.suppress(OSError, ValueError):
            while data := self._server.recv(_CHUNK):
                for unit in split(data):
                    self._waiting.put(unit)
        self._waiting.put(None)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while self._open and (unit := self._waiting.get()) is not None:
                spoilt = self._proxy.spoilt(*unit)
                if spoilt:
                    self._pass(spoilt)
        self.close()

    def _pass(self, data: bytes) -> None:
        while self._open and self._proxy.held:
            time.sleep(_TICK_S)
        rate = self._proxy.rate
        if rate:
            time.sleep(len(data) / rate)
        self._client.sendall(data)

    def close(self, reset: bool = False) -> None:
        with self._closing:
            if not self._open:
                return
            self._open = False
        with contextlib.suppress(OSError):
            if reset:
                # closing sends RST then, once no thread reads any more
                linger = struct.pack("ii", 1, 0)
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._client.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._client.close()
        self._server.close()
        self._waiting.put(None)


class FaultProxy:
    """A proxy in threads of this process; each fault may be ordered at any time.

    Faults that last take their length in seconds and are over by themselves.

    Args:
        upstream: ``rtsp://`` address of the server.
        seed: of what is lost or spoilt.
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._connections: list[_Connection] = []
        self._closed = False
        self._refusing: threading.Timer | None = None
        self._changing = threading.Lock()
        self._until = dict.fromkeys(("stall", "trickle", "loss", "garbage"), 0.0)
        self._share = {"loss": 0.0, "garbage": 0.0}
        self._bytes_per_s = 0.0
        self._listener = self._listen(0)
        self._port = self._listener.getsockname()[1]
        self.redirect(upstream)

    @property
    def address(self) -> str:
        """What the pipeline is to be given."""
        return f"rtsp://127.0.0.1:{self._port}{self._path}"

    def redirect(self, upstream: str) -> None:
        """Send later connections to another server."""
        parts = urlsplit(upstream)
        assert parts.hostname is not None and parts.port is not None
        self._upstream, self._path = (parts.hostname, parts.port), parts.path

    # ------------------------------------------------------------ faults

    def cut(self) -> None:
        """Close every connection, as a server does that ends."""
        self._close_all(reset=False)

    def reset(self) -> None:
        """Break every connection with RST, as a server does that has crashed."""
        self._close_all(reset=True)

    def stall(self, seconds: float) -> None:
        """Hold everything back; then it comes in a burst."""
        self._begin("stall", seconds)

    def trickle(self, bytes_per_s: float, seconds: float) -> None:
        """Let no more than so many bytes a second pass."""
        self._bytes_per_s = bytes_per_s
        self._begin("trickle", seconds)

    def loss(self, share: float, seconds: float) -> None:
        """Lose RTP packets."""
        self._share["loss"] = share
        self._begin("loss", seconds)

    def garbage(self, share: float, seconds: float) -> None:
        """Spoil bytes inside RTP packets, behind the header."""
        self._share["garbage"] = share
        self._begin("garbage", seconds)

    def refuse(self, seconds: float) -> None:
        """Cut, and refuse connections meanwhile."""
        self._stop_listening()
        self.cut()
        self._refusing = threading.Timer(seconds, self._listen_again)
        self._refusing.daemon = True
        self._refusing.start()

    def calm(self) -> None:
        """End the faults that last."""
        self._until = dict.fromkeys(self._until, 0.0)
        if self._refusing is not None:
            self._refusing.cancel()
            self._listen_again()

    def _begin(self, fault: str, seconds: float) -> None:
        self._until[fault] = time.monotonic() + seconds

    def _now(self, fault: str) -> bool:
        return time.monotonic() < self._until[fault]

    @property
    def held(self) -> bool:
        """Whether nothing passes now."""
        return self._now("stall")

    @property
    def rate(self) -> float:
        """Bytes a second that pass now; 0: all."""
        return self._bytes_per_s if self._now("trickle") else 0.0

    def spoilt(self, is_rtp: bool, unit: bytes) -> bytes:
        """What is left of ``unit``; empty when it is lost."""
        if is_rtp and self._now("loss") and self._random.random() < self._share["loss"]:
            return b""
        if is_rtp and self._now("garbage") and self._random.random() < self._share["garbage"]:
            changed = bytearray(unit)
            first = min(4 + _RTP_HEADER, len(changed) - 1)
            for _ in range(1 + len(changed) // 50):
                changed[self._random.randrange(first, len(changed))] = self._random.randrange(256)
            return bytes(changed)
        return unit

    # ------------------------------------------------------------ connections

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(
            target=self._accept, args=(listener,), name="fault-proxy", daemon=True
        ).start()
        return listener

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _listen_again(self) -> None:
        with self._changing:
            if self._refusing is not None and not self._closed:
                self._refusing = None
                self._listener = self._listen(self._port)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(self._upstream, timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                connection = _Connection(self, client, server)
                self._connections.append(connection)  # before it can be heard of
                connection.start()

    def _close_all(self, reset: bool) -> None:
        closing, self._connections = self._connections, []
        for connection in closing:
            connection.close(reset)

    def close(self) -> None:
        """Stop listening and close everything."""
        self._closed = True
        self._stop_listening()
        self._close_all(reset=False)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
