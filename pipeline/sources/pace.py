"""Recorded frames released at a fixed rate: lossless, without drift."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import inf

import msgspec

from stages.items import Frame


def paced(
    frames: Iterator[Frame],
    fps: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Frame]:
    """Release ``frames`` at ``fps`` a second, or by their own ``pts`` when None.

    Frame i is due at a fixed time after the first that comes, so lateness does not add up.
    The capture clocks are read at release; source time is left alone.
    """
    begin: float | None = None
    first = 0.0
    for count, frame in enumerate(frames):
        now = clock()
        if begin is None:
            begin, first = now, frame.stamp.pts
        due = begin + (frame.stamp.pts - first if fps is None else count / fps)
        if due > now:
            sleep(due - now)
        stamp = msgspec.structs.replace(
            frame.stamp, mono_ns=time.monotonic_ns(), utc_ns=time.time_ns()
        )
        yield Frame(stamp, frame.image)


class Recorded(ABC):
    """What recorded sources share: lossless, paced, cut at a source time.

    Args:
        stream: name in the stamps.
        pace: frames a second of the replay; None: by ``pts``; inf: as fast as it goes.
        duration_s: stop at this source time.
    """

    live = False
    fps: float | None
    n_frames: int | None
    width: int | None
    height: int | None

    def __init__(self, stream: str, pace: float | None, duration_s: float | None) -> None:
        self.stream = stream
        self.warning = ""
        self._pace = pace
        self._duration_s = inf if duration_s is None else duration_s
        self._stop = threading.Event()
        self._after = -1

    def begin_after(self, frame: int) -> None:
        """Leave out all up to ``frame``, an index; to be called before ``frames``."""
        self._after = frame

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, released at the pace."""
        frames = self._limited()
        return frames if self._pace == inf else paced(frames, self._pace, sleep=self._stop.wait)

    def _limited(self) -> Iterator[Frame]:
        for frame in self._recorded():
            if self._stop.is_set() or frame.stamp.pts >= self._duration_s:
                return
            yield frame

    @abstractmethod
    def _recorded(self) -> Iterator[Frame]:
        """Every frame in order, less those up to ``_after``."""

    def interrupt(self) -> None:
        """End with the next frame; a wait for its time is cut short."""
        self._stop.set()

    def close(self) -> None:  # noqa: B027  most recorded sources hold nothing open
        """Nothing is held open."""
