"""``mespot explain`` from the command line: one clear line for a mistake, one file otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeline.explain_record
from pipeline.cli import run
from pipeline.config import Config
from pipeline.explain_account import Run
from tests.pipeline.explained import Movement, Take, overheard


def _line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    assert said.startswith("mespot: ")
    return said


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> list[Take]:
    """The take that stands for the source's video; none of it is decoded."""
    takes = [Take([Movement(2.0, {1: 3.0, 2: 3.0})])]

    def record(config: Config) -> Run:
        return overheard(takes[0], config)

    monkeypatch.setattr(pipeline.explain_record, "record", record)
    return takes


@pytest.mark.parametrize("source", ["0", "rtsp://10.0.0.1/live"])
def test_a_camera_is_refused(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", source, "--out", str(tmp_path / "x.png")]) != 0
    assert "explain needs a recording, not a camera" in _line(capsys)


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x.jpg", "a .png or an .html file is needed"),
        ("nowhere/x.png", "there is no folder"),
        ("folder.png", "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    out: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(config: Config) -> Run:
        raise AssertionError("the recording was run")

    monkeypatch.setattr(pipeline.explain_record, "record", never)
    (tmp_path / "folder.png").mkdir()
    for command in (["explain", "synthetic:"], ["prototypes", "show"]):
        assert run([*command, "--out", str(tmp_path / out)]) != 0
        assert words in _line(capsys)


def test_a_recording_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "nowhere.mp4", "--out", str(tmp_path / "x.png")]) != 0
    assert "nowhere.mp4" in _line(capsys)


def test_no_events(take: list[Take], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take[0] = Take()
    assert run(["explain", "synthetic:", "--out", str(tmp_path / "x.png")]) != 0
    assert "no event was spotted" in _line(capsys)
    assert not (tmp_path / "x.png").exists()


def test_a_wrong_id(take: list[Take], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.png")
    assert run(["explain", "synthetic:", "--event", "other/0/0-3", "--out", out]) != 0
    assert "--event other/0/0-3: no such event" in _line(capsys)


def test_all_lists_what_was_withdrawn_even_where_nothing_stands(
    take: list[Take], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take[0] = Take([Movement(2.0, {12: 4.0}, 0.4)], lost_s=2.35)
    out = tmp_path / "x.html"
    assert run(["explain", "synthetic:", "--all", "--out", str(out)]) != 0
    said = capsys.readouterr()
    assert "withdrawn: the face was lost" in said.out
    assert "--event r0" in said.err
    assert run(["explain", "synthetic:", "--all", "--event", "r0", "--out", str(out)]) == 0
    assert "Withdrawn announcement" in out.read_text()


@pytest.mark.parametrize("method", ["mespot", "paper"])
def test_a_video_is_explained(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "event.html"
    options = ["--duration", "2.6", "--method", method, "--out", str(out)]
    assert run(["explain", "synthetic:", *options]) == 0
    assert "synthetic/0/0-0" in capsys.readouterr().out
    text = out.read_text()
    assert "outer brow raiser" in text  # the scripted face raises its brows at 1.8 s
    assert text.count("data:image/png;base64,") == 2
