"""Source time of a live camera: its own time stamps while they make sense."""

from __future__ import annotations

from collections import deque

_AHEAD_S = 2.0  # a frame cannot be captured later than it arrives; so much is let pass
_LEAST_S = 1e-4  # between two frames
_SLEW = 0.02  # how much faster or slower time may run while it is led back, at most
_LED_S = 100.0  # in which it is led back


class Least:
    """The smallest of the values of the last ``length_s`` seconds."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._rising: deque[tuple[float, float]] = deque()  # (time, value), values rise

    def __call__(self, now: float, value: float) -> float:
        """Take ``value``, seen at ``now`` s; the smallest."""
        while self._rising and self._rising[-1][1] >= value:
            self._rising.pop()
        self._rising.append((now, value))
        while self._rising[0][0] < now - self._length_s:
            self._rising.popleft()
        return self._rising[0][1]

    def clear(self) -> None:
        """Forget all."""
        self._rising.clear()


class LiveClock:
    """When a camera's frames were captured, on the scale of the monotonic clock.

    Between two frames as much time passes as their own stamps say. A stamp that is
    missing, repeated, goes back, or puts a frame more than 2 s into the future is
    replaced by the step of the monotonic clock. Time never stands still and never runs
    more than 2 s ahead of the clock. The two clocks drift apart over days: time is led
    back, by 1 % where it is 1 s away, by 2 % at most, to where the quickest frame of the
    last minute took no time to come.

    Attributes:
        lag_s: how much later than the quickest frame of late the last one came.

    Args:
        memory_s: what "of late" means.
    """

    def __init__(self, memory_s: float = 60.0) -> None:
        self.lag_s = 0.0
        self._least = Least(memory_s)
        self._now: float | None = None
        self._time = 0.0  # of the last frame
        self._own: float | None = None  # the last stamp that was believed
        self._at = 0.0  # the time that it stood for

    def restart(self) -> None:
        """The camera begins anew: what its stamps meant is over."""
        self._own = None
        self._least.clear()

    def __call__(self, now: float, own: float | None) -> float:
        """The time of capture, s; each is later than the one before.

        Args:
            now: the monotonic clock at arrival, s.
            own: the camera's stamp, s; None: it gave none.
        """
        previous = self._time
        time = self._by_stamp(now, own)
        if time is None:
            # nothing is known of a delay where there is no stamp, or no earlier one
            step = None if self._now is None or self._own is None else now - self._now
            time = now if step is None else previous + step
        self._time = time if self._now is None else max(time, previous + _LEAST_S)
        if own is not None and own != self._own:
            self._own, self._at = own, time
        self._lead_back(now, 0.0 if self._now is None else self._time - previous)
        self._now = now
        return self._time

    def _by_stamp(self, now: float, own: float | None) -> float | None:
        if own is None or self._own is None or own <= self._own:
            return None
        time = self._at + own - self._own
        return time if time <= now + _AHEAD_S else None

    def _lead_back(self, now: float, step: float) -> None:
        delay = now - self._time
        away = self._least(now, delay)
        self.lag_s = delay - away
        # from the next stamp on; this frame's time is out
        self._at += step * max(-_SLEW, min(_SLEW, away / _LED_S))
