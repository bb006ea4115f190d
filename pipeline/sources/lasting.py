"""A live camera that is lost and found again: one stream over all its connections."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from models.errors import SourceError
from pipeline.machine import give_back_memory
from pipeline.messages import Camera, CameraKind
from pipeline.sources.latest import LiveSource
from pipeline.sources.timeline import Timeline
from stages.items import Frame

_TICK_S = 0.1  # how long the consumer is kept waiting for anything at all
_LEAST_JITTER = 0.5

Step = Frame | Camera | None


@dataclass
class Backoff:
    """How long to wait before each attempt: twice as long as before, up to a ceiling.

    Each wait is shortened by chance, to half of it at most, so that many clients of one
    camera or network do not come back all at once.

    Args:
        first_s: before the first attempt.
        most_s: the ceiling.
        chance: from 0 to 1.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    chance: Callable[[], float] = random.random
    attempts: int = field(default=0, init=False)
    waited_s: float = field(default=0.0, init=False)

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        # the exponent is bounded: a camera may be away for weeks
        whole = min(self.first_s * 2.0 ** min(self.attempts, 64), self.most_s)
        self.attempts += 1
        self.waited_s = whole * (_LEAST_JITTER + (1 - _LEAST_JITTER) * self.chance())
        return self.waited_s

    def found(self, lasted_s: float) -> None:
        """A connection lasted so long: one that outlived the wait before it starts afresh.

        A camera that goes again at once is asked less and less often.
        """
        if lasted_s > self.waited_s:
            self.attempts = 0


