"""Whole runs with strangers at the door (synthetic camera)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import keys, sockets
from pipeline.cli import run
from pipeline.config import load
from pipeline.graph import Graph, RunFailed, Summary
from pipeline.messages import Report
from pipeline.sockets import Addresses, Transport

_CLIENT = Path(__file__).with_name("plain_client.py")
_PATIENCE_S = 120.0


def _client(*told: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_CLIENT), *told], stdout=subprocess.PIPE, text=True
    )


def test_a_run_on_all_interfaces_without_keys_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run(["live", "synthetic:", "--events", "tcp://*:*", "--no-models", "-q"]) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mespot: events: tcp://*:* could be reached by others")


def test_insecure_is_warned_of_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    options = ["--no-models", "-q", "--duration", "0.5", "--fps", "max"]
    assert run(["live", "synthetic:", "--events", "tcp://*:*", "--insecure", *options]) == 0
    assert "open to everybody" in capsys.readouterr().err


def test_keys_that_others_can_read_end_the_run(tmp_path: Path) -> None:
    keys.new(tmp_path / "keys", "anna", tmp_path / "anna.key")
    (tmp_path / "keys" / keys.SERVER).chmod(0o644)
    config = load(events="tcp://*:*", model=[], security={"keys": tmp_path / "keys"})
    with pytest.raises(RunFailed, match="chmod 600") as caught:
        Graph(config).run()
    assert caught.value.exit_code == 7


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["inproc", "ipc"])
def test_a_client_with_a_key_hears_a_run_that_a_stranger_does_not(
    transport: Transport, tmp_path: Path
) -> None:
    path = keys.new(tmp_path / "keys", "anna", tmp_path / "anna.key")
    started: dict[str, Any] = {}
    ready = threading.Event()

    def listening(report: Report, graph: Graph) -> None:
        if report.kind == "ready" and report.node == "publish":
            started["port"] = report.text.split("\t")[0].rpartition(":")[2]
            ready.set()

    config = load(
        source="synthetic:",
        events="tcp://*:*",
        duration=9,
        transport=transport,
        model=[],
        security={"keys": tmp_path / "keys"},
    )
    graph = Graph(config, listening)
    done: list[Summary] = []
    thread = threading.Thread(target=lambda: done.append(graph.run()))
    thread.start()
    with contextlib.ExitStack() as stack:
        assert ready.wait(_PATIENCE_S)
        address = f"tcp://127.0.0.1:{started['port']}"
        stranger = stack.enter_context(_client("sub", address))
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "subscribe"]
        friend = stack.enter_context(
            subprocess.Popen(
                [*command, address, "--topic", "", "--key", str(path), "--format", "json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        )
        thread.join(_PATIENCE_S)
        time.sleep(0.5)
        for process in (stranger, friend):
            process.kill()
        heard = stranger.communicate()[0].splitlines(), friend.communicate()[0].splitlines()
    (summary,) = done
    assert heard[0] == ["ready"]
    assert sum('"event"' in line for line in heard[1]) > 1
    assert summary.dropped["client refused: no key"] >= 1


@pytest.mark.slow
def test_strangers_at_every_stage_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[Addresses] = []
    inner = sockets.addresses

    @contextlib.contextmanager
    def overheard(transport: Transport, label: str) -> Iterator[Addresses]:
        with inner(transport, label) as table:
            tables.append(table)
            yield table

    monkeypatch.setattr(sockets, "addresses", overheard)
    config = load(source="synthetic:", duration=3, fps="max", transport="tcp", model=[])
    config = config.model_copy(update={"events": "tcp://127.0.0.1:*"})
    deaths: list[str] = []

    def dying(report: Report, graph: Graph) -> None:
        if report.kind in ("death", "fatal"):
            deaths.append(f"{report.node}: {report.text}")

    graph = Graph(config, dying)
    done: list[Summary] = []
    thread = threading.Thread(target=lambda: done.append(graph.run()))
    thread.start()
    strangers = []
    try:
        while not tables:
            time.sleep(0.01)
        for name, address in tables[0].table.items():
            strangers.append(_client("sub" if name == "commands" else "push", address))
        thread.join(_PATIENCE_S)
    finally:
        for stranger in strangers:
            stranger.kill()
    heard = [stranger.communicate()[0].splitlines() for stranger in strangers]
    assert done, deaths
    (summary,) = done
    print(f"strangers: {len(strangers)}, drops: {dict(summary.dropped)}")
    assert all(lines == ["ready"] for lines in heard)
    assert summary.frames == 90
    assert summary.restarts == 0
    assert not summary.dropped["malformed"]
    assert summary.dropped["stage refused: no key"] >= len(strangers)
