"""Are the eyes shut? Told from the lids against the face's own running median."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

_CLOSED = 0.6  # share of the median below which an eye is closed outright


class Lids:
    """Shut or open, frame by frame, causally.

    A fixed level would take narrow eyes for shut ones and miss the blinks of wide ones. Frames
    in which the eyes are closed outright do not count for the median, for ``closed_s`` at most.

    Args:
        share: shut when the opening falls below this share of its median.
        memory_s: the median is that of so many seconds before.
        closed_s: eyes closed for longer are taken for how this face looks.
    """

    def __init__(self, share: float = 0.9, memory_s: float = 2.5, closed_s: float = 10.0) -> None:
        self._share = share
        self._memory_s = memory_s
        self._closed_s = closed_s
        self._since: float | None = None  # source time at which the eyes closed outright
        self._seen: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []
        self.opening = 1.0  # of the last frame, as a share of the median

    def __call__(self, openness: float, pts: float) -> bool:
        """Whether the eyes are shut.

        Args:
            openness: lid gap over eye width.
            pts: source time, s.
        """
        if self._seen and pts < self._seen[-1][0]:  # another recording
            self._seen.clear()
            self._sorted.clear()
        if self._is_closed(openness, pts):
            self.opening = openness / self._median
            return True
        while self._seen and not pts - self._memory_s < self._seen[0][0]:
            del self._sorted[bisect_left(self._sorted, self._seen.popleft()[1])]
        self._seen.append((pts, openness))
        insort(self._sorted, openness)
        median = self._median
        self.opening = openness / median if median > 0 else 1.0
        return openness < self._share * median

    @property
    def _median(self) -> float:
        return self._sorted[len(self._sorted) // 2] if self._sorted else 0.0

    def _is_closed(self, openness: float, pts: float) -> bool:
        """Whether the eyes are closed outright, and have not been for too long."""
        if not openness < _CLOSED * self._median:
            self._since = None
            return False
        if self._since is None or pts < self._since:
            self._since = pts
        return pts - self._since < self._closed_s
