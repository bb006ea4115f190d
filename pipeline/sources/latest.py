"""A live reader in its own thread that keeps only the newest frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from stages.items import Frame


class Latest:
    """The newest frame of ``frames``; older ones that nobody took are dropped.

    ``dropped`` counts them; their indices stay unused, so each drop is a gap.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._done = False
        self._changed = threading.Condition()
        self.dropped = 0
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    if self._done:
                        return
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001  handed to the consuming thread
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._done)
                frame, self._newest = self._newest, None
            if frame is None:
                break
            yield frame
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the iteration; the reader leaves with its next frame."""
        with self._changed:
            self._done = True
            self._newest = None
            self._changed.notify_all()
