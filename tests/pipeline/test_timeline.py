"""Source time of live cameras: stamps that jump, repeat, stall and drift, all scripted."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.base import Image
from pipeline.sources.clock import Least, LiveClock
from pipeline.sources.latest import DAMAGED, REPEATED, STALE, LiveSource, Watch
from pipeline.sources.repeats import Repeats
from pipeline.sources.rtsp import Damage, settled
from pipeline.sources.timeline import TRACE, Timeline
from stages.items import Frame, Stamp

AHEAD_S = 2.0
STALE_S = 1.0

steps = st.floats(0.0, 20.0, allow_nan=False)
stamps = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1 / 30, -5.0, 1.9, 1e6]),
    st.floats(-1e9, 1e9, allow_nan=False),
)


@given(st.lists(st.tuples(steps, stamps, st.booleans()), max_size=60))
def test_time_always_advances_and_never_runs_ahead_of_the_clock(
    frames: list[tuple[float, float | None, bool]],
) -> None:
    """Whatever a camera's stamps do: absolute or by steps from the last."""
    clock = LiveClock()
    now, own, last = 1000.0, 0.0, -np.inf
    for count, (step, stamp, by_step) in enumerate(frames):
        now += step
        if stamp is not None:
            own = own + stamp if by_step else stamp
        time = clock(now, None if stamp is None else own)
        assert time > last
        # 0.1 ms for each frame that came without any time passing
        assert time <= now + AHEAD_S + 1e-4 * (count + 1)
        last = time


@given(st.lists(st.tuples(st.floats(0.001, 2.0), stamps, st.booleans()), max_size=60))
def test_what_is_taken_for_fresh_is_never_far_behind_the_clock(
    frames: list[tuple[float, float | None, bool]],
) -> None:
    clock = LiveClock()
    now, own = 1000.0, 0.0
    for step, stamp, by_step in frames:
        now += step
        if stamp is not None:
            own = own + stamp if by_step else stamp
        time = clock(now, None if stamp is None else own)
        if clock.lag_s <= STALE_S:
            assert now - time <= AHEAD_S + STALE_S


@pytest.mark.parametrize("drift", [-0.01, -1e-3, -1e-4, 0.0, 1e-4, 1e-3, 0.01])
def test_a_camera_whose_clock_is_wrong_stays_with_ours_for_days(drift: float) -> None:
    clock = LiveClock()
    rng = random.Random(3)
    worst = longest = 0.0
    last = None
    for i in range(200_000):  # at 2 fps, more than a day
        captured = i / 2
        now = captured + abs(rng.gauss(0.0, 0.02))
        time = clock(now, captured * (1 + drift))
        worst = max(worst, abs(time - captured))
        assert clock.lag_s < 1.0  # nothing is taken for late
        if last is not None:
            longest = max(longest, abs(time - last - 0.5))
        last = time
    assert worst < 1.3
    # half a second, by which micro and macro are told apart, is right to what the clock is
    assert longest < 0.5 * (abs(drift) + 0.02)


