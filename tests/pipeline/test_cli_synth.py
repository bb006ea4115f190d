"""``mespot synth``: clips with truth, and one clear line for bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import typer

from models.errors import UserError
from models.synthesis import Scene, SyntheticFace, Timing, load_portrait
from pipeline import cli_synth
from pipeline.cli import run
from pipeline.cli_synth import write_clip
from pipeline.sources import open_source

app = typer.Typer()
cli_synth.register(app)


@app.command()
def _other() -> None:
    """A second command, so that synth has a name."""


def _synth(*arguments: str) -> int:
    return run(["synth", *arguments], app)


def _decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "new" / "clips"
    arguments = ["--clips", "3", "--seed", "5", "--level", "mixed", "--duration", "6"]
    assert _synth("--out", str(out), *arguments, "--empty", "0") == 0
    return out


def test_clips_come_with_their_truth(folder: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text())
    assert sorted(path.name for path in folder.glob("*.mp4")) == sorted(truth)
    assert [entry["level"] for entry in truth.values()] == ["easy", "medium", "hard"]
    for name, entry in truth.items():
        assert entry["synthetic"] is True
        assert entry["portrait"] == "astronaut"
        frames = _decoded(folder / name)
        assert len(frames) == entry["frames"]
        assert entry["frames"] + entry["dropped"] == entry["nominal_frames"] == 180
        assert (frames[0].width, frames[0].height) == (entry["width"], entry["height"])
        for event in entry["events"]:
            assert set(event) >= {"onset", "apex", "offset", "kind", "aus", "peak_px"}
            assert 0 <= event["onset"] < event["apex"] < event["offset"] < entry["frames"]
            # the frame of the onset is the one at the time of the onset
            assert frames[event["onset"]].time == pytest.approx(event["onset_s"], abs=0.12)
        for part in ("blinks", "gaze", "speech", "head_episodes"):
            assert all(p["start_s"] < p["end_s"] for p in entry[part])
    assert any(entry["events"] for entry in truth.values())


def test_the_same_seed_makes_the_same_clips_however_many(folder: Path, tmp_path: Path) -> None:
    arguments = ["--clips", "1", "--seed", "5", "--level", "easy", "--duration", "6"]
    assert _synth("--out", str(tmp_path), *arguments, "--empty", "0") == 0
    first, again = (
        json.loads((path / "truth.json").read_text())["clip_000.mp4"] for path in (folder, tmp_path)
    )
    assert first == again


def test_a_share_of_clips_is_empty(tmp_path: Path) -> None:
    arguments = ["--clips", "2", "--duration", "6", "--level", "easy"]
    assert _synth("--out", str(tmp_path), *arguments, "--empty", "1") == 0
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert all(entry["events"] == [] for entry in truth.values())


def test_lost_frames_leave_gaps_in_time(tmp_path: Path) -> None:
    face = SyntheticFace(Scene(2.0, noise=0, timing=Timing(0.2, 0.1)))
    path = tmp_path / "clip.mp4"
    write_clip(face, path)
    frames = _decoded(path)
    arrived = face.schedule()
    assert len(frames) == len(arrived) < 60
    assert [f.time for f in frames] == pytest.approx([a.pts for a in arrived], abs=1e-3)


def test_a_portrait_file_gets_its_landmarks(tmp_path: Path) -> None:
    image, points = load_portrait()
    file = tmp_path / "someone.png"
    cv2.imwrite(str(file), image)
    name, (found, landmarks) = cli_synth.portrait(str(file))
    assert name == "someone"
    assert np.array_equal(found, image)
    assert np.hypot(*(landmarks - points).T).max() < 4


def _complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _synth(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mespot:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--clips", "0"),
        ("--seed", "-1"),
        ("--duration", "0"),
        ("--duration", "nan"),
        ("--duration", "inf"),
        ("--fps", "10"),
        ("--fps", "nan"),
        ("--fps", "500"),
        ("--empty", "2"),
        ("--level", "brutal"),
        ("--portrait", "nobody.png"),
    ],
)
def test_bad_options_are_named(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert option in _complaint(capsys, "--out", str(out), option, value)
    assert not out.exists()


@pytest.mark.parametrize(("name", "said"), [("text.png", "not an image"), ("bare.png", "no face")])
def test_bad_portraits_are_named(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("text")
    cv2.imwrite(str(tmp_path / "bare.png"), np.full((200, 200, 3), 90, np.uint8))
    line = _complaint(capsys, "--out", str(tmp_path / "o"), "--portrait", str(tmp_path / name))
    assert name in line
    assert said in line


def test_an_empty_file_and_a_small_face_are_no_portraits(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(UserError, match="not an image"):
        cli_synth.portrait(str(empty))
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.resize(load_portrait()[0], None, fx=0.2, fy=0.2))
    with pytest.raises(UserError, match=r"too small|no face"):
        cli_synth.portrait(str(small))


def test_a_folder_that_holds_truth_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "truth.json").read_text()
    assert "already holds" in _complaint(capsys, "--out", str(folder))
    assert (folder / "truth.json").read_text() == before


@pytest.mark.skipif(sys.platform == "win32", reason="files stand in for folders")
def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "not a folder" in _complaint(capsys, "--out", str(file))
    assert "--out" in _complaint(capsys, "--out", str(file / "below"))


# --- the synthetic camera


def test_the_synthetic_camera_shows_random_scenes_of_a_level() -> None:
    def some(text: str) -> list[np.ndarray]:
        source = open_source(text, fps="max", duration_s=0.2)
        return [frame.image for frame in source.frames()]

    hard, again, easy, demo = (
        some(f"synthetic:{text}")
        for text in ("level=hard,seed=3", "seed=3,level=hard", "level=easy,seed=3", "seed=3")
    )
    assert all(np.array_equal(a, b) for a, b in zip(hard, again, strict=True))
    assert not np.array_equal(hard[0], easy[0])
    assert not np.array_equal(easy[0], demo[0])


def test_lost_frames_leave_gaps_in_the_stamps() -> None:
    frames = list(open_source("synthetic:level=hard,seed=5", fps="max", duration_s=8.0).frames())
    numbers = [f.stamp.frame for f in frames]
    assert len(numbers) < 240
    assert (np.diff(numbers) > 0).all()
    for frame in frames:
        assert frame.stamp.pts == pytest.approx(frame.stamp.frame / 30, abs=0.01)
    assert (np.diff([f.stamp.pts for f in frames]) > 0).all()


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(UserError, match="level=brutal"):
        open_source("synthetic:level=brutal")
