"""Video files by PyAV: real time stamps, variable rate, honest ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from models.errors import SourceError
from pipeline.sources.base import stamped, stream_name
from pipeline.sources.pace import paced
from stages.items import Frame


def to_image(frame: Any) -> npt.NDArray[np.uint8]:
    """A decoded frame as (h, w) grey or (h, w, 3) BGR uint8."""
    grey = frame.format.name in ("gray", "gray8")
    image: npt.NDArray[np.uint8] = frame.to_ndarray(format="gray" if grey else "bgr24")
    return image


class SourceClock:
    """Source time from a stream's time stamps, mended where they are missing or run back."""

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._first: float | None = None
        self._last: float | None = None

    def __call__(self, seconds: float | None) -> float:
        """Seconds since the first frame for a frame stamped ``seconds``."""
        if self._last is None:
            self._first = seconds if seconds is not None else 0.0
            self._last = 0.0
            return 0.0
        assert self._first is not None
        pts = seconds - self._first if seconds is not None else self._last + self._step
        if pts <= self._last:
            pts = self._last + self._step
        self._last = pts
        return pts


class VideoSource:
    """A recorded video.

    Args:
        path: the file.
        fps: frames a second of the replay; None: its own pace; inf: as fast as it goes.
        stream: name in the stamps.
        duration_s: stop at this source time.

    Raises:
        SourceError: missing, unreadable, or without a video frame.
    """

    live = False
    fps: float | None
    n_frames: int | None

    def __init__(
        self, path: Path, fps: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        self._path = path
        self._pace = fps
        self._duration_s = duration_s
        self._stopped = False
        self.warning = ""
        self.stream = stream or stream_name(path.stem)
        self._container = self._open()
        self._video = self._container.streams.video[0]
        self._video.thread_type = "AUTO"
        self._video.codec_context.thread_count = 2
        rate = self._video.average_rate or self._video.guessed_rate
        self._rate = float(rate) if rate else 30.0
        self.fps = self._rate
        self.n_frames = self._video.frames or None
        self._decoded = self._container.decode(self._video)
        self._first = self._first_frame()

    def _open(self) -> Any:
        if not self._path.exists():
            raise SourceError(f"{self._path}: no such file")
        if self._path.stat().st_size == 0:
            raise SourceError(f"{self._path}: the file is empty")
        try:
            container = av.open(str(self._path))
        except (av.FFmpegError, OSError, ValueError) as error:
            text = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{self._path}: not a readable video: {text}") from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._path}: holds no video stream")
        return container

    def _first_frame(self) -> Any:
        try:
            return next(self._decoded)
        except StopIteration:
            reason = "holds no video frame"
        except (av.FFmpegError, OSError) as error:
            reason = f"no frame can be decoded: {getattr(error, 'strerror', error)}"
        self._container.close()
        raise SourceError(f"{self._path}: {reason}")

    def frames(self) -> Iterator[Frame]:
        """Frames in order; a damaged file ends at the damage, with ``warning`` set."""
        frames = self._recorded()
        return frames if self._pace == float("inf") else paced(frames, self._pace)

    def _recorded(self) -> Iterator[Frame]:
        clock = SourceClock(self._rate)
        for index, frame in enumerate(self._readable()):
            pts = clock(frame.time)
            beyond = self._duration_s is not None and pts >= self._duration_s
            if self._stopped or beyond:
                return
            yield stamped(self.stream, index, pts, to_image(frame))

    def _readable(self) -> Iterator[Any]:
        count = 1
        yield self._first
        try:
            for frame in self._decoded:
                count += 1
                yield frame
        except (av.FFmpegError, OSError) as error:
            text = getattr(error, "strerror", None) or str(error)
            self.warning = f"{self._path}: damaged after {count} frames: {text}"
            return
        if self.n_frames is not None and count < self.n_frames and not self._stopped:
            self.warning = f"{self._path}: truncated: {count} of {self.n_frames} frames"

    def interrupt(self) -> None:
        """End with the next frame."""
        self._stopped = True

    def close(self) -> None:
        """Close the file."""
        self._container.close()
