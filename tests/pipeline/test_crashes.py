"""Killed, hanging and orphaned nodes (synthetic camera, scripted stages)."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.begun import Begun
from pipeline.ending import Ending
from pipeline.graph import Graph, GraphDied
from pipeline.messages import End, Report
from pipeline.restarts import Restarts
from pipeline.sockets import NODES
from pipeline.sources import open_source
from pipeline.summary import NodeState
from tests.pipeline import scripted
from tests.pipeline.test_graph import _run

INNER = ("capture", "face", "motion", "spot", "classify")


class Killer(threading.Thread):
    """Kills nodes of a graph that runs as processes, and times their recovery.

    Recovery: from the kill until the supervisor hears that the new process has handled an item.
    """

    def __init__(self, graph: Graph, names: list[str], wait: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self._graph, self._names, self._wait = graph, names, wait
        self.killed: list[str] = []
        self.recovered_s: list[float] = []
        self.over = False

    def run(self) -> None:
        for name in self._names:
            time.sleep(self._wait())
            # at any moment: the others may be starting, but this one must be there
            if not self._until(lambda n=name: self._graph.nodes[n].ready and self._running):
                return
            epoch = self._graph.nodes[name].epoch
            if self._graph.nodes[name].done or not _kill(name):
                return
            begin = time.monotonic()
            self.killed.append(name)
            state = self._graph.nodes[name]
            if not self._until(lambda s=state, e=epoch: s.epoch > e and s.ready and s.received):
                return
            self.recovered_s.append(time.monotonic() - begin)

    @property
    def _running(self) -> bool:
        return self._graph._running

    def _until(self, true: Callable[[], Any]) -> bool:
        while not self.over and not true():
            time.sleep(0.01)
        return not self.over


def _kill(name: str) -> bool:
    for child in multiprocessing.active_children():
        if child.name == f"mespot-{name}" and child.pid:
            os.kill(child.pid, signal.SIGKILL)
            return True
    return False


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _killed_at_random(
    out: Path, transport: str, names: list[str], seconds: float, seed: int
) -> tuple[Killer, Any, list[dict[str, Any]]]:
    many = {"deaths": 1000, "heartbeat_s": 0.1}
    graph = Graph(
        scripted.config(duration=seconds, out=out, transport=transport, graph=many),
        maker=scripted.make,
    )
    chance = random.Random(seed)
    killer = Killer(graph, names, lambda: chance.uniform(0.0, 1.0))
    killer.start()
    summary = graph.run()
    killer.over = True
    killer.join(10)
    return killer, summary, _events(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_random_kills_lose_nothing_but_what_was_open(tmp_path: Path, transport: str) -> None:
    chance = random.Random(transport)
    names = [*INNER, *chance.choices(INNER, k=5)]
    chance.shuffle(names)
    seconds = 50
    killer, summary, events = _killed_at_random(tmp_path / "e", transport, names, seconds, seed=1)
    opened, _ = scripted.closings(events)
    recovered = sorted(killer.recovered_s)
    print(f"{transport}: {len(killer.killed)} kills, {opened} announced, back after s: {recovered}")
    assert len(killer.killed) >= 5
    assert summary.restarts == len(killer.killed)
    assert opened > 5
    reasons = {e["reason"] for e in events if e["phase"] == "retracted"}
    assert reasons <= {"lost", "gap", "ended", *(f"{name} restarted" for name in INNER)} | {
        r for r in reasons if r.startswith(("merged", "left"))
    }
    # the source's last frame was reached, and none came twice
    assert summary.frames <= seconds * 30
    assert killer.killed.count("capture") * 10 + summary.frames >= seconds * 30


def test_a_killed_capture_goes_on_with_the_recording(tmp_path: Path) -> None:
    killer, summary, events = _killed_at_random(tmp_path / "e", "ipc", ["capture"], 8, seed=2)
    scripted.closings(events)
    assert killer.killed == ["capture"]
    assert summary.restarts == 1
    assert 240 - 10 <= summary.frames <= 240  # at most what was on its way, nothing again
    assert max(e["apex"]["pts"] for e in events) > 6


@pytest.mark.parametrize("name", NODES)
def test_a_node_that_dies_as_a_thread_is_begun_again(tmp_path: Path, name: str) -> None:
    """Each node dies outside of any item, three times."""
    deaths = 3
    scripted.install()

    def maker(node: str, *arguments: Any) -> Any:
        made = scripted.nodes.make(node, *arguments)
        if node != name:
            return made
        checked = made.check
        count = 0

        def check() -> None:
            nonlocal count
            checked()
            count += 1
            if made.epoch < deaths and count % 12 == 0:
                raise SystemExit("scripted") if made.epoch % 2 else SystemError("scripted")

        made.check = check
        return made

    out = tmp_path / "e"
    graph = Graph(scripted.config(duration=8, out=out, graph={"deaths": 9}), maker=maker)
    summary = _run(graph)
    assert summary.restarts == deaths
    assert summary.frames == 240
    if name != "publish":  # it numbers anew without a log
        opened, _ = scripted.closings(_events(out))
        assert opened


def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "e"
    options = {"silence_s": 4.0, "heartbeat_s": 0.1}
    config = scripted.config(duration=8, out=out, transport="ipc", graph=options)
    summary = Graph(config, maker=scripted.make_hanging_spot).run()
    assert summary.restarts >= 1
    opened, _ = scripted.closings(_events(out))
    assert opened
    assert summary.frames == 240


def test_a_thread_that_hangs_ends_the_run_with_code_3_and_closes_what_is_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCRIPTED_HANG_S", "12")
    out = tmp_path / "e"
    config = scripted.config(duration=60, out=out, graph={"silence_s": 3.0})
    begin = time.monotonic()
    with pytest.raises(GraphDied, match="spot: hangs since 3 s") as caught:
        _run(Graph(config, maker=scripted.make_hanging_spot))
    assert caught.value.exit_code == 3
    assert time.monotonic() - begin < 40
    scripted.closings(_events(out))
    for thread in threading.enumerate():
        if thread.name == "spot":
            thread.join(30)


_ORPHANS = """
import sys
from pipeline.graph import Graph
from tests.pipeline import scripted

