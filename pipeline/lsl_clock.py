"""How long ago a capture was, by the monotonic clock, from the UTC that its message carries.

Capture reads both clocks at once, messages carry UTC alone. Both are of this machine, so their
difference tells one from the other; it is watched, since UTC may be set while mespot runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_STEP_NS = 5_000_000  # a larger change is UTC being set, a smaller one its slow correction
_AT_ONCE_NS = 500_000
_TRIES = 5
_KEPT = 16
_NS = 10**9


class CaptureClock:
    """Ages of captures.

    Args:
        mono_ns, utc_ns: the clocks, injected for tests.
    """

    def __init__(
        self,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._mono_ns = mono_ns
        self._utc_ns = utc_ns
        # since when (monotonic), and UTC less monotonic; the newest last
        self._offsets: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self.observe()

    def observe(self) -> None:
        """Compare the clocks; as often as possible."""
        for _ in range(_TRIES):
            now = self._mono_ns()
            offset = self._utc_ns() - now
            if self._mono_ns() - now < _AT_ONCE_NS:
                break  # nothing came between
        else:
            if self._offsets:
                return  # too busy to tell a step from a pause; next time
        if not self._offsets:
            self._offsets.append((0, offset))
        elif abs(offset - self._offsets[-1][1]) > _STEP_NS:
            self._offsets.append((now, offset))
        else:
            self._offsets[-1] = (self._offsets[-1][0], offset)

    @property
    def utc_offset_s(self) -> float:
        """UTC less the monotonic clock, s."""
        return self._offsets[-1][1] / _NS

    def age_s(self, captured_utc_ns: int) -> float:
        """Seconds since a capture at ``captured_utc_ns``; not below 0."""
        now = until = self._mono_ns()
        captured = captured_utc_ns - self._offsets[-1][1]
        for since, offset in reversed(self._offsets):
            if since <= captured_utc_ns - offset <= until:
                captured = captured_utc_ns - offset
                break
            until = since
        return max(now - captured, 0) / _NS
