"""Words to systemd through a real datagram socket, and its judgement of the unit files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.notify import Notifier
from pipeline.sockets import NODES

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "examples" / "service"


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.01)

    def heard(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                words = self._socket.recv(4096).decode().split("\n")
            except TimeoutError:
                return found
            found.append(dict(word.split("=", 1) for word in words))

    def until(self, word: str, patience_s: float = 120.0) -> list[dict[str, str]]:
        """All that is heard up to a message with ``word``."""
        end, found = time.monotonic() + patience_s, []
        while time.monotonic() < end:
            found += self.heard()
            if any(word in message for message in found):
                return found
        raise AssertionError(f"{word} was not heard, but {found}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@mespot-{os.getpid()}"
    made = Manager(name)
    yield made
    made.close()


def _graph() -> Graph:
    return Graph(load(model=[]))


def _ready(graph: Graph, notifier: Notifier, nodes: Any = NODES) -> None:
    for node in nodes:
        report = Report(node, 0, "ready", text="a\tb\t0\t0" if node == "publish" else "")
        graph._take(report)
        notifier.on_report(report, graph)


def test_ready_once_every_node_of_every_camera_stands(manager: Manager) -> None:
    notifier = Notifier(runs=2, address=manager.address)
    left, right = _graph(), _graph()
    _ready(left, notifier)
    _ready(right, notifier, NODES[:-1])
    assert manager.heard() == []
    _ready(right, notifier, NODES[-1:])
    assert [m["READY"] for m in manager.heard()] == ["1"]
    _ready(left, notifier)
    assert manager.heard() == []
    with notifier.reloading():
        (told,) = manager.heard()
        assert told["RELOADING"] == "1"
        assert abs(int(told["MONOTONIC_USEC"]) - time.monotonic_ns() // 1000) < 60e6
    assert manager.heard() == [{"READY": "1"}]
    notifier.stopping()
    notifier.close()
    assert manager.heard() == [{"STOPPING": "1"}]


def test_signs_of_life_twice_as_often_as_they_are_asked_for(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    notifier, graph = Notifier(address=manager.address), _graph()
    for _ in range(20):
        notifier.on_report(Report("face", 0, "beat"), graph)
    assert manager.heard() == [{"WATCHDOG": "1"}]
    time.sleep(0.25)
    notifier.on_report(Report("face", 0, "beat"), graph)
    assert manager.heard() == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize("wanted", [("400000", "1"), ("", ""), ("soon", "")])
def test_no_signs_of_life_that_nobody_wants_of_this_process(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, str]
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", wanted[0])
    monkeypatch.setenv("WATCHDOG_PID", wanted[1])
    Notifier(address=manager.address).on_report(Report("face", 0, "beat"), _graph())
    assert manager.heard() == []


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "@nobody-here"):
        notifier = Notifier(address=address)
        _ready(_graph(), notifier)
        notifier.close()


def test_a_real_run_says_ready_reloading_and_stopping(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    file = tmp_path / "mespot.toml"
    file.write_text("model = []\n[log]\nenabled = false\n")
    command = [sys.executable, str(ROOT / "run_live.py"), "--config", str(file)]
    command += ["--events", "tcp://127.0.0.1:*", "--quiet"]
    environment = os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as run:
        manager.until("READY")
        manager.until("WATCHDOG")
        run.send_signal(signal.SIGHUP)
        told = manager.until("RELOADING")
        if not any("READY" in message for message in told):  # else both came at once
            manager.until("READY")
        run.terminate()
        manager.until("STOPPING")
        assert run.wait(60) == 0
    manager.close()


def _unit(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", ["mespot.service", "mespot@.service"])
def test_the_units_know_our_exit_codes_and_signals(name: str) -> None:
    unit = _unit(name)
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["on-failure"]
    never = {int(code) for code in " ".join(unit["RestartPreventExitStatus"]).split()}
    table = (ROOT / "docs" / "operations.md").read_text().split("## Is this machine")[0]
    meanings = dict(re.findall(r"^\| (\d) \| (.+?) \|$", table, re.M))
    assert {"2", "3"} <= set(meanings)
    assert 2 in never and 3 not in never
    assert never <= {int(code) for code in meanings} - {0, 3, 4}
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "run_live" not in unit["ExecStart"][0]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["mespot.service", "mespot@.service"])
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    """The command's own place alone is made up: it is where the user installs it."""
    text = (UNITS / name).read_text().replace("/opt/mespot/bin/mespot", "/bin/true")
    unit = tmp_path / name.replace("@.", "@cam.")
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if name.split(".")[0] in line]
    assert not ours, done.stderr
    assert done.returncode == 0, done.stderr
