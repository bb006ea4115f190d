"""From stage outputs to messages, and messages to a file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from models.errors import UserError
from pipeline.known import known
from pipeline.messages import Camera, End, Notice, Restarted
from pipeline.schema import (
    CurvesMessage,
    EventMessage,
    Message,
    Moment,
    StateMessage,
    blink_message,
    event_message,
    moment,
)
from pipeline.wire import Wire
from stages.items import Blink, Curves, Event, FaceState, Phase

_REMEMBERED = 10_000  # expressions that are closed


@dataclass
class Account:
    """Which expressions are announced and which are closed, after the messages so far.

    Attributes:
        open: announced and not closed, by id.
        closed: the newest closed ones, and what closed or completed them.
    """

    open: dict[str, EventMessage] = field(default_factory=dict)
    closed: dict[str, Phase] = field(default_factory=dict)

    @classmethod
    def after(cls, messages: Iterable[EventMessage]) -> Account:
        """The account of ``messages`` in their order."""
        account = cls()
        for message in messages:
            account.enter(message)
        return account

    def admits(self, id: str, phase: Phase) -> bool:
        """Whether ``phase`` may follow: no second closing, nothing after it but an update."""
        if phase == "update":
            return self.closed.get(id) == "final"
        if phase == "retracted":
            return id in self.open
        return id not in self.closed and (phase != "apex" or id not in self.open)

    def enter(self, message: EventMessage) -> None:
        """Book a message."""
        if message.phase == "apex":
            self.open[message.id] = message
            return
        self.open.pop(message.id, None)
        self.closed[message.id] = message.phase
        if len(self.closed) > _REMEMBERED:
            del self.closed[next(iter(self.closed))]


class Messages:
    """Numbers events, words states, and closes what a restart left open.

    Args:
        stream: name of the stream.
        aus: the AUs of the matching curves, in order.
        mono_ns, utc_ns: the clocks, injected for tests.
        log, run: go into every event.
        last: seq of the last event before.
        account: what earlier messages left open and closed.

    Attributes:
        refused: phases of expressions that were closed already, dropped.
    """

    def __init__(
        self,
        stream: str,
        aus: Sequence[int],
        mono_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
        log: str = "",
        run: int = 0,
        last: int = -1,
        account: Account | None = None,
    ) -> None:
        self._stream = stream
        self._aus = list(aus)
        self._mono_ns = mono_ns
        self._utc_ns = utc_ns
        self._log = log
        self._run = run
        self._seq = last + 1
        self._account = account or Account()
        self.refused = 0

    def of(self, item: Wire) -> Iterator[Message]:
        """The messages that ``item`` causes, in order."""
        if isinstance(item, Event):
            yield from self._event(item)
        elif isinstance(item, FaceState):
            state = "face_found" if item.visible else "face_lost"
            yield self.state(state, face=item.face, at=moment(item.stamp))
        elif isinstance(item, Blink):
            yield blink_message(item, self._utc_ns())
        elif isinstance(item, Curves):
            yield from self._curves(item)
        elif isinstance(item, Camera):
            yield self.state(f"camera_{item.kind}", detail=item.detail)
        elif isinstance(item, Restarted):
            yield from self.retract(f"{item.node} restarted")
            yield self.state("node_restarted", detail=item.node)
        elif isinstance(item, Notice):
            yield self.state(item.state, detail=item.detail)
        elif isinstance(item, End):
            yield from self.retract("ended")
            yield self.state("ended", detail=item.warning)

    def state(
        self, name: str, face: int | None = None, at: Moment | None = None, detail: str = ""
    ) -> StateMessage:
        """A state message, stamped now."""
        return StateMessage(
            stream=self._stream,
            state=name,
            face=face,
            at=at,
            detail=detail,
            published_utc_ns=self._utc_ns(),
        )

    def _event(self, event: Event) -> Iterator[EventMessage]:
        if not self._account.admits(event.interval.id, event.interval.phase):
            self.refused += 1
            return
        now = self._mono_ns(), self._utc_ns()
        yield self._numbered(event_message(event, self._seq, *now, self._log, self._run))

    def _numbered(self, message: EventMessage) -> EventMessage:
        self._seq += 1
        self._account.enter(message)
        return message

    def new_names(self) -> None:
        """Expressions are named anew from now on: what is closed is forgotten."""
        self._account.closed.clear()

    def retract(self, reason: str) -> Iterator[EventMessage]:
        """Withdraw everything that is open."""
        for message in list(self._account.open.values()):
            withdrawn = msgspec.structs.replace(
                message,
                log=self._log,
                run=self._run,
                seq=self._seq,
                phase="retracted",
                reason=reason,
                emotions=[],
                published_utc_ns=self._utc_ns(),
            )
            yield self._numbered(withdrawn)

    def _curves(self, item: Curves) -> Iterator[CurvesMessage]:
        for column in item.columns:
            yield CurvesMessage(
                stream=self._stream,
                face=item.face,
                at=moment(item.stamp),
                reference=column.reference,
                aus=self._aus,
                values=[float(value) for value in column.values],
            )


class _Numbered(msgspec.Struct):
    seq: int


class EventFile:
    """Events as JSON Lines, each line on disk before the next (``--out``).

    Args:
        path: the file; replaced, or continued when ``append`` (after a restart). A line that a
            kill tore is cut off.

    Attributes:
        last: seq of the last line; -1 of an empty file.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        self.last = -1
        self._end = 0
        flags = os.O_RDWR | os.O_CREAT | (0 if append else os.O_TRUNC)
        try:
            self._file = os.open(path, flags, 0o666)
            if append and path.is_file():
                self._continue(path)
        except OSError as error:
            raise UserError(f"out: cannot write {path}: {error.strerror}") from None

    def _continue(self, path: Path) -> None:
        with path.open("rb") as file:
            for line in file:
                try:
                    last = msgspec.json.decode(line, type=known(_Numbered)).seq
                except msgspec.MsgspecError:
                    break
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                self.last = last
        os.truncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)

    def write(self, message: EventMessage) -> None:
        """Append one line.

        Raises:
            OSError: it cannot be written; the file ends with the line before.
        """
        line = msgspec.json.encode(message) + b"\n"
        done = 0
        try:
            while done < len(line):
                done += os.write(self._file, line[done:])
        except OSError:
            if done:
                os.truncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            raise
        self._end += len(line)
        self.last = message.seq

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
