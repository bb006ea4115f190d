"""Metrics of real runs by Prometheus' own parsers (synthetic camera, scripted stages)."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from pipeline.config import Config, load
from pipeline.graph import Graph
from pipeline.messages import Report
from pipeline.metrics import labels, machine
from pipeline.metrics.families import Families
from pipeline.metrics.feed import Feed
from pipeline.metrics.watcher import MetricsWatcher
from pipeline.sockets import NODES
from tests.fuzz.messages import PUBLISHED
from tests.pipeline import scripted
from tests.pipeline.scraped import Scrape

_EVENT = msgspec.msgpack.decode(PUBLISHED[0][1])


def _config(**options: Any) -> Config:
    given = {"events": "tcp://127.0.0.1:*", "model": [], "metrics": {"port": 0}}
    return load(**(given | options))


@pytest.fixture
def watching() -> Iterator[Any]:
    """Makes watchers, and closes them."""
    made: list[MetricsWatcher] = []

    def make(*arguments: Any, **options: Any) -> MetricsWatcher:
        made.append(MetricsWatcher(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_real_run_is_told_as_its_summary_tells_it(watching: Any) -> None:
    config = _config(duration=9, fps="max", model=None)
    watcher = watching(config)
    summary = Graph(config, watcher.on_report).run()
    seen = Scrape(watcher.url)
    camera = {"camera": "synthetic"}
    assert seen.value("mespot_frames_total", **camera) == summary.frames == 270
    for node, state in summary.nodes.items():
        by = camera | {"node": node}
        assert seen.value("mespot_items_total", **by) == state.total_received
        assert seen.value("mespot_node_work_seconds_count", **by) == len(state.work_ms)
        assert seen.value("mespot_node_work_seconds_count", **by) == state.total_received
        assert seen.value("mespot_node_latency_seconds_count", **by) == len(state.latencies_ms)
        spent = seen.value("mespot_node_latency_seconds_sum", **by)
        assert spent == pytest.approx(sum(state.latencies_ms) / 1e3, rel=1e-3)
    for phase in ("apex", "final", "retracted", "update"):
        assert seen.total("mespot_events_total", phase=phase) == summary.events[phase]
    for kind in ("micro", "macro"):
        count = seen.value("mespot_events_total", phase="final", kind=kind, **camera)
        assert count == summary.events[kind]
    assert summary.events["final"] > 0
    finals = camera | {"phase": "final"}
    assert seen.value("mespot_event_delay_seconds_count", **finals) == summary.events["final"]
    assert 0.1 < seen.value("mespot_event_decision_seconds_sum", **finals) < 30
    assert seen.total("mespot_event_emotions_total") == summary.events["final"]
    assert seen.total("mespot_event_action_units_total") >= summary.events["final"]
    assert not summary.dropped
    assert not seen.total("mespot_dropped_total")
    assert seen.total("mespot_log_last_seq") == sum(
        summary.events[p] for p in ("apex", "final", "retracted", "update")
    ) - 1  # fmt: skip
    devices = {
        one["recogniser"]: one["device"] for one, _ in seen.samples("mespot_recogniser_info")
    }
    assert set(devices) == {"augcn", "map"}
    assert all(device.endswith("ExecutionProvider") for device in devices.values())
    assert seen.value("process_cpu_seconds_total") > 0


def test_names_units_and_help_are_as_prometheus_wants_them(watching: Any) -> None:
    seen = Scrape(watching(_config()).url)
    ours = {name: kind for name, kind in seen.types.items() if name.startswith("mespot_")}
    assert len(ours) > 30
    for name, kind in ours.items():
        assert seen.texts[name].endswith("."), name
        assert not re.search(r"_(ms|milliseconds|mb|percent|minutes|total_total)\b", name), name
        if kind == "histogram":
            assert name.endswith("_seconds")
    assert "_created" not in seen.text
    assert "mespot_gpu" not in seen.text or machine.Gpus()._nvml is not None


def _beat(graph: Graph, node: str, epoch: int = 0, **more: Any) -> Report:
    """A report that the graph has taken."""
    report = Report(node, epoch, **({"kind": "beat"} | more))
    graph._take(report)
    return report


class _Fed:
    """A feed without a server."""

    def __init__(self, graph: Graph | None = None) -> None:
        self.registry = CollectorRegistry()
        self.families = Families(self.registry)
        self.graph = graph or Graph(_config())
        self.feed = Feed(self.families, "cam")

    def beat(self, node: str, epoch: int = 0, **more: Any) -> None:
        self.feed.take(_beat(self.graph, node, epoch, **more), self.graph)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"camera": "cam"} | labels)


def test_each_sample_counts_once_and_none_of_a_life_that_is_over() -> None:
    fed = _Fed()
    fed.beat("face", received=2, latencies_ms=[10.0, 20.0], work_ms=[5.0, 6.0])
    fed.beat("face", received=3, latencies_ms=[30.0], work_ms=[7.0])
    fed.graph._died("face")
    fed.beat("face", epoch=0, received=9, latencies_ms=[1.0] * 6, work_ms=[1.0] * 6)
    assert fed.value("mespot_node_latency_seconds_count", node="face") == 3
    assert fed.value("mespot_node_latency_seconds_sum", node="face") == pytest.approx(0.06)
    assert fed.value("mespot_node_work_seconds_sum", node="face") == pytest.approx(0.018)
    assert fed.value("mespot_items_total", node="face") == 3


def test_counters_go_on_over_lives_of_a_node_and_over_runs_of_a_camera() -> None:
    fed = _Fed()
    fed.beat("face", received=10, dropped={"face: out of order": 4})
    fed.graph._died("face")
    fed.beat("face", epoch=1, received=1, dropped={"face: out of order": 1})
    by = {"node": "face", "reason": "out_of_order"}
    assert fed.value("mespot_items_total", node="face") == 11
    assert fed.value("mespot_dropped_total", **by) == 5
    assert fed.value("mespot_node_restarts_total", node="face") == 1
    fed.graph = Graph(_config())  # the same camera once more
    fed.feed = Feed(fed.families, "cam")
    fed.beat("face", received=2, dropped={"face: out of order": 1})
    assert fed.value("mespot_items_total", node="face") == 13
    assert fed.value("mespot_dropped_total", **by) == 6


def test_whatever_is_dropped_has_one_of_a_few_reasons() -> None:
    fed = _Fed()
    strange = {f"clips: not written: Error{i}": 1 for i in range(50)}
    strange |= {f'reason {i}\n"}} 1': 1 for i in range(50)}
    strange |= {"client refused: no key": 3, "stage refused: odd": 1, "replay: turned away": 2}
    strange |= {"classify: not scored": 5, "spot failed": 7}
    fed.beat("publish", dropped=strange)
    dropped = {
        s.labels["reason"]: s.value
        for family in fed.registry.collect()
        for s in family.samples
        if s.name == "mespot_dropped_total" and s.labels["node"] == "publish"
    }
    assert dropped == {
        "clip_not_written": 50, "other": 50, "not_scored": 5, "stage_failed": 7,
    }  # fmt: skip
    assert fed.value("mespot_clients_refused_total", socket="client", reason="no_key") == 3
    assert fed.value("mespot_clients_refused_total", socket="stage", reason="other") == 1
    assert fed.value("mespot_replay_refusals_total", reason="turned_away") == 2
    assert fed.value("mespot_events_not_scored_total") == 5


def test_every_reason_that_nodes_count_under_is_known() -> None:
    """Found in their sources, so that a new one is not lost among the others."""
    texts = [path.read_text() for path in Path(labels.__file__).parents[1].rglob("*.py")]
    found = {
        match
        for text in texts
        for match in re.findall(r'"((?:capture|classify|publish|clips|malformed)[a-z: ]*)"', text)
        if ": " in match and not match.startswith(("capture: a", "publish: a"))
    }
    assert "capture: newer frame won" in found
    unknown = {key for key in found if labels.loss(key).reason == "other"}
    assert not unknown


def test_a_dead_node_is_down_and_a_restarted_one_up_again() -> None:
    fed = _Fed()
    fed.beat("spot", kind="ready")
    assert fed.value("mespot_node_up", node="spot") == 1
    fed.beat("spot", kind="death", text="killed")
    assert fed.value("mespot_node_up", node="spot") == 0
    fed.graph._died("spot")
    fed.beat("face")  # a killed process says nothing of itself
    assert fed.value("mespot_node_up", node="spot") == 0
    fed.beat("spot", epoch=1, kind="ready")
    assert fed.value("mespot_node_up", node="spot") == 1


def _state(fed: _Fed, name: str, **more: Any) -> None:
    message = {"v": 1, "type": "state", "stream": "cam", "state": name, "published_utc_ns": 1}
    payload = msgspec.msgpack.encode(message | {"face": None, "at": None, "detail": ""} | more)
    fed.beat("publish", kind="published", payload=payload)


def test_the_camera_faces_log_and_load_are_told_by_states() -> None:
    fed = _Fed()
    fed.beat("capture", received=1)
    assert fed.value("mespot_camera_up") == 1
    for face in (0, 3, 3):
        _state(fed, "face_found", face=face)
    assert fed.value("mespot_faces") == 2
    _state(fed, "face_lost", face=0)
    assert fed.value("mespot_faces") == 1
    for name in ("camera_lost", "camera_retrying", "camera_retrying"):
        _state(fed, name)
    fed.beat("capture", received=9)  # from before the loss
    assert fed.value("mespot_camera_up") == 0
    _state(fed, "camera_back")
    counts = [fed.value(f"mespot_camera_{n}_total") for n in ("losses", "attempts", "reconnects")]
    assert counts == [1, 2, 1]
    assert fed.value("mespot_camera_up") == 1
    _state(fed, "camera_lost")
    _state(fed, "node_restarted", detail="capture")  # and it finds the camera at once
    fed.beat("capture", received=10)
    assert fed.value("mespot_camera_up") == 1
    for name, gauge in (("overloaded", "overloaded"), ("log_failed", "log_failed")):
        _state(fed, name)
        assert fed.value(f"mespot_{gauge}") == 1
    for name, gauge in (("recovered", "overloaded"), ("log_back", "log_failed")):
        _state(fed, name)
        assert fed.value(f"mespot_{gauge}") == 0
    _state(fed, "of a later version")
    assert fed.value("mespot_states_total", state="other") == 1


def test_an_event_of_a_stranger_kind_of_au_and_category_stays_bounded() -> None:
    fed = _Fed()
    for number in (4, 1000, 10**9):
        event = msgspec.msgpack.decode(PUBLISHED[0][1])
        event["aus"] = [event["aus"][0] | {"au": number}]
        event["emotions"] = [event["emotions"][0] | {"category": f"mood {number}"}]
        event["phase"] = "final"
        fed.beat("publish", kind="published", payload=msgspec.msgpack.encode(event))
    assert fed.value("mespot_event_action_units_total", au="4") == 1
    assert fed.value("mespot_event_action_units_total", au="other") == 2
    assert fed.value("mespot_event_emotions_total", category="other") == 3


def test_hostile_names_neither_break_the_text_nor_show_a_secret(
    watching: Any, tmp_path: Path
) -> None:
    sources = [
        str(tmp_path / 'evil"} 1\nmespot_frames_total{camera="x.mp4'),
        "rtsp://anna:hunter2secret@camera/live?token=hunter2secret",
        "/tmp/\\\\n\u2028.mp4",
    ]
    watcher = watching(_config())
    for number, source in enumerate(sources):
        graph = Graph(_config(source=source))
        name = f'bad"}}\nname{number}@1 on CPU, trained on: nothing'
        watcher.on_report(_beat(graph, "capture", received=number + 1), graph)
        watcher.on_report(_beat(graph, "classify", kind="ready", text=name), graph)
        odd = 'a\\b"c@1 on http://anna:hunter2secret@host, trained on: x'
        watcher.on_report(_beat(graph, "classify", kind="ready", text=odd), graph)
    seen = Scrape(watcher.url)
    assert "hunter2" not in seen.text
    frames = {s["camera"]: value for s, value in seen.samples("mespot_frames_total")}
    assert len(frames) == 3
    assert sorted(frames.values()) == [1, 2, 3]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", camera) for camera in frames)
    assert {s["recogniser"] for s, _ in seen.samples("mespot_recogniser_info")} == {'a\\b"c'}


def test_two_cameras_share_an_endpoint(watching: Any) -> None:
    watcher = watching(_config(), cameras=["left", "right"])
    graphs = [Graph(_config(capture={"name": name})) for name in ("left", "right")]
    for count, graph in enumerate(graphs, start=1):
        watcher.on_report(_beat(graph, "capture", received=count), graph)
    seen = Scrape(watcher.url)
    assert seen.value("mespot_frames_total", camera="left") == 1
    assert seen.value("mespot_frames_total", camera="right") == 2


def _kill(name: str) -> None:
    for child in multiprocessing.active_children():
        if child.name == f"mespot-{name}":
            child.kill()
            return
    raise AssertionError(f"no process for {name}")


def test_no_counter_goes_back_over_a_killed_node(watching: Any) -> None:
    config = scripted.config(
        transport="ipc", duration=600, fps=60, metrics={"port": 0}, graph={"heartbeat_s": 0.1}
    )
    watcher = watching(config)
    graph = Graph(config, watcher.on_report, scripted.make)
    run = threading.Thread(target=graph.run, daemon=True)
    run.start()
    last: dict[Any, float] = {}

    def until(reached: Any, what: str) -> Scrape:
        end = time.monotonic() + 120
        while True:
            seen = Scrape(watcher.url)
            for key, value in seen.counters().items():
                assert value >= last.get(key, 0.0), key
                last[key] = value
            if reached(seen):
                return seen
            assert time.monotonic() < end, what
            time.sleep(0.1)

    def spotted(seen: Scrape) -> float:
        return seen.total("mespot_node_work_seconds_count", node="spot")

    before = until(lambda seen: spotted(seen) > 60, "frames")
    cpu = {s["node"] for s, _ in before.samples("mespot_node_process_cpu_seconds_total")}
    assert cpu == set(NODES)
    assert before.total("mespot_node_process_resident_memory_bytes", node="spot") > 1e7
    _kill("spot")
    until(lambda seen: seen.total("mespot_node_restarts_total", node="spot") == 1, "a restart")
    until(lambda seen: seen.total("mespot_node_up", node="spot") == 1, "spot again")
    until(lambda seen: spotted(seen) > spotted(before) + 60, "frames after it")
    graph.stop()
    run.join(60)
    assert not run.is_alive()
    after = Scrape(watcher.url)
    state = graph.nodes["spot"]
    assert after.total("mespot_items_total", node="spot") == state.total_received


class _Nvml:
    """As pynvml: one GPU, of which a second one's figures fail."""

    class NVMLError(Exception):
        pass

    def __init__(self, broken: bool) -> None:
        self._broken = broken

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"Made-up 1"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return type("Memory", (), {"used": 2e9, "total": 8e9})

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if self._broken:
            raise self.NVMLError
        return type("Rates", (), {"gpu": 25})


@pytest.mark.parametrize("broken", [False, True])
def test_what_nvml_does_not_tell_is_absent(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    gpus = machine.Gpus()
    gpus._nvml = _Nvml(broken)
    registry.register(gpus)
    text = generate_latest(registry).decode()
    assert 'mespot_gpu_memory_used_bytes{gpu="0",name="Made-up 1"} 2e+09' in text
    assert ("mespot_gpu_utilization_ratio" in text) is not broken
    assert broken or 'mespot_gpu_utilization_ratio{gpu="0",name="Made-up 1"} 0.25' in text


def test_without_nvml_there_is_no_gpu_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(machine.importlib, "import_module", missing)
    assert list(machine.Gpus().collect()) == []
