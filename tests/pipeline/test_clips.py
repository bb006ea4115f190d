"""Clips of events: opt-in, blurred, bounded, deleted in time. All pictures are synthetic."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from models.errors import UserError
from pipeline.clip_file import Job, Kept, Writer
from pipeline.clip_pictures import hidden, packed, regions, unpacked
from pipeline.clips import Clips
from pipeline.config import ClipsConfig, ConfigError, load
from pipeline.graph import Graph
from pipeline.schema import Delays, EventMessage, Moment
from stages.items import Face, Frame, Stamp
from stages.landmarks import LEFT_OUTER_EYE, NOSE_BASE, RIGHT_OUTER_EYE

_NOISE = np.random.default_rng(3).integers(0, 256, (241, 320, 3), np.uint8)


def _stamp(frame: int) -> Stamp:
    return Stamp(
        "cam", frame, frame / 30, 0, 1_700_000_000_000_000_000 + frame * 1_000_000_000 // 30
    )


def _face(frame: int) -> Face:
    points = np.zeros((468, 2), np.float32)
    points[RIGHT_OUTER_EYE], points[LEFT_OUTER_EYE], points[NOSE_BASE] = (130, 80), (190, 80), 0
    points[NOSE_BASE] = (160, 115)
    eye, mouth = np.full((240, 280), 90, np.uint8), np.full((160, 260), 180, np.uint8)
    return Face(_stamp(frame), 0, eye, mouth, points, 60.0, 0.3, (0.0, 0.0, 0.0))


def _event(onset: int = 30, offset: int = 40, phase: Any = "final") -> EventMessage:
    at = [Moment(n, _stamp(n).pts, _stamp(n).utc_ns) for n in (onset, onset, offset)]
    return EventMessage(
        seq=0, id="cam/0/0-3", stream="cam", face=0, phase=phase, kind="micro",
        onset=at[0], apex=at[1], offset=at[2], aus=[], height=5.0, explained=0.9, vetoes=[],
        emotions=[], prototypes="p@1", models=[], delays=Delays(0.1, 3.0), reason="",
        published_utc_ns=0,
    )  # fmt: skip


def _kept(frame: int, image: np.ndarray[Any, Any] = _NOISE) -> Kept:
    face = _face(frame)
    return Kept(face.stamp, image.shape, packed(image), {0: regions(face)}, {0: packed(face.eye)})


def _job(n: int = 20) -> Job:
    return Job(_event(), [_kept(frame) for frame in range(25, 25 + n)])


def _pictures(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]


def _detail(image: np.ndarray[Any, Any], at: tuple[int, int]) -> float:
    x, y = at
    return float(image[y - 8 : y + 8, x - 8 : x + 8].astype(float).std())


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert load().clips.folder is None


def test_only_the_regions_that_were_looked_at_stay_sharp() -> None:
    shown = hidden(_NOISE, regions(_face(0)))
    assert np.array_equal(shown[85, 140:180], _NOISE[85, 140:180])  # between the eyes
    assert np.array_equal(shown[130, 150:170], _NOISE[130, 150:170])  # the mouth
    outside = [(20, 20), (300, 220), (60, 120), (160, 200)]
    assert all(_detail(_NOISE, at) > 60 and _detail(shown, at) < 20 for at in outside)


def test_where_the_face_was_not_seen_nothing_stays_sharp() -> None:
    shown = hidden(_NOISE, None)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 16 * 12


def test_the_hidden_part_does_not_depend_on_detail() -> None:
    """Two pictures with equal block means and other details are hidden alike."""
    flat = np.full((240, 320, 3), 128, np.uint8)
    board = flat.copy()
    board[::2, ::2], board[1::2, 1::2] = 28, 28
    board[::2, 1::2], board[1::2, ::2] = 228, 228
    assert np.abs(hidden(board, None).astype(int) - hidden(flat, None)).max() <= 1


def test_a_clip_is_a_video_with_its_event_beside_it(tmp_path: Path) -> None:
    clip = Writer(ClipsConfig(folder=tmp_path / "c")).write(_job())
    assert clip is not None
    assert clip.parent == tmp_path / "c" / "cam"
    assert clip.name == "20231114T221321.000Z_cam-0-0-3.mp4"
    pictures = _pictures(clip)
    assert len(pictures) == 20 and pictures[0].shape == (242, 320, 3)
    assert _detail(pictures[5], (160, 85)) > 3 * _detail(pictures[5], (60, 200))
    about = json.loads(clip.with_suffix(".json").read_text())
    assert about["event"]["id"] == "cam/0/0-3"
    assert about["clip"]["shows"] == "regions" and about["clip"]["whole"]
    assert about["clip"]["frames"] == list(range(25, 45))
    for path in (clip, clip.with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(clip.parent.stat().st_mode) == 0o700
    assert sorted(p.suffix for p in clip.parent.iterdir()) == [".json", ".mp4"]


@pytest.mark.parametrize(("blur", "crops"), [(False, False), (True, True)])
def test_all_or_crops_alone_where_asked(blur: bool, crops: bool, tmp_path: Path) -> None:
    clip = Writer(ClipsConfig(folder=tmp_path, blur=blur, crops=crops)).write(_job())
    assert clip is not None
    picture = _pictures(clip)[3]
    shows = json.loads(clip.with_suffix(".json").read_text())["clip"]["shows"]
    if crops:
        assert shows == "crops" and picture.shape == (240, 280, 3)
    else:
        assert shows == "all" and _detail(picture, (60, 200)) > 40


def test_a_clip_whose_frames_have_a_gap_keeps_their_times(tmp_path: Path) -> None:
    frames = [_kept(n) for n in (25, 26, 40, 41)]
    clip = Writer(ClipsConfig(folder=tmp_path)).write(Job(_event(), frames))
    with av.open(str(clip)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 1 / 30, 0.5, 16 / 30], abs=1e-3)


def test_frames_of_another_size_are_left_out(tmp_path: Path) -> None:
    frames = [_kept(25, _NOISE[:100]), _kept(26), _kept(27)]
    clip = Writer(ClipsConfig(folder=tmp_path)).write(Job(_event(), frames))
    assert clip is not None
    assert len(_pictures(clip)) == 2


def test_a_stream_name_leads_nowhere_else(tmp_path: Path) -> None:
    event = msgspec.structs.replace(_event(), stream="../../x", id="../..//etc/passwd\n")
    clip = Writer(ClipsConfig(folder=tmp_path / "c")).write(Job(event, _job().frames))
    assert clip is not None
    assert clip.resolve().is_relative_to((tmp_path / "c").resolve())
    assert not (tmp_path / "x").exists()


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UserError, match=r"clips\.folder: .*nobody else"):
        Writer(ClipsConfig(folder=tmp_path))


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "c" / "cam").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        Writer(ClipsConfig(folder=tmp_path / "c")).write(_job())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def _old(folder: Path, number: int, days: float, size: int = 1000) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"20200101T00000{number}.000Z_cam-0-0-{number}.mp4"
    for each in (path, path.with_suffix(".json")):
        each.write_bytes(b"x" * size)
        os.utime(each, (time.time() - days * 86400,) * 2)
    return path


def test_old_clips_go_and_nothing_else_does(tmp_path: Path) -> None:
    root = tmp_path / "c"
    writer = Writer(ClipsConfig(folder=root, retention_days=7))
    gone, stays = _old(root / "cam", 1, 8), _old(root / "cam", 2, 6)
    mine = [root / "cam" / "holiday.mp4", root / "notes.json", tmp_path / gone.name]
    outside = _old(tmp_path / "outside", 3, 99)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "cam" / gone.name.replace("0-1", "9")).symlink_to(outside)
    for path in mine:
        path.write_text("mine")
        os.utime(path, (0, 0))
    writer.sweep()
    assert not gone.exists() and not gone.with_suffix(".json").exists()
    assert stays.exists() and outside.exists()
    assert all(path.exists() for path in mine)


def test_the_oldest_go_until_the_rest_fits(tmp_path: Path) -> None:
    writer = Writer(ClipsConfig(folder=tmp_path, max_mb=0.005))
    made = [_old(tmp_path / "cam", n, days=9 - n) for n in range(1, 6)]  # 2 kB each
    writer.sweep()
    assert [path.exists() for path in made] == [False, False, False, True, True]


def test_stale_drafts_go(tmp_path: Path) -> None:
    writer = Writer(ClipsConfig(folder=tmp_path))
    path = _old(tmp_path / "cam", 1, days=1)
    draft, fresh = path.with_name(path.name + ".part"), path.with_name("x" + path.name + ".part")
    path.rename(draft)
    fresh.touch()
    writer.sweep()
    assert not draft.exists() and fresh.exists()


class Written:
    """Takes jobs instead of a disk."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.jobs: list[Job] = []
        self.release = threading.Event()
        if not slow_s:
            self.release.set()

    def __call__(self, job: Job) -> None:
        self.release.wait(30)
        self.jobs.append(job)


