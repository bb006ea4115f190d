"""``mespot synth --as``: a recognition set on disk, and one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from models.datasets import load
from pipeline import cli_synth
from pipeline.cli import run

app = typer.Typer()
cli_synth.register(app)


@app.command()
def _other() -> None:
    """A second command, so that synth has a name."""


def _synth(*arguments: str) -> int:
    return run(["synth", *arguments], app)


def _set(out: Path, *arguments: str) -> int:
    size = ("--subjects", "2", "--samples", "1", "--portraits", "astronaut, obama")
    return _synth("--as", "samm", "--out", str(out), *size, *arguments)


def _complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _synth(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("mespot:")
    return lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sets") / "new" / "samm"
    assert _set(out, "--seed", "3") == 0
    return out


def test_a_set_is_written_and_read(folder: Path) -> None:
    dataset = load("samm", folder)
    assert dataset.subjects == ("006", "007")
    for annotation in dataset.annotations:
        frames = dataset.frames(annotation)
        assert len(frames.images) == 12
        assert frames.numbers[0] == annotation.onset
        assert frames.numbers[-1] == annotation.offset
    said = json.loads((folder / "synthetic.json").read_text())
    assert said["synthetic"] is True
    assert [s["portrait"] for s in said["subjects"].values()] == ["astronaut", "obama"]


def test_processes_make_the_same_set(folder: Path, tmp_path: Path) -> None:
    assert _set(tmp_path, "--seed", "3", "--workers", "2") == 0

    def images(root: Path) -> dict[str, bytes]:
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.jpg")}

    assert len(images(folder)) == 24
    assert images(tmp_path) == images(folder)
    first, again = (load("samm", root).annotations for root in (folder, tmp_path))
    assert first == again


def test_a_folder_that_holds_something_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert "not empty" in _complaint(capsys, "--as", "samm", "--out", str(folder))
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as", "smic"), "--as"),
        (("--as", "samm", "--subjects", "0"), "0 subjects"),
        (("--as", "samm", "--samples", "0"), "0 samples"),
        (("--as", "samm", "--seed", "-1"), "seed -1"),
        (("--as", "samm", "--portraits", "nobody"), "nobody"),
        (("--as", "samm", "--portraits", ","), "no portrait"),
        (("--as", "samm", "--workers", "0"), "--workers 0"),
        (("--as", "samm", "--clips", "3"), "--clips"),
        (("--as", "samm", "--portrait", "obama"), "--portrait"),
        (("--subjects", "3"), "--subjects"),
        (("--frames", "all"), "--frames"),
    ],
)
def test_bad_options_are_named(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert said in _complaint(capsys, "--out", str(out), *arguments)
    assert not out.exists()


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "not a folder" in _complaint(capsys, "--as", "samm", "--out", str(file))
    assert "--out" in _complaint(capsys, "--as", "samm", "--out", str(file / "below"))
