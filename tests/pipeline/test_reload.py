"""SIGHUP: what can change within a run changes, the rest is named (synthetic camera)."""

from __future__ import annotations

import os
import pty
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from pipeline import signals
from pipeline.config import load
from pipeline.event_log import EventLog
from pipeline.graph import Graph
from pipeline.journal import Journal
from pipeline.messages import Command
from pipeline.notify import Notifier
from pipeline.reload import RELOADABLE, changed, flat, overlaid, settings
from pipeline.sources.lasting import Lasting
from pipeline.sources.timeline import Timeline
from tests.pipeline import scripted
from tests.pipeline.test_graph import _run

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def _until(reached: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := reached()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def test_every_key_is_one_and_marked_in_the_table() -> None:
    assert set(flat(load())) >= RELOADABLE
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_.]+)` \|[^|]*\| (↻ )?", page, re.M)
    assert {key for key, mark in rows if mark} == RELOADABLE


def test_only_what_can_change_changes() -> None:
    old = load(model=[])
    new = load(model=[], faces=3, publish={"beat_s": 7}, log={"max_mb": 3, "sync": "full"})
    graph = Graph(old)
    done = graph.reload(new)
    assert str(done) == "applied log.max_mb, publish.beat_s; needs a restart: faces, log.sync"
    assert changed(old, graph.config) == ["log.max_mb", "publish.beat_s"]
    assert str(graph.reload(new)) == "needs a restart: faces, log.sync"
    assert str(graph.reload(graph.config)) == "nothing has changed"
    assert graph.revision == 1


def test_what_goes_with_something_that_stays_stays_as_well() -> None:
    """LSL needs the curves, as long as it is on."""
    graph = Graph(load(model=[], lsl={"enabled": True}))
    done = graph.reload(load(model=[]))
    assert graph.config.publish.curves
    assert done.restart == ["lsl.enabled", "publish.curves"]
    assert not done.applied


def test_secrets_and_environment_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a-token-of-some-length"
    config = load(source="rtsp://anna:hunter2@camera/1", metrics={"token": token}, model=[])
    monkeypatch.setenv("MESPOT_CAPTURE__GIVE_UP_S", "5")
    monkeypatch.setenv("MESPOT_FACES", "9")
    same = overlaid(config, settings(config))
    assert changed(config, same) == []
    assert same.metrics.token is not None and same.metrics.token.get_secret_value() == token


def test_a_word_that_is_none_is_counted_and_changes_nothing() -> None:
    made = scripted.config()
    with pytest.raises(ValueError, match="beat_s"):
        overlaid(made, {"publish.beat_s": -1.0})
    assert overlaid(made, {"faces": 7, "publish.beat_s": 2.0}).faces == 1
    assert Command("reload").settings == {}


class Run:
    """A real process with a configuration file."""

    def __init__(self, folder: Path, transport: str, *options: str) -> None:
        self.file = folder / "mespot.toml"
        self.said: queue.Queue[str] = queue.Queue()
        self.events = f"ipc://{folder}/e"
        self.write(30)
        command = [sys.executable, str(ROOT / "run_live.py"), "--config", str(self.file)]
        command += ["--events", self.events, "--no-log", "--transport", transport, *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.context = zmq.Context()
        self.link = self.context.socket(zmq.SUB)
        self.link.setsockopt(zmq.LINGER, 0)
        self.link.subscribe("")
        self.link.connect(self.events)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "reload" in line:
                self.said.put(line.strip())

    def write(self, beat_s: float, more: str = "") -> None:
        self.file.write_text(f"model = []\n{more}\n[publish]\nbeat_s = {beat_s}\n")

    def reload(self) -> str:
        self.process.send_signal(signal.SIGHUP)
        return self.said.get(timeout=PATIENCE_S)

    def hear(self, topic: str, count: int = 1) -> None:
        """Wait for so many messages."""
        for _ in range(count):

            def heard() -> bool:
                return bool(
                    self.link.poll(100) and self.link.recv_multipart()[0].startswith(topic.encode())
                )

            _until(heard, topic)

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(PATIENCE_S)
        self.link.close()
        self.context.term()
        return code


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(*arguments: str) -> Run:
        made.append(Run(tmp_path, *arguments))
        return made[-1]

    yield make
    for run in made:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@pytest.mark.parametrize("transport", ["inproc", "ipc"])
def test_a_real_signal_to_a_real_process(running: Callable[..., Run], transport: str) -> None:
    run = running(transport)
    run.hear("")  # it runs
    run.write(0.05)
    assert run.reload() == "mespot: reload: applied publish.beat_s"
    begin = time.monotonic()
    run.hear("beat.", 5)
    assert time.monotonic() - begin < 25  # one, at the old interval
    run.file.write_text("[publish\nbeat_s = ")
    line = run.reload()
    assert line.startswith("mespot: reload: nothing was reloaded: ")
    assert "not valid TOML" in line
    run.write(-1)
    assert "publish.beat_s" in run.reload()
    run.file.unlink()
    assert "no such configuration file" in run.reload()
    run.hear("beat.", 3)
    run.write(0.05, "faces = 2")
    assert run.reload() == "mespot: reload: needs a restart: faces"
    run.file.write_text("model = []\n[publish]\nbeat_s = 0.05\ncurves = true\n")
    assert run.reload() == "mespot: reload: applied publish.curves"
    run.hear("curves.", 3)
    assert run.process.poll() is None
    assert run.end() == 0


def test_options_keep_their_precedence(running: Callable[..., Run]) -> None:
    run = running("inproc", "--faces", "2")
    run.hear("")  # it runs
    run.write(30, "faces = 7")
    assert run.reload() == "mespot: reload: nothing has changed"
    assert run.end() == 0


def test_without_a_file_the_signal_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    graph = Graph(load(model=[]))
    handler = signals.Signals(signals.One(graph), None, said.append, Notifier(address=""))
    handler._hang_up(signal.SIGHUP, None)
    assert _until(lambda: said, "a word") == ["reload: there is no file to read (--config)"]
    assert not graph._stops


def test_a_terminal_that_is_closed_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, terminal = pty.openpty()
    real = os.isatty
    monkeypatch.setattr(os, "isatty", lambda fd: real(terminal) if fd == 0 else False)
    said: list[str] = []
    graph = Graph(load(model=[]))
    one, again = signals.One(graph), lambda: [load(model=[])]
    handler = signals.Signals(one, again, said.append, Notifier(address=""))
    handler._hang_up(signal.SIGHUP, None)
    _until(lambda: said, "a reload")
    assert not graph._stops
    os.close(keeper)
    handler._hang_up(signal.SIGHUP, None)
    assert graph._stops == 1
    os.close(terminal)


def test_nohup_is_respected() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals.Signals(signals.One(Graph(load())), None, print, Notifier(address="")).listen()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def test_a_run_of_one_camera_takes_no_others() -> None:
    one = signals.One(Graph(load(model=[])))
    said = signals.reload(one, lambda: [load(model=[]), load(model=[], faces=2)])
    assert said == "nothing was reloaded: 2 cameras now, and this run is of one: a restart"


def test_every_node_hears_it_and_a_restarted_one_has_it() -> None:
    """Processes; one is killed after the reload, and begins with what holds now."""
    import multiprocessing

    graph = Graph(
        scripted.config(transport="ipc", duration=600, fps=60, graph={"heartbeat_s": 0.1}),
        maker=scripted.make,
    )
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(_run(graph)), daemon=True)
    thread.start()
    _until(lambda: graph.nodes["spot"].total_received > 30, "frames")
    new = scripted.config(
        transport="ipc", duration=600, fps=60,
        graph={"heartbeat_s": 0.15, "deaths": 50}, publish={"beat_s": 0.2},
    )  # fmt: skip
    done = graph.reload(new)
    assert done.applied == ["graph.deaths", "graph.heartbeat_s", "publish.beat_s"]

    def heard() -> bool:
        return all(state.revision == 1 for state in graph.nodes.values())

    _until(heard, "all nodes have heard")
    assert graph._restarts.most == 50
    assert graph._host is not None and graph._host.config.publish.beat_s == 0.2
    for child in multiprocessing.active_children():
        if child.name == "mespot-motion":
            child.kill()
    _until(lambda: graph.nodes["motion"].epoch == 1 and heard(), "the new one has heard")
    graph.stop()
    thread.join(PATIENCE_S)
    assert ended and ended[0].restarts == 1


def test_a_camera_is_sought_otherwise_from_now_on() -> None:
    def nothing() -> Any:
        raise AssertionError

    camera = Lasting("cam", nothing, Timeline())
    camera.seek(False, 0.25, 4.0, 9.0)
    assert (camera._backoff.first_s, camera._backoff.most_s) == (0.25, 4.0)
    assert (camera._reconnect, camera._give_up_s) == (False, 9.0)


def test_the_log_keeps_less_from_now_on(tmp_path: Path) -> None:
    from pipeline.event_rows import Row

    log = EventLog(tmp_path / "log.db", "cam")
    rows = [Row(n, 1, f"cam/0/0-{n}", "final", time.time_ns(), b"x" * 2000) for n in range(2000)]
    log.append(rows, 1)
    journal = Journal(log)
    for _ in range(5):
        journal.tend()
    assert log.page(-1, 1)[0].seq == 0
    journal.limit(1.0, 36500)
    for _ in range(50):
        journal.tend()
    assert log.page(-1, 1)[0].seq > 500
    journal.close()