if __name__ == "__main__":
    config = scripted.config(duration=600, transport=sys.argv[1], out=sys.argv[2])
    def tell(report, graph):
        if graph.nodes["spot"].received > 30:
            print("running", flush=True)
    Graph(config, tell, scripted.make).run()
"""


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(folder.name))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_without_its_supervisor_no_process_stays(tmp_path: Path, transport: str) -> None:
    script, out = tmp_path / "orphans.py", tmp_path / "e"
    script.write_text(_ORPHANS)
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": root}
    run = subprocess.Popen(
        [sys.executable, str(script), transport, str(out)],
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert run.stdout is not None
    assert run.stdout.readline().strip() == b"running"
    nodes = _children(run.pid)
    assert len(nodes) >= 6
    run.kill()
    run.wait()
    begin = time.monotonic()
    while any(map(_alive, nodes)) and time.monotonic() - begin < 30:
        time.sleep(0.05)
    assert not [pid for pid in nodes if _alive(pid)]
    run.stdout.close()


def test_a_recording_goes_on_where_it_was_left_at_its_own_pace() -> None:
    source = open_source("synthetic:", fps="source", duration_s=3)
    source.begin_after(59)  # type: ignore[attr-defined]
    begin = time.monotonic()
    frames = [frame.stamp.frame for frame in source.frames()]
    assert frames == list(range(60, 90))
    assert time.monotonic() - begin < 2.5  # one second is left, not three


def test_the_board_is_one_for_all_processes() -> None:
    begun = Begun()
    assert (begun.frame, begun.stream, begun.hurry, begun.over) == (-1, "", False, False)
    child = multiprocessing.get_context("spawn").Process(target=_takes, args=(begun,))
    child.start()
    child.join(60)
    assert (begun.frame, begun.pts, begun.stream, begun.hurry) == (7, 0.25, "cam0", True)


def _takes(begun: Begun) -> None:
    begun.took(7, 0.25)
    begun.stream = "cam0"
    begun.hurry = True


def test_restarts_of_one_node_wait_longer_each_time_and_are_forgotten_after_a_minute() -> None:
    now = [0.0]
    restarts = Restarts(most=100, clock=lambda: now[0])
    waits = []
    for _ in range(9):
        restarts.died("spot")
        begin = now[0]
        while not restarts.due():
            now[0] += 0.01
        waits.append(now[0] - begin)
    assert waits == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5], abs=0.03)
    restarts.died("face")
    assert restarts.due() == ["face"]
    now[0] += 61
    restarts.died("spot")
    assert restarts.due() == ["spot"]
    assert restarts.recent == 1
    assert restarts.count == 11


class _Lines:
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def tell(self, name: str, item: Any) -> bool:
        self.told.append((name, item))
        return True


def test_an_end_that_was_lost_is_said_again_but_never_before_the_rest_is_through() -> None:
    nodes = {name: NodeState(ready=True) for name in NODES}
    begun, lines = Begun(), _Lines()
    begun.stream = "cam0"
    ending = Ending(nodes, begun, 2.0)

    def beat(name: str, idle: bool) -> None:
        nodes[name].update(Report(name, nodes[name].epoch, "beat", idle=idle))
        assert not ending.over(lines)  # type: ignore[arg-type]

    for name in ("capture", "face"):
        nodes[name].done = True
    beat("motion", True)
    assert not lines.told  # it may be older than face's end
    beat("motion", False)
    beat("motion", True)
    assert not lines.told
    beat("motion", True)
    assert lines.told == [("motion", End("cam0"))]
    nodes["motion"].done = True
    nodes["spot"].idle = 9
    beat("spot", True)
    beat("spot", True)
    assert len(lines.told) == 1
    beat("spot", True)
    assert lines.told[1:] == [("spot", End("cam0"))]
