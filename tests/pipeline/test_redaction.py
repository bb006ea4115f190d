"""Neither credentials nor pictures leave the process (synthetic data, invented passwords)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SourceError, UserError
from pipeline import sockets
from pipeline.config import ConfigError, load
from pipeline.explain_record import record
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.node import Reporter
from pipeline.redaction import holds_secret, redacted
from pipeline.sources import open_source
from pipeline.sources.base import said, stream_name

ROOT = Path(__file__).parents[2]
_WORD = "Xq7Zj2Vw"  # in no other text
_passwords = st.text(min_size=0, max_size=20).map(lambda noise: _WORD + noise + _WORD)
_plain = st.text("abcdefgh-0123456789", min_size=1, max_size=10)


@given(_passwords, _plain, _plain)
def test_no_part_of_a_raw_password_is_shown(password: str, user: str, path: str) -> None:
    for scheme in ("rtsp://", "RTSPS://", "http://", "rtsp:/", "rtmp+tls://", ""):
        shown = redacted(f"{scheme}{user}:{password}@cam.example/{path}")
        if scheme or not re.search(r"\s", password):
            assert _WORD not in shown, (scheme, shown)


@given(_passwords, _plain)
def test_no_quoted_password_is_shown_wherever_it_stands(password: str, path: str) -> None:
    secret = quote(password, safe="")
    for address in (
        f"rtsp://u:{secret}@cam/{path}",
        f"rtsp://cam/{path}?password={secret}",
        f"rtsp://cam/{path}?x{path}={secret}&channel=2",
        f"rtsp://cam/user=admin_password={secret}_channel=1_stream=0.sdp",
        f"rtsp://cam/{path};token={secret}",
        f"rtsp://{secret}@cam/{path}",
    ):
        for text in (address, f"[Errno 5] Input/output error: '{address}'", f"lost {address} now"):
            assert _WORD not in redacted(text)
            assert _WORD not in said(OSError(text))
        assert _WORD not in stream_name(redacted(address).partition("://")[2])


@given(st.text(max_size=200))
def test_any_text_is_taken_and_what_is_redacted_stays_so(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam.example:554/Streaming/Channels/101?channel=1&subtype=0&transportmode=unicast",
        "video.mp4",
        "synthetic:seed=3",
        "/data/2024-05-01 12:30/anna.mp4",
        "recogniser map@1 on CPUExecutionProvider",
        "dropped an item: ValueError: sigma=0.5 is too small; level=3",
        "tcp://127.0.0.1:5556",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
    assert not holds_secret(text)


# --- errors, dumps, reports


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "source",
    [
        f"http://u:{_WORD}@cam/x",
        f"rtsp:/u:{_WORD}@cam/x",
        f"u:{_WORD}@cam/x",
        "rtsp://u:{word}@127.0.0.1:{port}/x",
        "rtsp://127.0.0.1:{port}/x?pw={word}",
    ],
)
def test_no_error_of_a_source_tells_the_password(source: str) -> None:
    address = source.format(word=_WORD, port=_closed_port())
    with pytest.raises(UserError) as caught:
        open_source(address, open_timeout_s=5)
    assert _WORD not in redacted(str(caught.value))
    if "://" in address:
        assert _WORD not in str(caught.value)


def test_dumps_of_the_configuration_tell_no_password() -> None:
    config = load(source=f"rtsp://u:{_WORD}@cam/x?channel=1")
    for shown in (repr(config), str(config), config.model_dump_json(), f"{config!r}"):
        assert _WORD not in shown and "rtsp://cam/x?channel=1" in shown
    assert _WORD in config.source and _WORD in pickle.loads(pickle.dumps(config)).source


def test_a_refused_configuration_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        load(fps=f"rtsp://u:{_WORD}@cam/x")
    assert _WORD not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load(source=f"rtsp://u:{_WORD}@cam/x", transport="carrier pigeon")
    assert _WORD not in str(caught.value)


def test_explain_tells_no_password(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        record(load(source=f"rtsp://u:{_WORD}@cam/x"))
    assert _WORD not in str(caught.value)


def test_no_report_of_a_node_tells_a_password() -> None:
    with zmq.Context() as context:
        endpoint = sockets.Endpoint("inproc://reports")
        with (
            sockets.pull(context, endpoint, 10) as inbox,
            sockets.push(context, endpoint, 10) as link,
        ):
            reporter = Reporter("capture", 0, link, 1.0)
            for kind in ("death", "note", "fatal", "ready"):
                reporter.send(kind, text=f"FFmpegError: rtsp://u:{_WORD}@cam/x: broken pipe")
                report = msgspec.msgpack.decode(inbox.recv(), type=Report)
                assert report.text == "FFmpegError: rtsp://cam/x: broken pipe"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), "--events", "tcp://127.0.0.1:*", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("verbose", [True, False])
def test_the_program_and_ffmpeg_print_no_password(verbose: bool) -> None:
    address = f"rtsp://user:{_WORD}@127.0.0.1:{_closed_port()}/x?token={_WORD}"
    flags = ["-v"] if verbose else []
    hidden = _run(*flags, MESPOT_SOURCE=address, AV_LOG_FORCE_COLOR="0")
    assert hidden.returncode == 4
    assert _WORD not in hidden.stdout + hidden.stderr
    assert "command line" not in hidden.stderr


def test_a_password_on_the_command_line_is_warned_of() -> None:
    shown = _run(f"rtsp://user:{_WORD}@127.0.0.1:{_closed_port()}/x")
    assert _WORD not in shown.stdout + shown.stderr
    assert "MESPOT_SOURCE" in shown.stderr.splitlines()[0]
    assert len(shown.stderr.splitlines()) == 2


# --- processes


class _Watched:
    """What others on this machine see of a run while it lasts."""

    def __init__(self) -> None:
        self.arguments: set[str] = set()
        self.folders: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for child in multiprocessing.active_children():
                with contextlib.suppress(OSError):
                    self.arguments.add(Path(f"/proc/{child.pid}/cmdline").read_bytes().decode())
            for folder in Path(tempfile.gettempdir()).glob("mespot-*"):
                with contextlib.suppress(OSError):
                    if any(each.is_socket() for each in folder.iterdir()):
                        self.folders[str(folder)] = stat.S_IMODE(folder.stat().st_mode)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.slow
def test_processes_show_no_password_in_their_arguments() -> None:
    watched = _Watched()
    address = f"rtsp://user:{_WORD}@127.0.0.1:{_closed_port()}/x"
    try:
        with pytest.raises(UserError) as caught:
            Graph(load(source=address, transport="ipc", events="tcp://127.0.0.1:*", model=[])).run()
    finally:
        watched.close()
    assert isinstance(caught.value, UserError | SourceError)
    assert _WORD not in str(caught.value)
    assert watched.arguments
    assert not [each for each in watched.arguments if _WORD in each]


# --- pictures


def _largest(value: Any) -> int:
    """The longest run of bytes or of numbers in a message."""
    if isinstance(value, dict):
        return max(map(_largest, value.values()), default=0)
    if isinstance(value, list):
        numbers = len(value) if all(isinstance(v, int | float) for v in value) else 0
        return max([numbers, *map(_largest, value)], default=0)
    return len(value) if isinstance(value, bytes) else 0


@pytest.mark.parametrize("transport", ["inproc", pytest.param("ipc", marks=pytest.mark.slow)])
def test_no_image_leaves_the_process_unasked(transport: str, tmp_path: Path) -> None:
    """Event socket, log and ``--out``, curves included, of a synthetic face."""
    out, heard = tmp_path / "events.jsonl", []
    events = f"ipc://{tmp_path / 'events'}"
    options: dict[str, Any] = {"transport": transport, "out": out, "model": [], "duration": 4}
    source = "synthetic:seed=1"
    log = tmp_path / "log.db"
    given = {"events": events, "publish": {"curves": True}, "log": {"path": log}}
    config = load(source=source, **given, **options)
    over = threading.Event()

    def hear() -> None:
        with zmq.Context() as context, sockets.listen(context, events) as link:
            while not over.is_set():
                if link.poll(100):
                    heard.append(link.recv_multipart())

    listener = threading.Thread(target=hear)
    listener.start()
    watched = _Watched()
    try:
        Graph(config).run()
        time.sleep(0.5)
    finally:
        over.set()
        listener.join()
        watched.close()
    kinds = {topic.split(b".")[0] for topic, _ in heard}
    assert {b"event", b"curves"} <= kinds
    with contextlib.closing(open_source(source, fps="max", duration_s=4)) as frames:
        rows = [frame.image[y].tobytes() for frame in frames.frames() for y in (200, 240, 280)]
    everything = b"".join(body for _, body in heard) + out.read_bytes() + log.read_bytes()
    for row in rows[::10]:
        for at in range(0, len(row) - 24, 240):
            piece = row[at : at + 24]
            assert len(set(piece)) < 4 or piece not in everything
    for _, body in heard:
        assert len(body) < 8000
        assert _largest(msgspec.msgpack.decode(body)) <= 64
    assert {path.name for path in tmp_path.iterdir()} <= {
        *("events.jsonl", "events", "events.replay", "state"),
        *("log.db", "log.db.lock", "log.db-wal", "log.db-shm"),
    }
    if transport == "ipc":
        assert watched.folders and set(watched.folders.values()) == {0o700}
