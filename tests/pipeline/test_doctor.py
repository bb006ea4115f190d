"""``mespot doctor``: each check alone, what it says when things are wrong, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline import doctor, doctor_packages, doctor_sight
from pipeline.cli import run
from pipeline.config import load
from pipeline.doctor import Asked, Finding, examine, worst
from pipeline.doctor_checks import CHECKS, guarded, names, perform
from pipeline.doctor_sight import look_at

NOTHING = Asked().encoded()
ROOT = Path(__file__).parents[2]


def test_every_check_answers_here_and_says_what_to_do_unless_green() -> None:
    """In this process, one after the other: what is slow in them is measured elsewhere."""
    for name in names(False):
        found = perform(name, NOTHING)
        assert found.level in ("green", "yellow"), found
        assert found.found
        assert bool(found.todo) == (found.level != "green"), found
        assert "\n" not in found.found + found.todo


def test_the_shipped_recognisers_are_loaded_and_asked_where_they_run() -> None:
    found = perform("recognisers", NOTHING)
    assert "augcn on CPUExecutionProvider" in found.found or "CUDA" in found.found


def test_a_gpu_that_is_offered_but_not_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from models import onnx_session

    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    begin = onnx_session._open

    def on_the_cpu(ort: Any, path: Path, threads: int, providers: list[str]) -> Any:
        return begin(ort, path, threads, ["CPUExecutionProvider"])  # it falls back silently

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(onnx_session, "_open", on_the_cpu)
    level, found, todo = CHECKS["recognisers"](load())
    assert (level, todo) == ("yellow", "check the driver")
    assert "on CPUExecutionProvider" in found
    level, found, _ = CHECKS["recognisers"](load(require_gpu=True))
    assert level == "red"
    assert "GPU is required" in found


def test_h264_that_is_not_decoded_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHECKS["decoder"](load())[0] == "green"
    monkeypatch.setattr(doctor_sight, "_H264", doctor_sight._H264[:30])
    assert CHECKS["decoder"](load())[0] == "red"


def test_a_face_that_is_not_found_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    import models.synthesis

    _, points = models.synthesis.load_portrait()
    blank = np.full((400, 400), 128, np.uint8)
    monkeypatch.setattr(models.synthesis, "load_portrait", lambda: (blank, points))
    assert CHECKS["landmarks"](load())[0] == "red"


def test_an_address_that_is_taken_is_red() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        level, found, todo = CHECKS["event address"](load(events=taken))
    assert level == "red"
    assert taken in found
    assert "--events" in todo
    assert CHECKS["event address"](load(events="tcp://127.0.0.1:*"))[0] == "green"


def test_a_taken_port_of_the_page_and_a_missing_token_are_red() -> None:
    check = CHECKS["page, metrics"]
    assert check(load())[0] == "green"
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        for name in ("dashboard", "metrics"):
            level, found, todo = check(load(**{name: {"enabled": True, "port": port}}))
            assert (level, todo) == ("red", f"end what holds it, or set another: {name}.port")
            assert f"{name} 127.0.0.1:{port}" in found
    assert check(load(metrics={"enabled": True, "port": 0}))[0] == "green"
    far = {"enabled": True, "port": 0, "host": "0.0.0.0"}
    assert "no token" in check(load(dashboard=far))[1]
    assert "no token" in check(load(dashboard=far, security={"insecure": True}))[1]
    assert check(load(metrics=far, security={"insecure": True}))[0] == "green"
    assert check(load(dashboard=far | {"token": "0123456789abcdef"}))[0] == "green"


def test_several_cameras_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "mespot.toml"
    file.write_text('[[camera]]\nname = "a"\nsource = "x.mp4"\n[[camera]]\nsource = "y.mp4"\n')
    assert "x.mp4" in perform("source", Asked(file).encoded()).found
    second = perform("source", Asked(file, camera=1).encoded())
    assert "y.mp4" in second.found
    assert second.of("y").name == "source, y"


def test_a_wrong_configuration_is_one_red_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "mespot.toml"
    file.write_text("no_such_key = 1\n")
    asked = Asked(file).encoded()
    found = perform("configuration", asked)
    assert found.level == "red"
    assert "no_such_key" in found.found
    assert perform("cpu", asked).level in ("green", "yellow")


def test_the_source_is_tried_where_one_is_named() -> None:
    assert "source" in names(True)
    assert "source" not in names(False)
    assert "640×480 at 30 fps" in perform("source", Asked(source="synthetic:").encoded()).found
    missing = perform("source", Asked(source="nowhere.mp4").encoded())
    assert missing.level == "red"
    assert "no such file" in missing.found
    secret = Asked(source="rtsp://anna:secret@127.0.0.1:1/x").encoded()
    assert "secret" not in perform("source", secret).found


def test_webcams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    level, found, todo = look_at([])
    assert (level, found) == ("yellow", "no webcam")
    device = tmp_path / "video63"
    device.touch()
    assert look_at([device])[1] == "1 video devices, none gives a picture"
    monkeypatch.setattr(os, "access", lambda *_: False)
    level, found, todo = look_at([device])
    assert level == "yellow"
    assert "must not be opened" in found
    assert "usermod" in todo


def test_a_cold_cache_and_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = CHECKS["numba cache"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    level, found, _ = check(load())
    assert level == "yellow"
    assert found.startswith("cold (0 kernels")
    (tmp_path / "new").mkdir()
    for k in range(30):
        (tmp_path / "new" / f"k{k}.nbi").touch()
    assert check(load())[0] == "green"
    old = time.time() - 40 * 365 * 86400
    for file in (tmp_path / "new").iterdir():
        os.utime(file, (old, old))
    assert check(load())[0] == "yellow"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert check(load())[0] == "green"  # read-only, but full
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "other"))
    level, found, todo = check(load())
    assert level == "yellow"
    assert "NUMBA_CACHE_DIR" in todo


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    level, found, _ = CHECKS["disk"](load())
    assert str(tmp_path / "state" / "mespot") in found
    assert not (tmp_path / "state").exists()  # a check leaves nothing behind
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10, 9, 5_000_000))
    level, found, _ = CHECKS["disk"](load())
    assert level == "yellow"
    assert "0.0 GB free" in found
    out = tmp_path / "file"
    out.touch()
    assert CHECKS["disk"](load(out=out / "events.jsonl"))[0] == "red"


def test_keys_that_others_may_read_are_red(tmp_path: Path) -> None:
    assert guarded(tmp_path / "none")[0] == "green"
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    secret = folder / "server.key_secret"
    secret.touch(mode=0o600)
    assert guarded(folder)[0] == "green"
    secret.chmod(0o640)
    level, found, todo = guarded(folder)
    assert level == "red"
    assert str(secret) in found
    assert "chmod" in todo
    secret.chmod(0o600)
    folder.chmod(0o755)
    assert guarded(folder)[0] == "red"


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy<1", "no-such-package>=2", 'pylsl>=999; extra == "lab"', "rich>=1"]
    monkeypatch.setattr(doctor_packages.metadata, "requires", lambda _: wanted)
    assert [need.wanted for need in doctor_packages.unmet()] == ["numpy<1", "no-such-package>=2"]
    assert [need.wanted for need in doctor_packages.unmet("lab")] == ["pylsl>=999"]
    level, found, todo = CHECKS["packages"](load())
    assert (level, todo) == ("red", "make setup")
    assert "no-such-package>=2 (not installed)" in found
    assert "mespot[lab]" in CHECKS["extras"](load())[1]


def test_other_versions_than_the_tested_ones_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = tmp_path / "constraints.txt"
    tested.write_text("# comment\nrich==0.0.1\nnumpy==0\n")
    monkeypatch.setattr(doctor_packages, "_CONSTRAINTS", tested)
    (said,) = doctor_packages.untested(["rich"])
    assert "tested: 0.0.1" in said


# ---------------------------------------------------------------- alone, in time

BROKEN = """
import os, sys, time, subprocess
name = sys.argv[1]
if name == "hangs":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open({pid!r}, "w").write(str(child.pid))
    time.sleep(600)
