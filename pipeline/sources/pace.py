"""Recorded frames released at a fixed rate: lossless, without drift."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from stages.items import Frame


def paced(
    frames: Iterator[Frame],
    fps: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Frame]:
    """Release ``frames`` at ``fps`` a second, or by their own ``pts`` when None.

    Frame i is due at a fixed time after the first, so lateness does not add up.
    The capture clocks are read at release; source time is left alone.
    """
    begin: float | None = None
    for count, frame in enumerate(frames):
        now = clock()
        begin = now if begin is None else begin
        due = begin + (frame.stamp.pts if fps is None else count / fps)
        if due > now:
            sleep(due - now)
        stamp = msgspec.structs.replace(
            frame.stamp, mono_ns=time.monotonic_ns(), utc_ns=time.time_ns()
        )
        yield Frame(stamp, frame.image)
