"""Events and their scores: deadline, updates, batches, order (scripted stages)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

import pipeline.publish_node
import pipeline.sources
import pipeline.stage_nodes
from pipeline import sockets
from pipeline.classify_node import ClassifyNode, is_paced
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.messages import End, Report, Restarted
from pipeline.node import Abandoned, Links, stamp_of
from pipeline.schema import EventMessage, without_wall_clock
from pipeline.stage_nodes import StageNode
from pipeline.summary import Summary
from stages.classify import ClassifyStage
from stages.items import Event, Evidence, Frame, Interval, Phase, Reading, Stamp
from tests.pipeline.test_graph import Pass, ScriptedSource, _config, _run

CROP = np.zeros((2, 2), np.uint8)
EVIDENCE = Evidence(*[CROP] * 6)


class SlowScorer:
    """Takes its time; notes the sizes of its batches."""

    models = ("slow@1",)

    def __init__(self, seconds: float = 0.0, failing: bool = False, at_once: int = 16) -> None:
        self.seconds = seconds
        self.failing = failing
        self.at_once = at_once
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.about = ["slow@1 on a stub"]

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        self.batches.append(len(events))
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if self.failing:
            raise ArithmeticError("no luck")
        return [[Reading("slow", "positive", scores={"positive": 1.0})] for _ in events]

    def unscored(self, cause: str) -> list[Reading]:
        return [Reading("slow", "", rule=f"not scored: {cause}")]


class HungScorer(SlowScorer):
    """Answers when it is let go, and no sooner."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        self.begun.set()
        self.go.wait(30)
        return super().score(events)

    def let_go(self) -> None:
        self.go.set()
        for thread in threading.enumerate():
            if thread.name == "scoring":
                thread.join(5)


class PartlyScorer(SlowScorer):
    """Two recognisers, of which one fails on every event."""

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        failed = Reading("poor", "", rule="not scored: the face crop of the apex is missing")
        return [[*row, failed] for row in super().score(events)]


class Classify(ClassifyStage):
    """The real stage with a scripted scorer."""

    def __init__(self, scorer: SlowScorer) -> None:
        super().__init__("none@0", scorer)  # type: ignore[arg-type]


def interval(number: int, phase: Phase, stamp: Stamp) -> Interval:
    crops = EVIDENCE if phase == "final" else None
    return Interval(
        f"scripted/0/0-{number}", 0, phase, "micro", stamp, stamp, stamp, [], stamp, 0, "", crops
    )


class Spot(Pass):
    """Says what the plan has for a frame: (number, phase)."""

    def __init__(self, plan: dict[int, Sequence[tuple[int, Phase]]]) -> None:
        super().__init__("spot", 0)
        self.plan = plan

    def process(self, item: Any) -> Iterable[Any]:
        stamp = item.stamp
        return [interval(n, phase, stamp) for n, phase in self.plan.get(stamp.frame, ())]


