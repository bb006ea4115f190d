"""Who may listen: real clients, each in a process of its own, at sockets with and without keys."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from models.errors import AddressError
from pipeline import keys, sockets
from pipeline.config import SecurityConfig
from pipeline.door import Door
from pipeline.guard import Guard, Turned, reach
from pipeline.keys import ClientKey, KeyPair, KeysError

_CLIENT = Path(__file__).with_name("plain_client.py")
_PATIENCE_S = 30.0


class Client:
    """A foreign process; what it got, and when."""

    def __init__(self, kind: str, address: str, *told: str) -> None:
        self.got: list[tuple[float, int]] = []
        self._process = subprocess.Popen(
            [sys.executable, str(_CLIENT), kind, address, *told],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            when, number = line.split()
            self.got.append((float(when), int(number)))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _told(key: ClientKey) -> list[str]:
    return [k.decode() for k in (key.pair.public, key.pair.secret, key.server)]


def _until(true: Callable[[], Any], patience_s: float = _PATIENCE_S) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


class Server:
    """A public socket that publishes numbers, tended as the publish node does."""

    def __init__(self, settings: SecurityConfig, address: str = "tcp://127.0.0.1:*") -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.refused: Counter[str] = Counter()
        self.cuts: list[float] = []
        self._guard = Guard(self.context, settings)
        self._socket, self.address = sockets.public(
            self.context, zmq.PUB, address, 1000, self._guard
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.01):
            self._socket.send(str(number).encode())
            number += 1
            if self._guard.tend(self._socket, self.address):
                self.cuts.append(time.monotonic())
            self.refused += Door.refused(self.context)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        self.context.term()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.new(tmp_path / "keys", "anna", tmp_path / "anna.key")
    keys.new(tmp_path / "keys", "ben", tmp_path / "ben.key")
    return tmp_path


@pytest.fixture
def clients() -> Iterator[Callable[..., Client]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Client:
            client = Client(*arguments)
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(SecurityConfig(keys=folder / "keys", curve="always"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("address", "far"),
    [
        ("tcp://127.0.0.1:5556", "loopback"),
        ("tcp://127.255.0.3:*", "loopback"),
        ("tcp://localhost:1", "loopback"),
        ("tcp://[::1]:5556", "loopback"),
        ("tcp://::1:5556", "loopback"),
        ("ipc:///tmp/x", "file"),
        ("ipc://@abstract", "loopback"),
        ("tcp://*:5556", "network"),
        ("tcp://0.0.0.0:5556", "network"),
        ("tcp://0:5556", "network"),
        ("tcp://[::]:5556", "network"),
        ("tcp://:::5556", "network"),
        ("tcp://[::ffff:0.0.0.0]:5556", "network"),
        ("tcp://eth0:5556", "network"),
        ("tcp://lo:5556", "network"),
        ("tcp://192.168.1.2:5556", "network"),
        ("tcp://[fe80::1%eth0]:5556", "network"),
        ("tcp://[fd00::2]:5556", "network"),
        ("tcp://localhost.example.org:5556", "network"),
        ("tcp://127.0.0.1.example.org:5556", "network"),
        ("tcp://0.0.0.0;127.0.0.1:5556", "network"),
        ("tcp://127.0.0.1:1;0.0.0.0:5556", "network"),
        ("tcp://2130706433:5556", "network"),
        ("tcp://:5556", "network"),
    ],
)
def test_only_what_is_surely_this_machine_counts_as_it(address: str, far: str) -> None:
    assert reach(address) == far


def _public(settings: SecurityConfig, address: str, kind: int = zmq.PUB) -> tuple[str, list[str]]:
    with zmq.Context() as context:
        guard = Guard(context, settings)
        socket, bound = sockets.public(context, kind, address, 10, guard)
        socket.close(0)
        return bound, guard.warnings


@pytest.mark.parametrize(
    "address", ["tcp://*:*", "tcp://0.0.0.0:*", "tcp://[::]:*", "tcp://lo:*", "tcp://10.1.2.3:*"]
)
def test_other_machines_are_kept_out_where_there_are_no_keys(address: str, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="mespot keys new NAME, or say --insecure") as caught:
        _public(SecurityConfig(keys=tmp_path / "none"), address)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)


def test_insecure_is_said_out_loud(tmp_path: Path) -> None:
    settings = SecurityConfig(keys=tmp_path / "none", insecure=True)
    bound, warnings = _public(settings, "tcp://*:*")
    assert bound.startswith("tcp://0.0.0.0:")
    assert len(warnings) == 1 and "open to everybody" in warnings[0]
    assert _public(settings, "tcp://127.0.0.1:*")[1] == []


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:*", "tcp://localhost:*", "tcp://[::1]:*"])
def test_loopback_needs_no_keys(address: str, tmp_path: Path) -> None:
    bound, warnings = _public(SecurityConfig(keys=tmp_path / "none"), address)
    assert reach(bound) == "loopback" and not warnings


def test_always_needs_keys_on_loopback_too(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"security\.curve: always"):
        _public(SecurityConfig(keys=tmp_path / "none", curve="always"), "tcp://127.0.0.1:*")


def test_an_address_that_binds_further_than_it_says_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.guard.reach", lambda a: "network" if "0.0.0.0" in a else "file")
    with pytest.raises(KeysError, match="others could reach"):
        _public(SecurityConfig(keys=tmp_path / "none"), "tcp://*:*")


def test_an_occupied_address_is_still_said(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(AddressError, match="occupied"):
            _public(SecurityConfig(), f"tcp://127.0.0.1:{port}")


def test_a_socket_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with zmq.Context() as context:
        guard = Guard(context, SecurityConfig())
        socket, _ = sockets.public(context, zmq.PUB, f"ipc://{tmp_path / 'e'}", 10, guard)
        assert stat.S_IMODE((tmp_path / "e").stat().st_mode) == 0o600
        socket.close(0)


def _others(who: str, folder: Path) -> list[str]:
    anna, stranger = keys.load_client(folder / "anna.key"), KeyPair.made()
    return {
        "no key": [],
        "plain": ["plain"],
        "unknown key": _told(ClientKey(stranger, anna.server)),
        "wrong server key": _told(ClientKey(anna.pair, stranger.public)),
    }[who]


@pytest.mark.parametrize("who", ["no key", "plain", "unknown key", "wrong server key"])
def test_whoever_has_no_right_key_hears_nothing(
    who: str, server: Server, clients: Callable[..., Client], folder: Path
) -> None:
    other = clients("sub", server.address, *_others(who, folder))
    reason = "client refused: " + who.replace("plain", "no key")
    assert _until(lambda: server.refused[reason]), server.refused
    anna = clients("sub", server.address, *_told(keys.load_client(folder / "anna.key")))
    assert _until(lambda: len(anna.got) > 20)
    assert other.got == []


def test_all_interfaces_with_keys_are_locked(folder: Path, clients: Callable[..., Client]) -> None:
    server = Server(SecurityConfig(keys=folder / "keys"), "tcp://*:*")
    try:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        other = clients("sub", address)
        anna = clients("sub", address, *_told(keys.load_client(folder / "anna.key")))
        assert _until(lambda: len(anna.got) > 20)
        assert _until(lambda: server.refused["client refused: no key"])
        assert other.got == []
    finally:
        server.close()


def test_a_revoked_client_is_out_within_five_seconds_and_the_others_stay(
    server: Server, clients: Callable[..., Client], folder: Path
) -> None:
    told = {name: _told(keys.load_client(folder / f"{name}.key")) for name in ("anna", "ben")}
    anna = clients("sub", server.address, *told["anna"])
    ben = clients("sub", server.address, *told["ben"])
    assert _until(lambda: anna.got and ben.got)
    revoked = time.monotonic()
    keys.revoke(folder / "keys", "anna")
    assert _until(lambda: server.refused["client refused: revoked key"])
    assert _until(lambda: ben.got[-1][0] > server.cuts[0] + 1.0)
    late = anna.got[-1][0] - revoked
    pairs = zip(ben.got, ben.got[1:], strict=False)
    silence = max(b[0] - a[0] for a, b in pairs if b[0] > revoked)
    print(f"revoked: silent after {late:.2f} s; the other one missed {silence:.2f} s")
    assert late < 5
    assert len(server.cuts) == 1
    again = clients("sub", server.address, *told["anna"])
    assert _until(lambda: server.refused["client refused: revoked key"] > 1)
    assert again.got == []


def test_a_new_client_is_let_in_without_a_restart_and_cuts_nobody_off(
    server: Server, clients: Callable[..., Client], folder: Path
) -> None:
    key = keys.load_client(keys.new(folder / "keys", "zoe", folder / "zoe.key"))
    zoe = clients("sub", server.address, *_told(key))
    assert _until(lambda: zoe.got)
    keys.revoke(folder / "keys", "ben")  # who never came
    time.sleep(1.5)
    assert server.cuts == []


def test_a_folder_that_vanishes_lets_nobody_in(
    server: Server, clients: Callable[..., Client], folder: Path
) -> None:
    told = _told(keys.load_client(folder / "anna.key"))
    anna = clients("sub", server.address, *told)
    assert _until(lambda: anna.got)
    (folder / "keys" / "clients").rename(folder / "elsewhere")
    assert _until(lambda: server.cuts)
    assert _until(lambda: server.refused["client refused: unknown key"])


def test_each_request_tells_who_sent_it(folder: Path) -> None:
    settings = SecurityConfig(keys=folder / "keys", curve="always")
    with zmq.Context() as context, zmq.Context() as foreign:
        guard = Guard(context, settings)
        router, address = sockets.public(context, zmq.ROUTER, "tcp://127.0.0.1:*", 10, guard)
        key = keys.load_client(folder / "anna.key")
        with router, sockets.client(foreign, zmq.DEALER, address, 10, key) as dealer:
            dealer.send(b"since 3")
            assert router.poll(_PATIENCE_S * 1000)
            part = router.recv_multipart(copy=False)[-1]
            assert guard.admits(router, part)
            keys.revoke(folder / "keys", "anna")
            assert _until(lambda: not guard.admits(router, part))


def test_refusals_are_said_once_a_minute() -> None:
    with zmq.Context() as context:
        turned = Turned(context)
        with context.socket(zmq.PULL) as socket:
            door = Door.of(context)
            door._count("client", "no key")
            assert turned.take() == ({"client refused: no key": 1}, "client refused: no key (1)")
            door._count("client", "no key")
            assert turned.take() == ({"client refused: no key": 1}, "")
            del socket


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_gets_in_without_a_doorkeeper(folder: Path, clients: Callable[..., Client]) -> None:
    """The doorkeeper's thread is gone: closed, not open; and the owner is told."""
    server = Server(SecurityConfig(keys=folder / "keys", curve="always"))
    door = Door.of(server.context)
    door._requests.close(0)  # as after an unforeseen error
    door._thread.join(_PATIENCE_S)
    server._over.set()
    server._thread.join()
    try:
        anna = clients("sub", server.address, *_told(keys.load_client(folder / "anna.key")))
        time.sleep(1.0)
        for number in range(100):
            server._socket.send(str(number).encode())
        time.sleep(0.5)
        assert anna.got == []
        with pytest.raises(RuntimeError, match="doorkeeper"):
            server._guard.tend(server._socket, server.address)
    finally:
        server.close()


