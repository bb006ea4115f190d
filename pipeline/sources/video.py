"""Video files by PyAV: real time stamps, variable rate, honest ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from models.errors import SourceError
from pipeline.sources.base import Image, said, stamped, stream_name
from pipeline.sources.pace import Recorded
from stages.items import MOST_PIXELS, MOST_SIDE, Frame

_NO_VIDEO = {"tty", "bin", "ansi"}  # FFmpeg renders text files as films
# containers that hold their own frames; playlists, sessions and scripts open what they name
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,nut,dv,rm,wtv,"
    "gif,apng,h264,hevc,av1,obu,vvc,ivf,m4v,mjpeg,mpjpeg,smjpeg,yuv4mpegpipe,dirac,vc1,vc1test,"
    "cavsvideo,h261,h263,hxvs,ingenient,dhav,gxf,lxf,nuv,nsv,bink,flic,smk,swf,avs2,avs3,live_flv,"
    "kux,ty,cine,ser,tty,bin,ansi,wav,mp3,flac,aac,aiff"
)
FILE_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
_LARGE = 1920 * 1088  # px; smaller frames are decoded with less work on one thread than on two
_FALLBACK_FPS = 30.0
_FASTEST_FPS = 1000.0  # a higher nominal rate is a time base that passes for a rate
_RESET_S = 1.0  # a step back beyond this is a clock that began anew
_FARTHEST_S = 86_400.0  # and so is a step ahead beyond this


class Images:
    """Decoded frames as (h, w) grey or (h, w, 3) BGR uint8, turned upright.

    Holds one scaler for all frames: setting one up costs as much as using it.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> Image:
        """The image of ``frame``; quarter turns of its display matrix are applied."""
        grey = frame.format.name.startswith(("gray", "mono"))
        plain = self._reformatter.reformat(frame, format="gray" if grey else "bgr24")
        image = np.asarray(plain.to_ndarray(), np.uint8)
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class Decoded:
    """Frames of ``video``; None for each packet that cannot be decoded.

    ``packets`` counts those read so far; a file may hold some that are not shown.
    ``inspect`` sees each packet before it is decoded.
    """

    def __init__(
        self, container: Any, video: Any, inspect: Callable[[Any], object] | None = None
    ) -> None:
        self._container = container
        self._video = video
        self._inspect = inspect
        self.packets = 0

    def __iter__(self) -> Iterator[Any]:
        for packet in self._container.demux(self._video):
            self.packets += packet.size > 0
            if self._inspect is not None:
                self._inspect(packet)
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.InvalidDataError:
                yield None
                continue
            yield from frames


def video_stream(container: Any, shown: str) -> Any:
    """The first video stream that is no cover picture and has a decoder.

    Raises:
        SourceError: there is none; the container is closed then.
    """
    cover = av.stream.Disposition.attached_pic
    videos = [video for video in container.streams.video if not video.disposition & cover]
    if container.format.name in _NO_VIDEO or not videos:
        container.close()
        raise SourceError(f"{shown}: holds no video")
    context = videos[0].codec_context
    if context is None:
        container.close()
        raise SourceError(f"{shown}: its video codec cannot be decoded here")
    if too_large(context.width, context.height):
        container.close()
        raise SourceError(f"{shown}: {context.width} x {context.height} px are more than allowed")
    context.options = {"max_pixels": str(MOST_PIXELS)}  # also of a size that changes later
    return videos[0]


def too_large(width: int, height: int) -> bool:
    """Whether a frame of this size, px, is beyond what the pipeline takes."""
    return max(width, height) > MOST_SIDE or width * height > MOST_PIXELS


def nominal_rate(video: Any) -> float | None:
    """Frames a second by the header, when it says something sensible."""
    rate = float(video.average_rate or video.guessed_rate or 0)
    return rate if 0 < rate <= _FASTEST_FPS else None


class SourceClock:
    """Source time from a recording's time stamps, mended where needed.

    A stamp that is missing or goes back becomes previous + 1 / fps. After a step
    back by more than 1 s (joined recordings), or ahead by more than a day, time goes on
    from there with the new stamps' own spacing.
    """

    def __init__(self, fps: float) -> None:
        self._step = 1 / fps
        self._zero: float | None = None  # the stamp of source time 0
        self._last: float | None = None

    def __call__(self, seconds: float | None) -> float:
        """Seconds since the first frame for a frame stamped ``seconds``."""
        expected = 0.0 if self._last is None else self._last + self._step
        if seconds is None:
            pts = expected
        else:
            if self._zero is None:
                self._zero = seconds - expected
            pts = seconds - self._zero
            if self._last is not None and not self._last < pts <= self._last + _FARTHEST_S:
                if not self._last - _RESET_S <= pts <= self._last:
                    self._zero = seconds - expected
                pts = expected
        self._last = pts
        return pts


