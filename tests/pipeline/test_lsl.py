"""LSL: both streams through a real inlet, and what the bridge does without one.

liblsl stays on this machine by its own configuration (LSLAPICFG), and under a session of its
own. The camera is scripted, or the synthetic one.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import uuid
import weakref
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.config import load
from pipeline.lsl import LslBridge, Outlets
from pipeline.lsl_clock import CaptureClock
from tests.pipeline.lsl_sender import FPS, FRAMES, MISSING

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WAIT_S = 60
NEAR_S = 0.05  # two clocks, read on a machine that is busy
CFG = """\
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
[ports]
IPv6 = disable
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = {session}
[log]
level = -2
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For programs that speak LSL; skips where liblsl does not load."""
    try:
        import pylsl  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"pylsl cannot load liblsl: {error}")
    file = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    file.write_text(CFG.format(session=f"mespot-{uuid.uuid4().hex}"))
    return os.environ | {"LSLAPICFG": str(file), "PYTHONPATH": str(ROOT)}


class Program:
    """A program of this folder, spoken to line by line."""

    def __init__(self, environment: dict[str, str], *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        out, err = self.process.communicate(timeout=3 * WAIT_S)
        assert self.process.returncode == 0, err
        return json.loads(out.splitlines()[-1])


def receiver(environment: dict[str, str], stream: str, what: str) -> Program:
    source = f"mespot/{platform.node()}/{stream}/{what}"
    return Program(environment, str(HERE / "lsl_receiver.py"), source, str(WAIT_S))


@pytest.fixture(scope="module")
def lsl(environment: dict[str, str]) -> dict[str, Any]:
    """What a recorder got of the scripted camera, and what was captured."""
    stream = f"cam{uuid.uuid4().hex[:8]}"
    sender = Program(environment, str(HERE / "lsl_sender.py"), stream)
    assert sender.line() == "begun\n"
    markers = receiver(environment, stream, "events")
    assert markers.line() == "open\n"  # it is offered before the first event
    sender.tell()
    curves = receiver(environment, stream, "curves/0")
    assert curves.line() == "open\n"
    sender.tell()
    return {
        "sent": sender.result(),
        "markers": markers.result(),
        "curves": curves.result(),
        "stream": stream,
    }


def test_both_streams_arrive_with_the_times_of_capture(lsl: dict[str, Any]) -> None:
    captured = {int(frame): stamps for frame, stamps in lsl["sent"]["captured"].items()}
    assert lsl["sent"]["notes"] == []

    # LSL's clock is the monotonic one here; asserted, since all else follows from it
    header = lsl["markers"]["header"]
    offset = float(header["utc_minus_local_clock_s"])
    mono, utc = captured[0]
    assert offset == pytest.approx((utc - mono) / 1e9, abs=NEAR_S)

    ((text,),) = lsl["markers"]["samples"]
    event = json.loads(text)
    assert (event["type"], event["id"], event["aus"]) == ("event", "x", [{"au": 12}])
    assert lsl["markers"]["times"] == [pytest.approx(captured[20][0] / 1e9, abs=NEAR_S)]
    for name, frame in (("onset", 10), ("apex", 20), ("offset", 29)):
        assert event["lsl"][name] == pytest.approx(captured[frame][0] / 1e9, abs=NEAR_S)

    rows = list(zip(lsl["curves"]["samples"], lsl["curves"]["times"], strict=True))
    known = {round(row[0] - 0.5): (row, at) for row, at in rows if not math.isnan(row[0])}
    assert set(range(12, FRAMES)) - MISSING <= known.keys()
    for frame, (row, at) in known.items():
        assert row == [frame + 0.5, -1.0, 0.0], "the window that was open first, each frame once"
        assert at == pytest.approx(captured[frame][0] / 1e9, abs=NEAR_S)
    gap = [at for row, at in rows if math.isnan(row[0])]
    assert len(gap) == len(MISSING)
    assert known[29][1] < gap[0] < gap[1] < known[32][1]
    times = [at for _, at in rows]
    assert times == sorted(times)


def test_headers_follow_the_conventions(lsl: dict[str, Any]) -> None:
    markers, curves = lsl["markers"]["header"], lsl["curves"]["header"]
    assert (markers["name"], markers["type"]) == (f"mespot {lsl['stream']} events", "Markers")
    assert markers["rate"] == 0
    assert curves["name"] == f"mespot {lsl['stream']} curves face 0"
    assert curves["rate"] == pytest.approx(FPS)
    assert curves["labels"] == ["AU12", "AU4", "reference"]
    assert curves["types"] == ["ActionUnit", "ActionUnit", "Reference"]
    assert curves["units"] == ["matching index", "matching index", "frames"]
    for header in (markers, curves):
        assert header["synchronization"] == {"offset_mean": "0.02", "can_drop_samples": "true"}
        assert header["manufacturer"] == "mespot"


@pytest.mark.slow
def test_live_with_lsl_stamps_events_with_their_capture(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The synthetic camera through the whole graph."""
    file = tmp_path / "events.jsonl"
    options = ["--duration", "12", "--no-models", "--events", "tcp://127.0.0.1:*", "--lsl"]
    live = Program(environment, "run_live.py", "synthetic:", *options, "--out", str(file))
    markers = receiver(environment, "synthetic", "events")
    out, err = live.process.communicate(timeout=280)
    assert live.process.returncode == 0, out + err
    got = markers.result()
    written = {e["seq"]: e for e in map(json.loads, file.read_text().splitlines())}
    assert len(written) >= 4
    assert got["samples"], "no marker arrived"
    offset = float(got["header"]["utc_minus_local_clock_s"])
    for (text,), at in zip(got["samples"], got["times"], strict=True):
        event = json.loads(text)
        event.pop("lsl")
        assert event == written[event["seq"]]
        assert at + offset == pytest.approx(event["apex"]["utc_ns"] / 1e9, abs=NEAR_S)


