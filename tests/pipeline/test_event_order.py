"""Each event once and in order, against a publisher that loses what it can (no sockets)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.event_order import Came, Head, Missing, NewLog, Notice, Order, Position, Resync
from pipeline.event_rows import Row
from pipeline.journal import Journal
from pipeline.replay import Answer, Pages, Request
from pipeline.schema import BeatMessage


class Publisher:
    """Everything in memory; ``nonce`` tells two events of one number apart."""

    def __init__(self) -> None:
        self.journal = Journal(None)
        self.journal.run = 1
        self.pages = Pages(self.journal, "cam")
        self.nonce = itertools.count()
        self.kept: dict[str, list[dict[str, Any]]] = {self.journal.log: []}

    def publish(self) -> bytes:
        seq = self.journal.last + 1
        event = {"log": self.journal.log, "run": self.journal.run, "seq": seq}
        event |= {"stream": "cam", "phase": "final", "nonce": next(self.nonce)}
        body = msgspec.msgpack.encode(event)
        self.journal.append([Row(seq, self.journal.run, "cam/0/0-0", "final", 0, body)])
        self.kept[self.journal.log].append(event)
        return body

    def restart(self, lost: int = 0) -> None:
        """A new run; without its last ``lost`` events."""
        self.journal.run += 1
        for _ in range(min(lost, len(self.journal._held) - 1)):
            self.journal._held.pop()
            self.journal.last -= 1
            self.kept[self.journal.log].pop()

    def forget(self, oldest: int) -> None:
        for _ in range(min(oldest, len(self.journal._held) - 1)):
            self.journal._held.popleft()

    def new_log(self) -> None:
        fresh = Journal(None)
        self.journal.log, self.journal.last = fresh.log, -1
        self.journal._held.clear()
        self.kept[fresh.log] = []

    def beat(self) -> BeatMessage:
        return BeatMessage(
            stream="cam",
            log=self.journal.log,
            run=self.journal.run,
            seq=self.journal.last,
            replay="",
            published_utc_ns=0,
        )

    def answer(self, order: Order, limit: int = 500) -> Answer:
        request = Request(since=order.seq, log=order.log, run=order.run, limit=limit)
        return msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.pages.answer(request)), type=Answer
        )


def came(body: bytes | msgspec.Raw) -> Came:
    return Came(msgspec.msgpack.decode(body, type=Head), msgspec.msgpack.decode(body))


class Subscriber:
    def __init__(self, since: Position) -> None:
        self.order = Order(since)
        self.got: list[dict[str, Any] | Notice] = []

    def take(self, made: Iterable[Came | Notice]) -> None:
        self.got += [one.message if isinstance(one, Came) else one for one in made]

    def live(self, body: bytes) -> None:
        self.take(self.order.live(came(body)))

    def page(self, answer: Answer, asked: str | None = None) -> None:
        log = self.order.log if asked is None else asked
        self.take(self.order.page(answer, [came(raw) for raw in answer.events], log))

    def settle(self, publisher: Publisher, limit: int = 500) -> None:
        self.take(self.order.beat(publisher.beat()))
        for _ in range(1000):
            if not self.order.wanting:
                return
            self.page(publisher.answer(self.order, limit))
        raise AssertionError("it asks for ever")

    @property
    def seqs(self) -> list[int]:
        return [one["seq"] for one in self.got if isinstance(one, dict)]


def _both(since: int = -1) -> tuple[Publisher, Subscriber]:
    return Publisher(), Subscriber(Position(since))


def test_a_slow_joiner_gets_everything_from_the_start() -> None:
    publisher, subscriber = _both()
    bodies = [publisher.publish() for _ in range(5)]
    subscriber.live(bodies[4])
    assert not subscriber.got
    subscriber.settle(publisher)
    assert subscriber.seqs == [0, 1, 2, 3, 4]


def test_what_the_socket_lost_comes_before_what_followed() -> None:
    publisher, subscriber = _both()
    subscriber.settle(publisher)
    bodies = [publisher.publish() for _ in range(4)]
    subscriber.live(bodies[0])
    subscriber.live(bodies[3])
    assert subscriber.seqs == [0]
    subscriber.settle(publisher)
    assert subscriber.seqs == [0, 1, 2, 3]


def test_the_last_events_are_missed_by_the_beat() -> None:
    publisher, subscriber = _both()
    subscriber.settle(publisher)
    publisher.publish()
    assert not subscriber.order.wanting
    subscriber.take(subscriber.order.beat(publisher.beat()))
    assert subscriber.order.wanting
    subscriber.settle(publisher)
    assert subscriber.seqs == [0]


def test_what_is_not_kept_is_told_and_not_passed_over() -> None:
    publisher, subscriber = _both(since=1)
    for _ in range(9):
        publisher.publish()
    publisher.forget(5)
    subscriber.settle(publisher)
    assert subscriber.got[0] == Missing(2, 4)
    assert subscriber.seqs == [5, 6, 7, 8]


def test_numbers_that_are_given_twice_are_told() -> None:
    publisher, subscriber = _both()
    for _ in range(6):
        subscriber.live(publisher.publish())
    subscriber.settle(publisher)
    position = subscriber.order.position
    publisher.restart(lost=3)
    again = publisher.publish()
    subscriber.live(again)
    subscriber.settle(publisher)
    assert subscriber.got[-2:] == [Resync(2, 5), came(again).message]
    later = Subscriber(position)  # and to one that comes back when the numbers are past its own
    for _ in range(5):
        publisher.publish()
    later.settle(publisher)
    assert later.got[0] == Resync(2, 5)
    assert later.seqs == [3, 4, 5, 6, 7, 8]


def test_a_new_log_is_told_and_read_from_its_first() -> None:
    publisher, subscriber = _both()
    for _ in range(3):
        subscriber.live(publisher.publish())
    subscriber.settle(publisher)
    before = publisher.journal.log
    publisher.new_log()
    publisher.publish()
    subscriber.live(publisher.publish())
    subscriber.settle(publisher)
    assert NewLog(publisher.journal.log, before) in subscriber.got
    assert subscriber.seqs == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("text", ["7", "-1", "7:2:abc"])
def test_a_position_is_text_and_back(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize("text", ["", "x", "-2", "1:2", "1::a", "1:x:a"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"position|invalid literal"):
        Position.parse(text)


ACTIONS = ["publish"] * 8 + ["beat"] * 2 + ["ask", "answer", "restart", "come back"]


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 120),
    loss=st.sampled_from([0.0, 0.3, 0.9]),
    limit=st.sampled_from([1, 3, 500]),
    faults=st.sets(st.sampled_from(["lose", "forget", "new log"])),
)
@settings(max_examples=600, deadline=None)
def test_each_event_comes_once_and_in_order(
    seed: int, steps: int, loss: float, limit: int, faults: set[str]
) -> None:
    dice = random.Random(seed)
    publisher = Publisher()
    subscriber = Subscriber(Position(-1))
    answers: list[tuple[Answer, str]] = []  # on their way, one at a time
    for _ in range(steps):
        action = dice.choice([*ACTIONS, *faults])
        arrives = dice.random() >= loss
        if action == "publish":
            body = publisher.publish()
            if arrives:
                subscriber.live(body)
        elif action == "beat" and arrives:
            subscriber.take(subscriber.order.beat(publisher.beat()))
        elif action == "ask":
            answers = [(publisher.answer(subscriber.order, limit), subscriber.order.log)]
        elif action == "answer" and answers:
            subscriber.page(*answers.pop())
        elif action == "restart":
            publisher.restart()
        elif action == "come back":
            again = Subscriber(subscriber.order.position)
            again.got, subscriber, answers = subscriber.got, again, []
        elif action == "lose":
            publisher.restart(lost=dice.randrange(4))
        elif action == "forget":
            publisher.forget(dice.randrange(5))
        elif action == "new log":
            publisher.new_log()
    subscriber.settle(publisher, limit)
    _judge(publisher, subscriber.got)


def _judge(publisher: Publisher, got: list[dict[str, Any] | Notice]) -> None:
    log, seq = "", -1
    had: dict[tuple[str, int], int] = {}  # the nonce that stands
    nonces: list[int] = []
    for one in got:
        if isinstance(one, Missing):
            assert one.first == seq + 1
            assert one.last >= one.first
            seq = one.last
        elif isinstance(one, NewLog):
            log, seq = one.log, -1
        elif isinstance(one, Resync):
            assert one.had == seq > one.seq
            had = {key: n for key, n in had.items() if key[0] != log or key[1] <= one.seq}
            seq = one.seq
        else:
            log = log or one["log"]
            assert (one["log"], one["seq"]) == (log, seq + 1)
            seq += 1
            had[log, seq] = one["nonce"]
            nonces.append(one["nonce"])
    assert len(set(nonces)) == len(nonces)  # none twice
    now = publisher.journal.log
    oldest = publisher.journal._held[0].seq if publisher.journal._held else 0
    for event in publisher.kept[now]:
        if event["seq"] >= oldest:
            assert had[now, event["seq"]] == event["nonce"]  # none lost
