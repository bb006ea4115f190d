"""What this process hears of a run beside reports: its messages, and pictures for the page.

Nodes put things on the tap without waiting: what finds no room is gone, and nobody upstream
notices. Unlike the event socket it asks for no key, as it is the run's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import zmq

from pipeline import sockets
from pipeline.sockets import Endpoint

_POLL_MS = 100
_DRAIN_S = 3.0  # for what is on its way when the run is over
_QUEUE = 10_000

Hear = Callable[[Sequence[bytes]], None]


class Tap:
    """Receives in a thread of its own, for as long as the context lasts.

    Args:
        context: of the run.
        endpoint: where nodes send to.
        hear: called in the thread with the parts of each message; it must not raise.
    """

    def __init__(self, context: zmq.Context[Any], endpoint: Endpoint, hear: Hear) -> None:
        self._link = sockets.pull(context, endpoint, _QUEUE)
        self._hear = hear
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)

    def __enter__(self) -> Tap:
        self._thread.start()
        return self

    def _run(self) -> None:
        with self._link:
            deadline = None
            while deadline is None or time.monotonic() < deadline:
                if self._link.poll(_POLL_MS):
                    self._take()
                elif self._over.is_set():
                    return
                if deadline is None and self._over.is_set():
                    deadline = time.monotonic() + _DRAIN_S

    def _take(self) -> None:
        try:
            self._hear(self._link.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:  # a stranger who is turned away is announced like a message
            return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
