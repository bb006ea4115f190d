"""Where frames come from: ``open_source`` tells the kinds apart."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Literal

from models.errors import SourceError, UserError
from pipeline.redaction import redacted
from pipeline.sources.base import Source

__all__ = ["Source", "open_source", "redacted"]


def open_source(
    text: str,
    *,
    fps: float | Literal["source", "max"] = "source",
    stream: str | None = None,
    duration_s: float | None = None,
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 5.0,
) -> Source:
    """The source that SOURCE names.

    Args:
        text: webcam index, rtsp:// address, video file, image folder, ``synthetic:``.
        fps: pace of recorded input; for image folders also the recording's rate.
        stream: name in stamps and topics; default: by source.
        duration_s: source time for recorded input, wall time for live.
        open_timeout_s: RTSP: how long to wait for the camera.
        read_timeout_s: live: a camera that is silent for so long is taken as lost.

    Raises:
        SourceError, UserError: one line that says what is wrong.
    """
    rate = None if isinstance(fps, str) else float(fps)
    if rate is not None and not 0 < rate < inf:
        raise UserError(f"--fps {fps}: must be a number above 0, 'source' or 'max'")
    pace = inf if fps == "max" else rate
    if text.isdecimal():
        from pipeline.sources.webcam import Webcam

        return Webcam(int(text), stream, duration_s, read_timeout_s)
    if text.startswith(("rtsp://", "rtsps://")):
        from pipeline.sources.rtsp import RtspSource

        return RtspSource(text, stream, duration_s, open_timeout_s, read_timeout_s)
    if text.startswith("synthetic:"):
        from pipeline.sources.synthetic import SyntheticSource

        return SyntheticSource(text.partition(":")[2], pace, stream, duration_s)
    if "://" in text:
        raise SourceError(f"{redacted(text)}: unknown kind of address; rtsp:// is understood")
    return _recorded(text, rate, pace, stream, duration_s)


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
