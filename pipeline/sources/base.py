"""What every source offers, and the stamps that it gives."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stages.items import Frame, Stamp


class Source(Protocol):
    """Where frames come from.

    ``frames`` blocks for the next frame and ends with the source. ``interrupt``
    may be called from another thread and makes ``frames`` end soon. ``warning``
    says, after the end, why the source ended early ("" otherwise).
    """

    stream: str
    live: bool
    fps: float | None  # nominal own rate
    n_frames: int | None
    warning: str

    def frames(self) -> Iterator[Frame]:
        """Frames in order."""
        ...

    def interrupt(self) -> None:
        """Make ``frames`` end soon."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def stamped(stream: str, index: int, pts: float, image: npt.NDArray[np.uint8]) -> Frame:
    """A frame with both clocks read now."""
    return Frame(Stamp(stream, index, pts, time.monotonic_ns(), time.time_ns()), image)


def redacted(address: str) -> str:
    """``address`` without user and password."""
    return re.sub(r"(\w+://)[^/@]*@", r"\1", address)


def stream_name(text: str) -> str:
    """A topic-safe name from a path or address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "stream"
