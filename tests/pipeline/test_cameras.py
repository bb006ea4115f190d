"""``[[camera]]`` tables: what each camera gets, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cameras import load_cameras
from pipeline.cli import run
from pipeline.config import ConfigError, load

TWO = """\
method = "paper"
out = "events.jsonl"
faces = 2
[spot]
search_s = 0.8
micro_s = 0.4
[log]
max_days = 3

[[camera]]
name = "door"
source = "rtsp://10.0.0.1/a"

[[camera]]
source = 1
faces = 1
method = "mespot"
[camera.spot]
search_s = 1.5
"""


TOLD = """\
[[camera]]
name = "a"
source = "0"
{}
[[camera]]
name = "b"
source = "1"
{}
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mespot.toml"
    file.write_text(text)
    return file


def test_a_camera_has_its_own_keys_over_those_of_all(tmp_path: Path) -> None:
    door, desk = load_cameras(written(tmp_path, TWO))
    assert (door.source, door.capture.name, door.faces) == ("rtsp://10.0.0.1/a", "door", 2)
    assert (door.method, door.spot.search_s, door.spot.micro_s) == ("paper", 0.8, 0.4)
    assert (desk.source, desk.capture.name, desk.faces) == ("1", "cam1", 1)
    assert (desk.method, desk.spot.search_s, desk.spot.micro_s) == ("mespot", 1.5, 0.4)
    assert door.log.max_days == desk.log.max_days == 3


def test_addresses_and_files_are_each_cameras_own(tmp_path: Path) -> None:
    text = 'out = "e.jsonl"\n[log]\npath = "l/e.db"\n[clips]\nfolder = "clips"\n'
    text += '[[camera]]\nname = "a"\nsource = "0"\n[[camera]]\nname = "b"\nsource = "1"\n'
    text += 'events = "tcp://127.0.0.1:7000"\n[camera.clips]\nfolder = "own"\n'
    text += '[[camera]]\nname = "c"\nsource = "2"\nout = "c.jsonl"\n'
    a, b, c = load_cameras(written(tmp_path, text))
    ports = [one.events.rpartition(":")[2] for one in (a, b, c)]
    assert ports == ["5556", "7000", "5560"]
    assert [str(one.out) for one in (a, b, c)] == ["e.a.jsonl", "e.b.jsonl", "c.jsonl"]
    assert [str(one.log.path) for one in (a, b, c)] == ["l/e.a.db", "l/e.b.db", "l/e.c.db"]
    assert [str(one.clips.folder) for one in (a, b, c)] == ["clips/a", "own", "clips/c"]


PAGE = """\
[[camera]]
name = "a"
source = "0"
[camera.dashboard]
enabled = true
{first}
[[camera]]
name = "b"
source = "1"
[camera.dashboard]
{second}
"""
OPEN = 'host = "0.0.0.0"\ntoken = "a-token-of-this-test"\n'


@pytest.mark.parametrize(
    ("first", "second", "pictures"),
    [
        ("", "", [True, True]),
        ("", "images = false", [True, False]),
        (OPEN, "", [False, False]),  # others reach the page, on whatever host the second is
        (OPEN, 'host = "127.0.0.1"\nenabled = true', [False, False]),
        (OPEN, "images = true", [False, False]),
        (OPEN + "images = true", "images = false", [True, False]),
        (OPEN + "images = true", "", [True, True]),
        ("images = false", "images = true", [False, False]),
    ],
)
def test_the_page_is_the_first_cameras(
    tmp_path: Path, first: str, second: str, pictures: list[bool]
) -> None:
    cameras = load_cameras(written(tmp_path, PAGE.format(first=first, second=second)))
    assert [camera.dashboard.pictures for camera in cameras] == pictures
    assert cameras[0].dashboard.host == cameras[1].dashboard.host
    assert cameras[0].tapped and cameras[1].tapped


def test_environment_and_options_win_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESPOT_SPOT__SEARCH_S", "0.5")
    monkeypatch.setenv("MESPOT_SOURCE", "rtsp://elsewhere/")
    monkeypatch.setenv("MESPOT_EVENTS", "tcp://127.0.0.1:*")
    door, desk = load_cameras(written(tmp_path, TWO), method="paper")
    assert door.spot.search_s == desk.spot.search_s == 0.5
    assert door.method == desk.method == "paper"
    assert (door.source, desk.source) == ("rtsp://10.0.0.1/a", "1")
    assert door.events == desk.events == "tcp://127.0.0.1:*"


def test_a_file_without_tables_is_one_camera(tmp_path: Path) -> None:
    file = written(tmp_path, "faces = 3\n")
    assert load_cameras(file) == [load(file, capture={"name": "synthetic"})]
    assert load_cameras(source="1") == [load(source="1", capture={"name": "cam1"})]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[camera]\nsource = '0'\n", "[[camera]]"),
        ("camera = 3\n", "[[camera]]"),
        ("camera = []\n", "0 cameras"),
        ("[[camera]]\nfaces = 2\n", "camera 1: source"),
        ("[[camera]]\nsource = '0'\n[[camera]]\nsource = '00'\n", "2 cameras are called cam0"),
        ("[[camera]]\nsource = '0'\nfasces = 2\n", "camera 1: fasces: no such key"),
        ("[[camera]]\nsource = '0'\nspot = 3\n", "camera 1: spot"),
        ("[[camera]]\nsource = '0'\nname = 'a b'\n", "capture.name"),
        ("[[camera]]\nsource = '0'\nname = 'a'\ncapture = 1\n", "capture: must be a table"),
        ("fps = 0\n[[camera]]\nsource = '0'\n", "fps"),
        (TOLD.format("out = 'e.jsonl'", "out = './e.jsonl'"), "a and b: out: both at .*e.jsonl"),
        (TOLD.format("events = 'tcp://127.0.0.1:7000'", "events = 'tcp://0.0.0.0:7000'"), "7000"),
        (TOLD.format("events = 'ipc:///tmp/e'", "events = 'ipc:///tmp/e'"), "both at ipc"),
        (
            TOLD.format("", "events = 'tcp://127.0.0.1:5557'"),
            "events and replay: both at port 5557",
        ),
        (TOLD.format("log.path = 'l.db'", "log.path = 'l.db'"), "log.path: both"),
        (TOLD.format("clips.folder = 'c'", "clips.folder = 'c'"), "clips.folder: both"),
        (
            "events = 'tcp://127.0.0.1:65534'\n" + "[[camera]]\nsource = '0'\n[[camera]]\n"
            "source = '1'\n",
            "camera 2: events",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_camera(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=words.replace("[", r"\[").replace("]", r"\]")):
        load_cameras(file)
    assert run(["live", "--config", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_source_beside_the_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave SOURCE out"):
        load_cameras(written(tmp_path, TWO), source="0")


def test_a_command_for_one_camera_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes one camera"):
        load(written(tmp_path, TWO))