def test_stamps_given_twice_each_keep_their_distance() -> None:
    clock = LiveClock()
    times = [clock(100 + i / 30, 7.0 + (i // 2) / 15) for i in range(200)]
    assert times[-1] - times[0] == pytest.approx(199 / 30, abs=0.05)


def test_a_burst_after_a_stall_is_late_by_what_its_stamps_say() -> None:
    clock = LiveClock()
    for i in range(30):
        clock(100 + i / 30, 7 + i / 30)
    lags = []
    for i in range(30, 120):  # three seconds at once
        clock(104.0 + i * 1e-4, 7 + i / 30)
        lags.append(clock.lag_s)
    assert lags[0] == pytest.approx(3.0, abs=0.02)
    assert lags[-1] == pytest.approx(0.04, abs=0.05)
    assert all(b < a for a, b in pairwise(lags))


def test_a_burst_is_late_though_frames_of_it_were_lost() -> None:
    clock = LiveClock()
    for i in range(30):
        clock(100 + i / 30, 7 + i / 30)
    clock(104.0, 8.0)
    assert clock.lag_s == pytest.approx(3.0, abs=0.02)
    clock(104.001, 10.5)  # a step of 2.5 s in its stamps, of 1 ms in ours
    assert clock.lag_s == pytest.approx(0.5, abs=0.02)


def test_least_is_the_least_of_late() -> None:
    least = Least(10.0)
    rng = random.Random(1)
    seen: list[tuple[float, float]] = []
    for i in range(500):
        seen.append((float(i), rng.random()))
        expected = min(value for time, value in seen if time >= i - 10)
        assert least(*seen[-1]) == expected


# --- numbers over connections and lives


def _stamped(timeline: Timeline, now: float, count: int, own: float = 0.0) -> list[Stamp]:
    return [timeline.stamp("s", now + i / 30, own + i / 30, 30.0)[0] for i in range(count)]


@pytest.mark.parametrize("own", [1e6, 0.0, 10.2], ids=["ahead", "back", "as if nothing happened"])
def test_a_new_connection_goes_on_where_the_clock_is(own: float) -> None:
    timeline = Timeline(clock=lambda: 0.0)
    first = _stamped(timeline, 500.0, 30, own=9.0)
    timeline.begin()
    second = _stamped(timeline, 510.0, 30, own=own)
    assert second[0].pts == pytest.approx(10.0, abs=1e-3)
    assert second[0].frame == pytest.approx(300, abs=2)
    for a, b in pairwise([*first, *second]):
        assert b.pts > a.pts
        assert b.frame > a.frame
        assert b.mono_ns > a.mono_ns


def test_a_connection_right_after_the_last_still_goes_on() -> None:
    timeline = Timeline(clock=lambda: 0.0)
    _stamped(timeline, 500.0, 30, own=9.0)  # ahead by what the first frame was late
    before = timeline.stamp("s", 501.0, 11.5, 30.0)[0]
    timeline.begin()
    after = timeline.stamp("s", 501.01, 3.0, 30.0)[0]
    assert after.frame == before.frame + 1
    assert after.pts > before.pts


def test_a_new_life_goes_on_from_the_trace_of_the_last() -> None:
    trace = [0] * TRACE
    old = _stamped(Timeline(trace, clock=lambda: 0.0), 500.0, 45, own=9.0)
    new = _stamped(Timeline(trace, clock=lambda: 0.0), 503.0, 3, own=0.0)
    assert new[0].pts == pytest.approx(3.0, abs=1e-3)
    assert new[0].frame == pytest.approx(90, abs=2)
    assert new[0].frame > old[-1].frame


def test_a_connection_with_late_frames_is_stamped_when_they_were_captured() -> None:
    now = [100.0]
    timeline = Timeline(clock=lambda: now[0], utc_ns=lambda: round((now[0] + 5000) * 1e9))
    _stamped(timeline, 100.0, 30, own=7.0)
    now[0] = 103.0
    stamp, lag = timeline.stamp("s", 103.0, 8.0, 30.0)  # captured at 101
    assert lag == pytest.approx(2.0, abs=0.01)
    assert stamp.mono_ns == pytest.approx(101e9, abs=1e7)
    assert stamp.utc_ns == pytest.approx(5101e9, abs=1e7)
    assert stamp.pts == pytest.approx(1.0, abs=0.01)


@given(st.lists(st.integers(0, 2**62), min_size=40, max_size=40))
def test_steps_of_utc_change_nothing_but_utc(utc: list[int]) -> None:
    def stamps_with(clock: Iterator[int]) -> list[Stamp]:
        timeline = Timeline(clock=lambda: 100.0, utc_ns=lambda: next(clock))
        made = _stamped(timeline, 100.0, 20, own=7.0)
        timeline.begin()
        return made + _stamped(timeline, 103.0, 20, own=2.0)

    steady = stamps_with(iter(range(0, 40 * 10**9, 10**9)))
    jumping = stamps_with(iter(utc))
    for a, b in zip(steady, jumping, strict=True):
        assert (a.frame, a.pts, a.mono_ns) == (b.frame, b.pts, b.mono_ns)


def test_arrival_alone_counts_where_stamps_are_not_to_be_believed() -> None:
    timeline = Timeline(own_stamps=False, clock=lambda: 0.0)
    made = [timeline.stamp("s", 100 + i / 10, i * 0.5, 30.0)[0].pts for i in range(20)]
    assert made == pytest.approx([i / 10 for i in range(20)])


# --- what is shown of a camera


class Scripted(LiveSource):
    """A camera whose frames come when the script says: (arrival, stamp, picture)."""

    fps, width, height = 30.0, 16, 16

    def __init__(self, script: Iterable[tuple[float, float | None, Any]], **watch: Any) -> None:
        self.wall = [0.0]
        timeline = Timeline(clock=lambda: self.wall[0])
        super().__init__("camera", "s", None, Watch(timeline=timeline, **watch))
        self._script = script
        self.touched = 0
        self._latest = self  # type: ignore[assignment]  # no thread: frames are all looked at
        self._wanted.set()

    def touch(self) -> None:
        self.touched += 1

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        for now, own, picture in self._script:
            self.wall[0] = now
            yield own, picture

    def _image(self, grabbed: Any) -> Image:
        return np.full((16, 16), grabbed, np.uint8)

    def _release(self) -> None:
        return None

    def shown(self) -> list[Frame]:
        return list(self._stamped())

    def counts(self) -> dict[str, int]:
        return dict(self._timeline.counts())


def _at_pace(begin: float, count: int, own: float = 0.0) -> list[tuple[float, float, int]]:
    return [(begin + i / 30, own + i / 30, i % 250) for i in range(count)]


def test_the_old_frames_of_a_burst_are_dropped_and_counted() -> None:
    stalled = [(13.0 + i * 1e-3, 1 + i / 30, i) for i in range(60)]  # should have come from 11 on
    camera = Scripted([*_at_pace(10.0, 30), *stalled, *_at_pace(13.1, 30, 3.1)])
    shown = camera.shown()
    numbers = [frame.stamp.frame for frame in shown]
    # those of the last second of the stall are young enough
    assert numbers == [*range(30), *range(numbers[30], 120)]
    assert numbers[30] == pytest.approx(60, abs=2)
    assert camera.counts() == {STALE: numbers[30] - 30}
    for frame in shown:  # and tell when they were captured, not when they came
        assert frame.stamp.mono_ns / 1e9 == pytest.approx(10 + frame.stamp.pts, abs=0.02)


def test_a_camera_that_stands_still_is_a_gap_and_then_lost() -> None:
    frozen = [(11.0 + i / 30, 1 + i / 30, 7) for i in range(900)]
    camera = Scripted([*_at_pace(10.0, 30), *frozen], frozen_s=5.0)
    shown = camera.shown()
    # half a second passes for a camera that repeats itself now and then
    assert len(shown) == 30 + 16
    assert camera.why == "the same picture for 5 s"
    assert camera.counts()[REPEATED] == pytest.approx(4.5 * 30, abs=2)
    assert camera.touched == camera.counts()[REPEATED]  # it is not silent meanwhile


def test_a_camera_that_moves_again_goes_on_after_a_gap() -> None:
    frozen = [(11.0 + i / 30, 1 + i / 30, 7) for i in range(90)]
    camera = Scripted([*_at_pace(10.0, 30), *frozen, *_at_pace(14.0, 30, 4.0)])
    shown = camera.shown()
    gaps = [b.stamp.pts - a.stamp.pts for a, b in pairwise(shown)]
    assert max(gaps) == pytest.approx(2.5, abs=0.1)  # the windows begin anew
    assert camera.why == ""


def test_frozen_is_never_where_that_is_asked_for() -> None:
    frozen = [(11.0 + i / 30, 1 + i / 30, 7) for i in range(3000)]
    camera = Scripted(frozen, frozen_s=float("inf"))
    camera.shown()
    assert camera.why == ""


def test_one_pixel_of_noise_is_life() -> None:
    repeats = Repeats()
    image = np.zeros((480, 640, 3), np.uint8)
    assert [repeats(image, t) for t in (0.0, 1.0, 2.5)] == [0.0, 1.0, 2.5]
    image[14, 21, 1] = 1
    assert repeats(image, 3.0) == 0.0


def test_frames_that_cannot_be_shown_keep_their_numbers() -> None:
    damaged = [(11.0 + i / 30, None, None) for i in range(600)]
    camera = Scripted([*_at_pace(10.0, 30), *damaged, *_at_pace(31.0, 1, 21.0)])
    shown = camera.shown()
    assert shown[-1].stamp.frame == 630
    assert camera.counts() == {DAMAGED: 600}
    assert camera.touched == pytest.approx(
        15 * 30, abs=1
    )  # for so long a key frame may take; then it is silent


# --- pictures of an RTSP camera


class Decoded:
    def __init__(self, key_frame: bool = False, is_corrupt: bool = False) -> None:
        self.key_frame, self.is_corrupt = key_frame, is_corrupt


def test_after_damage_nothing_is_whole_until_a_key_frame() -> None:
    damage = Damage(h264=False)
    seen = [
        (Decoded(key_frame=True), True),
        (Decoded(), True),
        (Decoded(is_corrupt=True), False),
        (Decoded(), False),  # FFmpeg takes it for whole
        (Decoded(key_frame=True, is_corrupt=True), False),
        (Decoded(), False),
        (Decoded(key_frame=True), True),
        (None, False),  # could not be decoded at all
        (Decoded(), False),
        (Decoded(key_frame=True), True),
        (Decoded(), True),
    ]
    for i, (frame, whole) in enumerate(seen):
        assert damage.whole(frame, i / 30) is whole, i


def test_a_camera_without_key_frames_is_believed_again_after_ten_seconds() -> None:
    damage = Damage(h264=False)
    assert not damage.whole(Decoded(is_corrupt=True), 0.0)
    assert not damage.whole(Decoded(), 9.9)
    assert damage.whole(Decoded(), 10.1)


def _greeting(old: int, clock: list[float]) -> Iterator[tuple[float | None, Any]]:
    """So many frames at once, as from a cache, then frames as they are captured."""
    for i in range(old + 30):
        clock[0] += 1e-3 if i < old else 1 / 30
        yield i / 30, i


@pytest.mark.parametrize("old", [0, 40])
def test_the_burst_that_greets_a_client_is_left_out(old: int) -> None:
    clock = [5.0]
    numbers = [frame for _, frame in settled(_greeting(old, clock), lambda: clock[0])]
    assert numbers == list(range(max(old, 1), old + 30))


def test_a_camera_without_stamps_settles_too() -> None:
    clock = [5.0]

    def camera() -> Iterator[tuple[None, int]]:
        for i in range(120):
            clock[0] += 1 / 30
            yield None, i

    numbers = [frame for _, frame in settled(camera(), lambda: clock[0])]
    assert numbers == list(range(numbers[0], 120))
    assert numbers[0] <= 61
