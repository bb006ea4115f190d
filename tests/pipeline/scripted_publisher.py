"""The real publish node, fed with scripted events; and a subscriber that keeps a file."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

import pipeline.publish_node
from pipeline import sockets
from pipeline.config import Config, load
from pipeline.events import subscribe
from pipeline.node import Links
from pipeline.nodes import work
from pipeline.parcels import Parcels
from pipeline.publish_node import PublishNode
from pipeline.sockets import Addresses
from pipeline.wire import Wire
from stages.items import AUInterval, Event, Interval, Phase, Reading, Stamp


class _Set:
    aus = (1,)


def event(id: str, phase: Phase, frame: int = 0) -> Event:
    stamp = Stamp("synthetic", frame, frame / 30, time.monotonic_ns(), time.time_ns())
    au = AUInterval(12, "both", 3.5, None, stamp, None)
    interval = Interval(id, 0, phase, "micro", stamp, stamp, stamp, [au], stamp, 0)
    return Event(interval, [Reading("coding-guide", "happiness")], "none@0", [])


def script(seed: int, start: str) -> Iterator[Event]:
    """Expressions without end: announced, then final or withdrawn, up to three at once."""
    dice = random.Random(seed)
    open_ids: list[str] = []
    number = frame = 0
    while True:
        frame += 1
        if len(open_ids) < 3 and dice.random() < 0.6:
            open_ids.append(f"synthetic/0/{start}-{number}")
            number += 1
            yield event(open_ids[-1], "apex", frame)
        elif open_ids:
            closed = open_ids.pop(dice.randrange(len(open_ids)))
            yield event(closed, dice.choice(["final", "retracted"]), frame)


class Life:
    """A publish node at work in a thread of this process.

    ``give`` puts items into its inbox.
    """

    def __init__(self, config: Config, label: str = "life") -> None:
        pipeline.publish_node.prototypes = lambda config: _Set  # type: ignore[assignment]
        self.context: zmq.Context[Any] = zmq.Context()
        names = ("reports", "publish", "commands")
        self.addresses = Addresses({name: f"inproc://{label}-{name}" for name in names})
        self.reports = sockets.pull(self.context, self.addresses["reports"], 100_000)
        self.links = Links(self.addresses, self.context, parcels=Parcels())
        self.node = PublishNode(config, self.links)
        self._inbox = sockets.push(self.context, self.addresses["publish"], 100)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        self.ended_well = work(self.node)
        self.node.close()

    def give(self, item: Wire) -> None:
        assert self.links.parcels is not None
        self._inbox.send(self.links.parcels.put(item))

    def report(self, kind: str, patience_s: float = 30.0) -> Any:
        """The next report of ``kind``."""
        import msgspec

        from pipeline.messages import Report

        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if self.reports.poll(100):
                report = msgspec.msgpack.decode(self.reports.recv(), type=Report)
                if report.kind == kind:
                    return report
                assert report.kind not in ("fatal", "death"), report.text
        raise AssertionError(f"no report {kind}")

    def end(self) -> None:
        """As when the supervisor wants it gone."""
        self.links.abandon.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._inbox.close()
        self.reports.close()
        self.context.destroy(linger=0)


def publisher(options: dict[str, Any], folder: str, seed: int, pause_s: float) -> None:
    """Publish a script until killed; while the file ``quiet`` is there, only beat."""
    life = Life(load(source="synthetic:", **options))
    life.report("ready")
    (Path(folder) / "ready").touch()
    for item in script(seed, str(seed)):
        while (Path(folder) / "quiet").exists():
            time.sleep(0.05)
        life.give(item)
        time.sleep(pause_s)


def kept(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a subscriber's file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def subscriber(address: str, path: str) -> None:
    """Append every event to a file until killed; go on with the last line's ``seq``."""
    file = Path(path)
    had = kept(file)
    with file.open("ab") as out:  # what a kill tore goes
        out.truncate(sum(len(json.dumps(event)) + 1 for event in had))
    link = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    complain: Callable[[object], None] = lambda notice: os.write(  # noqa: E731
        link, json.dumps({"notice": str(notice)}).encode() + b"\n"
    )
    since = had[-1]["seq"] if had else -1
    for _, message in subscribe(address, since=since, on_notice=complain):
        os.write(link, json.dumps(message).encode() + b"\n")
