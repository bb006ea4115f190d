"""From stage outputs to messages, and messages to socket and file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from models.errors import UserError
from pipeline.messages import Camera, End, Restarted
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
from stages.items import Blink, Curves, Event, FaceState


class Messages:
    """Numbers events, words states, and closes what a restart left open.

    Args:
        stream: name of the stream.
        aus: the AUs of the matching curves, in order.
        mono_ns, utc_ns: the clocks, injected for tests.
    """

    def __init__(
        self,
        stream: str,
        aus: Sequence[int],
        mono_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stream = stream
        self._aus = list(aus)
        self._mono_ns = mono_ns
        self._utc_ns = utc_ns
        self._seq = 0
        self._open: dict[str, EventMessage] = {}

    def of(self, item: Wire) -> Iterator[Message]:
        """The messages that ``item`` causes, in order."""
        if isinstance(item, Event):
            yield self._event(item)
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
            yield from self._retract_all(f"{item.node} restarted")
            yield self.state("node_restarted", detail=item.node)
        elif isinstance(item, End):
            yield from self._retract_all("ended")
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

    def _event(self, event: Event) -> EventMessage:
        message = event_message(event, self._seq, self._mono_ns(), self._utc_ns())
        self._seq += 1
        if message.phase == "apex":
            self._open[message.id] = message
        else:
            self._open.pop(message.id, None)
        return message

    def _retract_all(self, reason: str) -> Iterator[EventMessage]:
        for message in list(self._open.values()):
            yield msgspec.structs.replace(
                message,
                seq=self._seq,
                phase="retracted",
                reason=reason,
                emotions=[],
                published_utc_ns=self._utc_ns(),
            )
            self._seq += 1
        self._open.clear()

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


class EventFile:
    """Events as JSON Lines, each line on disk before the next (``--out``).

    Args:
        path: the file; replaced, or continued when ``append`` (after a restart).

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, append: bool = False) -> None:
        try:
            self._file: IO[bytes] = path.open("ab" if append else "wb")
        except OSError as error:
            raise UserError(f"out: cannot write {path}: {error.strerror}") from None

    def write(self, message: EventMessage) -> None:
        """Append one line."""
        self._file.write(msgspec.json.encode(message) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
