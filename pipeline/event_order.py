"""Each event once and in order, whatever the socket loses or repeats; no socket in here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from pipeline.replay import Answer
from pipeline.schema import BeatMessage

_HELD = 10_000  # events that wait for those before them; later ones are asked for again

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Position(msgspec.Struct, frozen=True):
    """Up to where a subscriber has everything. As text: ``SEQ``, or ``SEQ:RUN:LOG``."""

    seq: int  # of the last event had; -1: none
    run: int | None = None  # of the last event had; None: not known
    log: str = ""  # that numbered it; "": not known

    @classmethod
    def parse(cls, text: str) -> Position:
        """From text.

        Raises:
            ValueError: it is none.
        """
        seq, _, rest = text.partition(":")
        run, _, log = rest.partition(":")
        if int(seq) < -1 or bool(run) != bool(log):
            raise ValueError(f"{text}: a position is SEQ or SEQ:RUN:LOG")
        return cls(int(seq), int(run) if run else None, log)

    def __str__(self) -> str:
        return f"{self.seq}:{self.run}:{self.log}" if self.log else str(self.seq)


class Missing(msgspec.Struct, frozen=True):
    """Events that nobody has any more: they were too old, or were lost with a disk."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"events {self.first} to {self.last} are not kept any more"


class NewLog(msgspec.Struct, frozen=True):
    """The publisher numbers in another log; all that it holds follows."""

    log: str
    before: str

    def __str__(self) -> str:
        return f"the publisher began a new log, {self.log}; its events follow from the first"


class Resync(msgspec.Struct, frozen=True):
    """The publisher lost events that were received: numbers after ``seq`` are given anew.

    What was received after ``seq`` stands, but what was open in it is never closed.
    """

    seq: int
    had: int

    def __str__(self) -> str:
        return f"the publisher lost its events {self.seq + 1} to {self.had} and numbers them anew"


Notice = Missing | NewLog | Resync


class Head(msgspec.Struct):
    """What of an event orders it."""

    log: str
    run: _Count
    seq: _Count
    stream: str
    phase: str


class Came(msgspec.Struct, frozen=True):
    """An event as it came."""

    head: Head
    message: dict[str, Any]


class Order:
    """Puts what comes live and what is replayed into one row.

    Args:
        since: what the subscriber has already.

    Attributes:
        log: the log that numbers; "" when not known yet.
        seq: of the last event that was given out.
        run: newest run up to which ``seq`` is known to be the same event; None at first.
        wanting: a replay of what follows ``seq`` is needed.
    """

    def __init__(self, since: Position) -> None:
        self.log, self.seq, self.run = since.log, since.seq, since.run
        self.wanting = True
        self._held: dict[int, Came] = {}

    @property
    def position(self) -> Position:
        """Up to where everything was given out."""
        return Position(self.seq, self.run, self.log)

    def live(self, came: Came) -> Iterator[Came | Notice]:
        """An event from the event socket."""
        head = came.head
        yield from self._numbered_by(head.log)
        if head.seq <= self.seq and (self.run is None or head.run <= self.run):
            return
        if len(self._held) < _HELD:
            self._held[head.seq] = came
        yield from self._drain()

    def beat(self, beat: BeatMessage) -> Iterator[Notice]:
        """A beat: how far events have come."""
        yield from self._numbered_by(beat.log)
        if beat.seq > self.seq or self.run is None or beat.run > self.run:
            self.wanting = True

    def page(self, answer: Answer, events: list[Came], asked: str) -> Iterator[Came | Notice]:
        """The answer to a request that was made when the log was ``asked``."""
        if asked != self.log != answer.log:
            return  # of a log that is over, as a message has told meanwhile
        yield from self._numbered_by(answer.log)
        if asked not in ("", answer.log):
            return  # it says no more than that
        if answer.resync is not None:
            yield Resync(answer.resync - 1, self.seq)
            self.seq, self.run = answer.resync - 1, answer.run
            self._held.clear()
            self.wanting = True
            return
        for came in events:
            yield from self._given(came)
        if not events and answer.first > self.seq + 1:
            yield Missing(self.seq + 1, answer.first - 1)
            self.seq = answer.first - 1
        if not events and answer.last > self.seq:
            yield Missing(self.seq + 1, answer.last)
            self.seq = answer.last
        self.run = max(self.run or 0, answer.run)
        self.wanting = answer.last > self.seq
        yield from self._drain()

    def _given(self, came: Came) -> Iterator[Came | Notice]:
        if came.head.seq <= self.seq:
            return
        if came.head.seq > self.seq + 1:  # a page has no gap but what is gone
            yield Missing(self.seq + 1, came.head.seq - 1)
        self.seq = came.head.seq
        self.run = max(self.run or 0, came.head.run)  # before it is out: a position may be asked
        yield came

    def _numbered_by(self, log: str) -> Iterator[NewLog]:
        if log == self.log:
            return
        before, self.log = self.log, log
        self._held.clear()
        self.wanting = True
        if before:
            self.seq, self.run = -1, 0
            yield NewLog(log, before)

    def _drain(self) -> Iterator[Came | Notice]:
        """What waits and is next; a new run's events only after a replay has vouched for it."""
        while (came := self._held.get(self.seq + 1)) and came.head.run == self.run:
            del self._held[self.seq + 1]
            yield from self._given(came)
        for seq in [seq for seq, came in self._held.items() if self._done_with(came.head)]:
            del self._held[seq]
        self.wanting = self.wanting or bool(self._held)

    def _done_with(self, head: Head) -> bool:
        """Given out; or of a run before the one that vouches, which a replay brings if it holds."""
        run = self.run or 0
        return head.run < run or (head.run == run and head.seq <= self.seq)