class VideoSource(Recorded):
    """A recorded video.

    A damaged or truncated file gives every frame that can be decoded; what cannot
    leaves a gap, and ``warning`` says so after the end.

    Args:
        path: the file.
        pace: frames a second of the replay; None: its own pace; inf: as fast as it goes.
        stream: name in the stamps; default: the file's.
        duration_s: stop at this source time.

    Raises:
        SourceError: missing, unreadable, or without a video frame.
    """

    def __init__(
        self, path: Path, pace: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        super().__init__(stream or stream_name(path.stem), pace, duration_s)
        self._path = path
        self._container = self._open()
        self._video = video_stream(self._container, str(path))
        context = self._video.codec_context
        context.thread_type = "AUTO"
        context.thread_count = 2 if context.width * context.height > _LARGE else 1
        self.fps = nominal_rate(self._video)
        self._rate = self.fps or _FALLBACK_FPS
        self._image_of = Images()
        self._packets = Decoded(self._container, self._video)
        self._decoded = iter(self._packets)
        self._damaged = 0
        self._first = self._first_frame()
        self.height, self.width = self._image_of(self._first).shape[:2]
        self.n_frames = self._held(shown=True)
        if duration_s is not None and self.n_frames is not None:
            self.n_frames = min(self.n_frames, ceil(duration_s * self._rate))

    def _open(self) -> Any:
        try:
            if self._path.stat().st_size == 0:
                raise SourceError(f"{self._path}: the file is empty")
            return av.open(f"file:{self._path}", options=FILE_OPTIONS)
        except FileNotFoundError:
            raise SourceError(f"{self._path}: no such file") from None
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._path}: not a readable video: {said(error)}") from None

    def _first_frame(self) -> Any:
        reason = "holds no video frame"
        try:
            for frame in self._decoded:
                if frame is not None:
                    return frame
                self._damaged += 1
                reason = "no frame can be decoded"
        except (av.FFmpegError, OSError) as error:
            reason = f"no frame can be decoded: {said(error)}"
        self._container.close()
        raise SourceError(f"{self._path}: {reason}")

    def _held(self, *, shown: bool) -> int | None:
        """Packets that the file holds by its index or header; ``shown``: without those
        that an edit list hides (videos cut without encoding them again).
        """
        if "mp4" in self._container.format.name:
            entries = self._video.index_entries
            return sum(not (shown and entry.is_discard) for entry in entries) or None
        return self._video.frames or None

    def _recorded(self) -> Iterator[Frame]:
        clock = SourceClock(self._rate)
        index, pts, cut = self._damaged, 0.0, ""
        try:
            for frame in self._readable():
                if frame is None:
                    self._damaged += 1
                else:
                    pts = clock(frame.time)
                    if index > self._after:
                        yield stamped(self.stream, index, pts, self._image_of(frame))
                index += 1
        except (av.FFmpegError, OSError) as error:
            cut = f"ends after {index} frames: {said(error)}"
        self._judge(cut or self._shortfall(pts + 1 / self._rate))

    def _readable(self) -> Iterator[Any]:
        yield self._first
        yield from self._decoded

    def _shortfall(self, end_s: float) -> str:
        """What is missing at the end by the file's own account; "" when nothing is."""
        held = self._held(shown=False)
        if held is not None and self._packets.packets < held:
            return f"truncated: {self._packets.packets} of {held} frames"
        container = self._container
        if "matroska" in container.format.name and container.duration:
            length = container.duration / av.time_base
            if end_s < length - max(1.0, 0.05 * length):  # sound may last a little longer
                return f"truncated: {end_s:.1f} of {length:.1f} s"
        return ""

    def _judge(self, cut: str) -> None:
        damage = f"{self._damaged} damaged frames left out" if self._damaged else ""
        found = "; ".join(filter(None, (cut, damage)))
        self.warning = f"{self._path}: {found}" if found else ""

    def close(self) -> None:
        """Close the file."""
        self._container.close()
