"""The door: bad input ends with one clear line and the documented exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _door(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_live.py"), *arguments]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, capture_output=True, text=True, timeout=120, cwd=ROOT, **kwargs
    )


def _assert_one_line(done: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mespot: ")
    assert text in lines[0]
    assert "Traceback" not in done.stderr + done.stdout


def test_help_reads_well() -> None:
    done = _door("--help")
    assert done.returncode == 0
    for option in ("--fps", "--events", "--out", "--duration", "--config", "--model"):
        assert option in done.stdout


def test_the_door_imports_nothing_heavy_before_it_is_used() -> None:
    code = (
        "import sys, run_live; heavy = {'numpy', 'cv2', 'numba', 'pydantic', 'zmq', 'av'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_missing_file() -> None:
    _assert_one_line(_door("nowhere.mp4", "--events", "tcp://127.0.0.1:*"), 4, "nowhere.mp4")


def test_not_a_video(tmp_path: Path) -> None:
    file = tmp_path / "text.mp4"
    file.write_text("not a video")
    _assert_one_line(_door(str(file), "--events", "tcp://127.0.0.1:*"), 4, "text.mp4")


def test_zero_length_video(tmp_path: Path) -> None:
    file = tmp_path / "empty.mp4"
    file.touch()
    _assert_one_line(_door(str(file), "--events", "tcp://127.0.0.1:*"), 4, "empty.mp4")


def test_image_folder_without_fps(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "img1.png"), np.zeros((40, 40), np.uint8))
    _assert_one_line(_door(str(tmp_path), "--events", "tcp://127.0.0.1:*"), 2, "--fps")


def test_absent_webcam() -> None:
    _assert_one_line(_door("97", "--events", "tcp://127.0.0.1:*"), 4, "97")


def test_unreachable_rtsp() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"rtsp://user:secret@127.0.0.1:{port}/cam"
    done = _door("--events", "tcp://127.0.0.1:*", env={**os.environ, "MESPOT_SOURCE": address})
    _assert_one_line(done, 4, "rtsp://")
    assert "secret" not in done.stderr + done.stdout


def test_occupied_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _assert_one_line(_door("--events", f"tcp://127.0.0.1:{port}"), 6, "occupied")


def test_malformed_toml(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("fps = = 3")
    _assert_one_line(_door("--config", str(file)), 2, "not valid TOML")


def test_unknown_key_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[spot]\nserach_s = 1")
    _assert_one_line(_door("--config", str(file)), 2, "spot.serach_s")


def test_unknown_option() -> None:
    _assert_one_line(_door("--bogus"), 2, "--bogus")


def test_broken_prototype_file(tmp_path: Path) -> None:
    file = tmp_path / "p.npz"
    file.write_bytes(b"not a prototype file")
    config = tmp_path / "c.toml"
    config.write_text(f'events = "tcp://127.0.0.1:*"\n[motion]\nprototypes = "{file}"')
    _assert_one_line(_door("--config", str(config)), 2, "p.npz")


def test_broken_model(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"not a model")
    _assert_one_line(_door("--events", "tcp://127.0.0.1:*", "--model", str(file)), 2, "m.onnx")


def test_unwritable_out() -> None:
    done = _door("--events", "tcp://127.0.0.1:*", "--out", "/nowhere/events.jsonl")
    _assert_one_line(done, 2, "/nowhere/events.jsonl")


def _video(path: Path, size: tuple[int, int], frames: int = 20) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            image = np.full((size[1], size[0], 3), 100 + i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("size", [(640, 480), (64, 48)], ids=["no face", "smaller than a crop"])
def test_a_video_without_a_face_ends_well_with_no_event(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    file, out = tmp_path / "blank.mp4", tmp_path / "events.jsonl"
    _video(file, size)
    done = _door(str(file), "--fps", "max", "--events", "tcp://127.0.0.1:*", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert out.read_text() == ""
    assert "20 in" in done.stdout


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "run_live.py"), *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_exits_0(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    door = _start(
        "synthetic:", "--duration", "120", "--events", "tcp://127.0.0.1:*", "--out", str(out)
    )
    assert door.stdout is not None
    for line in door.stdout:
        if "face_found" in line:
            break
    time.sleep(3.0)
    door.send_signal(number)
    rest, errors = door.communicate(timeout=30)
    assert door.returncode == 0, errors
    assert "summary" in rest
    import json

    events = [json.loads(line) for line in out.read_text().splitlines()]
    opened = sorted(e["id"] for e in events if e["phase"] == "apex")
    closed = sorted(e["id"] for e in events if e["phase"] in ("final", "retracted"))
    assert opened == closed


def test_a_truncated_video_is_processed_up_to_the_cut(tmp_path: Path) -> None:
    from bench.clip import encode, images, scene

    whole, cut, out = tmp_path / "whole.mkv", tmp_path / "cut.mkv", tmp_path / "events.jsonl"
    encode(whole, images(scene(4.0)), 30)
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 3 // 4])
    done = _door(str(cut), "--fps", "max", "--events", "tcp://127.0.0.1:*", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "cut.mkv" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    import json

    finals = [e for e in map(json.loads, out.read_text().splitlines()) if e["phase"] == "final"]
    # the scripted brow raise ends at 1.97 s, before the cut
    assert any(1.6 < e["apex"]["pts"] < 1.95 for e in finals)


def test_a_recogniser_reads_the_final_events_and_says_where_it_ran(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import json

    from tests.models.test_recogniser import card, save

    model, out = save(tmp_path / "tiny.onnx", card()), tmp_path / "events.jsonl"
    common = ("--fps", "max", "--duration", "3", "--events", "tcp://127.0.0.1:*")
    done = _door("synthetic:", *common, "--model", str(model), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "recogniser tiny@3 on" in done.stdout
    assert "trained on: synthetic: random weights" in done.stdout
    assert "tiny: " in done.stdout
    finals = [e for e in map(json.loads, out.read_text().splitlines()) if e["phase"] == "final"]
    assert finals
    for event in finals:
        readings = {reading["source"]: reading for reading in event["emotions"]}
        assert set(readings) >= {"coding-guide", "tiny"}
        assert sum(readings["tiny"]["scores"].values()) == pytest.approx(1)
        assert readings["tiny"]["device"].endswith("ExecutionProvider")
        assert event["models"] == ["tiny@3"]


def test_two_recognisers_read_every_final_event(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import json

    from tests.models.test_recogniser import card, save

    models = [save(tmp_path / f"{n}.onnx", card(name=n)) for n in ("first", "second")]
    out = tmp_path / "events.jsonl"
    common = ("--fps", "max", "--duration", "3", "--events", "tcp://127.0.0.1:*")
    given = [part for path in models for part in ("--model", str(path))]
    done = _door("synthetic:", *common, *given, "--out", str(out))
    assert done.returncode == 0, done.stderr
    finals = [e for e in map(json.loads, out.read_text().splitlines()) if e["phase"] == "final"]
    assert finals
    for event in finals:
        assert event["models"] == ["first@3", "second@3"]
        assert [r["source"] for r in event["emotions"]][-2:] == ["first", "second"]
        assert all(r["training"] for r in event["emotions"][-2:])


def test_without_models_the_coding_guide_reads_alone(tmp_path: Path) -> None:
    import json

    out = tmp_path / "events.jsonl"
    common = ("--fps", "max", "--duration", "3", "--events", "tcp://127.0.0.1:*")
    done = _door("synthetic:", *common, "--no-models", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "recogniser" not in done.stdout
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert {r["source"] for e in events for r in e["emotions"]} == {"coding-guide"}
    assert all(e["models"] == [] for e in events)


def test_models_and_no_models_contradict_each_other() -> None:
    done = _door("--no-models", "--model", "a.onnx", "--events", "tcp://127.0.0.1:*")
    _assert_one_line(done, 2, "--no-models and --model")


def test_require_gpu_fails_rather_than_falls_back(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    from tests.models.test_recogniser import card, save

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the GPU build of ONNX Runtime is installed here")
    model = save(tmp_path / "tiny.onnx", card())
    done = _door("--model", str(model), "--require-gpu", "--events", "tcp://127.0.0.1:*")
    _assert_one_line(done, 5, "CUDA")
