"""The publish node dies, in a thread and as a process, at work and at the end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from models.errors import AddressError, UserError
from pipeline import sockets
from pipeline.config import SecurityConfig, load
from pipeline.event_rows import LogError
from pipeline.events import subscribe
from pipeline.graph import Graph
from pipeline.guard import Guard
from pipeline.messages import Report
from pipeline.publish_node import PublishNode
from pipeline.sources.naming import stream_of
from stages.items import Event
from tests.pipeline.scripted_publisher import Life, event
from tests.pipeline.test_graph import Pass, ScriptedSource, _run, scripted  # noqa: F401
from tests.pipeline.test_processes import _child

ROOT = Path(__file__).parents[2]


def logged(path: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as link:
        rows = link.execute("SELECT body FROM events ORDER BY seq").fetchall()
    return [msgspec.msgpack.decode(body) for (body,) in rows]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_closed_once(events: list[dict[str, Any]]) -> None:
    """A final event whose apex died with a node is announced by nothing else."""
    opened = [e["id"] for e in events if e["phase"] == "apex"]
    closed = [e["id"] for e in events if e["phase"] in ("final", "retracted")]
    assert set(opened) <= set(closed)
    assert len(set(opened)) == len(opened) > 0
    assert len(set(closed)) == len(closed)
    assert [e["seq"] for e in events] == list(range(len(events)))


class Announce(Pass):
    """An expression opens every fourth frame and closes ten frames later."""

    def process(self, item: Any) -> Iterable[Any]:
        frame = item.stamp.frame
        if frame % 4 == 0:
            yield event(f"scripted/0/{self.epoch}-{frame}", "apex", frame)
        if frame % 4 == 2 and frame > 10:
            yield event(f"scripted/0/{self.epoch}-{frame - 10}", "final", frame)


def test_a_publish_thread_that_dies_goes_on_where_it_stood(
    scripted: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted["classify"] = Announce
    scripted["source"] = ScriptedSource(120, pause_s=0.005)
    count = itertools.count()
    publish = PublishNode._publish

    def dying(self: PublishNode, messages: Any, item: Any) -> None:
        if isinstance(item, Event) and next(count) in (9, 30):
            raise SystemError("broken")
        publish(self, messages, item)

    monkeypatch.setattr(PublishNode, "_publish", dying)
    published: list[dict[str, Any]] = []
    addresses: list[str] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "published":
            published.append(msgspec.msgpack.decode(report.payload))
        elif report.kind == "ready" and report.node == "publish":
            addresses.append(report.text)

    out, log = tmp_path / "e.jsonl", tmp_path / "l.db"
    options = {"events": "tcp://127.0.0.1:*", "out": out, "log": {"path": log}}
    summary = _run(Graph(load(**options), on_report))
    events = [m for m in published if m["type"] == "event"]
    assert summary.restarts == 2
    assert_closed_once(events)
    assert {e["reason"] for e in events} >= {"publish restarted", "ended"}
    assert logged(log) == lines(out) == events
    restarts = [m["detail"] for m in published if m.get("state") == "node_restarted"]
    assert restarts == ["publish", "publish"]
    assert len(addresses) == 3
    assert len(set(addresses)) == 1
    assert summary.dropped["publish: closed already"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("with_log", [True, False])
def test_a_publish_process_that_is_killed_keeps_addresses_and_numbers(
    tmp_path: Path, with_log: bool
) -> None:
    out, log = tmp_path / "e.jsonl", tmp_path / "l.db"
    ready: list[str] = []

    def on_report(report: Report, graph: Graph) -> None:
        if report.kind == "ready" and report.node == "publish":
            ready.append(report.text)

    options: dict[str, Any] = {"events": "tcp://127.0.0.1:*", "out": out, "transport": "ipc"}
    options["log"] = {"path": log} if with_log else {"enabled": False}
    graph = Graph(load(source="synthetic:", duration=12, model=[], **options), on_report)
    had: list[dict[str, Any]] = []

    def listen() -> None:
        while not ready:
            time.sleep(0.05)
        address = ready[0].split("\t")[0]
        for _, message in subscribe(address, since=-1, timeout_s=60, on_notice=lambda n: None):
            had.append(message)

    def kill() -> None:
        while graph.events["apex"] < 1:
            time.sleep(0.02)
        _child("publish").kill()

    threads = [threading.Thread(target=work, daemon=True) for work in (listen, kill)]
    for thread in threads:
        thread.start()
    summary = graph.run()
    assert summary.restarts == 1
    assert len(ready) == 2
    assert ready[0].split("\t")[:2] == ready[1].split("\t")[:2]
    if not with_log:  # then nothing is known of the life before, and the file says so
        assert [e["seq"] for e in lines(out)].count(0) >= 1
        return
    events = logged(log)
    assert_closed_once(events)
    assert lines(out) == events
    assert any(e["reason"] == "publish restarted" for e in events)
    assert len({e["log"] for e in events}) == 1
    assert had == events[: len(had)]
    assert len(had) > 1


@pytest.mark.slow
def test_a_run_that_is_killed_is_closed_by_the_next(tmp_path: Path) -> None:
    log = tmp_path / "l.db"
    code = "import sys; from pipeline.cli import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-u", "-c", code, "live", "synthetic:", "--no-models"]
    command += ["--events", "tcp://127.0.0.1:*", "--log", str(log)]
    door = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert door.stdout is not None
    said = (line for line in door.stdout if "compiles" not in line)  # where kernels are cold
    first, second = next(said), next(said)
    assert first.startswith("events on tcp://127.0.0.1:")
    assert second.startswith("replay on tcp://127.0.0.1:")
    for line in said:
        if line.startswith("apex"):
            break
    os.kill(door.pid, signal.SIGKILL)
    door.wait()
    before = logged(log)
    again = subprocess.run(
        [*command, "--duration", "1"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stderr
    events = logged(log)
    assert events[: len(before)] == before
    assert_closed_once(events)
    closing = events[len(before)]
    assert closing["reason"] == "the run before ended unexpectedly"
    assert (before[0]["run"], closing["run"]) == (1, 2)
    assert "retracted" in again.stdout


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = _life(tmp_path)
    yield made
    made.end()


def _life(folder: Path, **options: Any) -> Life:
    base: dict[str, Any] = {"events": f"ipc://{folder}/e", "log": {"path": folder / "l.db"}}
    base |= {"publish": {"beat_s": 0.05}} | options
    made = Life(load(source="synthetic:", **base), f"life-{time.monotonic_ns()}")
    made.report("ready")
    return made


def _states(life: Life, until: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1].get("state") != until:
        seen.append(msgspec.msgpack.decode(life.report("published").payload))
    return seen


def test_with_a_disk_that_fails_everything_is_published_and_replayed(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = life.node._journal
    assert journal is not None
    with monkeypatch.context() as patch:

        def full(rows: Any, run: int) -> None:
            raise LogError("database or disk is full")

        patch.setattr(journal._file, "append", full)
        life.give(event("synthetic/0/0-0", "apex"))
        told = _states(life, "log_failed")
        assert told[-1]["detail"] == "database or disk is full"
        life.give(event("synthetic/0/0-0", "final"))
        with subscribe(f"ipc://{tmp_path}/e", since=-1, timeout_s=20) as all_of_it:
            got = [message["phase"] for _, message in itertools.islice(all_of_it, 2)]
        assert got == ["apex", "final"]
        assert logged(tmp_path / "l.db") == []
    told = _states(life, "log_back")
    assert told[-1]["detail"] == "2 events written"
    assert not [m for m in told if m.get("state") == "log_failed"]  # said once
    assert [e["seq"] for e in logged(tmp_path / "l.db")] == [0, 1]


def test_out_on_a_full_disk_stops_nothing_and_catches_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    life = _life(tmp_path, out=out)
    write = os.write

    def half(link: int, data: bytes) -> int:
        if data.startswith(b'{"v":') and len(data) > 500:
            return write(link, data[:300])
        raise OSError(28, "No space left on device")

    life.give(event("synthetic/0/0-0", "apex"))
    while not out.read_bytes():
        time.sleep(0.02)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        life.give(event("synthetic/0/0-0", "final"))
        assert "No space left" in life.report("note").text
    assert len(lines(out)) == 1  # no torn line
    life.give(event("synthetic/0/0-1", "apex"))
    life.report("published")
    life.end()
    assert lines(out) == logged(tmp_path / "l.db")
    assert [e["seq"] for e in lines(out)] == [0, 1, 2]


def test_out_of_a_new_run_holds_its_own_events_alone(tmp_path: Path) -> None:
    for number in range(2):
        life = _life(tmp_path, out=tmp_path / "out.jsonl")
        life.give(event("synthetic/0/0-0", "apex"))
        while msgspec.msgpack.decode(life.report("published").payload).get("phase") != "apex":
            pass
        life.end()
        events = logged(tmp_path / "l.db")
        assert [e["phase"] for e in events] == ["apex", "retracted", "apex"][: 1 + 2 * number]
        assert lines(tmp_path / "out.jsonl") == events[-1:]


def test_an_occupied_replay_port_is_one_line_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        monkeypatch.setattr(sockets, "beside", lambda events: f"tcp://127.0.0.1:{port}")
        life = _life(tmp_path)  # by default another place is found
        assert life.node._addresses[1].startswith("tcp://127.0.0.1:")
        life.end()
        with pytest.raises(AssertionError, match=r"replay: .* is occupied; choose .* --replay"):
            _life(tmp_path, replay=f"tcp://127.0.0.1:{port}")


def test_a_bound_socket_says_what_was_wrong() -> None:
    with zmq.Context() as context, pytest.raises(AddressError, match="replay: cannot bind"):
        guard = Guard(context, SecurityConfig(insecure=True))
        sockets.public(context, zmq.ROUTER, "tcp://256.0.0.1:1", 1, guard, "replay")


def test_the_replay_socket_is_beside_the_event_socket() -> None:
    assert sockets.beside("tcp://127.0.0.1:5556") == "tcp://127.0.0.1:5557"
    assert sockets.beside("tcp://0.0.0.0:*") == "tcp://0.0.0.0:*"
    assert sockets.beside("tcp://127.0.0.1:65535") == "tcp://127.0.0.1:*"
    assert sockets.beside("ipc:///run/m") == "ipc:///run/m.replay"


def test_log_and_no_log_exclude_each_other(tmp_path: Path) -> None:
    from pipeline.cli_live import live

    with pytest.raises(UserError, match="--no-log and --log"):
        live(no_log=True, log=tmp_path / "l.db")


def test_a_stream_has_its_name_before_it_is_opened(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from pipeline.sources import open_source

    folder = tmp_path / "my clips"
    folder.mkdir()
    cv2.imwrite(str(folder / "img1.png"), np.zeros((40, 40), np.uint8))
    for text in ("synthetic:", "synthetic:seed=3", str(folder)):
        try:
            source = open_source(text, fps=30.0)
        except UserError:
            continue
        assert stream_of(text) == source.stream
        source.close()
    assert stream_of(str(folder)) == "my-clips"
    assert stream_of("0") == "cam0"
    assert stream_of("a b/c d.mp4") == "c-d"
    assert stream_of("rtsp://user:secret@cam.local:554/a?token=x") == stream_of(
        "rtsp://cam.local:554/a?token=y"
    )
    assert stream_of("0", "door") == "door"