elif name == "dies":
    os.abort()
elif name == "leaves":
    sys.exit(3)
elif name == "raves":
    print("not a finding")
else:
    print("chatter of a library")
    print('{{"name": "x", "level": "green", "found": "in order"}}')
"""


def test_a_check_that_hangs_or_dies_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "broken.py").write_text(BROKEN.format(pid=str(pid)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    asked = ("hangs", "dies", "leaves", "raves", "good")
    found = {f.name: f for f in examine(Asked(), asked, limit_s=15.0, module="broken")}
    assert list(found) == list(asked)
    assert "no answer within 15 s" in found["hangs"].found
    assert 15 <= found["hangs"].seconds < 60
    assert "signal 6" in found["dies"].found
    assert "code 3" in found["leaves"].found
    assert found["good"].level == "green"
    assert [found[name].level for name in asked[:-1]] == ["red"] * 4
    with pytest.raises(ProcessLookupError):  # nor is what it started left behind
        for _ in range(100):
            os.kill(int(pid.read_text()), 0)
            if Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2] == "Z":
                raise ProcessLookupError  # dead; nobody has asked for its end
            time.sleep(0.1)


def test_whatever_a_check_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: object) -> Any:
        raise RuntimeError("libGL.so.1:\ncannot open")

    monkeypatch.setitem(CHECKS, "cpu", broken)
    found = perform("cpu", NOTHING)
    assert found.level == "red"
    assert found.found == "RuntimeError: libGL.so.1: cannot open"


def _pretend(monkeypatch: pytest.MonkeyPatch, *levels: doctor.Level) -> None:
    made = [Finding(f"check {k}", level, "found", "do this") for k, level in enumerate(levels)]
    monkeypatch.setattr(doctor, "examine", lambda *_: iter(made))


@pytest.mark.parametrize(("levels", "code"), [(("green", "yellow"), 0), (("red", "green"), 1)])
def test_the_exit_code_is_0_unless_something_is_red(
    levels: tuple[doctor.Level, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _pretend(monkeypatch, *levels)
    assert run(["doctor"]) == code
    said = capsys.readouterr().out
    assert all(level in said for level in levels)
    assert "→ do this" in said
    assert run(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert [check["level"] for check in told["checks"]] == list(levels)
    assert told["worst"] == worst([Finding("", level, "") for level in levels])


@pytest.mark.slow
def test_all_of_it_as_a_user_runs_it(tmp_path: Path) -> None:
    code = "import sys; from pipeline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "synthetic:", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    told = json.loads(done.stdout)
    assert [check["name"] for check in told["checks"]] == list(names(True))
    slow = {c["name"]: c for c in told["checks"] if "no answer within" in c["found"]}
    sound = [c for c in told["checks"] if c["name"] not in slow]  # the machine may be busy
    assert all(c["level"] != "red" for c in sound if c["name"] != "event address"), sound
    assert all(c["seconds"] < 30 for c in told["checks"])
    assert done.returncode == (told["worst"] == "red")
    assert "Traceback" not in done.stderr
