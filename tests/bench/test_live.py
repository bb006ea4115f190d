"""The live commands' tables, from runs made up here: nothing is started, nothing is timed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import camera, cameras, growth, latency, memory, process, replay, startup, throughput
from bench.camera import Camera, Run, Watched
from bench.figures import Figure
from bench.growth import Dimension, Point
from bench.outside import Heard
from bench.process import Usage
from bench.report import Result, document
from models.errors import UserError
from models.prototypes import load as load_prototypes
from models.prototypes import load_default
from pipeline.sockets import NODES

MS = 1_000_000


def run(count: int = 300, fps: float = 100.0, late_ms: float = 0.0, dropped: str = "none") -> Run:
    """``count`` frames, each ``late_ms`` later than the one before, heard 5 ms after capture."""
    heard = Heard()
    for i in range(count):
        at = round((i / fps * 1e3 + i * late_ms) * MS)
        heard.take(b"curves.c", {"at": {"frame": i, "utc_ns": at}}, at + 5 * MS)
    heard.events = {"apex": [(2.5, 8.0), (2.6, 10.0)], "final": [(2.5, 60.0)], "update": [(9, 99)]}
    told = {"nodes": {name: {"age_ms": [1.0, 2.0], "work_ms": [0.5]} for name in NODES}}
    return Run(heard, count, dropped, told)


def watched(rss: float = 300.0, seconds: float = 10.0, growth_mb: float = 0.0) -> Watched:
    times = np.linspace(0, seconds, 41)
    used = [Usage(rss + growth_mb * t / 3600, 200, rss, 0.5 * t) for t in times]
    return Watched(0, list(zip(times.tolist(), used, strict=True)))


def figures(*results: Result) -> dict[str, Figure]:
    document("x", results)  # keys are unique, and everything can be written
    return {figure.key: figure for result in results for figure in result.figures}


# ---------------------------------------------------------------- replay


def test_a_replay_that_keeps_up_says_so() -> None:
    result = replay.table(run(), watched(), 30.0, 100.0)
    made = figures(result)
    key = "replay.own30.at100"
    assert made[f"{key}.drops"].reached
    assert made[f"{key}.late_ms"].reached
    assert made[f"{key}.cores"].value == pytest.approx(0.5)
    assert result.notes[0].startswith("kept up")


@pytest.mark.parametrize("one", [run(late_ms=1.0), run(dropped="face failed: 3")])
def test_a_replay_that_drifts_off_or_drops_does_not_keep_up(one: Run) -> None:
    result = replay.table(one, watched(), 200.0, 100.0)
    assert result.notes[0].startswith("did not keep up")
    assert any(figure.reached is False for figure in result.figures)


def test_a_replay_that_was_not_heard_is_told() -> None:
    result = replay.table(Run(Heard(), 0, "none", run().told), watched(), 200.0, 200.0)
    assert "no curves" in result.notes[0]


# ---------------------------------------------------------------- cameras


def test_cameras_are_told_apart_and_summed() -> None:
    runs = [run(fps=30.0), run(fps=30.0, late_ms=0.5, dropped="x: 2")]
    each, total = cameras.table(runs, watched(), "processes")
    made = figures(each, total)
    assert [row[:3] for row in each.rows] == [[1, 300, "none"], [2, 300, "x: 2"]]
    assert made["cameras.processes.2.drops"].value == 2
    assert made["cameras.processes.2.late_ms"].value == pytest.approx(299 * 0.5)
    assert made["cameras.processes.2.pss_mb"].value == 200
    assert made["cameras.processes.2.drops"].reached is False


def test_cameras_share_clips_and_repeat_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "rendered", lambda scene: Path(f"seed{scene.seed}.mp4"))
    made = cameras.films(4, 8.0)
    assert [one.source.name for one in made] == [*(f"seed{7 + i % 3}.mp4" for i in range(4))]
    assert all(one.fps == 30.0 and one.more == {"duration": 8.0} for one in made)


# ---------------------------------------------------------------- latency


def test_latency_counts_decided_events_after_the_warm_up() -> None:
    result = latency._events("--no-models", run(), True)
    made = figures(result)
    assert made["latency.no_models.events.p50"].value == 10.0
    assert made["latency.no_models.events.p50"].reached
    assert made["latency.no_models.events.p99"].reached is False  # the final took 60 ms
    assert [row[0] for row in result.rows] == ["apex, final, retracted", "apex", "final", "update"]
    assert result.rows[0][4] == 3
    assert "only 3 events" in result.notes[0]


def test_ages_are_told_by_node_with_and_without_recognisers() -> None:
    result = latency._ages({"with recognisers": run(), "--no-models": run()})
    made = figures(result)
    assert made["latency.models.curves"].value == pytest.approx(5.0)
    assert {f"latency.no_models.through_{name}" for name in NODES[1:]} <= made.keys()


# ---------------------------------------------------------------- memory


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_memory_is_sampled_by_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def apart(given: list[Camera], every_s: float) -> tuple[list[Run], Watched]:
        asked.append(float(given[0].fps))
        return [run()], watched(300 if given[0].fps == 30 else 900)

    monkeypatch.setattr(camera, "apart", apart)
    monkeypatch.setattr(memory, "film", lambda *given: Path("film"))
    made = figures(*memory.measure(10.0))
    assert asked == [30.0, 200.0]
    assert made["memory.at30.peak_mb"].reached
    assert made["memory.at200.peak_mb"].reached is None
    assert made["memory.at30.slope_mb_h"].reached is None  # too short to be judged


@pytest.mark.parametrize(("grown", "reached"), [(2.0, True), (40.0, False)])
def test_an_hours_slope_is_judged_and_robust(grown: float, reached: bool) -> None:
    one = watched(seconds=3600.0, growth_mb=grown)
    one.samples[20] = (one.samples[20][0], Usage(5000, 5000, 5000, 0))  # a spike
    value, low, high = memory.slope(one.samples, "rss")
    assert low <= value <= high
    assert value == pytest.approx(grown, abs=0.01)
    pss = [(t, Usage(u.rss, u.rss, u.peak, u.cpu_s)) for t, u in one.samples]
    made = figures(memory.table(Watched(0, pss), 30.0))
    assert made["memory.at30.slope_mb_h"].reached == reached


def test_too_few_samples_have_no_slope() -> None:
    assert all(math.isnan(v) for v in memory.slope([], "rss"))
    memory.table(Watched(), 30.0).as_json()


# ---------------------------------------------------------------- startup


def test_the_import_is_broken_down_by_package() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1000 |       1000 |   numpy.core\n"
        "import time:      3000 |       5000 |   numpy\n"
        "noise\n"
        "import time:      6000 |      10000 | run_live\n"
    )
    result = startup.breakdown(text)
    assert [row[:2] for row in result.rows] == [
        *(["run_live", 6.0], ["numpy", 4.0], ["everything else", 0.0])
    ]
    assert [row[2] for row in result.rows] == [60.0, 40.0, 0.0]
    assert startup.breakdown("").rows == [["everything else", 0, 0]]


def test_an_import_that_fails_is_one_line() -> None:
    with pytest.raises(UserError, match="nothing_of_that_name") as raised:
        startup._run(["-c", "import nothing_of_that_name"])
    assert "\n" not in str(raised.value)


def test_a_start_without_the_first_frame_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "apart", lambda *a, **k: ([Run(Heard())], Watched()))
    with pytest.raises(UserError, match="not heard"):
        startup._first_frame(Camera(Path("x"), 30.0))


# ---------------------------------------------------------------- throughput


def test_throughput_is_compared_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"plain": iter([20.0, 40.0]), "graph (inproc)": iter([400.0, 400.0])}
    runners: dict[str, Any] = {
        name: (lambda path, config, rates=rates: (next(rates), 90))
        for name, rates in speeds.items()
    }
    monkeypatch.setattr(throughput, "RUNNERS", runners)
    monkeypatch.setattr(throughput, "_inline", lambda path, config: (1.0, 1))
    made = figures(throughput._table("clip", "own", Path("x.mp4"), 2))
    assert made["throughput.own.graph.x_plain"].value == 15.0  # of 20 and 10
    assert made["throughput.own.graph.x_plain"].reached
    assert made["throughput.own.graph.fps"].reached
    assert made["throughput.own.plain.fps"].aim is None


# ---------------------------------------------------------------- growth


def dimension(key: str = "faces") -> Dimension:
    points = [
        Point(1, "1", 10.0, 12.0, True),
        Point(2, "2", 13.0, 13.0, True),
        Point(3, "3", 16.0, 400.0, False),
        Point(4, "4", math.nan, None, False),
    ]
    return Dimension(key, key, "face", points)


def test_slopes_leave_out_what_did_not_keep_up() -> None:
    assert dimension().slope() == pytest.approx(3.0)
    assert dimension().slope_p50() == pytest.approx(1.0)
    assert math.isnan(Dimension("x", "x", "x", dimension().points[:1]).slope())


def test_growth_is_told_and_drawn(tmp_path: Path) -> None:
    made = [dimension(key) for key in ("rate", "size", "faces", "aus", "cameras")]
    slopes, points = growth.tables(made, 3.0)
    figures(slopes, points)
    assert len(slopes.rows) == 5
    assert len(points.rows) == 20
    growth.draw(made, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="--plot"):
        growth.draw(made, tmp_path / "none" / "growth.png")


def test_a_points_cost_is_processor_time_by_frames_captured() -> None:
    made = growth.point(1, "one", [run(fps=100.0), run(fps=100.0)], watched(), 100.0)
    assert made.cpu_ms == pytest.approx(0.5 * 1e3 / 200)
    assert made.p50_ms == pytest.approx(5.0)
    assert made.kept_up
    assert not growth.point(1, "", [run(late_ms=1.0)], watched(), 100.0).kept_up
    nothing = growth.point(1, "", [Run(Heard())], Watched(), 100.0)
    assert nothing.p50_ms is None and not nothing.kept_up


def test_fewer_aus_make_a_set_that_can_be_loaded(tmp_path: Path) -> None:
    known = load_default()
    made = growth.subset(known, [known.aus[0], known.aus[-1]])
    made.save(tmp_path / "few.npz")
    back = load_prototypes(tmp_path / "few.npz")
    assert back.aus == (known.aus[0], known.aus[-1])
    assert back.joint is not None
    assert set(back.joint.aus) == {known.aus[0], known.aus[-1], 45}


def test_faces_are_tiled() -> None:
    image = np.full((4, 6, 3), 7, np.uint8)
    made = growth.tiled(image, 3)
    assert made.shape == (8, 12, 3)
    assert [int(made[y, x, 0]) for y in (0, 7) for x in (0, 11)] == [7, 7, 7, 128]


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (lambda: replay.measure(1.0), "--seconds 1"),
        (lambda: replay.measure(10.0, 0.0), "--fps 0"),
        (lambda: cameras.measure(0, 10.0), "--count 0"),
        (lambda: memory.measure(5.0), "--seconds 5"),
        (lambda: latency.measure(None, 2.0), "--seconds 2"),
        (lambda: growth.measure(1.0, None), "--seconds 1"),
        (lambda: startup.measure(0), "--repeat 0"),
        (lambda: throughput.measure(None, 1.0, 0), "--repeat"),
    ],
)
def test_a_wrong_number_is_one_line(measure: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        measure()
    assert "\n" not in str(raised.value)


def test_without_proc_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "_PROC", tmp_path)
    with pytest.raises(UserError, match="needs Linux"):
        memory.measure(20.0)
