"""Publisher and subscriber killed at random: every event once and in order (scripted events)."""

from __future__ import annotations

import json
import multiprocessing
import random
import socket
import sqlite3
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.events import subscribe
from tests.pipeline import scripted_publisher as parts

KILLS = 100


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _logged(path: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as link:
        rows = link.execute("SELECT body FROM events ORDER BY seq").fetchall()
    return [msgspec.msgpack.decode(body) for (body,) in rows]


class Pair:
    """A publisher and a subscriber, each a process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "had.jsonl"
        self.spawn = multiprocessing.get_context("forkserver")
        self.spawn.set_forkserver_preload([parts.__name__])
        self.events = f"tcp://127.0.0.1:{_free_port()}"
        self.options = {
            "events": self.events,
            "replay": f"tcp://127.0.0.1:{_free_port()}",
            "log": {"path": str(folder / "log.db")},
            "publish": {"beat_s": 0.2},
        }
        self.starts = 0
        self.processes: dict[str, BaseProcess] = {}
        self.start("publisher")
        self.start("subscriber")

    def start(self, side: str) -> None:
        self.starts += 1
        arguments: tuple[Any, ...] = (self.events, str(self.file))
        if side == "publisher":
            (self.folder / "ready").unlink(missing_ok=True)
            arguments = (self.options, str(self.folder), self.starts, 0.004)
        work = self.spawn.Process(target=getattr(parts, side), args=arguments, daemon=True)
        work.start()
        self.processes[side] = work

    def kill(self, side: str) -> None:
        assert self.processes[side].is_alive(), f"the {side} died by itself"
        self.processes[side].kill()
        self.processes[side].join()

    def wait_for(self, what: str, patience_s: float, until: Any) -> None:
        end = time.monotonic() + patience_s
        while not until():
            assert time.monotonic() < end, f"{what} did not happen"
            assert self.processes["publisher"].is_alive(), "the publisher died by itself"
            time.sleep(0.02)


class Overheard(threading.Thread):
    """What is published live, gaps and all."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.events: list[dict[str, Any]] = []
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            self.events += [event for _, event in subscribe(self.address, timeout_s=1.0)]

    def stop(self) -> None:
        self._over.set()
        self.join(20)


@pytest.mark.slow
def test_every_event_arrives_once_and_in_order_whoever_is_killed(
    tmp_path: Path, record_property: Any
) -> None:
    dice = random.Random(20)
    pair = Pair(tmp_path)
    kills = {"publisher": 0, "subscriber": 0}
    begin = time.monotonic()
    overheard = Overheard(pair.events)
    try:
        for _ in range(KILLS):
            if dice.random() < 0.7:  # else at any moment of its start
                pair.wait_for("a start", 60, (tmp_path / "ready").exists)
                time.sleep(dice.expovariate(1 / 0.2))
            else:
                time.sleep(dice.uniform(0, 0.3))
            side = dice.choice(list(kills))
            pair.kill(side)
            kills[side] += 1
            pair.start(side)
        (tmp_path / "quiet").touch()
        pair.wait_for("a start", 60, (tmp_path / "ready").exists)
        time.sleep(0.5)
        truth = _logged(tmp_path / "log.db")
        pair.wait_for("the end", 60, lambda: len(parts.kept(pair.file)) >= len(truth))
    finally:
        for side in pair.processes:
            pair.processes[side].kill()
        overheard.stop()
    had = parts.kept(pair.file)
    seconds = time.monotonic() - begin
    figures = {"kills": kills, "events": len(truth), "seconds": round(seconds, 1)}
    figures["runs"] = truth[-1]["run"]
    record_property("figures", json.dumps(figures))
    print(figures)
    assert [event.get("seq") for event in had] == list(range(len(truth)))
    assert had == truth
    assert {event["log"] for event in had} == {truth[0]["log"]}
    _closed_once(had)
    assert len(overheard.events) > len(truth) / 4
    for event in overheard.events:  # nothing is published that is not in the log
        assert event == truth[event["seq"]]


def _closed_once(events: list[dict[str, Any]]) -> None:
    """By (run of the announcement, id); what the last run announced may be open."""
    open_ids: dict[str, int] = {}
    announced = closed = 0
    for event in events:
        if event["phase"] == "apex":
            assert event["id"] not in open_ids
            open_ids[event["id"]] = event["run"]
            announced += 1
        else:
            assert open_ids.pop(event["id"]) <= event["run"]
            closed += 1
    assert set(open_ids.values()) <= {events[-1]["run"]}
    assert announced == closed + len(open_ids)
    assert announced > 50
    withdrawn = [e for e in events if e["reason"] == "the run before ended unexpectedly"]
    assert withdrawn
