"""RTSP cameras by PyAV, over TCP, with real timeouts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import av

from models.errors import SourceError
from pipeline.sources.base import redacted, stamped, stream_name
from pipeline.sources.latest import Latest
from pipeline.sources.video import SourceClock, to_image
from stages.items import Frame


class RtspSource:
    """An RTSP camera.

    Args:
        address: ``rtsp://[user:password@]host[:port]/path``.
        open_timeout_s: how long to wait for the camera to answer.
        read_timeout_s: how long to wait for a frame.

    Raises:
        SourceError: it does not answer, or sends no video.
    """

    live = True
    n_frames: int | None = None
    fps: float | None

    def __init__(
        self,
        address: str,
        stream: str | None,
        duration_s: float | None,
        open_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self._shown = redacted(address)
        self._duration_s = duration_s
        self._stopped = False
        self._latest: Latest | None = None
        self.warning = ""
        self.stream = stream or stream_name(self._shown.partition("://")[2])
        self._container = self._open(address, open_timeout_s, read_timeout_s)
        self._video = self._container.streams.video[0]
        self._video.codec_context.thread_count = 1  # frame threads would add their delay
        rate = self._video.average_rate or self._video.guessed_rate
        self.fps = float(rate) if rate else None

    def _open(self, address: str, open_timeout_s: float, read_timeout_s: float) -> Any:
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
        try:
            container = av.open(address, options=options, timeout=(open_timeout_s, read_timeout_s))
        except (av.FFmpegError, OSError, ValueError) as error:
            text = redacted(getattr(error, "strerror", None) or str(error))
            raise SourceError(f"{self._shown}: cannot be reached: {text}") from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._shown}: sends no video")
        return container

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time one is taken."""
        self._latest = Latest(self._read())
        return iter(self._latest)

    def _read(self) -> Iterator[Frame]:
        clock = SourceClock(self.fps or 30.0)
        begin = time.monotonic()
        try:
            for index, frame in enumerate(self._container.decode(self._video)):
                late = self._duration_s is not None and time.monotonic() - begin >= self._duration_s
                if self._stopped or late:
                    return
                yield stamped(self.stream, index, clock(frame.time), to_image(frame))
        except (av.FFmpegError, OSError) as error:
            text = redacted(getattr(error, "strerror", None) or str(error))
            self.warning = f"{self._shown}: the stream was lost: {text}"

    def interrupt(self) -> None:
        """End now; the reader leaves with its next frame or time-out."""
        self._stopped = True
        if self._latest is not None:
            self._latest.stop()

    def close(self) -> None:
        """Stop reading. The connection closes with the reader's own end."""
        self.interrupt()
