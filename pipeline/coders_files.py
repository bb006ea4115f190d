"""Reading files of coders and of the tool beside each other, in frames of one video."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from models.coders import meet, read, rulers
from models.errors import UserError
from models.frame_ruler import FrameRuler, Times
from models.labels import Labels

FPS_HELP = (
    "Frames a second of the video, for files that count in seconds (ELAN, BIDS); by default what "
    "the other file, the file itself or the video beside it tells."
)


def read_together(paths: Sequence[Path], fps: float | None) -> list[Labels]:
    """One ``Labels`` a path; times in seconds become frames of the video.

    Raises:
        UserError: a file cannot be read, or its times need a frame rate that nothing tells.
    """
    if fps is not None:
        try:
            FrameRuler(fps)
        except ValueError as error:
            raise UserError(f"--fps {fps:g}: {error}") from None
    known: dict[str, FrameRuler] = {}
    for path in paths:
        known |= rulers(path)
    times = Times(fps, rate_of_video, known)
    return meet([read(path, times) for path in paths])


def rate_of_video(path: Path) -> float | None:
    """The mean frame rate that a video file's container tells; None without such a file."""
    if not path.is_file():
        return None
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            rate: Fraction | None = streams[0].average_rate if streams else None
    except (av.FFmpegError, OSError, ValueError):
        return None
    return float(rate) if rate else None
