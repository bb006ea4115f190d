"""Are the eyes shut? Told from the lids against the face's own running median."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class Lids:
    """Shut or open, frame by frame, causally.

    A fixed level would take narrow eyes for shut ones and miss the blinks of wide ones.

    Args:
        share: shut when the opening falls below this share of its median.
        memory_s: the median is that of so many seconds before.
    """

    def __init__(self, share: float = 0.9, memory_s: float = 2.5) -> None:
        self._share = share
        self._memory_s = memory_s
        self._seen: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []
        self.opening = 1.0  # of the last frame, as a share of the median

    def __call__(self, openness: float, pts: float) -> bool:
        """Whether the eyes are shut.

        Args:
            openness: lid gap over eye width.
            pts: source time, s.
        """
        while self._seen and not pts - self._memory_s < self._seen[0][0] <= pts:
            del self._sorted[bisect_left(self._sorted, self._seen.popleft()[1])]
        self._seen.append((pts, openness))
        insort(self._sorted, openness)
        median = self._sorted[len(self._sorted) // 2]
        self.opening = openness / median if median > 0 else 1.0
        return openness < self._share * median
