"""JSON logs: every line is an object, whatever happens; no secret is in it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.cli_live import door, obey
from pipeline.config import load
from pipeline.console_json import JsonScreen
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.summary import NodeState, Summary
from tests.fuzz.messages import PUBLISHED

ROOT = Path(__file__).parents[2]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NASTY = 'line\nbreak\r\x00\x1b[31m "quoted" \u2028\x85 \ud800 é rtsp://anna:hunter2@camera/1'


def _lines(text: str) -> list[dict[str, Any]]:
    """Every line, parsed; none but \\n ends a line."""
    assert text.isascii()
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert _TIME.fullmatch(line["time"])
        assert line["level"] in ("debug", "info", "warning", "error")
        assert isinstance(line["event"], str) and isinstance(line["message"], str)
    return found


def _door(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=ROOT,
        env=os.environ | environment,
    )
    return done.returncode, _lines(done.stdout), done.stderr


def test_a_run_from_its_addresses_to_its_summary(tmp_path: Path) -> None:
    code, lines, _ = _door(
        "synthetic:", "--duration", "3", "--fps", "max", "--no-models", "--no-log", "--verbose",
        "--events", "tcp://127.0.0.1:*", "--log-format", "json",
    )  # fmt: skip
    assert code == 0
    by = {line["event"]: line for line in lines}
    assert by["listening"]["events"].startswith("tcp://127.0.0.1:")
    assert by["started"]["camera"] == by["expression"]["camera"] == "synthetic"
    assert by["started"]["node"] == "publish"
    assert by["expression"]["phase"] in ("apex", "final")
    assert by["expression"]["aus"]
    assert [line["event"] for line in lines][-1] == "summary"
    assert by["summary"]["frames"] == 90
    assert by["summary"]["capture_to_spotted_ms"]["p99"] > 0
    ready = {line["node"] for line in lines if line["event"] == "ready"}
    assert ready == {"capture", "face", "motion", "spot", "classify", "publish"}


def test_mistakes_are_a_line_as_well(tmp_path: Path) -> None:
    events = ("--events", "tcp://127.0.0.1:*", "--no-models")
    code, lines, errors = _door("nowhere.mp4", *events, "--log-format=json")
    assert (code, lines[-1]["level"], lines[-1]["exit_code"], errors) == (4, "error", 4, "")
    assert "nowhere.mp4" in lines[-1]["message"]
    file = tmp_path / "mespot.toml"
    file.write_text('source = "nowhere.mp4"\n[console]\nformat = "json"\n')
    code, lines, errors = _door(*events, "--config", str(file))
    assert (code, lines[-1]["exit_code"], errors) == (4, 4, "")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--log-format", "json", "--faces", "none"], {}),
        (["--log-format", "json", "--no-such-option"], {}),
        (["--log-format", "json", "--faces", "99"], {}),
        (["--faces", "99"], {"MESPOT_CONSOLE__FORMAT": "json"}),
    ],
)
def test_mistakes_before_anything_is_read_are_a_line_as_well(
    arguments: list[str],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert obey(arguments, door) == 2
    told = capsys.readouterr()
    assert told.err == ""
    assert [line["level"] for line in _lines(told.out)] == ["error"]


def test_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert obey(["--faces", "99"], door) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("mespot: faces: ")


def test_a_bug_is_a_line_with_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Graph) -> Summary:
        raise ZeroDivisionError("of rtsp://anna:hunter2@camera/1")

    monkeypatch.setattr(Graph, "run", broken)
    monkeypatch.setattr("pipeline.signals.Signals.listen", lambda self: None)
    assert obey(["--log-format", "json", "--no-models"], door) == 1
    (line,) = _lines(capsys.readouterr().out)
    assert "ZeroDivisionError" in line["message"]
    assert "def broken" in line["traceback"] or "in broken" in line["traceback"]
    assert "hunter2" not in json.dumps(line)


def _screen(quiet: bool = False, verbose: bool = False) -> tuple[JsonScreen, io.StringIO]:
    out = io.StringIO()
    return JsonScreen(quiet, verbose, out), out


def test_whatever_is_said_is_one_line_without_secrets() -> None:
    screen, out = _screen(verbose=True)
    graph = Graph(load(source="rtsp://anna:hunter2@camera/1", model=[]))
    state = {"v": 1, "type": "state", "stream": NASTY, "state": "camera_lost", "detail": NASTY}
    state |= {"face": None, "at": None, "published_utc_ns": 1}
    event = msgspec.msgpack.decode(PUBLISHED[0][1]) | {"id": NASTY.replace("\ud800", "")}
    event["delays"] = {"decision_s": float("nan"), "processing_ms": float("inf")}
    state = {k: v.replace("\ud800", "") if isinstance(v, str) else v for k, v in state.items()}
    for report in (
        Report("spot", 0, "death", text=NASTY),
        Report("spot", 0, "note", text=NASTY),
        Report("spot", 1, "ready", text=NASTY),
        Report("publish", 0, "ready", text=f"{NASTY}\t{NASTY}\t1\t2"),
        Report("classify", 0, "ready", text=NASTY),
        Report("publish", 0, "published", payload=msgspec.msgpack.encode(state)),
        Report("publish", 0, "published", payload=msgspec.msgpack.encode(event)),
        Report("publish", 0, "published", payload=b"\x00no message"),
    ):
        screen.on_report(report, graph)
    screen.note(NASTY)
    screen.say("metrics", NASTY)
    screen.error(NASTY, exit_code=3, more={"deep": [NASTY, float("nan"), None]})
    screen.note("x" * 100_000)
    lines = _lines(out.getvalue())
    assert "hunter2" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) < 50_000
    assert Counter(line["event"] for line in lines)["expression"] == 1
    assert next(line for line in lines if line["event"] == "expression")["decision_s"] is None
    assert lines[0]["camera"] == "camera-1"


def test_levels() -> None:
    graph = Graph(load(model=[]))

    def events(**options: bool) -> list[str]:
        screen, out = _screen(**options)
        screen.on_report(Report("spot", 0, "ready"), graph)
        screen.say("metrics", "somewhere")
        screen.on_report(Report("spot", 0, "note", text="look"), graph)
        screen.error("over")
        return [line["level"] for line in _lines(out.getvalue())]

    assert events() == ["info", "warning", "error"]
    assert events(quiet=True) == ["warning", "error"]
    assert events(verbose=True) == ["debug", "info", "warning", "error"]


def test_lines_of_several_threads_are_whole() -> None:
    screen, out = _screen()
    writers = [
        threading.Thread(target=lambda: [screen.note("x" * 500) for _ in range(100)])
        for _ in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(_lines(out.getvalue())) == 800


def test_a_reader_that_is_gone_ends_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    screen = JsonScreen(False, False, Gone())
    screen.note("anybody?")
    nodes = {name: NodeState() for name in ("capture", "spot", "publish")}
    screen.summary(Summary(nodes, Counter(), 1.0))
