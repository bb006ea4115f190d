"""What every source offers, and the stamps that it gives."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.redaction import redacted
from stages.items import Frame, Stamp

Image = npt.NDArray[np.uint8]


class Source(Protocol):
    """Where frames come from.

    ``frames`` blocks for the next frame and ends with the source; it is called once.
    ``interrupt`` may be called from another thread and makes ``frames`` end soon.
    ``warning`` says, after the end, why the source ended early or what was left out
    ("" otherwise).
    """

    stream: str
    live: bool
    fps: float | None  # nominal own rate
    n_frames: int | None  # how many will come, as far as is known
    width: int | None  # px
    height: int | None  # px

    @property
    def warning(self) -> str:
        """Why it ended early; "" where it did not."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Frames in order."""
        ...

    def interrupt(self) -> None:
        """Make ``frames`` end soon."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def stamp_now(stream: str, index: int, pts: float) -> Stamp:
    """A stamp with both clocks read now."""
    return Stamp(stream, index, pts, time.monotonic_ns(), time.time_ns())


def stamped(stream: str, index: int, pts: float, image: Image) -> Frame:
    """A frame with both clocks read now."""
    return Frame(stamp_now(stream, index, pts), image)


def said(error: BaseException) -> str:
    """What a library's error says, in one line without credentials."""
    text = redacted(str(getattr(error, "strerror", None) or error).strip())
    return text.splitlines()[0] if text else type(error).__name__


def stream_name(text: str) -> str:
    """A topic-safe name from a path or address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "stream"