def _run(clips: Clips, frames: int, events: dict[int, EventMessage], image: Any = _NOISE) -> None:
    for n in range(frames):
        clips.see(Frame(_stamp(n), image), [_face(n)])
        if n in events:
            clips.event(events[n])
    clips.close()


def test_a_clip_spans_its_event_and_some_time_around_it(tmp_path: Path) -> None:
    written = Written()
    clips = Clips(ClipsConfig(folder=tmp_path, before_s=0.51, after_s=0.21), False, written)
    _run(clips, 100, {45: _event(30, 40)})
    (job,) = written.jobs
    assert [k.stamp.frame for k in job.frames] == list(range(15, 47))
    assert not clips.dropped()


def test_an_event_at_the_end_gets_what_there_is_and_only_finals_get_one(tmp_path: Path) -> None:
    written = Written()
    clips = Clips(ClipsConfig(folder=tmp_path), False, written)
    _run(clips, 42, {35: _event(phase="apex"), 36: _event(phase="retracted"), 41: _event()})
    (job,) = written.jobs
    assert job.frames[-1].stamp.frame == 41


def test_memory_is_bounded(tmp_path: Path) -> None:
    written = Written()
    clips = Clips(ClipsConfig(folder=tmp_path, memory_mb=1), False, written)
    _run(clips, 60, {45: _event(10, 40)})
    assert clips._bytes <= 1e6
    (job,) = written.jobs
    assert sum(k.size for k in job.frames) <= 1e6 and job.frames[0].stamp.frame > 10


