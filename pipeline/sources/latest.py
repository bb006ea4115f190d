"""Live cameras: a reader in its own thread that keeps only the newest frame."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any

from pipeline.sources.base import Image, stamp_now
from stages.items import Frame

_JUMP_S = 2.0  # a camera's stamps cannot run further ahead of the clock in one frame
_LEAST_S = 1e-4  # between two frames
_JOIN_S = 1.0


class Latest:
    """The newest frame of ``frames``; older ones that nobody took are dropped.

    ``dropped`` counts them; their indices stay unused, so each drop is a gap.

    Args:
        frames: read, and closed, in the reader's thread.
        timeout_s: end, with ``silent`` set, when no frame comes for so long; None: wait.
    """

    def __init__(
        self, frames: Generator[Frame, None, None], timeout_s: float | None = None
    ) -> None:
        self._frames = frames
        self._timeout_s = timeout_s
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._done = False
        self._changed = threading.Condition()
        self.dropped = 0
        self.silent = False
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    if self._done:
                        break
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._changed.notify_all()
            self._frames.close()
        except Exception as error:  # noqa: BLE001  handed to the consuming thread
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self.silent = not self._changed.wait_for(self._ready, self._timeout_s)
                frame, self._newest = self._newest, None
            if frame is None:
                break
            yield frame
        if self._error is not None:
            raise self._error

    def _ready(self) -> bool:
        return self._newest is not None or self._done

    def stop(self) -> None:
        """End the iteration; the reader leaves with its next frame."""
        with self._changed:
            self._done = True
            self._newest = None
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Wait for the reader to leave; whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


class LiveClock:
    """Source time of a live camera: its own stamps while they make sense.

    A stamp that is missing, does not advance, or runs ahead of the clock by more
    than 2 s in one frame is replaced by the monotonic clock's step. Steps, not
    absolute times, are compared: the two clocks drift apart over days.
    """

    def __init__(self) -> None:
        self._now: float | None = None
        self._own: float | None = None
        self._pts = 0.0

    def __call__(self, now: float, own: float | None) -> float:
        """Seconds since the first frame.

        Args:
            now: the monotonic clock, s.
            own: the camera's stamp, s; None: it gave none.
        """
        if self._now is not None:
            step = now - self._now
            if own is not None and self._own is not None:
                advance = own - self._own
                step = advance if 0 < advance <= step + _JUMP_S else step
            self._pts += max(step, _LEAST_S)
        self._now, self._own = now, own
        return self._pts


class LiveSource(ABC):
    """What live cameras share: reader thread, frame numbers, source time, an end.

    Reading begins with ``_start`` so that no backlog builds up while the consumer
    gets ready; numbers and times begin with ``frames``.

    Args:
        shown: how messages call the camera, without credentials.
        stream: name in the stamps.
        duration_s: wall time from the first frame.
        read_timeout_s: end when no frame comes for so long.
    """

    live = True
    n_frames: int | None = None
    fps: float | None
    width: int | None
    height: int | None

    def __init__(
        self, shown: str, stream: str, duration_s: float | None, read_timeout_s: float
    ) -> None:
        self._shown = shown
        self._duration_s = duration_s
        self._read_timeout_s = read_timeout_s
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._latest: Latest | None = None
        self.stream = stream
        self.warning = ""

    @abstractmethod
    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        """The camera's stamp in s and its frame; a frame None could not be decoded."""

    @abstractmethod
    def _image(self, grabbed: Any) -> Image: ...

    @abstractmethod
    def _release(self) -> None:
        """Free the camera; called in the reader's thread."""

    def _start(self) -> None:
        self._latest = Latest(self._stamped(), self._read_timeout_s)

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return 0 if self._latest is None else self._latest.dropped

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is taken."""
        self._wanted.set()
        return self._taken()

    def _taken(self) -> Iterator[Frame]:
        assert self._latest is not None
        yield from self._latest
        if self._latest.silent:
            self._lost(f"no frame for {self._read_timeout_s:g} s")

    def _lost(self, why: str) -> None:
        if not self._stopped.is_set():
            self.warning = f"{self._shown}: the camera was lost: {why}"

    def _stamped(self) -> Generator[Frame, None, None]:
        clock = LiveClock()
        begin: float | None = None
        index = 0
        try:
            for own, grabbed in self._grabbed():
                now = time.monotonic()
                if self._stopped.is_set():
                    return
                if not self._wanted.is_set():
                    continue
                begin = now if begin is None else begin
                if self._duration_s is not None and now - begin >= self._duration_s:
                    return
                if grabbed is not None:
                    stamp = stamp_now(self.stream, index, clock(now, own))
                    yield Frame(stamp, self._image(grabbed))
                index += 1
        finally:
            self._release()

    def interrupt(self) -> None:
        """End now; the reader leaves with its next frame or time-out."""
        self._stopped.set()
        if self._latest is not None:
            self._latest.stop()

    def close(self) -> None:
        """Stop. The reader frees the camera; one that hangs is not waited for."""
        self.interrupt()
        if self._latest is not None:
            self._latest.join(_JOIN_S)
