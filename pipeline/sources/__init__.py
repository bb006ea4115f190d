"""Where frames come from: ``open_source`` tells the kinds apart."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import SourceError, UserError
from pipeline.redaction import redacted
from pipeline.sources.base import Source, stream_name

if TYPE_CHECKING:
    from pipeline.sources.latest import Watch

__all__ = ["Source", "live_name", "open_source", "redacted"]


def open_source(
    text: str,
    *,
    fps: float | Literal["source", "max"] = "source",
    stream: str | None = None,
    duration_s: float | None = None,
    open_timeout_s: float = 10.0,
    watch: Watch | None = None,
) -> Source:
    """The source that SOURCE names.

    Args:
        text: webcam index, rtsp:// address, video file, image folder, ``synthetic:``.
        fps: pace of recorded input; for image folders also the recording's rate.
        stream: name in stamps and topics; default: by source.
        duration_s: source time for recorded input, wall time for live.
        open_timeout_s: RTSP: how long to wait for the camera.
        watch: live: how the camera is watched; default: ``Watch()``.

    Raises:
        SourceError, UserError: one line that says what is wrong.
    """
    rate = None if isinstance(fps, str) else float(fps)
    if rate is not None and not 0 < rate < inf:
        raise UserError(f"--fps {fps}: must be a number above 0, 'source' or 'max'")
    pace = inf if fps == "max" else rate
    if text.isdecimal():
        from pipeline.sources.webcam import Webcam

        return Webcam(int(text), live_name(text, stream), duration_s, watch or _watch())
    if text.startswith(("rtsp://", "rtsps://")):
        from pipeline.sources.rtsp import RtspSource

        name = live_name(text, stream)
        return RtspSource(text, name, duration_s, open_timeout_s, watch or _watch())
    if text.startswith("synthetic:"):
        from pipeline.sources.synthetic import SyntheticSource

        return SyntheticSource(text.partition(":")[2], pace, stream, duration_s)
    if "://" in text:
        raise SourceError(f"{redacted(text)}: unknown kind of address; rtsp:// is understood")
    return _recorded(text, rate, pace, stream, duration_s)


def live_name(text: str, stream: str | None = None) -> str:
    """The name of a live camera's stream; default: by its number or address."""
    if stream:
        return stream
    return (
        f"cam{int(text)}" if text.isdecimal() else stream_name(redacted(text).partition("://")[2])
    )


def _watch() -> Watch:
    from pipeline.sources.latest import Watch

    return Watch()


def _recorded(
    text: str,
    rate: float | None,
    pace: float | None,
    stream: str | None,
    duration_s: float | None,
) -> Source:
    if not text or "\0" in text:
        raise SourceError("no source: give a webcam index, an address, a video or a folder")
    path = Path(text)
    if path.is_dir():
        from pipeline.sources.images import ImageFolder

        return ImageFolder(path, rate, stream, duration_s)
    from pipeline.sources.video import VideoSource

    return VideoSource(path, pace, stream, duration_s)
