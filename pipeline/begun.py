"""What is known of a run outside of any node: it outlives each of them."""

from __future__ import annotations

import ctypes
import time
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any

_NAME_BYTES = 1024


class _Shared(ctypes.Structure):
    _fields_ = (
        ("origin_ns", ctypes.c_int64),
        ("frame", ctypes.c_int64),
        ("pts", ctypes.c_double),
        ("hurry", ctypes.c_bool),
        ("over", ctypes.c_bool),
        ("stream", ctypes.c_char * _NAME_BYTES),
    )


class Begun:
    """The run so far, in memory that supervisor and nodes share.

    No lock guards it: a node that is killed could take one along. Each field is written in
    one step, by one side alone.
    """

    def __init__(self) -> None:
        self._shared: Any = RawValue(_Shared)
        self._shared.origin_ns = time.monotonic_ns()
        self._shared.frame = -1
        self.trace: Any = RawArray(ctypes.c_int64, 3)  # where a live source has got to

    @property
    def origin_ns(self) -> int:
        """Monotonic clock when the run began, ns."""
        return int(self._shared.origin_ns)

    @property
    def frame(self) -> int:
        """Index of the last frame that capture took; -1 before the first."""
        return int(self._shared.frame)

    @property
    def pts(self) -> float:
        """Source time of that frame, s."""
        return float(self._shared.pts)

    def took(self, frame: int, pts: float) -> None:
        """Capture is about to send a frame: written first, so that none is ever sent twice."""
        self._shared.pts = pts
        self._shared.frame = frame

    @property
    def stream(self) -> str:
        """The source's name; "" before it was opened."""
        return str(self._shared.stream.decode(errors="replace"))

    @stream.setter
    def stream(self, name: str) -> None:
        self._shared.stream = name.encode()[: _NAME_BYTES - 1]

    @property
    def hurry(self) -> bool:
        """The run is stopping and short of time: frames that wait are thrown away."""
        return bool(self._shared.hurry)

    @hurry.setter
    def hurry(self, yes: bool) -> None:
        self._shared.hurry = yes

    @property
    def over(self) -> bool:
        """The run is over: every node leaves."""
        return bool(self._shared.over)

    @over.setter
    def over(self, yes: bool) -> None:
        self._shared.over = yes
