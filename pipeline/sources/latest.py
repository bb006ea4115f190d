"""Live cameras: a reader in its own thread that keeps only the newest frame."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from pipeline.sources.base import Image
from pipeline.sources.repeats import Repeats
from pipeline.sources.timeline import Timeline
from stages.items import Frame

_JOIN_S = 1.0
_STILL_S = 0.5  # a picture that is shown for longer is no longer news
_DAMAGED_S = 15.0  # how long a camera may send nothing that can be shown: until a key frame
NEWER, DAMAGED = "capture: newer frame won", "capture: damaged"
STALE, REPEATED = "capture: stale", "capture: repeated picture"


class Latest:
    """The newest frame of ``frames``; older ones that nobody took are dropped.

    ``dropped`` counts them; their indices stay unused, so each drop is a gap.

    Args:
        frames: read, and closed, in the reader's thread.
        timeout_s: end, with ``silent`` set, when no frame comes for so long; None: wait.
        on_drop: called for each frame dropped, in the reader's thread.
    """

    def __init__(
        self,
        frames: Generator[Frame, None, None],
        timeout_s: float | None = None,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._frames = frames
        self._timeout_s = inf if timeout_s is None else timeout_s
        self._on_drop = on_drop
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._done = False
        self._changed = threading.Condition()
        self.dropped = 0
        self.silent = False
        self.touch()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    if self._done:
                        break
                    if self._newest is not None:
                        self.dropped += 1
                        self._on_drop()
                    self._newest = frame
                    self.touch()
                    self._changed.notify_all()
            self._frames.close()
        except Exception as error:  # noqa: BLE001  handed to the consuming thread
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def touch(self) -> None:
        """The camera is alive, though it has no frame to show."""
        self._heard = time.monotonic()

    def take(self, wait_s: float) -> Frame | None:
        """The newest frame; None when none comes within ``wait_s`` or at the end (``over``).

        Raises:
            Exception: what the reader raised.
        """
        with self._changed:
            self._changed.wait_for(self._ready, wait_s)
            frame, self._newest = self._newest, None
            if frame is None and not self._done:
                self.silent = time.monotonic() - self._heard >= self._timeout_s
        if frame is None and self._error is not None:
            raise self._error
        return frame

    @property
    def over(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self.silent or (self._done and self._newest is None)

    def __iter__(self) -> Iterator[Frame]:
        while True:
            left = self._heard + self._timeout_s - time.monotonic()
            frame = self.take(min(max(left, 0.0), 3600.0))
            if frame is not None:
                yield frame
            elif self.over:
                return

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


@dataclass
class Watch:
    """How a live camera is watched; the same for all its connections, and may change.

    Attributes:
        read_timeout_s: a camera without a frame for so long is lost.
        stale_s: a frame that comes so much later than others is dropped.
        frozen_s: a camera that shows one picture for so long is lost; inf: never.
        timeline: gives numbers and times.
    """

    read_timeout_s: float = 5.0
    stale_s: float = 1.0
    frozen_s: float = 10.0
    timeline: Timeline = field(default_factory=Timeline)


class LiveSource(ABC):
    """What live cameras share: reader thread, frame numbers, source time, an end.

    Reading begins with ``_start`` so that no backlog builds up while the consumer
    gets ready; numbers and times begin with ``frames``.

    A frame that comes late (``Watch.stale_s``) is old and dropped, so that what a
    stalled connection delivers in a burst is never taken for new. A picture that is
    repeated for longer than 0.5 s is dropped too: a frozen camera is a gap.

    Attributes:
        why: why the camera was lost; "" where it was not.

    Args:
        shown: how messages call the camera, without credentials.
        stream: name in the stamps.
        duration_s: wall time from the first frame.
        watch: how it is watched.
    """

    live = True
    n_frames: int | None = None
    fps: float | None
    width: int | None
    height: int | None

    def __init__(
        self, shown: str, stream: str, duration_s: float | None, watch: Watch | None = None
    ) -> None:
        self._shown = shown
        self._duration_s = inf if duration_s is None else duration_s
        self._watch = watch or Watch()
        self._read_timeout_s = self._watch.read_timeout_s
        self._timeline = self._watch.timeline
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._latest: Latest | None = None
        self._repeats = Repeats()
        self._withheld = ""  # what became of the last frame, where it was not shown
        self._shown_at = self._whole_at = self._heard_at = self._timeline.now()
        self.stream = stream
        self.why = ""

    @property
    def warning(self) -> str:
        """Why it ended early."""
        return f"{self._shown}: the camera was lost: {self.why}" if self.why else ""

    @abstractmethod
    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        """The camera's stamp in s and its frame; a frame None cannot be shown."""

    @abstractmethod
    def _image(self, grabbed: Any) -> Image: ...

    @abstractmethod
    def _release(self) -> None:
        """Free the camera; called in the reader's thread."""

    def _start(self) -> None:
        self._timeline.begin()
        self._latest = Latest(
            self._stamped(), self._read_timeout_s, lambda: self._timeline.drop(NEWER)
        )

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return 0 if self._latest is None else self._latest.dropped

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is taken."""
        self.want()
        return self._taken()

    def want(self) -> None:
        """Frames count from now on, and so does their absence."""
        self._heard_at = self._shown_at = self._timeline.now()
        if self._latest is not None:
            self._latest.touch()
        self._wanted.set()

    def take(self, wait_s: float) -> Frame | None:
        """The newest frame; None when none comes within ``wait_s`` or at the end (``over``)."""
        assert self._latest is not None
        frame = self._latest.take(wait_s)
        if self._latest.silent:
            self._lost(self._silence())
        return frame

    def _silence(self) -> str:
        if self._timeline.now() - self._heard_at >= self._read_timeout_s / 2:
            return f"no frame for {self._read_timeout_s:g} s"
        return f"{self._withheld} for {self._timeline.now() - self._shown_at:.0f} s"

    @property
    def over(self) -> bool:
        """Whether no frame will come any more."""
        assert self._latest is not None
        return self._latest.over

    def _taken(self) -> Iterator[Frame]:
        assert self._latest is not None
        yield from self._latest
        self.take(0.0)

    def _lost(self, why: str) -> None:
        if not self._stopped.is_set() and not self.why:
            self.why = why

    def _stamped(self) -> Generator[Frame, None, None]:
        try:
            for own, grabbed in self._paced(self._grabbed()):
                now = self._timeline.now()
                if self._stopped.is_set() or self._timeline.elapsed_s >= self._duration_s:
                    return
                frame = self._shown_frame(now, own, grabbed)
                if frame is not None:
                    yield frame
                if self.why:
                    return
        finally:
            self._release()

    def _paced(
        self, grabbed: Iterator[tuple[float | None, Any]]
    ) -> Iterator[tuple[float | None, Any]]:
        """Those that count: what came before anyone asked is for the clock alone."""
        for own, frame in grabbed:
            if self._wanted.is_set() or self._stopped.is_set():
                yield own, frame
            elif frame is not None:
                self._timeline.settle(self._timeline.now(), own)

    def _shown_frame(self, now: float, own: float | None, grabbed: Any) -> Frame | None:
        """The frame, where it is whole, fresh and new; else None, counted by reason."""
        assert self._latest is not None
        self._heard_at = now
        if grabbed is None:
            self._timeline.skip(DAMAGED)
            self._withheld = "only damaged pictures"
            if now - self._whole_at < _DAMAGED_S:
                self._latest.touch()
            return None
        self._whole_at = now
        stamp, lag = self._timeline.stamp(self.stream, now, own, self.fps)
        if lag > self._watch.stale_s:
            self._timeline.drop(STALE)
            self._withheld = f"only pictures older than {self._watch.stale_s:g} s"
            return None
        image = self._image(grabbed)
        still = self._repeats(image, now)
        if still > _STILL_S:
            self._timeline.drop(REPEATED)
            self._latest.touch()
            if still >= self._watch.frozen_s:
                self._lost(f"the same picture for {still:.0f} s")
            return None
        self._shown_at = now
        return Frame(stamp, image)

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
