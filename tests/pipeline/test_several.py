"""Several synthetic cameras in one process: the events of each, shared recognisers, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from models.errors import UserError
from pipeline.cameras import load_cameras
from pipeline.cli import run
from pipeline.config import Config
from pipeline.graph import Graph, GraphDied
from pipeline.messages import Report
from pipeline.reload import Reloaded, changed
from pipeline.score_server import ScoreServer
from pipeline.several import Camera, Several
from pipeline.summary import NodeState, Summary
from pipeline.watchers import Watcher

ROOT = Path(__file__).parents[2]
ANY = 'events = "tcp://127.0.0.1:*"\n'
SPOT = """\
fps = "max"
events = "tcp://127.0.0.1:*"
[log]
enabled = false
"""


def written(tmp_path: Path, *cameras: str, shared: str = SPOT) -> Path:
    file = tmp_path / "mespot.toml"
    file.write_text(shared + "".join(f"[[camera]]\n{camera}\n" for camera in cameras))
    return file


class Kept(Watcher):
    """Published messages by stream; calls must not overlap."""

    def __init__(self) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.inside = threading.Lock()

    def on_report(self, report: Report, graph: Graph) -> None:
        assert self.inside.acquire(blocking=False), "two calls at once"
        try:
            if report.kind == "published":
                from pipeline import arrived

                message = arrived.body(report.payload)
                if message["type"] == "event":
                    assert message["stream"] == graph.config.capture.name
                    self.events.setdefault(message["stream"], []).append(message)
        finally:
            self.inside.release()


def plain(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what differs from run to run (docs/protocol.md)."""
    told = json.loads(json.dumps(events))
    for event in told:
        for name in ("log", "run", "published_utc_ns", "delays", "stream", "id"):
            del event[name]
        for moment in [event[name] for name in ("onset", "apex", "offset")] + [
            au[name] for au in event["aus"] for name in ("onset", "apex", "offset")
        ]:
            if moment is not None:
                del moment["utc_ns"]
    return told


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["inproc", "ipc"])
def test_each_camera_has_the_events_that_it_has_alone(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "synthetic:duration=8"
    file = written(
        tmp_path,
        f'name = "a"\nsource = "{source}"',
        f'name = "b"\nsource = "{source},seed=5"',
        shared=f'transport = "{transport}"\n' + SPOT,
    )
    watcher = Kept()
    servers: list[ScoreServer] = []

    def begun(*of_it: Any) -> ScoreServer:
        servers.append(ScoreServer(*of_it))
        return servers[-1]

    monkeypatch.setattr("pipeline.sharing.ScoreServer", begun)
    several = Several(load_cameras(file), watcher)
    summaries = several.run()
    assert list(summaries) == ["a", "b"]
    assert summaries["a"].frames == summaries["b"].frames == 240
    (server,) = servers
    assert sum(server.batches.values()) >= 1, "the recognisers are shared"
    for camera in load_cameras(file):
        alone = Kept()
        Graph(camera, alone.on_report).run()
        name = camera.capture.name
        assert plain(watcher.events[name]) == plain(alone.events[name])
        finals = [event for event in watcher.events[name] if event["phase"] == "final"]
        assert finals and all(len(event["emotions"]) > 1 for event in finals)


def test_a_camera_that_cannot_start_ends_the_run_and_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.mp4"
    file = written(
        tmp_path,
        'name = "a"\nsource = "synthetic:duration=600"\nfps = "source"',
        f'name = "gone"\nsource = "{missing}"',
        shared="model = []\n" + SPOT,
    )
    with pytest.raises(UserError, match=r"^gone: ") as caught:
        Several(load_cameras(file), Watcher()).run()
    assert caught.value.exit_code == 4


class Dying:
    """In place of a graph: a camera that gave frames, and whose graph dies twice."""

    lives: ClassVar[list[str]] = []

    def __init__(self, config: Config, *more: object, **others: object) -> None:
        self.config = config
        self.nodes = {"capture": NodeState(received=5)}
        self.stopped = threading.Event()

    def run(self) -> Summary:
        name = self.config.capture.name
        self.lives.append(name)
        if name == "cam1" and self.lives.count(name) < 3:
            raise GraphDied("motion: hangs")
        if name == "cam0":  # until the other has come through
            while self.lives.count("cam1") < 3:
                assert not self.stopped.wait(0.01), "the other camera's death is its own"
        return Summary(self.nodes, Counter(), 1.0)

    def stop(self) -> None:
        self.stopped.set()


def test_a_cameras_graph_that_dies_is_begun_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.several.Graph", Dying)
    monkeypatch.setattr(Dying, "lives", [])
    file = written(tmp_path, "source = 0", "source = 1", shared="model = []\n")
    notes: list[str] = []
    summaries = Several(load_cameras(file), Watcher(), notes.append, first_s=0.01).run()
    assert sorted(summaries) == ["cam0", "cam1"]
    assert Counter(Dying.lives) == {"cam0": 1, "cam1": 3}
    waits = ["0.01", "0.02"]
    assert notes == [f"cam1: motion: hangs; again in {wait} s" for wait in waits]


class Waiting:
    """In place of a graph: runs until it is told to stop, and drains as long as ``gate`` says."""

    gate = threading.Event()

    def __init__(self, config: Config, *more: object, **others: object) -> None:
        self.config = config
        self.nodes = {"capture": NodeState(received=5)}
        self.stopped = threading.Event()

    def run(self) -> Summary:
        if self.config.source.endswith("short.mp4"):
            return Summary(self.nodes, Counter(), 1.0)
        assert self.stopped.wait(60)
        assert self.gate.wait(60)
        return Summary(self.nodes, Counter(), 1.0)

    def stop(self) -> None:
        self.stopped.set()

    def reload(self, config: Config) -> Reloaded:
        return Reloaded([], changed(self.config, config))


class Running:
    """``Several`` on waiting graphs."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pipeline.several.Graph", Waiting)
        monkeypatch.setattr(Waiting, "gate", threading.Event())
        self._folder = tmp_path
        self.gone: list[str] = []
        watcher = Watcher()
        watcher.gone = self.gone.append  # type: ignore[method-assign]
        self.several = Several(self.cameras(a="", b=""), watcher)
        self._thread = threading.Thread(target=self.several.run)
        self._thread.start()
        _until(lambda: all(one.graph for one in self.several.cameras))

    def cameras(self, shared: str = "", **tables: str) -> list[Config]:
        text = [f'name = "{name}"\n' + own for name, own in tables.items()]
        text = [one if "source" in one else one + "\nsource = 0" for one in text]
        return load_cameras(written(self._folder, *text, shared="model = []\n" + ANY + shared))

    def camera(self, name: str) -> Camera:
        (found,) = (one for one in self.several.cameras if one.name == name)
        return found

    def end(self) -> None:
        Waiting.gate.set()
        self.several.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    running = Running(tmp_path, monkeypatch)
    yield running
    running.end()


def test_settings_that_are_changed_back_while_a_camera_drains(waiting: Running) -> None:
    several = waiting.several
    assert several.reload(waiting.cameras(a="faces = 2", b="")) == "a: begun again for faces"
    assert several.reload(waiting.cameras(a="", b="")) == "a: begun again"
    assert several.reload(waiting.cameras(a="", b="")) == "nothing has changed"
    Waiting.gate.set()
    _until(lambda: waiting.camera("a").lives == 2)
    assert waiting.camera("a").config.faces == 1
    assert not waiting.camera("a").over and waiting.camera("b").lives == 1


def test_a_camera_that_is_named_again_while_it_ends(waiting: Running) -> None:
    several = waiting.several
    assert several.reload(waiting.cameras(b="")) == "a: ended"
    assert several.reload(waiting.cameras(a="", b="")) == "a: begun again"
    Waiting.gate.set()
    _until(lambda: waiting.camera("a").lives == 2)
    assert waiting.gone == []
    several.reload(waiting.cameras(b=""))
    _until(lambda: waiting.gone == ["a"])
    assert several.reload(waiting.cameras(a="", b="")) == "a: begun"
    _until(lambda: waiting.camera("a").graph is not None)


def test_what_is_the_processs_needs_a_restart_and_interrupts_nobody(waiting: Running) -> None:
    shared = '[dashboard]\ntoken = "0123456789abcdef"\n[metrics]\nport = 9999\n'
    said = waiting.several.reload(waiting.cameras(shared, a="", b="faces = 2"))
    assert said == (
        "a: needs a restart: dashboard.token, metrics.port; "
        "b: begun again for faces; needs a restart: dashboard.token, metrics.port"
    )
    assert not waiting.camera("a").again


def test_a_recording_that_has_ended_is_not_played_again(waiting: Running) -> None:
    clip = 'source = "short.mp4"'
    new = waiting.cameras(a="", b="", clip=clip)
    assert waiting.several.reload(new) == "clip: begun"
    _until(lambda: waiting.camera("clip").over)
    assert waiting.several.reload(new) == "nothing has changed"
    more = waiting.cameras(a="", b="", clip=clip + "\nfaces = 2")
    assert waiting.several.reload(more) == "clip: begun"


@pytest.mark.slow
def test_a_reload_adds_ends_and_changes_cameras_and_leaves_the_others_alone(
    tmp_path: Path,
) -> None:
    def cameras(**more: str) -> list[Config]:
        tables = [
            f'name = "{name}"\nsource = "synthetic:duration=600"\nfps = 30\n{own}'
            for name, own in more.items()
        ]
        return load_cameras(written(tmp_path, *tables, shared="model = []\n" + SPOT))

    notes: list[str] = []
    several = Several(cameras(same="", goes="", other="", beats=""), Watcher(), notes.append)
    ended: list[dict[str, Summary]] = []
    thread = threading.Thread(target=lambda: ended.append(several.run()))
    thread.start()

    def frames(name: str, life: int) -> bool:
        (camera,) = (one for one in several.cameras if one.name == name)
        graph = camera.graph
        there = graph is not None and graph.nodes["capture"].total_received > 5
        return there and camera.lives == life

    try:
        _until(lambda: all(frames(name, 1) for name in ("same", "goes", "other", "beats")))
        new = cameras(same="", other="faces = 2", beats="[camera.publish]\nbeat_s = 3", new="")
        said = several.reload(new)
        assert sorted(said.split("; ")) == [
            "beats: applied publish.beat_s",
            "goes: ended",
            "new: begun",
            "other: begun again for faces",
        ]
        _until(lambda: frames("other", 2) and frames("new", 1))
        by_name = {camera.name: camera for camera in several.cameras}
        _until(lambda: by_name["goes"].over)
        assert not by_name["same"].over and by_name["same"].lives == 1
        assert by_name["other"].graph is not None and by_name["other"].graph.config.faces == 2
        assert several.reload(new) == "nothing has changed"
    finally:
        several.stop()
        thread.join(60)
    assert sorted(ended[0]) == ["beats", "goes", "new", "other", "same"]
    assert notes == []
    assert several.reload(new) == "the run is ending"


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_signal_drains_every_camera(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        'name = "a"\nsource = "synthetic:duration=600"\nfps = 30',
        'name = "b"\nsource = "synthetic:duration=600"\nfps = 30',
        shared="model = []\n" + SPOT,
    )
    command = [sys.executable, str(ROOT / "run_live.py"), "--config", str(file)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        seen = ""
        while not ("a face_found" in seen and "b face_found" in seen):
            line = process.stdout.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "summary" in rest


@pytest.mark.slow
def test_the_command_line_runs_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "synthetic:duration=5"
    file = written(
        tmp_path,
        f'name = "door"\nsource = "{source}"',
        f'name = "desk"\nsource = "{source}"',
        shared=f'out = "{tmp_path / "events.jsonl"}"\n' + SPOT,
    )
    assert run(["check", str(file)]) == 0
    assert run(["live", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert said.count("events on tcp://127.0.0.1:") == 2
    assert "door" in said and "desk" in said and "summary" in said
    for name in ("door", "desk"):
        lines = (tmp_path / f"events.{name}.jsonl").read_text().splitlines()
        assert lines and {json.loads(line)["stream"] for line in lines} == {name}
