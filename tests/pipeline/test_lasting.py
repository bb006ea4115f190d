"""A camera that is lost and found again, scripted: no camera, no network, no waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import SourceError
from pipeline.messages import Camera
from pipeline.sources.lasting import Backoff, Lasting
from pipeline.sources.timeline import Timeline
from stages.items import Frame


class Wall:
    """A clock that moves when slept on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Session:
    """A connection that gives ``count`` frames, one each 1/30 s, and ends for a reason."""

    def __init__(
        self, wall: Wall, timeline: Timeline, count: int, why: str = "cut",
        size: tuple[int, int] = (8, 8), fps: float = 30.0,
    ) -> None:  # fmt: skip
        self._wall, self._timeline = wall, timeline
        self._left, self._size, self._end = count, size, why
        self.fps = fps
        self.why = ""
        self.warning = ""
        self.over = False
        self.closed = False
        timeline.begin()

    def want(self) -> None:
        return None

    def take(self, wait_s: float) -> Frame | None:
        self._wall.now += 1 / 30
        if not self._left:
            self.over, self.why, self.warning = True, self._end, f"lost: {self._end}"
            return None
        self._left -= 1
        stamp, _ = self._timeline.stamp("s", self._wall.now, None, self.fps)
        return Frame(stamp, np.zeros((*self._size, 3), np.uint8))

    def close(self) -> None:
        self.closed = True


class Scripted:
    """Connections by turns: sessions, or errors."""

    def __init__(self, wall: Wall, plan: Sequence[Any], **options: Any) -> None:
        self.wall = wall
        self.timeline = Timeline(clock=wall, utc_ns=lambda: 0)
        self.plan = list(plan)
        self.opened: list[float] = []
        self.sessions: list[Session] = []
        first = self._session(self.plan.pop(0)) if self.plan[0] is not None else self.plan.pop(0)
        options.setdefault("backoff", Backoff(chance=lambda: 1.0))
        self.lasting = Lasting("s", self.again, self.timeline, first, sleep=wall.sleep, **options)  # type: ignore[arg-type]

    def _session(self, arguments: dict[str, Any]) -> Any:
        made = Session(self.wall, self.timeline, **arguments)
        self.sessions.append(made)
        return made

    def again(self) -> Any:
        self.opened.append(self.wall.now)
        if not self.plan:
            raise SourceError("rtsp://cam: cannot be reached: refused")
        nxt = self.plan.pop(0)
        if isinstance(nxt, Exception):
            raise nxt
        return self._session(nxt)


def _run(camera: Scripted, steps: int = 20_000) -> tuple[list[Frame], list[Camera]]:
    frames, said = [], []
    for count, step in enumerate(camera.lasting.steps()):
        if isinstance(step, Frame):
            frames.append(step)
        elif step is not None:
            said.append(step)
        if count >= steps:
            camera.lasting.interrupt()
    return frames, said


REFUSED = SourceError("rtsp://cam: cannot be reached: refused")


def test_waits_double_up_to_the_ceiling() -> None:
    backoff = Backoff(0.5, 30.0, chance=lambda: 1.0)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    for _ in range(5000):  # away for weeks
        assert backoff.next() == 30


def test_chance_shortens_a_wait_to_half_at_most() -> None:
    low, high = Backoff(2.0, 30.0, lambda: 0.0), Backoff(2.0, 30.0, lambda: 1.0)
    assert (low.next(), high.next()) == (1.0, 2.0)
    waits = {Backoff(2.0, 30.0).next() for _ in range(20)}
    assert len(waits) > 10
    assert all(1.0 <= wait <= 2.0 for wait in waits)


def test_a_lost_camera_is_sought_and_numbers_and_times_go_on() -> None:
    camera = Scripted(Wall(), [{"count": 30}, REFUSED, REFUSED, {"count": 30, "why": ""}])
    frames, said = _run(camera)
    assert [message.kind for message in said] == ["lost", *["retrying"] * 3, "back"]
    assert said[0].detail == "cut"
    assert said[1].detail == "attempt 1 in 0.5 s: cut"
    assert said[2].detail == "attempt 2 in 1.0 s: rtsp://cam: cannot be reached: refused"
    assert said[-1].detail.startswith("3.")  # 0.5 + 1 + 2 s, and a frame
    assert len(frames) == 60
    before, after = frames[29].stamp, frames[30].stamp
    assert after.pts - before.pts == pytest.approx(3.5, abs=0.2)
    # the frames that were missed keep their numbers: 30 a second
    assert after.frame - before.frame == pytest.approx(3.5 * 30, abs=6)
    assert after.mono_ns - before.mono_ns == pytest.approx(3.5e9, abs=2e8)
    assert all(session.closed for session in camera.sessions)


