"""When a dead node may begin again, and when there were too many deaths."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_MINUTE_S = 60.0
_FIRST_S = 0.1  # of waiting, after a second death of one node
_LONGEST_S = 5.0


class Restarts:
    """Deaths within the last minute, and the nodes that wait for their next life.

    The first restart comes at once; each further death of the same node within a minute
    doubles the wait, so that a node that cannot live does not eat the machine.

    Args:
        most: so many deaths within a minute are too many.
        clock: monotonic, s.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._deaths: deque[tuple[float, str]] = deque()
        self._due: dict[str, float] = {}
        self.count = 0

    def died(self, name: str) -> None:
        """Count a death; its restart becomes due."""
        now = self._clock()
        self._deaths.append((now, name))
        self.count += 1
        while now - self._deaths[0][0] > _MINUTE_S:
            self._deaths.popleft()
        before = sum(who == name for _, who in self._deaths) - 1
        wait = min(_FIRST_S * 2 ** (before - 1), _LONGEST_S) if before else 0.0
        self._due[name] = now + wait

    @property
    def recent(self) -> int:
        """Deaths within the last minute, as of the last one."""
        return len(self._deaths)

    @property
    def too_many(self) -> bool:
        """Whether the run should end."""
        return self.recent >= self.most

    def due(self) -> list[str]:
        """Nodes to be started now."""
        now = self._clock()
        found = [name for name, at in self._due.items() if at <= now]
        for name in found:
            del self._due[name]
        return found
