"""RTSP cameras by PyAV, over TCP, with real timeouts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import av

from models.errors import SourceError
from pipeline.redaction import redacted
from pipeline.sources.base import Image, said, stream_name
from pipeline.sources.latest import LiveSource
from pipeline.sources.video import Decoded, Images, nominal_rate, video_stream

# fpsprobesize: answers in 0.1 s instead of 0.7. Not fflags=nobuffer: it throws away
# what was probed, the first key frame with it, and shows nothing until the next one.
_OPTIONS = {"rtsp_transport": "tcp", "fpsprobesize": "0", "flags": "low_delay"}


class RtspSource(LiveSource):
    """An RTSP camera.

    Args:
        address: ``rtsp://[user:password@]host[:port]/path``.
        stream: name in the stamps; default: from the address, without credentials.
        duration_s: wall time from the first frame.
        open_timeout_s: how long to wait for the camera to answer.
        read_timeout_s: how long to wait for a frame.

    Raises:
        SourceError: it does not answer, or sends no video.
    """

    def __init__(
        self,
        address: str,
        stream: str | None,
        duration_s: float | None,
        open_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        shown = redacted(address)
        name = stream or stream_name(shown.partition("://")[2])
        super().__init__(shown, name, duration_s, read_timeout_s)
        self._container = self._open(address, open_timeout_s)
        self._video = video_stream(self._container, shown)
        codec = self._video.codec_context
        codec.thread_count = 1  # frame threads would add their delay
        self.fps = nominal_rate(self._video)
        self.width = codec.width or None
        self.height = codec.height or None
        self._image_of = Images()
        self._start()

    def _open(self, address: str, timeout_s: float) -> Any:
        begin = time.monotonic()
        try:
            return av.open(address, options=_OPTIONS, timeout=(timeout_s, self._read_timeout_s))
        except (av.FFmpegError, OSError, ValueError) as error:
            late = time.monotonic() - begin >= timeout_s
            why = f"no answer within {timeout_s:g} s" if late else said(error)
            raise SourceError(f"{self._shown}: cannot be reached: {why}") from None

    def _grabbed(self) -> Iterator[tuple[float | None, Any]]:
        last = time.monotonic()
        try:
            for frame in Decoded(self._container, self._video):
                yield None if frame is None else frame.time, frame
                last = time.monotonic()
        except (av.FFmpegError, OSError) as error:
            late = time.monotonic() - last >= self._read_timeout_s
            self._lost(f"no frame for {self._read_timeout_s:g} s" if late else said(error))
        else:
            self._lost("it ended the stream")

    def _image(self, grabbed: Any) -> Image:
        return self._image_of(grabbed)

    def _release(self) -> None:
        self._container.close()
