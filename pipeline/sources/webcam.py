"""Webcams by OpenCV."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from models.errors import SourceError
from pipeline.sources.base import Image
from pipeline.sources.latest import LiveSource, Watch

_BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}
_RETRY_S = 0.01


class Webcam(LiveSource):
    """Webcam number ``index``.

    Source time is the driver's capture time where it gives one (V4L2: the monotonic
    clock at capture), else the monotonic clock at arrival.

    Args:
        index: number of the webcam.
        stream: name in the stamps.
        duration_s: wall time from the first frame.
        watch: how it is watched.

    Raises:
        SourceError: there is no such webcam.
    """

    def __init__(
        self,
        index: int,
        stream: str,
        duration_s: float | None,
        watch: Watch,
    ) -> None:
        super().__init__(f"webcam {index}", stream, duration_s, watch)
        self._camera = self._open(index)
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = self._number(cv2.CAP_PROP_FPS)
        self.width = int(self._number(cv2.CAP_PROP_FRAME_WIDTH) or 0) or None
        self.height = int(self._number(cv2.CAP_PROP_FRAME_HEIGHT) or 0) or None
        self._start()

    def _open(self, index: int) -> Any:
        level = cv2.setLogLevel(0)  # the error below says it in one line
        try:
            camera = cv2.VideoCapture(index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
        finally:
            cv2.setLogLevel(level)
        if not camera.isOpened():
            raise SourceError(f"{self._shown}: cannot be opened; is it connected and free?")
        return camera

    def _number(self, what: int) -> float | None:
        value = float(self._camera.get(what))
        return value if value > 0 else None

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        last = time.monotonic()
        while not self._stopped.is_set():
            good, image = self._camera.read()
            if good:
                last = time.monotonic()
                own = self._number(cv2.CAP_PROP_POS_MSEC)
                yield None if own is None else own / 1e3, image
            elif time.monotonic() - last >= self._read_timeout_s:
                self._lost(f"no frame for {self._read_timeout_s:g} s")
                return
            else:
                self._stopped.wait(_RETRY_S)

    def _image(self, grabbed: Any) -> Image:
        image = np.asarray(grabbed, np.uint8)
        return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image

    def _release(self) -> None:
        self._camera.release()
