"""The capture node: what happens to a camera goes downstream, and a death loses no number."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zmq

import pipeline.sources
from models.errors import SourceError
from pipeline import sockets
from pipeline.begun import Begun
from pipeline.build import build
from pipeline.capture_node import CaptureNode
from pipeline.config import Config, load
from pipeline.inline import InlineGraph
from pipeline.messages import Camera, End, Restarted
from pipeline.node import Links
from pipeline.publish import Messages
from pipeline.routing import step
from pipeline.sources.latest import LiveSource, Watch
from pipeline.stage_nodes import StageNode
from pipeline.wire import Wire, decode, encode
from stages.items import Curves, FaceState, Frame, Interval, Stamp, WindowEnd


class Sensor(LiveSource):
    """A camera at 100 fps that ends after ``count`` frames."""

    fps, width, height = 100.0, 8, 8

    def __init__(self, watch: Watch, count: int) -> None:
        super().__init__("webcam 0", "cam0", None, watch)
        self._count = count
        self._start()

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        self._wanted.wait()
        for i in range(self._count):
            time.sleep(0.01)
            yield None, i
        self._lost("unplugged")

    def _image(self, grabbed: Any) -> Any:
        return np.full((8, 8), grabbed % 250, np.uint8)

    def _release(self) -> None:
        return None


def _config(**capture: Any) -> Config:
    return load(source="0", capture={"retry_first_s": 0.05, "name": "cam0", **capture})


class Downstream:
    """What a capture node sends, from sockets of its own."""

    def __init__(self, config: Config, begun: Begun | None, epoch: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        with sockets.addresses("inproc", f"c{id(self)}") as addresses:
            self._inbox = sockets.pull(self._context, addresses["face"], 1000)
            self._reports = sockets.pull(self._context, addresses["reports"], 1000)
            self._commands = sockets.broadcast(self._context, addresses["commands"])
            begun = Begun() if begun is None else begun
            self.node = CaptureNode(config, Links(addresses, self._context, begun=begun), epoch)
        self.node._go.set()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.node.run()
        except Exception as error:  # noqa: BLE001  looked at by the test
            self.error = error

    def until(self, count: int, kind: type) -> list[Wire]:
        """Items until there are ``count`` of a kind."""
        got: list[Wire] = []
        end = time.monotonic() + 60
        while sum(isinstance(item, kind) for item in got) < count:
            assert time.monotonic() < end, got
            if self._inbox.poll(50):
                got.append(decode(self._inbox.recv_multipart()))
        return got

    def stop(self) -> None:
        self.node._stop.set()
        while self._thread.is_alive():
            if self._inbox.poll(20):
                self._inbox.recv_multipart()
        self.node.close()
        for socket in (self._inbox, self._reports, self._commands):
            socket.close()
        self._context.term()


def _frames(items: list[Wire]) -> list[Stamp]:
    return [item.stamp for item in items if isinstance(item, Frame)]


@pytest.fixture
def sensors(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Frames of each connection in turn; an error: it cannot be made."""
    plan: list[Any] = []

    def opened(*_: Any, watch: Watch, **__: Any) -> LiveSource:
        found = plan.pop(0) if plan else SourceError("webcam 0: cannot be opened")
        if isinstance(found, Exception):
            raise found
        return Sensor(watch, found)

    monkeypatch.setattr(pipeline.sources, "open_source", opened)
    return plan


@pytest.mark.timeout(120)
def test_loss_and_return_are_told_in_order_among_the_frames(sensors: list[Any]) -> None:
    sensors += [20, SourceError("webcam 0: cannot be opened"), 100_000]
    run = Downstream(_config(), None, 0)
    items = run.until(4, Camera)
    items += run.until(20, Frame)
    run.stop()
    kinds = [item.kind for item in items if isinstance(item, Camera)]
    assert kinds == ["lost", "retrying", "retrying", "back"]
    for a, b in pairwise(_frames(items)):
        assert b.frame > a.frame
        assert b.pts > a.pts
    first_again = items.index(next(i for i in items if isinstance(i, Camera) and i.kind == "back"))
    assert isinstance(items[first_again + 1], Frame)
    assert items[first_again + 1].stamp.pts - _frames(items[:first_again])[-1].pts > 0.05


@pytest.mark.timeout(120)
def test_a_new_life_goes_on_with_numbers_and_times(sensors: list[Any]) -> None:
    begun = Begun()
    sensors += [100_000, 100_000]
    first = Downstream(_config(), begun, 0)
    before = _frames(first.until(30, Frame))
    first.stop()
    time.sleep(0.3)
    second = Downstream(_config(), begun, 1)
    items = second.until(30, Frame)
    second.stop()
    assert isinstance(items[0], Restarted)
    after = _frames(items)
    assert after[0].frame > before[-1].frame
    assert after[0].pts - before[-1].pts > 0.3
    gap = (after[0].mono_ns - before[-1].mono_ns) / 1e9
    assert after[0].pts - before[-1].pts == pytest.approx(gap, abs=0.05)


