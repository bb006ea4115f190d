"""Frame numbers and source time of a live camera, over all its connections."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, MutableSequence

from pipeline.sources.clock import LiveClock
from stages.items import Stamp

TRACE = 3  # numbers that outlive the process: see ``Timeline``
_RATE = 30.0  # of a camera that does not tell its own


class Timeline:
    """Numbers and times that go on while the camera goes and comes.

    A frame's number and time are always above those of every frame before it: over
    connections, and, with the same ``trace``, over lives of the capture process. While
    the camera is away the monotonic clock counts, and its rate the frames missed.

    Args:
        trace: ``TRACE`` whole numbers, all 0 at first, where the place reached is kept:
            monotonic ns at source time 0, frames so far, source time reached in ns.
        own_stamps: believe the camera's time stamps.
        memory_s: a frame is late by comparison with those of so long before it.
        clock: monotonic, s.
        utc_ns: UTC; it may step, nothing but ``Stamp.utc_ns`` follows.
    """

    def __init__(
        self,
        trace: MutableSequence[int] | None = None,
        own_stamps: bool = True,
        memory_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._drops: Counter[str] = Counter()
        self._trace = [0] * TRACE if trace is None else trace
        self._own_stamps = own_stamps
        self._clock = LiveClock(memory_s)
        self._now = clock
        self._utc_ns = utc_ns
        self._mono_ns = 0
        self._resumed = True
        self._lock = threading.Lock()

    def now(self) -> float:
        """The monotonic clock, s."""
        return self._now()

    @property
    def elapsed_s(self) -> float:
        """Wall time since the first frame; 0 before it."""
        begun = self._trace[0]
        return self._now() - begun / 1e9 if begun else 0.0

    def begin(self) -> None:
        """A connection begins: its stamps have nothing to do with those before."""
        with self._lock:
            self._clock.restart()
            self._resumed = True

    def settle(self, now: float, own: float | None) -> None:
        """A frame that is not to be numbered arrived at ``now``."""
        with self._lock:
            self._clock(now, own if self._own_stamps else None)

    def drop(self, reason: str) -> None:
        """A numbered frame is not passed on."""
        with self._lock:
            self._drops[reason] += 1

    def counts(self) -> Counter[str]:
        """Frames that were not passed on, by reason."""
        with self._lock:
            return self._drops.copy()

    def skip(self, reason: str) -> None:
        """A frame came that cannot be shown; its number stays unused."""
        with self._lock:
            self._drops[reason] += 1
            self._trace[1] += bool(self._trace[0])

    def stamp(
        self, stream: str, now: float, own: float | None, rate: float | None
    ) -> tuple[Stamp, float]:
        """The stamp of a frame that arrived at ``now``, and by how much it came late, s.

        Args:
            stream: name of the stream.
            now: the monotonic clock, s.
            own: the camera's stamp, s.
            rate: the camera's own, frames a second.
        """
        with self._lock:
            captured = round(self._clock(now, own if self._own_stamps else None) * 1e9)
            trace, lag = self._trace, max(0.0, self._clock.lag_s)
            first = not trace[0]
            if first:
                trace[0] = max(captured, 1)
            elif self._resumed:
                missed = (captured - trace[0] - trace[2]) / 1e9 * (rate or _RATE)
                trace[1] += max(0, round(missed) - 1)
            self._resumed = False
            number = trace[1]
            reached = 0 if first else max(captured - trace[0], trace[2] + 1000)
            trace[1], trace[2] = number + 1, reached
            self._mono_ns = max(round((now - lag) * 1e9), self._mono_ns + 1)
            utc_ns = self._utc_ns() - max(0, round(self._now() * 1e9) - self._mono_ns)
            return Stamp(stream, number, reached / 1e9, self._mono_ns, utc_ns), lag