def test_a_slow_disk_costs_clips_and_never_the_graph(tmp_path: Path) -> None:
    written = Written(slow_s=1)
    clips = Clips(ClipsConfig(folder=tmp_path, after_s=0), False, written)
    for n in range(60):
        clips.see(Frame(_stamp(n), _NOISE), [_face(n)])
        if n >= 40:
            clips.event(_event(30, 39))
    clips.see(Frame(_stamp(60), _NOISE), [])
    _until_idle(clips)
    assert clips.dropped()["clips: clip too late"] == 20 - 5  # four wait, one is in hand
    written.release.set()
    clips.close()


def _until_idle(clips: Clips) -> None:
    end = time.monotonic() + 30
    while (not clips._inbox.empty() or clips._open) and time.monotonic() < end:
        time.sleep(0.02)


def test_a_camera_never_waits_for_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr("pipeline.clips.packed", lambda image: b"x" * go.wait(30))
    clips = Clips(ClipsConfig(folder=tmp_path), True, Written())
    for n in range(50):
        clips.see(Frame(_stamp(n), _NOISE), [])
    assert clips.dropped()["clips: frame too late"] >= 50 - 9  # eight wait, one is in hand
    go.set()
    clips.close()


def test_a_disk_that_refuses_is_counted(tmp_path: Path) -> None:
    def full(job: Job) -> None:
        raise OSError(28, "No space left on device")

    clips = Clips(ClipsConfig(folder=tmp_path), False, full)
    _run(clips, 80, {45: _event()})
    assert clips.dropped() == {"clips: not written: OSError": 1}


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_clips_need_one_process(transport: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clips\.folder: clips need transport inproc"):
        load(transport=transport, clips={"folder": tmp_path})


@pytest.mark.slow
def test_a_run_keeps_a_clip_of_each_final_event(tmp_path: Path) -> None:
    """The whole graph on the synthetic camera."""
    out = tmp_path / "events.jsonl"
    clips = {"folder": tmp_path / "clips", "before_s": 0.3, "after_s": 0.3}
    options: dict[str, Any] = {"fps": "max", "model": [], "duration": 9, "out": out}
    summary = Graph(
        load(source="synthetic:", events="tcp://127.0.0.1:*", clips=clips, **options)
    ).run()
    events = [json.loads(line) for line in out.read_text().splitlines()]
    finals = {e["id"] for e in events if e["phase"] == "final"}
    kept = {
        json.loads(path.read_text())["event"]["id"]: path
        for path in (tmp_path / "clips").glob("*/*.json")
    }
    lost = sum(n for why, n in summary.dropped.items() if why.startswith("clips"))
    assert finals and len(kept) + lost >= len(finals) and kept.keys() <= finals
    for path in kept.values():
        about = json.loads(path.read_text())["clip"]
        assert len(_pictures(path.with_suffix(".mp4"))) == len(about["frames"])
        assert unpacked(packed(_NOISE)).shape[0] == 242
