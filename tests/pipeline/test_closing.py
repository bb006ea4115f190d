"""Every apex is closed exactly once, whatever happens to the graph (scripted faces)."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.graph import GraphDied
from pipeline.sockets import NODES
from pipeline.wire import decode
from stages.items import WindowEnd
from tests.pipeline import scripted
from tests.pipeline.one_thread import World

NAMES = st.sampled_from(NODES)
seen: Counter[str] = Counter()


class Graphs(RuleBasedStateMachine):
    """Frames, faces, deaths, pauses, late scores, stops, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.world = World(self.patch.setattr)
        self.age = 0
        seen["runs"] += 1

    @rule(count=st.integers(1, 60), there=st.sampled_from([True, True, True, False]))
    def frames(self, count: int, there: bool) -> None:
        self.world.feed(count, there)

    @rule(name=NAMES, turns=st.integers(1, 30))
    def step(self, name: str, turns: int) -> None:
        for _ in range(turns):
            self.world.step(name)

    @rule(count=st.integers(10, 40))
    def flow(self, count: int) -> None:
        """As when nothing is wrong."""
        for _ in range(count):
            self.world.feed(1, True)
            self.world.settle()

    @rule(name=NAMES, lost=st.integers(0, 20))
    def kill(self, name: str, lost: int) -> None:
        if self.world.graph._failure is not None and name == "publish":
            return  # nobody is left to close anything; the log does, when it is opened again
        seen["kills"] += name in self.world.nodes
        self.world.kill(name, lost)

    @rule(name=st.sampled_from(NODES[1:5]))
    def fail(self, name: str) -> None:
        seen["failures"] += name in self.world.nodes
        self.world.fail(name)

    @rule(name=st.sampled_from(["spot", "classify"]), turns=st.integers(0, 40))
    def doom(self, name: str, turns: int) -> None:
        """It will die at work, perhaps while motion waits for it."""
        seen["kills"] += 1
        self.world.doomed[name] = turns

    @rule(seconds=st.floats(0.0, 5.0))
    def pause(self, seconds: float) -> None:
        seen["pauses"] += 1
        self.world.pause(seconds)

    @rule(count=st.integers(1, 3))
    def scores(self, count: int) -> None:
        for worker in self.world.workers:
            for _ in range(count):
                worker.score()

    @rule()
    def supervise(self) -> None:
        self.world.supervise()

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @precondition(lambda self: self.age > 20)
    @rule()
    def end(self) -> None:
        self.world.source_ended = True

    @precondition(lambda self: self.age > 15)
    @rule()
    def stop(self) -> None:
        self.world.graph._ending.stop()

    @precondition(lambda self: self.world.graph._ending.stopping)
    @rule()
    def hurry(self) -> None:
        self.world.begun.hurry = True

    @precondition(lambda self: self.world.source_ended and self.world.publishes)
    @rule()
    def give_up(self) -> None:
        self.world.graph._fail(GraphDied("too many deaths"))

    @invariant()
    def nothing_is_closed_twice(self) -> None:
        self.age += 1
        self.world.check(over=False)

    def teardown(self) -> None:
        try:
            self.world.finish()
            opened, closed = self.world.check(over=True)
            seen.update(opened=opened, closed=closed)
            seen.update(event.phase for event in self.world.events)
        finally:
            self.patch.undo()


def _run(machine: Any, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_apex_is_closed_exactly_once_whatever_happens() -> None:
    seen.clear()
    _run(Graphs, 40, 40)
    print(dict(seen))
    assert seen["apex"] and seen["final"] and seen["retracted"] and seen["update"]
    assert seen["kills"] > 60


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch.setattr)


def test_nothing_wrong_nothing_retracted(world: World) -> None:
    for _ in range(150):
        world.feed(1, True)
        world.settle()
    world.finish()
    opened, closed = world.check(over=True)
    assert opened == closed > 5
    assert {event.phase for event in world.events} == {"apex", "final", "update"}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("lost", [0, 3])
def test_a_kill_costs_only_what_was_open(world: World, name: str, lost: int) -> None:
    for k in range(300):
        world.feed(1, True)
        if k == 107:
            world.kill(name, lost)
        world.settle()
    world.finish()
    opened, closed = world.check(over=True)
    after = [e for e in world.events if e.phase == "final" and e.apex.pts > 12]
    assert opened == closed
    # pulses come every 1.1 s; the window in which the death fell is lost at most
    assert len(after) >= 12


@pytest.mark.parametrize("careful", [True, False])
def test_without_an_account_an_expression_would_be_closed_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, careful: bool
) -> None:
    """Classify dies while an expression is open: it is retracted, and spot closes it later."""
    if not careful:
        monkeypatch.setattr("pipeline.publish.Account.admits", lambda self, id, phase: True)
    killed = False
    for _ in range(300):
        world.feed(1, True)
        world.settle()
        if world.events and world.events[-1].phase == "apex" and not killed:
            killed = True
            world.kill("classify", 0)
    world.finish()
    if careful:
        world.check(over=True)
        assert any(e.reason == "classify restarted" for e in world.events)
    else:
        with pytest.raises(AssertionError, match=r"final after retracted"):
            world.check(over=True)


def test_spot_killed_while_motion_waits_for_its_answer(world: World) -> None:
    for k in range(300):
        world.feed(1, True)
        for name in NODES[1:3]:
            world.step(name)
        if k % 31 == 30:  # a window ends about here: motion asks, and spot dies of the question
            world.doomed["spot"] = k % 7
    world.finish()
    world.check(over=True)


def test_spot_that_dies_with_a_windows_end_costs_no_more_than_a_window(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Motion would wait for the stride that closes the window: it is told to begin anew."""
    step, killed = world.step, []

    def peek(name: str) -> bool:
        node = world.nodes.get("spot")
        if name == "spot" and node and node.inbox.queue and world.begun.pts > 8 and not killed:
            item = decode(list(node.inbox.queue[0][1]))
            if isinstance(item, WindowEnd):
                killed.append(world.begun.pts)
                world.kill("spot", 0)
        return step(name)

    monkeypatch.setattr(world, "step", peek)
    for _ in range(300):
        world.feed(1, True)
        world.settle()
    world.finish()
    world.check(over=True)
    finals = [e.apex.pts for e in world.events if e.phase == "final"]
    after = [killed[0], *(pts for pts in finals if pts > killed[0]), world.begun.pts]
    assert max(b - a for a, b in itertools.pairwise(after)) < scripted.WINDOW_S + 2.0