# --- without liblsl


class FakeOutlet:
    def __init__(self, info: FakeInfo) -> None:
        self.info = info
        self.samples: list[tuple[list[Any], float]] = []

    def push_sample(self, sample: list[Any], at: float) -> None:
        self.samples.append((sample, at))

    def have_consumers(self) -> bool:
        return False


class FakeInfo:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def desc(self) -> FakeInfo:
        return self

    def append_child(self, name: str) -> FakeInfo:
        return self

    def append_child_value(self, name: str, value: str) -> None:
        assert isinstance(value, str)


class FakeLsl:
    """Enough of pylsl, with a clock that stands."""

    IRREGULAR_RATE = 0.0
    cf_string = "string"
    cf_double64 = "double64"
    StreamInfo = FakeInfo

    def __init__(self) -> None:
        self.outlets: list[FakeOutlet] = []

    def local_clock(self) -> float:
        return 100.0

    def StreamOutlet(self, info: FakeInfo) -> FakeOutlet:
        self.outlets.append(FakeOutlet(info))
        return self.outlets[-1]


def curves(frame: int, face: int = 0, reference: int = 0) -> dict[str, Any]:
    at = {"frame": frame, "pts": frame / 30, "utc_ns": round(frame / 30 * 1e9)}
    body = {"type": "curves", "stream": "cam", "face": face, "at": at, "reference": reference}
    return body | {"aus": [12], "values": [float(frame)]}


@pytest.fixture
def standing() -> tuple[FakeLsl, Outlets]:
    """Outlets whose clocks stand at 0, so that LSL 100 s is UTC 0."""
    lsl = FakeLsl()
    clock = CaptureClock(mono_ns=lambda: 10**12, utc_ns=lambda: 10**12)
    return lsl, Outlets(lsl, load(lsl={"enabled": True}), clock)


def test_each_face_is_a_stream_of_its_own_with_the_rate_of_the_source(standing) -> None:
    lsl, outlets = standing
    for frame in range(20):
        for face in (0, 1):
            outlets.push(curves(frame, face))
    assert [o.info.arguments[0] for o in lsl.outlets] == [
        "mespot cam curves face 0",
        "mespot cam curves face 1",
    ]
    assert [o.info.arguments[3] for o in lsl.outlets] == [30.0, 30.0]
    assert [o.info.arguments[5].rpartition("/")[2] for o in lsl.outlets] == ["0", "1"]
    assert [row[0] for row, _ in lsl.outlets[0].samples] == list(range(20))


def test_a_face_that_left_leaves_no_outlet(standing) -> None:
    """Each has threads and descriptors of liblsl, and a face that comes back has a new number."""
    lsl, outlets = standing
    for face in range(5):
        for frame in range(face * 400, face * 400 + 400):  # 13.3 s, nobody but one who stays
            outlets.push(curves(frame, face=99))
            if frame % 400 < 30:
                outlets.push(curves(frame, face))
    made = {o.info.arguments[0].rpartition(" ")[2]: weakref.ref(o) for o in lsl.outlets}
    lsl.outlets.clear()
    assert list(made) == ["99", "0", "1", "2", "3", "4"]
    assert [face for face, outlet in made.items() if outlet() is not None] == ["99"]