class Watched:
    """What a run published, and when."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.times: dict[tuple[str, str], float] = {}
        self.states: list[str] = []
        self.notes: list[str] = []
        self.order: list[str] = []

    def on_report(self, report: Report, graph: Graph) -> None:
        if report.kind == "death":
            self.notes.append(report.text)
        if report.kind == "note":
            self.notes.append(report.text)
        if report.kind != "published":
            return
        message = msgspec.msgpack.decode(report.payload)
        if message["type"] == "event":
            self.events.append(message)
            at = message["published_utc_ns"] / 1e9
            self.times[message["id"][-1], message["phase"]] = at
            self.order.append(f"{message['id'][-1]} {message['phase']}")
        else:
            self.order.append(message["state"])

    def sources(self, number: int, phase: str) -> list[str]:
        (event,) = [e for e in self.events if e["id"][-1] == str(number) and e["phase"] == phase]
        return [reading["source"] for reading in event["emotions"]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a plan through the graph with a scorer."""

    def run(
        scorer: SlowScorer,
        plan: dict[int, Sequence[tuple[int, Phase]]],
        frames: int = 40,
        pause_s: float = 0.01,
        **options: Any,
    ) -> tuple[Watched, Summary]:
        stages = {"face": Pass("face", 0), "motion": Pass("motion", 0)}
        stages |= {"spot": Spot(plan), "classify": Classify(scorer)}  # type: ignore[dict-item]
        accepts: dict[str, Any] = {name: (Frame,) for name in ("face", "motion", "spot")}
        monkeypatch.setattr("pipeline.routing.ACCEPTS", accepts | {"classify": (Interval,)})
        monkeypatch.setattr(pipeline.stage_nodes, "build", lambda name, config, epoch: stages[name])

        class Set:
            aus = (1,)

        monkeypatch.setattr(pipeline.publish_node, "prototypes", lambda config: Set)
        source = ScriptedSource(frames, pause_s)
        monkeypatch.setattr(pipeline.sources, "open_source", lambda *a, **k: source)
        watched = Watched()
        summary = _run(Graph(_config(**options), watched.on_report))
        return watched, summary

    yield run
    assert not [t for t in threading.enumerate() if t.name == "scoring"]


ONE: dict[int, Sequence[tuple[int, Phase]]] = {2: [(0, "apex")], 5: [(0, "final")]}


def test_a_slow_recogniser_delays_no_event_and_one_update_follows(play: Any) -> None:
    scorer = SlowScorer(0.4)
    seen, summary = play(scorer, ONE, frames=80)
    assert seen.order == ["started", "0 apex", "0 final", "0 update", "ended"]
    final = seen.times["0", "final"]
    decided = next(e for e in seen.events if e["phase"] == "final")["apex"]["utc_ns"] / 1e9
    assert 0.14 < final - decided < 0.38
    assert seen.times["0", "update"] - decided > 0.38
    assert seen.sources(0, "final") == ["coding-guide"]
    assert seen.sources(0, "update") == ["coding-guide", "slow"]
    assert summary.events == {"apex": 1, "final": 1, "micro": 1, "update": 1}
    assert scorer.threads == {"scoring"}


def test_an_update_repeats_the_final_event_but_for_its_readings(play: Any) -> None:
    seen, _ = play(SlowScorer(0.3), ONE)
    final, update = (
        without_wall_clock(next(e for e in seen.events if e["phase"] == phase))
        for phase in ("final", "update")
    )
    changed = {key for key in final if final[key] != update[key]}
    assert changed == {"seq", "phase", "emotions"}
    assert update["seq"] == final["seq"] + 1
    assert final["models"] == ["slow@1"]
    assert update["emotions"][: len(final["emotions"])] == final["emotions"]


def test_a_quick_recogniser_needs_no_update(play: Any) -> None:
    seen, _ = play(SlowScorer(0.01), ONE)
    assert seen.order == ["started", "0 apex", "0 final", "ended"]
    assert seen.sources(0, "final") == ["coding-guide", "slow"]


def test_the_deadline_is_the_configured_one(play: Any) -> None:
    seen, _ = play(SlowScorer(0.3), ONE, classify={"deadline_s": 2.0})
    assert seen.order == ["started", "0 apex", "0 final", "ended"]
    seen, _ = play(SlowScorer(0.3), ONE, frames=60, classify={"deadline_s": 0.02})
    assert seen.order == ["started", "0 apex", "0 final", "0 update", "ended"]


def test_other_items_overtake_an_event_that_waits(play: Any) -> None:
    plan = {2: [(0, "apex")], 5: [(0, "final")], 7: [(1, "apex")], 9: [(1, "retracted")]}
    seen, _ = play(SlowScorer(0.4), plan, frames=60)
    assert seen.order[1:-1] == ["0 apex", "1 apex", "1 retracted", "0 final", "0 update"]


