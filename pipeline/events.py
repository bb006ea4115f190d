"""Reading a running mespot: live, or every event exactly once (``mespot subscribe``).

    from pipeline.events import subscribe

    for topic, event in subscribe("tcp://127.0.0.1:5556", since=-1):
        store(event)  # with event["seq"]: begin again with since=that

Give ``since`` the ``seq`` of the last event that you have: whatever was published after it comes,
each event once and in order, over restarts of either side and whatever the network loses.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import msgspec
import zmq

from models.errors import AddressError
from pipeline import arrived, sockets
from pipeline.event_order import Came, Head, Missing, NewLog, Notice, Order, Position, Resync
from pipeline.keys import ClientKey
from pipeline.known import known
from pipeline.replay import Answer, Request
from pipeline.schema import BeatMessage
from pipeline.sockets import Socket

__all__ = [
    "EventsLost",
    "Missing",
    "NewLog",
    "Notice",
    "Position",
    "Resync",
    "Subscription",
    "subscribe",
]

_AGAIN_S = 2.0  # an answer that has not come by then is asked for again
_RETRY_S = 0.2
_LONGEST_RETRY_S = 30.0
_POLL_S = 0.25
_EVENTS, _BEATS = "event.", "beat."
_WILD = ("0.0.0.0", "[::]", "*")

Item = tuple[str, dict[str, Any]]


class EventsLost(UserWarning):
    """What happened to the row of events, where nobody asked to be told otherwise."""


def _warn(notice: Notice) -> None:
    warnings.warn(str(notice), EventsLost, stacklevel=3)


class Subscription(Iterator[Item]):
    """An iterator of ``(topic, message)``; made by ``subscribe``.

    Attributes:
        counts: ``malformed`` and ``replayed`` messages, ``requests`` for a replay.
        heard_s: ``time.monotonic()`` of the last message or beat.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        since: int | Position | None,
        replay: str | None,
        timeout_s: float | None,
        on_notice: Callable[[Notice], None],
        key: ClientKey | None = None,
    ) -> None:
        self._address, self._topic, self._replay, self._key = address, topic, replay, key
        self._timeout_s, self._on_notice = timeout_s, on_notice
        position = Position(since) if isinstance(since, int) else since
        self._order = None if position is None else Order(position)
        self.counts: Counter[str] = Counter()
        self.heard_s = time.monotonic()
        self._ready: deque[tuple[Item, Position | None]] = deque()
        self._had = position
        self._request = 0
        self._asked_s: float | None = None
        self._asked_log = ""
        self._ask_at = 0.0
        self._asking: Socket | None = None
        self._asking_at = ""
        self._left = False
        self._context: zmq.Context[Any] = zmq.Context()
        self._open()

    def _open(self) -> None:
        ordered = [] if self._order is None else [_EVENTS, _BEATS]
        first, *others = dict.fromkeys([*ordered, self._topic])
        try:
            self._link = sockets.listen(self._context, self._address, first.encode(), self._key)
            for name in others:
                self._link.setsockopt(zmq.SUBSCRIBE, name.encode())
            if self._replay is not None:
                self._reach(self._replay)
        except zmq.ZMQError as error:
            self.close()
            wrong = f"{self._address}: not a ZeroMQ address: {error.strerror}"
            raise AddressError(wrong) from None

    @property
    def position(self) -> Position | None:
        """Up to where events were handed out: ``since`` of the next subscription."""
        return self._had

    def __next__(self) -> Item:
        end = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while not self._ready:
            left = _POLL_S if end is None else min(_POLL_S, end - time.monotonic())
            if left <= 0 or self._left or self._context.closed:
                self.close()
                raise StopIteration
            self._turn(left)
        item, position = self._ready.popleft()
        if position is not None:
            self._had = position
        return item

    def _turn(self, wait_s: float) -> None:
        self._ask()
        poller = zmq.Poller()
        for link in filter(None, (self._link, self._asking)):
            poller.register(link, zmq.POLLIN)
        for link, _ in poller.poll(max(1, int(wait_s * 1000))):
            try:
                if link is self._link:
                    self._heard(self._link.recv_multipart())
                elif link is self._asking:
                    self._answered(link.recv_multipart())
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
                self.counts["malformed"] += 1

    def _heard(self, parts: list[bytes]) -> None:
        topic, message = arrived.published(parts)
        body = parts[1]
        self.heard_s = time.monotonic()
        if self._order is not None and topic.startswith(_EVENTS):
            came = Came(msgspec.msgpack.decode(body, type=known(Head)), message)
            self._deliver(self._order.live(came))
            return
        if self._order is not None and topic.startswith(_BEATS):
            beat = msgspec.msgpack.decode(body, type=known(BeatMessage))
            self._deliver(self._order.beat(beat))
            if self._replay is None:
                self._reach(_as_seen(beat.replay, self._address))
        if topic.startswith(self._topic):
            self._ready.append(((topic, message), None))

    def _deliver(self, made: Iterator[Came | Notice] | Iterator[Notice]) -> None:
        assert self._order is not None
        for one in made:
            if not isinstance(one, Came):
                self._on_notice(one)
                continue
            topic = f"event.{one.head.stream}.{one.head.phase}"
            if topic.startswith(self._topic):
                self._ready.append(((topic, one.message), self._order.position))

    def _reach(self, address: str) -> None:
        """Talk to the replay socket at ``address``."""
        if address == self._asking_at:
            return
        if self._asking is not None:
            self._asking.close()
        self._asking, self._asking_at, self._asked_s = None, address, None
        self._asking = sockets.ask(self._context, address, self._key)

    def _ask(self) -> None:
        now = time.monotonic()
        order, link = self._order, self._asking
        if order is None or link is None or not order.wanting or now < self._ask_at:
            return
        if self._asked_s is not None and now - self._asked_s < _AGAIN_S:
            return
        self._request += 1
        request = Request(id=self._request, since=order.seq, log=order.log, run=order.run)
        self._ask_at = now + _RETRY_S
        try:
            link.send(msgspec.msgpack.encode(request), zmq.NOBLOCK)
        except zmq.Again:
            return  # nobody is there yet
        self._asked_s, self._asked_log = now, order.log
        self.counts["requests"] += 1

    def _answered(self, parts: list[bytes]) -> None:
        assert self._order is not None
        (body,) = parts
        answer = msgspec.msgpack.decode(body, type=known(Answer))
        events = [
            Came(msgspec.msgpack.decode(raw, type=known(Head)), msgspec.msgpack.decode(raw))
            for raw in answer.events
        ]
        now = time.monotonic()
        if answer.error:
            self._asked_s = None
            self._ask_at = now + min(max(answer.retry_after_s, _RETRY_S), _LONGEST_RETRY_S)
            return
        if answer.id != self._request or self._asked_s is None:
            return
        self.heard_s, self._asked_s, self._ask_at = now, None, now
        self.counts["replayed"] += len(events)
        self._deliver(self._order.page(answer, events, self._asked_log))

    def leave(self) -> None:
        """From another thread: the one that iterates closes, within a quarter of a second."""
        self._left = True

    def close(self) -> None:
        """Leave; iteration ends."""
        if not self._context.closed:
            self._context.destroy(linger=0)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self.close()


