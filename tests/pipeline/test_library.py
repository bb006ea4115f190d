"""``Pipeline``: the same events as the plain loop, arrays, frames one by one (synthetic)."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import pipeline.library
from models.errors import SourceError, UserError
from models.synthesis import SyntheticFace, demo_scene
from pipeline import FrameError, Pipeline, Result
from pipeline.build import prototypes
from pipeline.config import load
from pipeline.inline import run
from pipeline.publish import Messages
from pipeline.schema import CurvesMessage, EventMessage, without_wall_clock
from pipeline.sources import open_source

SECONDS = 4.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> tuple[list[EventMessage], list[CurvesMessage]]:
    """What the plain loop says of the scripted face."""
    config = load(source="synthetic:", model=[], publish={"curves": True})
    source = open_source("synthetic:", fps="max", duration_s=SECONDS)
    messages = Messages(source.stream, prototypes(config).aus)
    said = [m for item in run(source.frames(), config) for m in messages.of(item)]
    events = [m for m in said if isinstance(m, EventMessage)]
    return events, [m for m in said if isinstance(m, CurvesMessage)]


@pytest.fixture(scope="module")
def result() -> Result:
    return Pipeline(model=[], duration=SECONDS).run("synthetic:")


def _bare(events: Any, *also: str) -> list[Any]:
    found = [without_wall_clock(msgspec.to_builtins(event)) for event in events]
    return [{k: v for k, v in event.items() if k not in ("seq", *also)} for event in found]


def test_import_pipeline_is_light() -> None:
    code = (
        "import sys, pipeline; "
        "print(sorted({'numpy', 'pydantic', 'zmq', 'cv2', 'msgspec'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert said.stdout.strip() == "[]"


def test_what_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(ImportError):
        from pipeline import Nonsense  # type: ignore[attr-defined]  # noqa: F401


def test_the_examples_in_the_docstrings() -> None:
    found = doctest.testmod(pipeline.library)
    assert found.attempted >= 4
    assert found.failed == 0


def test_events_are_those_of_the_plain_loop(made: Any) -> None:
    events, _ = made
    pipe = Pipeline(model=[], duration=SECONDS, phases=("apex", "final", "retracted"))
    assert _bare(pipe.events("synthetic:")) == _bare(events)
    assert {event.phase for event in events} >= {"apex", "final"}


def test_only_final_events_unless_more_are_asked_for(made: Any, result: Result) -> None:
    finals = [event for event in made[0] if event.phase == "final"]
    assert _bare(result.events) == _bare(finals)
    assert len(finals) >= 1


def test_curves_are_the_published_ones(made: Any, result: Result) -> None:
    _, columns = made
    assert sum(len(curves.times) for curves in result.curves) == len(columns)
    for curves in result.curves:
        own = [c for c in columns if (c.face, c.reference) == (curves.face, curves.reference)]
        assert curves.aus == tuple(own[0].aus) == Pipeline(model=[]).aus
        np.testing.assert_array_equal(curves.values, np.float32([c.values for c in own]))
        np.testing.assert_array_equal(curves.times, [c.at.pts for c in own])
        np.testing.assert_array_equal(curves.frames, [c.at.frame for c in own])
        assert (np.diff(curves.times) > 0).all()
    assert Pipeline(model=[]).thetas.shape == (result.curves[0].values.shape[1],)


def test_the_result_tells_of_the_source(result: Result) -> None:
    assert (result.frames, result.fps, result.warning) == (120, 30.0, "")
    assert result.duration == pytest.approx(119 / 30)
    assert [state.state for state in result.states] == ["face_found"]
    assert [blink.apex.pts for blink in result.blinks] == pytest.approx([3.4], abs=0.15)


def test_a_result_is_shown_in_a_line(result: Result) -> None:
    assert repr(result) == "<Result of synthetic: 1 events, 1 blinks, 120 frames, 4.0 s>"
    assert len(repr(result.curves)) < 100 * len(result.curves)


def test_a_table_has_a_row_for_each_event(result: Result) -> None:
    rows = result.table()
    assert len(rows) == len(result.events)
    assert rows[0]["kind"] == "micro"
    assert rows[0]["aus"] == "1+2"
    assert rows[0]["duration"] == pytest.approx(rows[0]["offset"] - rows[0]["onset"])
    assert rows[0]["reading"] == "surprise"


def test_frames_one_by_one_give_the_same_events(result: Result) -> None:
    face = SyntheticFace(demo_scene(SECONDS))
    pipe = Pipeline(model=[])
    for _ in range(2):  # after flush a new stream begins
        found = []
        for i in range(120):
            found += pipe.feed(face.frame(i), pts=i / face.fps)
        found += pipe.flush()
        assert _bare(found, "id", "stream") == _bare(result.events, "id", "stream")
    assert pipe.flush() == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 64), np.float32),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros(48, np.uint8),
        np.zeros((0, 64), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(FrameError, match="uint8 is needed"):
        Pipeline(model=[]).feed(image, pts=0.0)


@pytest.mark.parametrize("pts", [0.5, 0.4, float("nan"), float("inf")])
def test_time_must_increase(pts: float) -> None:
    pipe = Pipeline(model=[])
    blank = np.zeros((48, 64), np.uint8)
    assert pipe.feed(blank, pts=0.5) == []
    with pytest.raises(FrameError, match="must be a number above"):
        pipe.feed(blank, pts=pts)
    assert pipe.feed(blank, pts=0.6) == []  # a frame refused changes nothing


def test_rgb_is_turned_into_what_opencv_reads() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(pipeline.library._image(image, True), image[..., ::-1])
    np.testing.assert_array_equal(pipeline.library._image(image, False), image)


def test_mistakes_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no_such_key"):
        Pipeline(no_such_key=1)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="faces"):
        Pipeline(faces=0)
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        next(Pipeline(model=[]).events(tmp_path / "nowhere.mp4"))
    with pytest.raises(UserError, match="no such configuration"):
        Pipeline(tmp_path / "nowhere.toml")
    assert issubclass(FrameError, UserError)


def test_a_configuration_file_is_read_and_options_win(tmp_path: Path) -> None:
    file = tmp_path / "mespot.toml"
    file.write_text('faces = 3\nmethod = "paper"\n')
    config = Pipeline(file, faces=2).config
    assert (config.faces, config.method) == (2, "paper")


def test_events_may_be_left_early() -> None:
    events = Pipeline(model=[]).events("synthetic:duration=60")
    assert next(events).apex.pts < 3
    events.close()


def _execute(cells: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, "cell", "exec"), names)
    return names


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    book = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    assert book["nbformat"] == 4
    assert all(c["cell_type"] in ("code", "markdown") and c["id"] for c in book["cells"])
    code = ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]
    assert all(not c["outputs"] for c in book["cells"] if c["cell_type"] == "code")
    names = _execute(code, tmp_path, monkeypatch)
    assert "1.60 to 1.97 s: micro, AU 1 + AU 2" in capsys.readouterr().out
    assert [event.kind for event in names["found"]] == ["micro"]


def test_the_page_s_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    cells = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(cells) == 3
    assert _execute(cells, tmp_path, monkeypatch)["rows"][0]["aus"] == "1+2"
