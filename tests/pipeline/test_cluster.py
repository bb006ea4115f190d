"""``mespot cluster``: an actor killed, a node removed, every event once (scripted stages)."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.clip import encode
from models.errors import UserError
from pipeline.cli import run
from pipeline.cluster import Camera, Cluster, Room, detached, end, for_actor, statuses
from pipeline.cluster_actor import CameraActor, _Feed, wait_before
from pipeline.cluster_file import ClusterFile
from pipeline.config import Config, load
from pipeline.schema import EventMessage
from tests.pipeline import scripted
from tests.pipeline.archived import load_ray, raylet, three_nodes, wait_for_cores

SMALL = Room(cpus=1, memory_mb=300)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that stands for a camera: three minutes of nothing, 30 fps."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    encode(path, (np.full((48, 64, 3), 100, np.uint8) for _ in range(180 * 30)), 30)
    return path


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, Any]]:
    """Ray in a cluster of three nodes, the first of which takes no camera; and the cluster."""
    ray = load_ray()
    cluster = three_nodes(head_cpus=0)
    try:
        ray.init(cluster.address, log_to_driver=False, namespace="mespot")
        wait_for_cores(ray, 2)
        yield ray, cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def camera(source: Path, folder: Path, name: str = "door", **more: Any) -> Config:
    given = {"source": str(source), "model": [], "capture": {"name": name}} | more
    return for_actor(load(**given), folder)


class Heard:
    """What a follower got, and what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.states: list[str] = []
        self.said: list[str] = []
        self.others: set[str] = set()

    def hear(self, camera: Camera, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "event":
            self.events.append(message)
        elif kind == "curves":
            self.curves.append(message)
        elif kind == "state":
            self.states.append(message["state"])
        else:
            self.others.add(kind)

    def say(self, camera: Camera, text: str) -> None:
        self.said.append(text)

    def follow(self, cluster: Cluster, until: Callable[[], bool], patience_s: float = 150) -> None:
        end = time.monotonic() + patience_s
        cluster.follow(self.hear, self.say, lambda: not until() and time.monotonic() < end)
        assert until(), f"{len(self.events)} events; {self.said}"

    def more(self, cluster: Cluster, count: int, run: int) -> None:
        """Follow until ``count`` events of ``run`` are there."""
        self.follow(cluster, lambda: sum(e["run"] == run for e in self.events) >= count)


def closed_once(events: list[dict[str, Any]]) -> None:
    """Gapless by seq; each announcement closed once, over the runs; the last may be open."""
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert len({event["log"] for event in events}) == 1
    opened: dict[str, int] = {}
    for event in events:
        if event["phase"] == "apex":
            assert event["id"] not in opened
            opened[event["id"]] = event["run"]
        else:
            assert opened.pop(event["id"]) <= event["run"]
    assert set(opened.values()) <= {events[-1]["run"]}


def status(ray: Any, name: str = "door") -> dict[str, Any]:
    (found,) = statuses(ray, [(n, a) for n, a in detached(ray) if n == name])
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_actor_killed_and_a_node_lost_cost_no_event(
    nodes: Any, film: Path, tmp_path: Path
) -> None:
    ray, cluster = nodes
    heard = Heard()
    config = camera(film, tmp_path, publish={"curves": True})
    made = Cluster(ray, [config], SMALL, maker=scripted.make)
    try:
        heard.more(made, 5, run=1)
        first = status(ray)
        assert (first["state"], first["stream"]) == ("running", "door")
        assert first["frames"] > 0 and first["events"]["final"] > 0

        os.kill(first["pid"], signal.SIGKILL)
        heard.more(made, 5, run=2)
        second = status(ray)
        assert second["pid"] != first["pid"] and second["life"] != first["life"]
        assert any(text.startswith("lost") for text in heard.said)
        assert any(text.startswith("back on") for text in heard.said)

        home = _parent(second["pid"])
        (gone,) = [node for node in cluster.worker_nodes if raylet(node) == home]
        cluster.remove_node(gone, allow_graceful=False)
        heard.more(made, 5, run=3)
        third = _parent(status(ray)["pid"])
        assert third != home and third in map(raylet, cluster.worker_nodes), "it moved"
    finally:
        asked = made.ask_to_stop()
        heard.follow(made, lambda: all(camera.over for camera in made.cameras), 60)
        made.stop(asked)
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, memory=3e9)
        wait_for_cores(ray, 2)
    closed_once(heard.events)
    withdrawn = [e for e in heard.events if e["reason"] == "the run before ended unexpectedly"]
    assert {e["phase"] for e in heard.events} >= {"apex", "final"}
    assert {e["run"] for e in withdrawn} <= {2, 3}
    assert heard.curves and {"started"} <= set(heard.states)
    assert heard.others == set(), "nothing but events, curves and states leaves an actor"
    logged = Path(config.log.path or "")
    assert logged.parent == tmp_path and logged.is_file()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_detached_cameras_are_found_again_and_ended(nodes: Any, film: Path, tmp_path: Path) -> None:
    ray, _ = nodes
    configs = [camera(film, tmp_path, name) for name in ("left", "right")]
    file = tmp_path / "events.jsonl"

    def session(count: int) -> list[dict[str, Any]]:
        """One start of the follower, which writes ``count`` events more."""
        out, begin = ClusterFile(file), time.monotonic()
        made = Cluster(ray, configs, SMALL, True, out.had, scripted.make)
        assert not made.ours
        written: list[str] = []

        def hear(camera: Camera, message: dict[str, Any]) -> None:
            if message["type"] == "event":
                out.write(message)
                written.append(camera.name)

        def enough() -> bool:
            return min(written.count(n) for n in ("left", "right")) >= count

        made.follow(hear, Heard().say, lambda: not enough() and time.monotonic() < begin + 120)
        out.close()
        assert enough()
        return [json.loads(line) for line in file.read_text().splitlines()]

    try:
        session(3)
        with file.open("a") as torn:
            torn.write('{"log": "torn')
        time.sleep(3.0)  # events that nobody hears meanwhile
        events = session(4)
        for name in ("left", "right"):
            own = [e for e in events if e["stream"] == name]
            assert [e["seq"] for e in own] == list(range(len(own)))
        assert {one["state"] for one in statuses(ray, list(detached(ray)))} == {"running"}
        with pytest.raises(UserError, match="left: runs already with other settings"):
            Cluster(ray, [camera(film, tmp_path, "left", faces=2)], SMALL, True)
    finally:
        end(ray, [actor for _, actor in detached(ray)])
    deadline = time.monotonic() + 20
    while list(detached(ray)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


# --- without Ray


def test_an_actor_alone_tells_what_came_after_a_position(film: Path, tmp_path: Path) -> None:
    config = camera(film, tmp_path, duration=3.0, fps="max")
    actor = CameraActor(config, scripted.make)
    position, events = actor.begin(), list[dict[str, Any]]()
    assert position == "-1"
    batch = actor.fetch("me", position, 5.0)
    while not batch.over:
        events += [m for m in batch.messages if m["type"] == "event"]
        position = batch.position
        batch = actor.fetch("me", position, 5.0)
    closed_once(events)
    assert len(events) >= 4
    half = events[len(events) // 2]
    again = actor.fetch("other", f"{half['seq']}:{half['run']}:{half['log']}", 1.0)
    assert again.messages == events[half["seq"] + 1 :]
    assert actor.status()["state"] == "ended"
    assert actor.newest() == position


def _feeds() -> int:
    return sum(thread.name == "feed" for thread in threading.enumerate())


def _within(seconds: float, done: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_feed_that_is_closed_ends_though_nothing_comes() -> None:
    before = _feeds()
    feed = _Feed(("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"), "-1")
    assert _feeds() == before + 1
    feed.close()
    _within(30, lambda: _feeds() == before)


def test_followers_that_went_leave_no_feed_and_lose_nothing(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cluster_actor._UNASKED_S", 0.5)
    before = _feeds()
    actor = CameraActor(camera(film, tmp_path), scripted.make)
    try:
        position, events = actor.begin(), list[dict[str, Any]]()

        def some(follower: str, more: int) -> None:
            nonlocal position
            wanted, end = len(events) + more, time.monotonic() + 60
            while len(events) < wanted:
                assert time.monotonic() < end
                batch = actor.fetch(follower, position, 1.0)
                events.extend(m for m in batch.messages if m["type"] == "event")
                position = batch.position

        for number in range(3):
            some(f"start {number}", 2)
        _within(30, lambda: _feeds() == before)
        some("start 2", 2)
        assert [event["seq"] for event in events] == list(range(len(events)))
    finally:
        actor.stop()


def test_a_camera_that_cannot_be_opened_is_sought_again(tmp_path: Path) -> None:
    actor = CameraActor(camera(tmp_path / "nowhere.mp4", tmp_path), scripted.make)
    deadline = time.monotonic() + 60
    while actor.status()["restarts"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert actor.fetch("me", "-1", 0.1).state in ("failed", "starting")
    assert "nowhere.mp4" in actor.status()["detail"]
    assert actor.stop()["state"] == "stopped"


def test_starts_that_follow_each_other_wait(tmp_path: Path) -> None:
    file = tmp_path / "state" / "door.starts"
    waits = [wait_before(file, 1000.0 + number) for number in range(8)]
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16]
    assert wait_before(file, 1100.0) == 0.0


def test_the_file_tells_where_it_stands_by_camera_and_log(tmp_path: Path) -> None:
    def event(stream: str, log: str, seq: int) -> dict[str, Any]:
        return {"stream": stream, "log": log, "run": 1, "seq": seq, "phase": "final"}

    path = tmp_path / "events.jsonl"
    file = ClusterFile(path)
    for one in (event("a", "x", 0), event("b", "y", 4), event("a", "z", 0), event("a", "x", 1)):
        file.write(one)
    file.close()
    with path.open("ab") as torn:
        torn.write(b'{"stream": "a", "lo')
    again = ClusterFile(path)
    assert again.had == {"a": {"z": "0:1:z", "x": "1:1:x"}, "b": {"y": "4:1:y"}}
    assert list(again.had["a"]) == ["z", "x"], "the newest last"
    again.close()
    assert path.read_bytes().endswith(b"}\n")
    path.write_text("no event\n")
    with pytest.raises(UserError, match="line 1"):
        ClusterFile(path)


@pytest.mark.parametrize("content", ["notes of three years", '{"data": [1, 2]}', "\0\0\0"])
def test_a_file_of_others_without_a_last_newline_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "thesis"
    path.write_text(content)
    with pytest.raises(UserError, match="thesis: no events"):
        ClusterFile(path)
    assert path.read_text() == content


def test_a_first_event_that_was_torn_is_taken_off(tmp_path: Path) -> None:
    at = {"stream": "a", "frame": 3, "pts": 0.1, "mono_ns": 0, "utc_ns": 0}
    about = {"seq": 0, "id": "x", "stream": "a", "face": 0, "phase": "apex", "kind": "micro"}
    fields = dict.fromkeys(EventMessage.__struct_fields__[len(about) + 4 :], None) | {"apex": at}
    body = msgspec.msgpack.encode(EventMessage(**about | fields))
    file = ClusterFile(tmp_path / "events.jsonl")
    file.write(msgspec.msgpack.decode(body))
    file.close()
    line = file.path.read_bytes()
    for kept in (1, 15, 40, len(line) - 1):
        file.path.write_bytes(line[:kept])
        ClusterFile(file.path).close()
        assert file.path.read_bytes() == b""


def test_two_followers_do_not_share_a_file(tmp_path: Path) -> None:
    file = ClusterFile(tmp_path / "events.jsonl")
    with pytest.raises(UserError, match=r"events\.jsonl: another mespot cluster"):
        ClusterFile(file.path)
    file.close()
    ClusterFile(file.path).close()


@pytest.mark.parametrize(
    "more",
    [
        {"clips": {"folder": "clips"}},
        {"lsl": {"enabled": True}},
        {"dashboard": {"enabled": True}},
        {"metrics": {"enabled": True}},
        {"security": {"curve": "always"}},
        {"transport": "ipc"},
    ],
)
def test_what_no_actor_does_is_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"door: .*not for mespot cluster"):
        camera(tmp_path, tmp_path, **more)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["cluster"], "--config"),
        (["cluster", "--config", "c.toml", "--detach"], "--ray"),
        (["cluster", "status"], "--ray"),
        (["cluster", "stop"], "--ray"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], line: str, capsys: Any) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and line in err


def test_a_cluster_that_does_not_answer_is_one_line(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # another test's cluster may be joined still
    monkeypatch.setattr(load_ray(), "is_initialized", lambda: False)
    assert run(["cluster", "status", "--ray", "127.0.0.1:1"]) == 6
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--ray 127.0.0.1:1: cannot be joined" in err
