"""``/healthz`` and ``mespot health``: well when frames flow or the camera is rightly sought."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import pytest

from models.errors import AddressError
from pipeline.cli import run
from pipeline.config import Config, load
from pipeline.graph import Graph
from pipeline.keys import KeysError
from pipeline.messages import Report
from pipeline.metrics import server
from pipeline.metrics.health import Health
from pipeline.metrics.watcher import MetricsWatcher
from pipeline.sockets import NODES
from tests.pipeline.scraped import Scrape, fetch

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-some-length"


class _Run:
    """A graph that takes made reports, under a clock of our own."""

    def __init__(self, **options: Any) -> None:
        given = {"events": "tcp://127.0.0.1:*", "model": [], "metrics": {"stall_s": 30}}
        self.graph = Graph(load(**(given | options)))
        self.now = 100.0
        self.health = Health(["cam"], lambda: self.now)
        self.frames = 0

    def take(self, node: str, **more: Any) -> None:
        epoch = self.graph.nodes[node].epoch
        report = Report(node, epoch, **({"kind": "beat"} | more))
        self.graph._take(report)
        self.health.take(report, self.graph, "cam")

    def ready(self) -> None:
        for node in NODES:
            self.take(node, kind="ready", text="a\tb\t0\t0" if node == "publish" else "")

    def beat(self, seconds: float, frames: int = 0, silent: str = "") -> None:
        """``seconds`` pass, with a report of every node a second."""
        for _ in range(round(seconds)):
            self.now += 1
            self.frames += frames
            for node in NODES:
                if node != silent:
                    received = self.frames if node == "capture" else 0
                    self.take(node, received=received)

    def state(self, name: str, detail: str = "") -> None:
        message = {"v": 1, "type": "state", "stream": "cam", "state": name, "detail": detail}
        message |= {"face": None, "at": None, "published_utc_ns": 1}
        self.take("publish", kind="published", payload=msgspec.msgpack.encode(message))

    def look(self) -> tuple[bool, str, dict[str, Any]]:
        ok, body = self.health.look()
        assert ok == body["ok"]
        return ok, body["reason"], body["cameras"]["cam"]


def test_a_run_is_unwell_until_its_first_frame() -> None:
    run = _Run(source="0")
    assert run.look()[:2] == (False, "cam: no frame yet")  # nothing was heard at all
    run.take("capture", kind="ready")
    assert run.look()[:2] == (False, "cam: face is not ready yet")
    run.ready()
    assert run.look()[:2] == (False, "cam: no frame yet")
    run.beat(1, frames=30)
    assert run.look()[0]
    assert run.look()[2]["state"] == "running"


def test_frames_that_no_longer_come_are_an_illness_but_not_while_the_camera_is_sought() -> None:
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.beat(29)
    assert run.look()[0]
    run.beat(3)
    assert run.look()[1] == "cam: no frame for 32 s"
    run.state("camera_lost", "no frame for 5 s")
    assert run.look()[0]
    run.beat(1, frames=1)  # from before the loss, counted late
    assert run.look()[2]["state"] == "sought"
    run.state("camera_retrying", "attempt 1 in 0.5 s: no frame for 5 s")
    run.beat(500)
    ok, _, camera = run.look()
    assert (ok, camera["state"]) == (True, "sought")
    assert camera["detail"].startswith("attempt 1")
    run.state("camera_back")
    run.beat(1, frames=1)
    assert run.look()[2]["state"] == "running"
    run.beat(31)
    assert not run.look()[0]


def test_a_camera_that_was_never_there_may_be_waited_for() -> None:
    run = _Run(source="0", capture={"wait": True})
    run.ready()
    run.state("camera_lost", "not there yet")
    run.beat(300)
    assert run.look()[0]


def test_a_node_that_is_gone_or_silent_is_an_illness_even_while_a_camera_is_sought() -> None:
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.state("camera_lost", "gone")
    run.beat(40, silent="spot")
    assert run.look()[1] == "cam: spot has not been heard of for 40 s"
    run.graph._died("spot")
    run.take("face")
    assert run.look()[1] == "cam: spot is not there"
    run.take("spot", kind="ready")
    assert run.look()[0]


def test_a_restarted_capture_node_may_find_a_lost_camera_at_once() -> None:
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.state("camera_lost", "gone")
    run.state("node_restarted", "capture")
    assert run.look()[2]["state"] == "starting"
    run.beat(1, frames=30)
    assert run.look()[2]["state"] == "running"


def test_supervision_that_hangs_is_seen() -> None:
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.now += 40
    assert "has not been heard of" in run.look()[1]


def test_an_end_is_well_unless_it_came_early() -> None:
    run = _Run()
    run.ready()
    run.beat(2, frames=30)
    run.state("ended")
    run.now += 1000
    assert run.look()[0]
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.state("ended", "the camera was given up after 5 s: gone")
    assert run.look()[1] == "cam: ended: the camera was given up after 5 s: gone"


def test_load_and_log_are_told_but_no_illness() -> None:
    run = _Run(source="0")
    run.ready()
    run.beat(2, frames=30)
    run.state("overloaded")
    run.state("log_failed", "disk full")
    ok, _, camera = run.look()
    assert (ok, camera["overloaded"], camera["log_failed"]) == (True, True, True)


def _config(**metrics: Any) -> Config:
    return load(model=[], metrics={"port": 0} | metrics)


@contextlib.contextmanager
def _served(config: Config | None = None, **options: Any) -> Iterator[MetricsWatcher]:
    watcher = MetricsWatcher(config or _config(), **options)
    try:
        yield watcher
    finally:
        watcher.close()


def _status(url: str, method: str = "GET", **headers: str) -> int:
    try:
        with urlopen(Request(url, method=method, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_the_command_says_in_one_line_and_by_its_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _served(cameras=["cam"]) as watcher:
        health = watcher.url.replace("/metrics", "/healthz")
        assert _status(health) == 503
        assert run(["health", watcher.url]) == 1
        assert capsys.readouterr().out == "unhealthy: cam: no frame yet\n"
        made = _Run(source="0", capture={"name": "cam"})
        for node in NODES:
            text = "a\tb\t0\t0" if node == "publish" else ""
            report = Report(node, 0, "ready", received=9, text=text)
            made.graph._take(report)
            watcher.on_report(report, made.graph)
        assert _status(health) == 200
        assert json.loads(fetch(health))["cameras"]["cam"]["frames"] == 9
        assert run(["health", health]) == 0
        assert capsys.readouterr().out == "healthy: cam running\n"
        monkeypatch.setenv("MESPOT_METRICS__PORT", watcher.url.rpartition(":")[2].split("/")[0])
        assert run(["health"]) == 0
    capsys.readouterr()
    assert run(["health", health]) == 1
    line = capsys.readouterr().out
    assert line.startswith("unhealthy: http://127.0.0.1:")
    assert line.count("\n") == 1


def test_what_is_no_mespot_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "green"}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        assert run(["health", f"http://127.0.0.1:{other.server_port}"]) == 1
        other.shutdown()
    assert "no answer of mespot's" in capsys.readouterr().out
    for url in ("https://127.0.0.1:1", "file:///etc/passwd", "http://:1", "http://[::1"):
        assert run(["health", url]) == 2
        assert "not an http:// address" in capsys.readouterr().err


def test_a_token_is_asked_for_where_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _served(_config(host="0.0.0.0", token=TOKEN), cameras=["cam"]) as watcher:
        url = watcher.url.replace("0.0.0.0", "127.0.0.1")
        assert _status(url) == 401
        assert _status(url, Authorization=f"Bearer {TOKEN}x") == 401
        assert _status(url, Authorization=f"Basic {TOKEN}") == 401
        assert _status(url, Authorization=f"Bearer {TOKEN}") == 200
        assert run(["health", url]) == 1
        monkeypatch.setenv("MESPOT_METRICS__TOKEN", TOKEN)
        assert run(["health", url]) == 1
        assert "no frame yet" in capsys.readouterr().out
    assert TOKEN not in repr(_config(token=TOKEN)) + str(_config(token=TOKEN).model_dump_json())


def test_a_bad_token_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=r"metrics\.token") as caught:
        _config(token="hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "camera-room"])
def test_others_reach_it_only_with_a_token_or_insecurely(host: str) -> None:
    with pytest.raises(KeysError, match=r"metrics\.host") as caught:
        MetricsWatcher(_config(host=host))
    assert caught.value.exit_code == 7


def test_insecure_is_said_at_each_start() -> None:
    warned: list[str] = []
    config = load(model=[], metrics={"port": 0, "host": "0.0.0.0"}, security={"insecure": True})
    with _served(config, warn=warned.append) as watcher:
        assert _status(watcher.url.replace("0.0.0.0", "127.0.0.1")) == 200
    assert "is open to everybody" in warned[0]


def test_an_occupied_port_is_a_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressError, match=r"is occupied; choose another with metrics\.port"):
            MetricsWatcher(_config(port=taken.getsockname()[1]))


def test_reading_alone_is_served_and_to_this_machine_alone() -> None:
    with _served() as watcher:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            assert _status(watcher.url, method) == 501
        assert _status(watcher.url, "HEAD") == 200
        assert _status(watcher.url.replace("metrics", "")) == 404
        assert _status(watcher.url.replace("metrics", "../../etc/passwd")) == 404
        assert _status(watcher.url, Host="evil.example:9464") == 403
        assert _status(watcher.url, Host="localhost:9464") == 200
        assert _status(watcher.url, Host="127.0.0.1") == 200
        assert _status(watcher.url, Host="[::1]:80") == 200


def _connected(url: str) -> socket.socket:
    port = int(url.rpartition(":")[2].split("/")[0])
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def test_those_who_trickle_or_say_nothing_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_WHOLE_S", 1.0)
    monkeypatch.setattr(server._Handler, "timeout", 0.7)
    with _served() as watcher:
        with _connected(watcher.url) as silent:
            assert silent.recv(100) == b""
        with _connected(watcher.url) as slow, contextlib.suppress(OSError):
            for _ in range(600):
                slow.sendall(b"G")
                time.sleep(0.05)
            pytest.fail("a trickle is served for ever")
        assert _status(watcher.url) == 200


def test_more_connections_than_places_are_closed_and_the_rest_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 3.0)
    with _served() as watcher, contextlib.ExitStack() as stack:
        held = [stack.enter_context(_connected(watcher.url)) for _ in range(40)]
        time.sleep(0.5)
        named = [t for t in threading.enumerate() if "process_request_thread" in t.name]
        assert len(named) <= 16
        for link in held:
            link.close()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if _status(watcher.url) == 200:
                    return
            time.sleep(0.1)
        pytest.fail("not served any more")


def test_garbage_is_no_more_than_garbage() -> None:
    with _served() as watcher:
        for garbage in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70000):
            with _connected(watcher.url) as link, contextlib.suppress(OSError):
                link.sendall(garbage)
                link.shutdown(socket.SHUT_WR)
                link.recv(1000)
        assert Scrape(watcher.url).types


def test_several_scrapes_at_once() -> None:
    with _served() as watcher:
        found: list[str] = []
        readers = [
            threading.Thread(target=lambda: found.append(fetch(watcher.url))) for _ in range(8)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
    assert len(found) == 8


def test_without_prometheus_client_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(Exception, match=r"pip install 'mespot\[metrics\]'"):
        MetricsWatcher(_config())


def test_the_door_serves_metrics_and_prints_where(tmp_path: Path) -> None:
    """As a user: a free port, printed; asked by the command of a container's health check."""
    command = [sys.executable, str(ROOT / "run_live.py"), "synthetic:", "--no-models"]
    command += ["--events", "tcp://127.0.0.1:*", "--metrics", "--no-log"]
    environment = {"MESPOT_METRICS__PORT": "0", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as door:
        assert door.stdout is not None
        words = door.stdout.readline().split()
        assert words[:2] == ["metrics", "on"]
        end = time.monotonic() + 120
        while run(["health", words[2]]) != 0:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert Scrape(words[2]).total("mespot_frames_total") > 0
        door.terminate()
        assert door.wait(60) == 0
