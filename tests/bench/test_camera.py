"""Cameras as processes: what they are told, what is read from them."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench import camera, clip
from bench.camera import Camera, Run, Watched
from bench.outside import Heard
from bench.process import Usage
from models.errors import UserError
from pipeline.config import load
from pipeline.sources import open_source

SUMMARY = """events on ipc:///tmp/x
summary
┌────────┬───────────────┐
│ frames │ 1800 in 60.1 s                    │
│ drops  │ {drops}                           │
│ events │ 3 (2 micro, 1 macro), 0 retracted │
└────────┴───────────────┘
"""


@pytest.mark.parametrize(
    ("drops", "lost"),
    [("none", 0), ("face failed: 12", 12), ("capture: newer frame won: 3, malformed: 4", 7)],
)
def test_the_closing_table_is_read(drops: str, lost: int) -> None:
    run = camera._told(SUMMARY.format(drops=drops), Heard())
    assert (run.frames, run.dropped, run.lost) == (1800, drops, lost)


def test_a_run_without_its_closing_table_is_told() -> None:
    with pytest.raises(UserError, match="closing table"):
        camera._told("Traceback", Heard())


def test_options_reach_the_configuration(tmp_path: Path) -> None:
    more = {"duration": 2.5, "faces": 3, "motion": {"window_s": 5.0}, "publish": {"curves": False}}
    one = Camera(tmp_path / "a.mp4", 200.0, models=False, more=more)
    config = load(**one.options("ipc://x"))
    assert (config.source, config.fps, config.events) == (str(tmp_path / "a.mp4"), 200.0, "ipc://x")
    assert (config.model, config.faces, config.duration) == ([], 3, 2.5)
    assert config.motion.window_s == 5.0
    assert not config.publish.curves
    assert load(**Camera(tmp_path, "max").options("ipc://x")).publish.curves


def test_the_same_options_reach_run_live(tmp_path: Path) -> None:
    toml = tmp_path / "0.toml"
    one = Camera(tmp_path / "a.mp4", 30.0, False, {"duration": 2.5, "motion": {"window_s": 5.0}})
    command = camera._run_live(one, toml, "ipc://x")
    assert command[:2] == ["run_live.py", str(tmp_path / "a.mp4")]
    assert "--no-models" in command
    held = tomllib.loads(toml.read_text())
    assert held == {"duration": 2.5, "motion": {"window_s": 5.0}, "publish": {"curves": True}}
    assert "--no-models" not in camera._run_live(Camera(tmp_path, 30.0), toml, "ipc://x")


def test_the_processor_is_counted_between_first_and_last_sample() -> None:
    used = [(0.0, Usage(100, 80, 110, 5.0)), (2.0, Usage(140, 90, 150, 6.0))]
    used.append((4.0, Usage(120, 85, 150, 8.0)))
    watched = Watched(0, used)
    assert watched.cores == pytest.approx(0.75)
    assert (watched.most("rss"), watched.most("pss"), watched.most("peak")) == (140, 90, 150)
    assert Watched().cores != Watched().cores  # nan


def test_a_loop_is_as_long_as_it_says_and_its_time_goes_on() -> None:
    path = clip.rendered(clip.scene(0.4, 50.0, size=(320, 240)))
    film = clip.looped(path, 1.0, 0.4)
    source = open_source(str(film), fps="max")
    times = [frame.stamp.pts for frame in source.frames()]
    source.close()
    assert len(times) == 60
    assert times == pytest.approx([i / 50 for i in range(60)], abs=1e-3)
    assert clip.looped(path, 0.3, 0.4) == path
    assert clip.rendered(clip.scene(0.4, 50.0, size=(320, 240))) == path  # rendered once


def test_the_dense_scene_holds_events_enough() -> None:
    scene = clip.dense_scene(100.0)
    assert len(scene.expressions) >= 55
    ends = [(e.onset_s, e.offset_s) for e in scene.expressions]
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(ends))
    assert ends[-1][1] < 100


@pytest.fixture(scope="module")
def film() -> Path:
    return clip.rendered(clip.scene(2.0))


@pytest.mark.alone
@pytest.mark.slow
def test_a_run_live_is_heard_and_watched(film: Path) -> None:
    (run,), watched = camera.apart([Camera(film, 30.0, models=False)], every_s=0.1)
    assert (run.frames, run.lost) == (60, 0)
    assert run.heard.ended
    assert run.heard.frames[0] == 0
    assert len(run.heard.ages_ms()) >= 55
    assert watched.cores > 0
    assert watched.most("rss") > watched.most("pss") > 50


@pytest.mark.slow
def test_graphs_of_one_process_tell_what_is_inside(film: Path) -> None:
    runs, _ = camera.together([Camera(film, "max", models=False)] * 2, every_s=0.1)
    for run in runs:
        assert run.frames == 60
        work: dict[str, Any] = run.told["nodes"]
        assert len(work["face"]["work_ms"]) == 60
        assert min(work["spot"]["age_ms"]) > 0


@pytest.mark.slow
def test_a_camera_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.mp4: no such file"):
        camera.together([Camera(tmp_path / "none.mp4", 30.0)])


@pytest.mark.slow
def test_one_that_fails_ends_the_others_and_says_why(film: Path, tmp_path: Path) -> None:
    given = [Camera(film, 0.5, models=False), Camera(tmp_path / "none.mp4", 30.0)]  # 120 s, 0 s
    with pytest.raises(UserError, match=r"none\.mp4: no such file"):
        camera.apart(given)


def test_runs_of_nothing_are_no_drops() -> None:
    assert Run(Heard()).lost == 0