def _as_seen(replay: str, events: str) -> str:
    """The replay address that a publisher tells, from where ``events`` is reached."""
    scheme, _, rest = replay.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host in _WILD and events.startswith("tcp://"):
        return f"{events.rpartition(':')[0]}:{port}"
    return replay


def subscribe(
    address: str,
    topic: str = _EVENTS,
    since: int | Position | None = None,
    replay: str | None = None,
    timeout_s: float | None = None,
    on_notice: Callable[[Notice], None] = _warn,
    key: ClientKey | None = None,
) -> Subscription:
    """Topics and messages from ``address``.

    Args:
        address: the event socket.
        topic: prefix of the topics wanted; "" for all.
        since: None: what comes from now on, as it comes. A number: the ``seq`` of the last
            event that is had; every later event comes, exactly once and in order; -1: from the
            oldest kept. A ``Position`` also tells numbers that a publisher gave twice.
        replay: address of the replay socket; default: as the publisher tells.
        timeout_s: end after so long without a message; None waits for ever.
        on_notice: called, in order with the events, with a ``Missing``, ``NewLog`` or
            ``Resync``; by default it is a warning of the category ``EventsLost``.
        key: what ``mespot keys new`` made for this client (``pipeline.keys.load_client``), where
            the sockets ask for one.

    Raises:
        AddressError: not an address.
    """
    return Subscription(address, topic, since, replay, timeout_s, on_notice, key)
