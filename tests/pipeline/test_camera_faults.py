"""Faults of a camera under a whole run: real RTSP server, proxy, graph (synthetic face)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.fault_proxy import FaultProxy
from bench.rtsp_server import RtspServer, missing, serving
from tests.pipeline.faulty import FPS, PATIENCE_S, Processed, Watched, film, watched

ROOT = Path(__file__).parents[2]
GAP_S = 0.5  # motion.max_gap_s
LATE_S = 0.4  # what a busy machine may add to the stamp of a frame
# an encoder that repeats a picture bit by bit, as a frozen one does
_STILL = {"g": "2000", "qp": "30", "bf": "0", "sc_threshold": "0", "preset": "veryfast"}
WATCH = {"read_timeout_s": 2.0, "name": "cam"}

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is a server"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    """A camera that films on, whether anybody looks or not; each frame has its number."""
    path = film(tmp_path_factory.mktemp("camera") / "film.mp4", 8.0, times=30)
    with serving(path, live=True) as server:
        yield server


@pytest.fixture
def proxy(camera: RtspServer) -> Iterator[FaultProxy]:
    with FaultProxy(camera.address) as made:
        yield made


def _gaps(frames: list[Processed]) -> list[tuple[float, float]]:
    times = [frame.stamp.pts for frame in frames]
    return [(a, b) for a, b in pairwise(times) if b - a > GAP_S]


def _check(run: Watched, film_goes_on: bool = True, unseen: float = 0.0) -> None:
    """What must hold of every run, whatever happened to its camera.

    ``unseen``: share of the pictures that may be damaged in a way no decoder can tell.
    """
    summary = run.end()
    assert summary.restarts == 0
    for a, b in pairwise(run.frames):
        assert b.stamp.frame > a.stamp.frame
        assert b.stamp.pts > a.stamp.pts
        assert b.stamp.mono_ns > a.stamp.mono_ns
    damaged = sum(frame.number is None for frame in run.frames)
    assert damaged <= unseen * len(run.frames)
    opened = sorted(e["id"] for e in run.events if e["phase"] == "apex")
    closed = sorted(e["id"] for e in run.events if e["phase"] in ("final", "retracted"))
    assert opened == closed
    assert len(set(opened)) == len(opened)
    for event in run.events:
        if event["phase"] == "final":
            onset, offset = event["onset"]["pts"], event["offset"]["pts"]
            assert not any(onset <= a and b <= offset for a, b in _gaps(run.frames))
    if film_goes_on:
        _check_stamps([frame for frame in run.frames if frame.number is not None])


def _check_stamps(frames: list[Processed]) -> None:
    """Each frame says when it was captured, which is known by its number."""
    numbers = [int(frame.number or 0) for frame in frames]
    begin = min(f.at - n / FPS for f, n in zip(frames, numbers, strict=True))
    for before, after in pairwise(numbers):
        assert after > before  # nothing is shown twice
    for frame, number in zip(frames, numbers, strict=True):
        captured = begin + number / FPS
        assert frame.stamp.mono_ns / 1e9 == pytest.approx(captured, abs=LATE_S)
        pts = (number - numbers[0]) / FPS
        assert frame.stamp.pts - frames[0].stamp.pts == pytest.approx(pts, abs=LATE_S)


def _faulted(run: Watched, order: Callable[[], object]) -> None:
    run.frames_more(2 * FPS)
    order()


@pytest.mark.parametrize("fault", ["cut", "reset", "refuse", "long stall", "trickle"])
def test_a_camera_that_is_lost_is_found_again(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    orders: dict[str, Callable[[], object]] = {
        "cut": proxy.cut,
        "reset": proxy.reset,
        "refuse": lambda: proxy.refuse(2.0),
        "long stall": lambda: proxy.stall(5.0),
        "trickle": lambda: proxy.trickle(3000, 6.0),
    }
    with watched(monkeypatch, proxy.address, capture=WATCH) as run:
        _faulted(run, orders[fault])
        run.back()
        run.frames_more(2 * FPS)
        states = [s for s in run.all_states if s.startswith("camera")]
        assert states[0] == "camera_lost"
        assert "camera_retrying" in states
        assert states.index("camera_back") > states.index("camera_retrying")
        assert states.count("camera_lost") == states.count("camera_back")
        assert "s away" in run.detail("camera_back")
        if fault == "refuse":
            assert run.detail("camera_retrying").endswith("Connection refused")
        _check(run)


@pytest.mark.parametrize("fault", ["stall", "loss", "garbage"])
def test_what_a_camera_survives_costs_frames_and_nothing_else(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    orders: dict[str, tuple[Callable[[], object], str]] = {
        "stall": (lambda: proxy.stall(2.5), "capture: stale"),
        "loss": (lambda: proxy.loss(0.3, 4.0), "capture: damaged"),
        "garbage": (lambda: proxy.garbage(0.3, 4.0), "capture: damaged"),
    }
    order, reason = orders[fault]
    capture = {**WATCH, "read_timeout_s": 20.0}
    with watched(monkeypatch, proxy.address, capture=capture) as run:
        _faulted(run, order)
        run.until(lambda: run.graph.nodes["capture"].dropped[reason], reason)
        time.sleep(4.0)
        run.frames_more(2 * FPS)
        assert run.states == []
        # spoilt bytes may happen to make a picture; TCP's own checksums keep them out in life
        _check(run, unseen=0.1 if fault == "garbage" else 0.0)
        assert run.graph.nodes["capture"].total_dropped[reason] > 5


def test_events_are_found_again_after_the_camera_is(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(monkeypatch, proxy.address, capture=WATCH) as run:
        _faulted(run, proxy.cut)
        run.back()
        back = run.frames[-1].stamp.pts

        def found() -> bool:
            return any(e["phase"] == "final" and e["onset"]["pts"] > back for e in run.events)

        run.until(found, "an event")
        _check(run)


def test_a_camera_that_comes_back_with_another_size_is_followed(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = film(tmp_path / "other.mp4", 6.0, times=8, size=(640, 480))
    with (
        serving(other, live=True) as second,
        watched(monkeypatch, proxy.address, capture=WATCH) as run,
    ):
        run.frames_more(2 * FPS)
        proxy.redirect(second.address)
        proxy.cut()
        run.back()
        assert run.detail("camera_back").endswith("640x480 instead of 480x360")
        run.frames_more(3 * FPS)
        assert {frame.shape for frame in run.frames} == {(360, 480), (480, 640)}
        assert run.all_states.count("face_found") == 2
        _check(run, film_goes_on=False)
        assert not run.graph.nodes["face"].total_dropped


def test_a_camera_that_shows_one_picture_is_lost(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import av

    from tests.pipeline.faulty import pictures

    still = tmp_path / "still.mp4"
    moving = pictures(3.0)
    with av.open(str(still), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_STILL)
        stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
        for i in range(40 * FPS):
            picture = moving[min(i, len(moving) - 1)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with serving(still) as frozen:
        proxy.redirect(frozen.address)
        capture = {**WATCH, "frozen_s": 3.0}
        with watched(monkeypatch, proxy.address, capture=capture) as run:
            run.until(lambda: "camera_lost" in run.states, "camera_lost")
            assert run.detail("camera_lost") == "the same picture for 3 s"
            assert run.graph.nodes["capture"].dropped["capture: repeated picture"] > FPS
            run.back()
            run.end()


def test_stop_does_not_wait_for_a_camera_that_is_away(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(monkeypatch, proxy.address, capture=WATCH) as run:
        run.frames_more(FPS)
        proxy.refuse(600.0)
        run.until(lambda: run.all_states.count("camera_retrying") >= 3, "attempts")
        begin = time.monotonic()
        _check(run)
        assert time.monotonic() - begin < 10.0
        assert run.all_states[-1] == "ended"


def _published(out: str) -> Iterator[dict[str, Any]]:
    for line in out.splitlines():
        yield json.loads(line)


@pytest.mark.parametrize("transport", ["ipc"])
def test_processes_survive_a_cut_too(proxy: FaultProxy, tmp_path: Path, transport: str) -> None:
    out = tmp_path / "events.jsonl"
    toml = tmp_path / "run.toml"
    toml.write_text('[capture]\nread_timeout_s = 2\nname = "cam"\n', encoding="utf-8")
    command = [sys.executable, str(ROOT / "run_live.py"), proxy.address, "--no-models"]
    command += ["--events", "tcp://127.0.0.1:*", "--config", str(toml), "--out", str(out)]
    log = tmp_path / "log"
    with log.open("w") as text:
        run = subprocess.Popen(
            [*command, "--transport", transport], stdout=text, stderr=subprocess.STDOUT
        )

    def until(happened: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not happened():
            assert run.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{what}\n{log.read_text()}"
            time.sleep(0.05)

    try:
        until(lambda: "face_found" in log.read_text(), "no face")
        proxy.reset()
        until(lambda: "camera_back" in log.read_text(), "not back")
        until(lambda: log.read_text().count("face_found") == 2, "no face again")
        before = len(out.read_text().splitlines())
        until(lambda: len(out.read_text().splitlines()) > before + 1, "no events")
        run.send_signal(signal.SIGTERM)
        assert run.wait(PATIENCE_S) == 0
    finally:
        run.kill()
        run.wait()
    events = list(_published(out.read_text()))
    opened = sorted(e["id"] for e in events if e["phase"] == "apex")
    closed = sorted(e["id"] for e in events if e["phase"] in ("final", "retracted"))
    assert opened == closed


def test_a_camera_that_is_not_there_at_the_start_is_a_mistake_or_waited_for(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.refuse(600.0)
    command = [sys.executable, str(ROOT / "run_live.py"), proxy.address]
    done = subprocess.run(
        [*command, "--no-models", "--events", "tcp://127.0.0.1:*"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot be reached" in done.stderr
    with watched(monkeypatch, proxy.address, capture={**WATCH, "wait": True}) as run:
        run.until(lambda: "camera_retrying" in run.all_states, "an attempt")
        proxy.calm()
        run.back()
        run.frames_more(FPS)
        assert run.frames[0].stamp.frame == 0
        _check(run)
