"""Webcams by OpenCV."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np

from models.errors import SourceError
from pipeline.sources.base import stamped
from pipeline.sources.latest import Latest
from stages.items import Frame

_BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}
_MISSES = 30  # reads that fail in a row before the camera is taken as lost


class Webcam:
    """Webcam number ``index``; source time is the monotonic clock.

    Raises:
        SourceError: there is no such webcam.
    """

    live = True
    n_frames: int | None = None
    fps: float | None

    def __init__(self, index: int, stream: str | None, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._stopped = False
        self.stream = stream or f"cam{index}"
        self.warning = ""
        level = cv2.setLogLevel(0)  # the error below says it in one line
        try:
            self._camera = cv2.VideoCapture(index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
        finally:
            cv2.setLogLevel(level)
        if not self._camera.isOpened():
            raise SourceError(f"webcam {index}: cannot be opened; is it connected and free?")
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = float(self._camera.get(cv2.CAP_PROP_FPS)) or None
        self._latest: Latest | None = None

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is taken."""
        self._latest = Latest(self._read())
        return iter(self._latest)

    def _read(self) -> Iterator[Frame]:
        begin: float | None = None
        index = misses = 0
        while not self._stopped and misses < _MISSES:
            good, image = self._camera.read()
            now = time.monotonic()
            if not good:
                misses += 1
                time.sleep(0.01)
                continue
            misses = 0
            begin = now if begin is None else begin
            if self._duration_s is not None and now - begin >= self._duration_s:
                return
            yield stamped(self.stream, index, now - begin, np.asarray(image, np.uint8))
            index += 1
        if not self._stopped:
            self.warning = f"{self.stream}: the webcam was lost"

    def interrupt(self) -> None:
        """End now."""
        self._stopped = True
        if self._latest is not None:
            self._latest.stop()

    def close(self) -> None:
        """Free the camera."""
        self.interrupt()
        self._camera.release()