class _Opening:
    """A connection being made in a thread of its own: it may take seconds, or hang."""

    def __init__(self, make: Callable[[], LiveSource]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._unwanted = False
        self.done = threading.Event()
        self.source: LiveSource | None = None
        self.error: Exception | None = None
        threading.Thread(target=self._open, name="camera-opening", daemon=True).start()

    def _open(self) -> None:
        try:
            source = self._make()
        except Exception as error:  # noqa: BLE001  handed to the thread that asked
            self.error = error
        else:
            with self._lock:
                self.source = source
                if self._unwanted:
                    source.close()
        finally:
            self.done.set()

    def abandon(self) -> None:
        """Nobody waits any more: what is opened yet is closed at once."""
        with self._lock:
            self._unwanted = True
            if self.source is not None:
                self.source.close()


class Lasting:
    """Frames of a camera, over as many connections as it takes.

    ``steps`` gives frames, ``Camera`` messages (lost, retrying, back) where something
    happens, and None where nothing does, ten times a second, so that the consumer may
    look after itself; it ends with ``interrupt``, with ``duration_s``, or once the
    camera is given up; ``warning`` says so then.

    Args:
        stream: name of the stream.
        again: makes a connection; raises ``SourceError``.
        timeline: what all connections are stamped by.
        first: the first connection; None: it is to be waited for.
        reconnect: whether a lost camera is sought.
        backoff: when it is sought.
        give_up_s: a camera away for so long is given up; None: never.
        duration_s: wall time from the first frame.
        sleep: injected for tests.
    """

    def __init__(
        self,
        stream: str,
        again: Callable[[], LiveSource],
        timeline: Timeline,
        first: LiveSource | None = None,
        reconnect: bool = True,
        backoff: Backoff | None = None,
        give_up_s: float | None = None,
        duration_s: float | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.stream = stream
        self.warning = ""
        self._again = again
        self._timeline = timeline
        self._source = first
        self._reconnect = reconnect
        self._backoff = backoff or Backoff()
        self._give_up_s = give_up_s
        self._duration_s = duration_s
        self._shape: tuple[int, ...] | None = None
        self._fps: float | None = None
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait

    def steps(self) -> Iterator[Step]:
        """Frames, what happens to the camera, and None where nothing does."""
        lost_at = begun = self._timeline.now()
        why = "not there yet"
        while True:
            if self._source is not None:
                yield from self._connection(self._source)
                lost_at, why = self._timeline.now(), self._source.why
                self._source.close()
                self._backoff.found(lost_at - begun)
                give_back_memory()  # reader and decoder hold each other, 3 MB a connection
                if self._ended() or not why:
                    return
                if not self._reconnect:
                    self.warning = self._source.warning
                    return
            yield self._said("lost", why)
            self._source = None
            yield from self._sought(lost_at, why)
            begun = self._timeline.now()
            if self._source is None:
                return

    def _connection(self, source: LiveSource) -> Iterator[Step]:
        source.want()
        while not self._stopped.is_set():
            frame = source.take(_TICK_S)
            if frame is not None:
                yield from self._changed(source, frame)
                yield frame
            elif source.over:
                return
            else:
                yield None

    def _changed(self, source: LiveSource, frame: Frame) -> Iterator[Step]:
        """A camera that changes its picture within a connection has begun anew."""
        shape = frame.image.shape[:2]
        if self._shape is not None and shape != self._shape:
            yield self._said("lost", "its picture has another size")
            yield self._back(source, frame, self._timeline.now())
        self._shape, self._fps = shape, source.fps

    def _sought(self, lost_at: float, why: str) -> Iterator[Step]:
        """Attempts until there is a connection that gives a frame."""
        while not self._ended():
            wait = self._backoff.next()
            detail = f"attempt {self._backoff.attempts} in {wait:.1f} s: {why}"
            yield self._said("retrying", detail)
            yield from self._waiting(wait)
            opening = _Opening(self._again)
            try:
                while not (opening.done.wait(_TICK_S) or self._ended() or self._late(lost_at)):
                    yield None
                if self._ended():
                    return
                if not opening.done.is_set():
                    why = "it is still being opened"
                elif opening.source is None:
                    why = self._failure(opening.error)
                else:
                    why = yield from self._first_frame(opening.source, lost_at)
            finally:
                if self._source is None:  # whoever asked may have gone meanwhile
                    opening.abandon()
            if self._source is not None:
                return
            if self._late(lost_at):
                self.warning = f"the camera was given up after {self._give_up_s:g} s: {why}"
                return

    def _late(self, lost_at: float) -> bool:
        return self._give_up_s is not None and self._timeline.now() - lost_at >= self._give_up_s

    def _failure(self, error: Exception | None) -> str:
        if not isinstance(error, SourceError):
            assert error is not None
            raise error
        return str(error)

    def _first_frame(self, source: LiveSource, lost_at: float) -> Generator[Step, None, str]:
        """The camera is back once it gives a frame; why it did not, else."""
        source.want()
        while not (source.over or self._ended()):
            frame = source.take(_TICK_S)
            if frame is not None:
                self._source = source
                yield self._back(source, frame, lost_at)
                self._shape, self._fps = frame.image.shape[:2], source.fps
                yield frame
                return ""
            yield None
        source.close()
        give_back_memory()
        return source.why

    def _back(self, source: LiveSource, frame: Frame, lost_at: float) -> Camera:
        details = [f"{self._timeline.now() - lost_at:.1f} s away"]
        shape = frame.image.shape[:2]
        if self._shape is not None and shape != self._shape:
            old, new = self._shape, shape
            details.append(f"{new[1]}x{new[0]} instead of {old[1]}x{old[0]}")
        if self._fps and source.fps and abs(source.fps - self._fps) > 0.01 * self._fps:
            details.append(f"{source.fps:g} fps instead of {self._fps:g}")
        return self._said("back", ", ".join(details))

    def _said(self, kind: CameraKind, detail: str) -> Camera:
        return Camera(self.stream, kind, detail)

    def _waiting(self, seconds: float) -> Iterator[None]:
        until = self._timeline.now() + seconds
        while not self._ended() and (left := until - self._timeline.now()) > 0:
            self._sleep(min(left, _TICK_S))
            yield None

    def _ended(self) -> bool:
        enough = self._duration_s is not None and self._timeline.elapsed_s >= self._duration_s
        return enough or self._stopped.is_set()

    def seek(self, reconnect: bool, first_s: float, most_s: float, give_up_s: float | None) -> None:
        """Seek the camera otherwise from now on; as at the beginning."""
        self._reconnect, self._give_up_s = reconnect, give_up_s
        self._backoff.first_s, self._backoff.most_s = first_s, most_s

    def interrupt(self) -> None:
        """Make ``steps`` end soon."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connection."""
        self._stopped.set()
        if self._source is not None:
            self._source.close()
