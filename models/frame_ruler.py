"""Which frame of a video is at a time: the two rulers of a recording, one against the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.errors import UserError

_MOST = 10_000.0  # frames a second


@dataclass(frozen=True)
class FrameRuler:
    """Frames by source time.

    ``frames`` and ``seconds`` are moments known on both rulers; between them the rate is what
    they say, before and behind them it is ``fps``. Without any, it is ``fps`` throughout.
    """

    fps: float
    frames: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.fps <= _MOST:
            raise ValueError(f"{self.fps:g} frames a second; above 0 and up to {_MOST:g}")

    @classmethod
    def measured(cls, moments: Iterable[tuple[int, float]]) -> FrameRuler | None:
        """From moments (frame, seconds) of one run; None where they tell no rate.

        Frame 0 is at 0 s (``docs/protocol.md``).
        """
        known = sorted({(0, 0.0), *moments})
        frames, seconds = zip(*known, strict=True)
        steps, times = np.diff(frames), np.diff(seconds)
        if not len(steps) or (steps <= 0).any() or (times <= 0).any():
            return None
        fps = (frames[-1] - frames[0]) / (seconds[-1] - seconds[0])
        return cls(fps, frames, seconds) if 0 < fps <= _MOST else None

    def frame(self, seconds: float) -> int:
        """The frame nearest to a time in source seconds; not below 0."""
        return max(round(self._place(seconds)), 0)

    def _place(self, seconds: float) -> float:
        if not self.frames:
            return seconds * self.fps
        if seconds >= self.seconds[-1]:
            return self.frames[-1] + (seconds - self.seconds[-1]) * self.fps
        if seconds <= self.seconds[0]:
            return self.frames[0] + (seconds - self.seconds[0]) * self.fps
        return float(np.interp(seconds, self.seconds, self.frames))


Rulers = Mapping[str, FrameRuler]  # by video


@dataclass(frozen=True)
class Times:
    """How seconds become frames.

    ``fps`` is what the user said, ``linked`` the rate of the video that a file links to, by its
    name, ``rulers`` what the files to compare with tell.
    """

    fps: float | None = None
    linked: Callable[[Path], float | None] = lambda path: None
    rulers: Rulers = field(default_factory=dict)

    def ruler(self, path: Path, video: str, named: bool, own: float | None) -> FrameRuler:
        """The ruler of ``video``.

        Raises:
            UserError: nothing tells a frame rate.
        """
        if self.fps is not None:
            return FrameRuler(self.fps)
        if video in self.rulers:
            return self.rulers[video]
        if own is not None:
            return FrameRuler(own)
        if not named and len(self.rulers) == 1:
            return next(iter(self.rulers.values()))
        raise UserError(f"{path}: counts in seconds; give the video's frame rate with --fps")