def test_stages_over_tcp_take_nothing_from_strangers(clients: Callable[..., Client]) -> None:
    with (
        zmq.Context() as context,
        sockets.addresses("tcp", "attacked") as addresses,
        sockets.pull(context, addresses["face"], 8) as inbox,
        sockets.broadcast(context, addresses["commands"]) as commands,
        sockets.push(context, addresses["face"], 8) as friend,
    ):
        assert addresses.keys is not None
        stranger, server = KeyPair.made(), addresses.keys.server.public
        for told in ([], ["plain"], _told(ClientKey(stranger, server))):
            clients("push", addresses["face"].address, *told)
        spy = clients("sub", addresses["commands"].address)
        refused: Counter[str] = Counter()
        kinds = {"stage refused: no key", "stage refused: unknown key"}

        def seen() -> bool:
            refused.update(Door.refused(context))
            commands.send(b"7")
            return kinds <= refused.keys() and sum(refused.values()) >= 4

        assert _until(seen), refused
        assert friend.poll(_PATIENCE_S * 1000, zmq.POLLOUT)
        friend.send(b"mine")
        assert inbox.poll(_PATIENCE_S * 1000)
        assert inbox.recv() == b"mine"
        assert not inbox.poll(500)
        assert spy.got == []


def test_the_keys_of_a_run_are_not_shown() -> None:
    with sockets.addresses("tcp", "shown") as addresses:
        assert addresses.keys is not None
        for pair in (addresses.keys.server, addresses.keys.client):
            assert pair.secret.decode() not in repr(addresses)
