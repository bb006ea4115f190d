"""The fault proxy, between a plain server and a plain client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bench import barcode
from bench.fault_proxy import FaultProxy, Interleaved


def _packet(number: int, size: int = 200) -> bytes:
    body = number.to_bytes(4, "big") + bytes(size - 4)
    return b"$\0" + size.to_bytes(2, "big") + body


ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\nhello"
REPORT = b"$\1\0\x08" + bytes(8)  # RTCP


@pytest.mark.parametrize("chunk", [1, 7, 100, 10_000])
def test_units_are_whole_however_they_arrive(chunk: int) -> None:
    sent = [ANSWER, _packet(1), b"RTSP/1.0 200 OK\r\n\r\n", REPORT, _packet(2, 1400)]
    data = b"".join(sent)
    split = Interleaved()
    got = [unit for i in range(0, len(data), chunk) for unit in split(data[i : i + chunk])]
    assert [unit for _, unit in got] == sent
    assert [is_rtp for is_rtp, _ in got] == [False, True, False, False, True]


class Source:
    """Greets, then sends numbered packets, one each 5 ms, to each client."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/cam"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._send, args=(client,), daemon=True).start()

    @staticmethod
    def _send(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.sendall(ANSWER)
            for number in range(100_000):
                client.sendall(_packet(number) + REPORT)
                time.sleep(0.005)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    source = Source()
    with FaultProxy(source.address, seed=3) as made:
        yield made
    source.close()


class Client:
    def __init__(self, proxy: FaultProxy) -> None:
        port = int(proxy.address.split(":")[2].split("/")[0])
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._split = Interleaved()
        self.waiting: list[bytes] = []

    def unit(self) -> bytes:
        """The next packet; b"" at the end."""
        while not self.waiting:
            data = self.socket.recv(4096)
            if not data:
                return b""
            self.waiting += [unit for is_rtp, unit in self._split(data) if is_rtp]
        return self.waiting.pop(0)

    def number(self) -> int:
        return int.from_bytes(self.unit()[4:8], "big")


@pytest.mark.timeout(60)
def test_everything_passes_while_nothing_is_ordered(proxy: FaultProxy) -> None:
    client = Client(proxy)
    assert [client.number() for _ in range(100)] == list(range(100))


@pytest.mark.timeout(60)
def test_cut_is_an_end_and_reset_is_an_error(proxy: FaultProxy) -> None:
    client = Client(proxy)
    client.number()
    proxy.cut()
    while client.unit():
        pass
    client = Client(proxy)
    client.number()
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        while client.unit():
            pass
    assert Client(proxy).number() == 0


@pytest.mark.timeout(60)
def test_what_was_stalled_comes_in_a_burst(proxy: FaultProxy) -> None:
    client = Client(proxy)
    first = client.number()
    proxy.stall(1.0)
    arrivals = [time.monotonic()]
    for number in range(first + 1, first + 150):
        assert client.number() == number  # nothing is lost
        arrivals.append(time.monotonic())
    steps = np.diff(arrivals)
    assert steps.max() > 0.5
    quiet = int(steps.argmax())
    burst = steps[quiet + 1 : quiet + 41]  # sent 5 ms apart or more; others may hold a few up
    assert np.median(burst) < 0.002


@pytest.mark.timeout(60)
def test_a_trickle_is_slow(proxy: FaultProxy) -> None:
    client = Client(proxy)
    client.number()
    begin = time.monotonic()
    proxy.trickle(2000, 60)
    for _ in range(12):
        client.number()
    assert time.monotonic() - begin > 0.8
    proxy.calm()


@pytest.mark.timeout(60)
def test_packets_are_lost_or_spoilt_but_framing_is_kept(proxy: FaultProxy) -> None:
    client = Client(proxy)
    client.number()
    proxy.loss(0.3, 60)
    for _ in range(20):
        last = client.number()
    begin = last
    count = 0
    while last < begin + 300:
        last = client.number()
        count += 1
    assert 0.6 < count / 300 < 0.8
    proxy.calm()
    proxy.garbage(0.5, 60)
    spoilt = [client.unit() for _ in range(100)]
    assert all(len(unit) == 204 for unit in spoilt)
    changed = [any(unit[8:]) for unit in spoilt]
    assert 20 < sum(changed) < 80
    numbers = [int.from_bytes(unit[4:8], "big") for unit in spoilt]
    assert numbers == sorted(numbers)  # the RTP header is left alone


@pytest.mark.timeout(60)
def test_connections_are_refused_for_a_while_at_the_same_address(proxy: FaultProxy) -> None:
    client = Client(proxy)
    client.number()
    proxy.refuse(1.0)
    while client.unit():
        pass
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            assert Client(proxy).number() == 0
            return
        time.sleep(0.05)
    raise AssertionError("it never listened again")


@pytest.mark.timeout(60)
def test_calm_ends_a_refusal(proxy: FaultProxy) -> None:
    proxy.refuse(600.0)
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    proxy.calm()
    assert Client(proxy).number() == 0


def test_numbers_in_pictures_are_read_again() -> None:
    rng = np.random.default_rng(0)
    for number in (0, 1, 12345, 2**barcode.BITS - 1):
        image = rng.integers(0, 255, (100, 480, 3), np.uint8)
        barcode.mark(image, number)
        noisy = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)
        assert barcode.read(noisy) == number
    assert barcode.read(np.full((100, 480, 3), 90, np.uint8)) is None