def test_a_camera_that_goes_again_at_once_is_asked_less_and_less_often() -> None:
    wall = Wall()
    camera = Scripted(wall, [{"count": 300}, *[{"count": 2}] * 6, {"count": 3000}, {"count": 1}])
    _, said = _run(camera, steps=100_000)
    waits = [float(m.detail.split(" in ")[1].split()[0]) for m in said if m.kind == "retrying"]
    # it lasts for 0.1 s each time; then for 100 s, and the next wait is short again
    assert waits[:9] == [0.5, 1, 2, 4, 8, 16, 30, 0.5, 1]


def test_a_connection_without_a_frame_is_an_attempt_that_failed() -> None:
    empty = {"count": 0, "why": "no frame for 5 s"}
    camera = Scripted(Wall(), [{"count": 3}, empty, {"count": 3, "why": ""}])
    frames, said = _run(camera)
    assert [message.kind for message in said] == ["lost", "retrying", "retrying", "back"]
    assert said[2].detail == "attempt 2 in 1.0 s: no frame for 5 s"
    assert len(frames) == 6


def test_back_tells_of_another_size_and_rate() -> None:
    other = {"count": 3, "why": "", "size": (12, 16), "fps": 15.0}
    _, said = _run(Scripted(Wall(), [{"count": 3}, other]))
    assert said[-1].detail.partition(", ")[2] == "16x12 instead of 8x8, 15 fps instead of 30"


def test_another_size_within_a_connection_is_a_loss_too() -> None:
    camera = Scripted(Wall(), [{"count": 2, "why": ""}])
    session = camera.sessions[0]
    steps = camera.lasting.steps()
    assert isinstance(next(steps), Frame)
    session._size = (6, 4)
    lost, back, frame = next(steps), next(steps), next(steps)
    assert (lost, back) == (
        Camera("s", "lost", "its picture has another size"),
        Camera("s", "back", "0.0 s away, 4x6 instead of 8x8"),
    )
    assert isinstance(frame, Frame)


def test_a_camera_is_given_up_where_that_is_asked_for() -> None:
    camera = Scripted(Wall(), [{"count": 3}], give_up_s=60.0)
    begin = camera.wall.now
    _, said = _run(camera)
    assert 60 <= camera.wall.now - begin < 60 + 31
    assert camera.lasting.warning == (
        "the camera was given up after 60 s: rtsp://cam: cannot be reached: refused"
    )
    assert said[-1].kind == "retrying"


def test_without_reconnect_a_loss_ends_the_frames() -> None:
    camera = Scripted(Wall(), [{"count": 3}, {"count": 3}], reconnect=False)
    frames, said = _run(camera)
    assert (len(frames), said, camera.lasting.warning) == (3, [], "lost: cut")


def test_the_duration_ends_a_search() -> None:
    camera = Scripted(Wall(), [{"count": 3}], duration_s=20.0)
    begin = camera.wall.now
    _run(camera)
    assert 20 <= camera.wall.now - begin < 21
    assert camera.lasting.warning == ""


def test_a_camera_may_be_waited_for() -> None:
    camera = Scripted(Wall(), [None, REFUSED, {"count": 4, "why": ""}])
    frames, said = _run(camera)
    assert [message.kind for message in said] == ["lost", "retrying", "retrying", "back"]
    assert said[0].detail == "not there yet"
    assert [frame.stamp.frame for frame in frames] == [0, 1, 2, 3]
    assert frames[0].stamp.pts == 0


@pytest.mark.timeout(30)
def test_stop_does_not_wait_for_a_connection_that_hangs() -> None:
    hangs, opening = threading.Event(), threading.Event()
    late: list[Session] = []
    camera = Scripted(Wall(), [{"count": 1}])

    def again() -> Any:
        opening.set()
        hangs.wait()
        late.append(camera._session({"count": 5}))
        return late[0]

    camera.lasting._again = again
    steps = camera.lasting.steps()
    for step in steps:
        if opening.is_set():
            assert step is None  # the consumer is not kept waiting meanwhile
            camera.lasting.interrupt()
    hangs.set()
    for _ in range(500):
        if late and late[0].closed:
            break
        threading.Event().wait(0.01)
    assert late[0].closed  # what comes too late is not left open


def test_an_error_that_is_no_camera_fault_is_not_hidden() -> None:
    camera = Scripted(Wall(), [{"count": 1}, RuntimeError("a mistake of ours")])
    with pytest.raises(RuntimeError, match="ours"):
        _run(camera)