def test_events_that_wait_are_one_batch_and_keep_their_order(play: Any) -> None:
    scorer = SlowScorer(0.25)
    plan = {frame: [(n, "final")] for n, frame in enumerate((3, 5, 6, 7))}
    seen, _ = play(scorer, plan, frames=80, classify={"deadline_s": 5.0})
    assert scorer.batches == [1, 3]
    assert seen.order[1:-1] == ["0 final", "1 final", "2 final", "3 final"]
    assert all("slow" in seen.sources(n, "final") for n in range(4))


def test_a_batch_is_no_larger_than_the_scorer_wants(play: Any) -> None:
    scorer = SlowScorer(0.15, at_once=2)
    plan = {3: [(0, "final")], 5: [(n, "final") for n in range(1, 6)]}
    play(scorer, plan, classify={"deadline_s": 5.0})
    assert scorer.batches == [1, 2, 2, 1]


def test_the_end_waits_for_the_rest(play: Any) -> None:
    plan = {8: [(0, "final")], 9: [(1, "final")]}  # of ten frames
    seen, _ = play(SlowScorer(0.4), plan, frames=10)
    assert sorted(seen.order[1:3]) == ["0 final", "1 final"]
    assert seen.order[3:] == ["0 update", "1 update", "ended"]


def test_the_end_does_not_wait_for_a_recogniser_that_hangs(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.classify_node._PATIENCE_S", 0.4)
    scorer = HungScorer()
    plan = {8: [(0, "final")], 9: [(1, "final")]}
    begin = time.monotonic()
    seen, summary = play(scorer, plan, frames=10, classify={"deadline_s": 0.02})
    assert 0.4 < time.monotonic() - begin < 5
    scorer.let_go()
    assert seen.order == ["started", "0 final", "1 final", "ended"]
    assert seen.notes == ["no scores for 0.4 s after the end: updates of 2 events are lost"]
    assert summary.dropped == {"classify: not scored": 2}


def test_the_end_waits_longer_than_that_while_scores_come(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.classify_node._PATIENCE_S", 0.6)
    plan = {9: [(n, "final") for n in range(6)]}
    seen, summary = play(SlowScorer(0.2, at_once=1), plan, frames=10, classify={"deadline_s": 0.02})
    assert seen.order[7:] == [f"{n} update" for n in range(6)] + ["ended"]
    assert not summary.dropped


def test_a_dying_node_lets_go_what_is_decided(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ClassifyNode.take

    def take(self: ClassifyNode, socket: Any) -> Any:
        item = inner(self, socket)
        if isinstance(item, Interval) and item.id[-1] == "1" and self.epoch == 0:
            raise OSError("no more")
        return item

    monkeypatch.setattr(ClassifyNode, "take", take)
    plan: dict[int, Any] = {2: [(0, "apex")], 5: [(0, "final")], 7: [(1, "apex")]}
    plan |= {8: [(2, "apex")], 30: [(3, "final")]}
    seen, summary = play(SlowScorer(0.3), plan, classify={"deadline_s": 0.2})
    assert summary.restarts == 1
    assert "OSError: no more" in seen.notes
    assert [e for e in seen.order if e[0] == "0"] == ["0 apex", "0 final"]
    assert seen.order.index("0 final") < seen.order.index("node_restarted")
    # the second life owes what it took itself, and no more
    assert [e for e in seen.order if e[0] == "3"] == ["3 final", "3 update"]
    assert seen.order[-1] == "ended"


def test_a_failure_is_counted_and_said_and_costs_no_event(play: Any) -> None:
    plan = {3: [(0, "final")], 20: [(1, "final")]}
    seen, summary = play(SlowScorer(0.0, failing=True), plan)
    assert seen.order == ["started", "0 final", "1 final", "ended"]
    for event in seen.events:
        reading = event["emotions"][-1]
        assert (reading["source"], reading["label"]) == ("slow", "")
        assert reading["rule"] == "not scored: ArithmeticError: no luck"
    assert summary.dropped == {"classify: not scored": 2}
    assert seen.notes == ["an event is not scored: ArithmeticError: no luck"]


def test_a_failure_of_one_recogniser_is_counted_and_said_once(play: Any) -> None:
    plan = {3: [(0, "final")], 20: [(1, "final")]}
    seen, summary = play(PartlyScorer(), plan)
    assert seen.sources(1, "final") == ["coding-guide", "slow", "poor"]
    assert summary.dropped == {"classify: not scored": 2}
    assert seen.notes == [
        "poor: an event is not scored: the face crop of the apex is missing",
    ]


def test_a_late_failure_is_an_update_too(play: Any) -> None:
    seen, _ = play(SlowScorer(0.3, failing=True), ONE, frames=60)
    assert seen.order == ["started", "0 apex", "0 final", "0 update", "ended"]
    assert seen.sources(0, "final") == ["coding-guide"]


def test_without_a_clock_there_is_no_deadline(play: Any) -> None:
    scorer = SlowScorer(0.3)
    plan = {3: [(0, "final")], 4: [(1, "final")], 5: [(2, "apex")]}
    seen, _ = play(scorer, plan, pause_s=0.0, fps="max")
    assert seen.order[1:4] == ["0 final", "1 final", "2 apex"]
    assert all("slow" in seen.sources(n, "final") for n in range(2))
    assert scorer.batches == [1, 1]


def test_without_a_clock_a_failure_costs_no_event_either(play: Any) -> None:
    seen, summary = play(SlowScorer(failing=True), ONE, fps="max")
    assert seen.order == ["started", "0 apex", "0 final", "ended"]
    assert summary.dropped == {"classify: not scored": 1}


@pytest.mark.parametrize(
    ("source", "fps", "paced"),
    [
        ("0", "max", True),
        ("rtsp://x/y", "max", True),
        ("a.mp4", "source", True),
        ("a.mp4", 30, True),
        ("a.mp4", "max", False),
        ("synthetic:", "max", False),
    ],
)
def test_what_comes_by_a_clock(source: str, fps: Any, paced: bool) -> None:
    assert is_paced(load(source=source, fps=fps)) is paced


# ---------------------------------------------------------------- the node by itself


@pytest.fixture
def node() -> Iterator[ClassifyNode]:
    config = load(events="tcp://127.0.0.1:*")
    with (
        zmq.Context() as context,
        sockets.addresses("inproc", "alone") as addresses,
        sockets.pull(context, addresses["reports"], 1000),
        sockets.pull(context, addresses["publish"], 1000),
    ):
        made = ClassifyNode(config, Links(addresses, context))
        yield made
        if made._worker is not None:
            made._worker.stop()
        made.close()


STAMP = Stamp("scripted", 3, 0.1, 0, 0)


def test_what_waits_goes_out_before_word_of_a_restart(node: ClassifyNode) -> None:
    """The publisher retracts what is open then; the event must be closed by its final."""
    node.stage = Classify(SlowScorer(0.5))
    assert node.outputs(interval(0, "final", STAMP)) == []
    first, second = node.outputs(Restarted("scripted", "face"))
    assert isinstance(first, Event)
    assert first.interval.phase == "final"
    assert isinstance(second, Restarted)
    assert node.outputs(Restarted("scripted", "face")) == [second]


def test_too_many_waiting_events_are_said_to_be_so(
    node: ClassifyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.classify_node._MOST_WAITING", 2)
    node.stage = Classify(SlowScorer(0.5))
    out = []
    for number in range(6):
        out += node.outputs(interval(number, "final", STAMP))
        time.sleep(0.02)
    refused = [e for e in out if isinstance(e, Event)]
    assert len(refused) == 3  # one in hand, two waiting
    assert refused[0].readings[-1].rule == "not scored: too many events wait for their scores"
    assert node.reporter.dropped["classify: not scored"] == 3


def _life(node: ClassifyNode, monkeypatch: pytest.MonkeyPatch, end: Exception) -> list[Any]:
    """A run that takes one final event, and ends so while its inference hangs; what it sent."""
    scorer = HungScorer()
    sent: list[Any] = []

    def run(self: ClassifyNode) -> None:
        self.stage = Classify(scorer)
        assert self.outputs(interval(0, "final", STAMP)) == []
        assert scorer.begun.wait(5)
        raise end

    monkeypatch.setattr(StageNode, "run", run)
    monkeypatch.setattr(node, "send", sent.append)
    begin = time.monotonic()
    with pytest.raises(type(end)):
        node.run()
    assert time.monotonic() - begin < 2  # the inference is not waited for
    scorer.let_go()
    return sent


def test_a_death_sends_the_waiting_events_and_leaves_nothing_to_wait_for(
    node: ClassifyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    (event,) = _life(node, monkeypatch, OSError("broken"))
    assert (event.interval.id, event.interval.phase) == ("scripted/0/0-0", "final")
    assert not any(reading.source == "slow" for reading in event.readings)
    sent: list[Any] = []
    monkeypatch.setattr(node, "send", sent.append)
    node.next_epoch()
    begin = time.monotonic()
    node.finish(End("scripted"))
    assert time.monotonic() - begin < 1
    assert sent == [End("scripted")]


def test_a_node_that_is_abandoned_leaves_at_once(
    node: ClassifyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _life(node, monkeypatch, Abandoned()) == []


def test_an_update_does_not_count_as_latency() -> None:
    final = Event(interval(0, "final", STAMP), [], "p@1", [])
    update = Event(interval(0, "update", STAMP), [], "p@1", [])
    assert stamp_of(final) == STAMP
    assert stamp_of(update) is None


# ---------------------------------------------------------------- real stages, a real model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.models.test_recogniser import card, save

    folder = tmp_path_factory.mktemp("models")
    flow = {"source": "flow_onset_apex", "region": "face", "size": [8, 6], "channels": ["u", "v"]}
    inputs = {"flow": flow | {"flow": "tvl1", "at": [56, 56]}}
    metadata = card(name="gcn", inputs=inputs, aus=[1, 4])
    first = save(folder / "a.onnx", metadata, {"flow": ["n", 2, 6, 8]}, aus=2)
    face = {"source": "magnified", "region": "face", "size": [5, 4], "channels": ["grey"]}
    inputs = {"grey": face | {"scale": 0.004}}
    second = save(folder / "b.onnx", card(name="map", inputs=inputs), {"grey": ["n", 1, 4, 5]})
    return [first, second]


def test_every_driver_gives_the_same_scores(models: list[Path], tmp_path: Path) -> None:
    import json

    from pipeline.build import prototypes
    from pipeline.inline import run
    from pipeline.publish import Messages
    from pipeline.sources import open_source

    options = {"source": "synthetic:", "fps": "max", "duration": 2.5, "model": models}
    config = load(**options)
    messages = Messages("synthetic", prototypes(config).aus)
    frames = open_source("synthetic:", fps="max", duration_s=2.5).frames()
    made = [m for item in run(frames, config) for m in messages.of(item)]
    expected = [
        without_wall_clock(msgspec.json.decode(msgspec.json.encode(m)))
        for m in made
        if isinstance(m, EventMessage)
    ]
    final = next(e for e in expected if e["phase"] == "final")
    readings = {r["source"]: r for r in final["emotions"]}
    assert final["models"] == ["gcn@3", "map@3"]
    assert readings["gcn"]["label"] and readings["map"]["label"]
    assert list(readings["gcn"]["aus"]) == ["1", "4"]
    assert readings["gcn"]["training"] == "synthetic: random weights"
    for transport in ("inproc", "ipc"):
        out = tmp_path / f"{transport}.jsonl"
        log = {"path": tmp_path / f"{transport}.db"}  # numbers go on in one that holds events
        address = "tcp://127.0.0.1:*"
        Graph(load(**options, events=address, out=out, transport=transport, log=log)).run()
        lines = out.read_text().splitlines()
        assert [without_wall_clock(json.loads(line)) for line in lines] == expected