def test_a_long_gap_stays_one_and_a_short_one_is_filled(standing) -> None:
    lsl, outlets = standing
    for frame in (*range(12), 15, 100):
        outlets.push(curves(frame))
    seen = [row[0] for row, _ in lsl.outlets[0].samples]
    assert seen[:12] == list(range(12)) and all(map(math.isnan, seen[12:15]))
    assert seen[15:] == [15, 100]
    assert lsl.outlets[0].samples[12][1] == pytest.approx(100 - 1000 + 12 / 30)


def test_a_recording_at_full_speed_has_no_rate() -> None:
    lsl = FakeLsl()
    outlets = Outlets(lsl, load(fps="max", lsl={"enabled": True}))
    for frame in range(12):
        outlets.push(curves(frame))
    assert lsl.outlets[0].info.arguments[3] == FakeLsl.IRREGULAR_RATE


def test_curves_can_be_left_out() -> None:
    lsl = FakeLsl()
    outlets = Outlets(lsl, load(lsl={"enabled": True, "curves": False}))
    for frame in range(12):
        outlets.push(curves(frame))
    assert lsl.outlets == []
    assert not load(lsl={"enabled": True, "curves": False}).publish.curves
    assert load(lsl={"enabled": True}).publish.curves
    assert not load().publish.curves


def test_an_announced_event_has_no_onset_yet(standing) -> None:
    lsl, outlets = standing
    apex = {"frame": 30, "pts": 1.0, "utc_ns": 10**12 - 2 * 10**9}
    outlets.push(
        {"type": "event", "stream": "cam", "phase": "apex"}
        | {"onset": None, "apex": apex, "offset": None}
    )
    ((text,), at) = lsl.outlets[0].samples[0]
    assert at == pytest.approx(98.0)
    assert json.loads(text)["lsl"] == {"onset": None, "apex": 98.0, "offset": None}


@pytest.mark.parametrize("step_s", [3600, -3600, 0.2, -0.2])
def test_ages_survive_a_step_of_utc(step_s: float) -> None:
    now = {"mono": 50 * 10**9, "utc": 10_000 * 10**9}
    clock = CaptureClock(mono_ns=lambda: now["mono"], utc_ns=lambda: now["utc"])
    before = now["utc"]
    now["mono"] += 10**9
    now["utc"] += 10**9 + int(step_s * 1e9)
    clock.observe()
    after = now["utc"]
    now["mono"] += 2 * 10**9
    now["utc"] += 2 * 10**9
    clock.observe()
    assert clock.age_s(after) == pytest.approx(2)
    assert clock.age_s(before) == pytest.approx(3)


def test_the_slow_correction_of_utc_is_followed() -> None:
    now = {"mono": 0, "utc": 10**18}
    clock = CaptureClock(mono_ns=lambda: now["mono"], utc_ns=lambda: now["utc"])
    for _ in range(100):
        now["mono"] += 10**9
        now["utc"] += 10**9 + 10**6  # 1 ms a second
        clock.observe()
    assert clock.age_s(now["utc"] - 10**9) == pytest.approx(1, abs=1e-6)


def test_whatever_liblsl_does_the_run_goes_on_and_is_told(monkeypatch) -> None:
    class Broken(FakeLsl):
        def StreamOutlet(self, info: FakeInfo) -> FakeOutlet:
            raise RuntimeError("no network")

    monkeypatch.setattr("pipeline.lsl.load", Broken)
    notes: list[str] = []
    bridge = LslBridge(load(lsl={"enabled": True}), notes.append)
    bridge.announce("cam")
    bridge.close()
    assert notes == ["LSL ended: RuntimeError: no network"]


def test_a_bridge_that_fails_takes_its_streams_away(monkeypatch) -> None:
    class OnlyOne(FakeLsl):
        def StreamOutlet(self, info: FakeInfo) -> FakeOutlet:
            if made:
                raise RuntimeError("no more ports")
            outlet = FakeOutlet(info)
            made.append(weakref.ref(outlet))
            return outlet

    made: list[weakref.ref[FakeOutlet]] = []
    monkeypatch.setattr("pipeline.lsl.load", OnlyOne)
    notes: list[str] = []
    bridge = LslBridge(load(lsl={"enabled": True}), notes.append)
    bridge.announce("cam")
    bridge.announce("other")
    bridge.close()
    assert notes == ["LSL ended: RuntimeError: no more ports"]
    assert [outlet() for outlet in made] == [None]


def test_without_pylsl_one_line_names_the_extra(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    assert run(["live", "synthetic:", "--lsl", "--events", "tcp://127.0.0.1:*"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "mespot[lab]" in err
