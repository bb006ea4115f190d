"""RTSP against a real server (GStreamer's) and against sockets that misbehave."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from bench.rtsp_server import missing, serving
from models.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.latest import Watch

RATE = 30
real_server = pytest.mark.skipif(bool(missing()), reason=missing() or "there is a server")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds that grow brighter; one key frame at the beginning only."""
    path = tmp_path_factory.mktemp("rtsp") / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"g": "600", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(2 * RATE):
            image = np.full((120, 160, 3), 20 + 3 * i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(stream.encode())
    return path


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@real_server
def test_frames_of_a_real_server_arrive_though_only_its_first_one_is_a_key_frame(
    clip: Path,
) -> None:
    with serving(clip) as server:
        source = open_source(server.address)
        assert source.live
        assert (source.width, source.height, source.fps) == (160, 120, RATE)
        frames = list(source.frames())
        source.close()
    stamps = [frame.stamp for frame in frames]
    assert stamps[0].frame > 0 or stamps[0].pts == 0
    assert len(frames) + source.dropped == stamps[-1].frame + 1  # type: ignore[attr-defined]
    assert stamps[-1].frame >= RATE
    for before, after in pairwise(stamps[1:]):  # the first frame comes without its own time
        steps = after.frame - before.frame
        assert after.pts - before.pts == pytest.approx(steps / RATE, abs=0.01)
        assert after.mono_ns > before.mono_ns
    levels = [float(frame.image.mean()) for frame in frames]
    assert levels == sorted(levels)
    assert "ended the stream" in source.warning


@real_server
def test_the_stream_is_named_after_the_address_without_credentials(clip: Path) -> None:
    with serving(clip, credentials=("zoe", "s3cret")) as server:
        with pytest.raises(SourceError, match="401"):
            open_source(server.address)
        address = server.address.replace("rtsp://", "rtsp://zoe:s3cret@")
        source = open_source(address)
        frame = next(iter(source.frames()))
        source.close()
        port = urlsplit(server.address).port
    assert frame.stamp.stream == source.stream == f"127-0-0-1-{port}-cam"


@real_server
def test_duration_is_wall_time_and_no_cause_for_a_warning(clip: Path) -> None:
    with serving(clip, times=10) as server:
        source = open_source(server.address, duration_s=0.5)
        frames = list(source.frames())
        source.close()
    assert frames
    # a frame's stamp is read a moment after it was let through
    assert frames[-1].stamp.mono_ns - frames[0].stamp.mono_ns < 0.55e9
    assert source.warning == ""


@real_server
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_or_hangs_ends_the_frames_with_a_warning(
    clip: Path, ending: signal.Signals
) -> None:
    with serving(clip, times=10) as server:
        source = open_source(server.address, watch=Watch(read_timeout_s=1.0))
        frames = iter(source.frames())
        next(frames)
        server.process.send_signal(ending)
        rest = list(frames)
        assert source._latest.join(10)  # type: ignore[attr-defined]  # nobody hangs in the read
        source.close()
    assert len(rest) < 9 * RATE
    assert source.warning.startswith(server.address)
    assert "the camera was lost" in source.warning
    assert "\n" not in source.warning


@real_server
@pytest.mark.timeout(30)
def test_interrupt_from_another_thread_ends_a_read_that_waits(clip: Path) -> None:
    with serving(clip, times=10) as server:
        source = open_source(server.address, watch=Watch(read_timeout_s=60))
        frames = iter(source.frames())
        next(frames)
        server.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(0.5, source.interrupt)
        timer.start()
        rest = list(frames)  # the read itself would wait for a minute
        timer.join()
        source.close()
    assert len(rest) < 9 * RATE
    assert source.warning == ""


@pytest.mark.timeout(30)
def test_a_server_that_never_answers_is_given_up_at_the_timeout(mute: int) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://zoe:s3cret@127.0.0.1:{mute}/cam", open_timeout_s=1)
    assert str(caught.value) == (
        f"rtsp://127.0.0.1:{mute}/cam: cannot be reached: no answer within 1 s"
    )


@pytest.mark.timeout(30)
def test_a_port_without_a_server_is_an_error_without_the_password(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://zoe:p@ss/word@127.0.0.1:{port}/cam?token=abc", open_timeout_s=5)
    text = str(caught.value)
    assert text.startswith(f"rtsp://127.0.0.1:{port}/cam?token=...: cannot be reached")
    assert not any(secret in text for secret in ("zoe", "p@ss", "word", "abc", "\n"))
    assert caught.value.__cause__ is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(30)
def test_a_server_of_another_kind_is_an_error() -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(SourceError, match="cannot be reached"):
            open_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam", open_timeout_s=2)
        thread.join()
