"""RTSP cameras by PyAV, over TCP, with real timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import av

from models.errors import SourceError
from pipeline.redaction import redacted
from pipeline.sources.base import Image, said
from pipeline.sources.h264 import FrameNumbers
from pipeline.sources.latest import LiveSource, Watch
from pipeline.sources.video import Decoded, Images, nominal_rate, video_stream

# fpsprobesize: answers in 0.1 s instead of 0.7. Not fflags=nobuffer: it throws away
# what was probed, the first key frame with it, and shows nothing until the next one.
_OPTIONS = {"rtsp_transport": "tcp", "fpsprobesize": "0", "flags": "low_delay"}
_MEND_S = 10.0  # a camera without key frames mends its picture bit by bit
_SETTLE_S = 2.0  # a greeting lasts no longer

Grabbed = tuple[float | None, Any]


class Damage:
    """Whether a decoded frame is what the camera saw.

    FFmpeg says so of the first frame that lacks something, conceals it, and takes those
    that build upon it for whole: none is, until a key frame. Of a picture that is missing
    altogether it says nothing; its number does (``FrameNumbers``).

    Args:
        h264: the codec is H.264.
        parameters: the codec's parameter sets.
    """

    def __init__(self, h264: bool, parameters: bytes = b"") -> None:
        self._numbers = FrameNumbers() if h264 else None
        self._missing = False
        self._since: float | None = None
        self.packet(parameters)

    def packet(self, data: bytes) -> None:
        """A packet that is decoded next."""
        if self._numbers is not None:
            self._missing |= self._numbers(data)

    def whole(self, frame: Any, now: float) -> bool:
        """Whether ``frame`` (None: it could not be decoded), arrived at ``now`` s, is whole."""
        missing, self._missing = self._missing, False
        if frame is None or frame.is_corrupt:
            self._since = now
        elif frame.key_frame:
            self._since = None
        elif missing:
            self._since = now
        elif self._since is not None and now - self._since >= _MEND_S:
            self._since = None
        return self._since is None


def settled(grabbed: Iterator[Grabbed], clock: Callable[[], float]) -> Iterator[Grabbed]:
    """``grabbed`` without the burst of old frames with which many cameras greet a client.

    They send what came since their last key frame. Frames count from the first that took
    at least half as long to come as its stamp is later than the one before.
    """
    begun, settling = clock(), True
    last: tuple[float, float] | None = None
    for own, frame in grabbed:
        now = clock()
        if settling:
            in_pace = own is not None and last is not None and now - last[0] >= (own - last[1]) / 2
            settling = not in_pace and now - begun < _SETTLE_S
            last = last if own is None else (now, own)
        if not settling:
            yield own, frame


class RtspSource(LiveSource):
    """An RTSP camera.

    Args:
        address: ``rtsp://[user:password@]host[:port]/path``.
        stream: name in the stamps.
        duration_s: wall time from the first frame.
        open_timeout_s: how long to wait for the camera to answer.
        watch: how it is watched.

    Raises:
        SourceError: it does not answer, or sends no video.
    """

    def __init__(
        self,
        address: str,
        stream: str,
        duration_s: float | None,
        open_timeout_s: float,
        watch: Watch,
    ) -> None:
        shown = redacted(address)
        super().__init__(shown, stream, duration_s, watch)
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

    def _grabbed(self) -> Iterator[Grabbed]:
        return settled(self._decoded(), self._timeline.now)

    def _decoded(self) -> Iterator[Grabbed]:
        last = time.monotonic()
        codec = self._video.codec_context
        damage = Damage(codec.name == "h264", bytes(codec.extradata or b""))
        packets = Decoded(self._container, self._video, lambda p: damage.packet(bytes(p)))
        try:
            for frame in packets:
                last = time.monotonic()
                shown = frame if damage.whole(frame, last) else None
                yield None if frame is None else frame.time, shown
        except (av.FFmpegError, OSError) as error:
            late = time.monotonic() - last >= self._read_timeout_s
            self._lost(f"no frame for {self._read_timeout_s:g} s" if late else said(error))
        else:
            self._lost("it ended the stream")

    def _image(self, grabbed: Any) -> Image:
        return self._image_of(grabbed)

    def _release(self) -> None:
        self._container.close()
