"""What waits for one browser: bounded, and of pictures and figures the newest alone."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

Payload = str | bytes

_MOST = 1000  # messages that each count; a browser that lags by more misses the oldest
_MOST_CURVES = 600  # frames


class Outbox:
    """Filled from any thread, emptied in the server's loop.

    Args:
        loop: the server's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._ready = asyncio.Event()
        self._told = False
        self._newest: dict[str, Payload] = {}
        self._queue: deque[Payload] = deque(maxlen=_MOST)
        self._curves: deque[Payload] = deque(maxlen=_MOST_CURVES)
        self.watched = ""  # the stream whose pictures and curves are wanted

    def put(self, payload: Payload, newest: str = "") -> None:
        """Take ``payload``; it takes the place of what waits under the same ``newest``."""
        with self._lock:
            if newest:
                self._newest[newest] = payload
            else:
                self._queue.append(payload)
        self._wake()

    def curves(self, payload: Payload, anew: bool = False) -> None:
        """Take curves, which displace no event; ``anew``: those that wait are void."""
        with self._lock:
            if anew:
                self._curves.clear()
            self._curves.append(payload)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._told:
                return
            self._told = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the server has just ended
            return

    async def take(self) -> list[Payload]:
        """All that waits, as soon as there is something."""
        await self._ready.wait()
        with self._lock:
            found = [*self._queue, *self._curves, *self._newest.values()]
            self._queue.clear()
            self._curves.clear()
            self._newest.clear()
            self._told = False
            self._ready.clear()
        return found