@pytest.mark.timeout(120)
def test_a_camera_away_at_a_restart_is_sought_but_at_the_start_it_is_a_mistake(
    sensors: list[Any],
) -> None:
    first = Downstream(_config(), None, 0)
    first._thread.join(30)
    assert isinstance(first.error, SourceError)
    first.stop()
    begun = Begun()
    begun.trace[:] = [10**9, 50, 10**9]
    second = Downstream(_config(), begun, 1)
    items = second.until(2, Camera)
    sensors += [100_000]
    items += second.until(1, Frame)
    second.stop()
    assert isinstance(items[0], Restarted)
    assert [i.kind for i in items if isinstance(i, Camera)][:2] == ["lost", "retrying"]
    assert _frames(items)[0].frame > 50


@pytest.mark.timeout(120)
def test_without_reconnect_the_end_says_why(sensors: list[Any]) -> None:
    sensors += [20]
    run = Downstream(_config(reconnect=False), None, 0)
    items = run.until(1, End)
    run.stop()
    assert isinstance(items[-1], End)
    assert items[-1].warning == "webcam 0: the camera was lost: unplugged"


# --- what the others make of it


class Watching:
    """A stage that knows what was open."""

    def process(self, item: Any) -> list[Any]:
        return [item]

    def interrupt(self) -> list[Any]:
        return [FaceState(STAMP, 0, False, camera=True)]

    def reset(self) -> None:
        raise AssertionError("ids would be given twice")


STAMP = Stamp("cam0", 7, 0.5, 1, 2)
LOST = Camera("cam0", "lost", "cut")


def test_a_stage_closes_what_is_open_before_the_word_goes_on() -> None:
    made = list(step("face", Watching(), LOST))  # type: ignore[arg-type]
    assert made == [FaceState(STAMP, 0, False, camera=True), LOST]
    for kind in ("retrying", "back"):
        other = Camera("cam0", kind)  # type: ignore[arg-type]
        assert list(step("face", Watching(), other)) == [other]  # type: ignore[arg-type]


def test_states_are_worded_for_subscribers() -> None:
    messages = Messages("cam0", [1])
    told = [next(iter(messages.of(Camera("cam0", kind, "why")))) for kind in KINDS]
    assert [getattr(m, "state", "") for m in told] == [f"camera_{kind}" for kind in KINDS]
    assert {getattr(m, "detail", "") for m in told} == {"why"}


KINDS: Any = ("lost", "retrying", "back")


def test_the_word_travels_between_processes() -> None:
    for item in (LOST, FaceState(STAMP, 0, False, camera=True)):
        assert decode(encode(item)) == item


def test_frames_out_of_order_reach_no_stage() -> None:
    class Counting:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def process(self, item: Frame) -> list[Any]:
            self.seen.append(item.stamp.frame)
            return []

    node = object.__new__(StageNode)
    node.name = "face"
    node._newest = None
    node.stage = Counting()  # type: ignore[assignment]

    dropped: Counter[str] = Counter()
    node.reporter = SimpleNamespace(dropped=dropped)  # type: ignore[assignment]
    image = np.zeros((4, 4), np.uint8)
    given = [(0, 0.0), (1, 0.1), (1, 0.2), (2, 0.1), (0, 0.0), (5, 0.3), (4, 0.4), (6, 0.35)]
    passed = [
        number
        for number, pts in given
        if not node._out_of_order(Frame(Stamp("s", number, pts, 0, 0), image))
    ]
    assert passed == [0, 1, 5, 6]
    assert dropped == {"face: out of order": 4}


# --- the stages themselves


def test_a_lost_camera_closes_what_is_open_and_nothing_spans_it() -> None:
    """Frames, a loss in mid-expression, and the same camera again (synthetic)."""
    from bench.clip import dense_scene
    from models.synthesis import SyntheticFace

    face = SyntheticFace(dense_scene(9.0))
    config = load(source="synthetic:", model=[])
    graph = InlineGraph({name: build(name, config) for name in ("face", "motion", "spot")})
    out: list[Wire] = []
    opened: set[str] = set()
    lost = -1
    index = 0
    for i in range(face.scene.n_frames):
        shift = 0 if lost < 0 else 5.0  # seconds away
        made = graph.feed(Frame(Stamp("s", i, i / 30 + shift, 0, 0), face.frame(i)))
        out += made
        for item in made:
            if isinstance(item, Interval):
                (opened.add if item.phase == "apex" else opened.discard)(item.id)
        if lost < 0 and opened and i > 120:
            index, lost = len(out), i
            out += graph.feed(LOST)
    out += graph.flush()
    assert lost > 0
    told = out[index : out.index(LOST)]
    closing = [item for item in told if isinstance(item, Interval)]
    assert {item.id for item in closing} == opened_at(out[:index])
    assert all(i.phase == "retracted" and i.reason == "camera lost" for i in closing)
    assert [item for item in told if isinstance(item, FaceState)][-1].visible is False
    finals = [i for i in out if isinstance(i, Interval) and i.phase == "final"]
    after = [i for i in finals if i.onset is not None and i.onset.frame > lost]
    assert after  # it goes on
    assert not any(i.onset.frame <= lost < i.offset.frame for i in finals if i.onset and i.offset)
    assert not opened_at(out)
    assert not any(isinstance(item, Curves | WindowEnd) for item in told)


def opened_at(items: list[Wire]) -> set[str]:
    """Expressions that are announced and not closed."""
    found: set[str] = set()
    for item in items:
        if isinstance(item, Interval):
            (found.add if item.phase == "apex" else found.discard)(item.id)
    return found
