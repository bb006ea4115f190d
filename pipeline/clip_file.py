"""Clips on disk: writing one, and deleting those that are too old or too many."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgspec

from models.errors import UserError
from pipeline.clip_pictures import Image, hidden, unpacked
from pipeline.config import ClipsConfig
from pipeline.schema import EventMessage
from pipeline.sources.base import stream_name
from stages.items import Floats, Stamp

_OURS = re.compile(r"(\d{8}T\d{6}\.\d{3}Z_[A-Za-z0-9_-]+)\.(mp4|json|mp4\.part|json\.part)")
_CLOCK = 90_000  # ticks a second
_STALE_S = 3600.0  # of a draft whose writer is gone
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Kept:
    """One frame in memory: JPEG of the picture, or of each face's crops."""

    stamp: Stamp
    shape: tuple[int, ...]  # of the picture
    picture: bytes | None
    regions: dict[int, Floats]  # by face
    crops: dict[int, bytes]  # by face

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.picture or b"") + sum(map(len, self.crops.values())) + 1024


@dataclass(frozen=True)
class Job:
    """A clip to be written."""

    event: EventMessage
    frames: list[Kept]


class Writer:
    """Writes clips below ``settings.folder``, one folder a stream.

    Raises:
        UserError: the folder cannot be made or written, or others can write to it.
    """

    def __init__(self, settings: ClipsConfig) -> None:
        assert settings.folder is not None
        self.settings = settings
        self._root = settings.folder
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"clips.folder: {self._root}: {error.strerror}") from None
        if not _private(self._root, 0o022) or not os.access(self._root, os.W_OK | os.X_OK):
            raise UserError(
                f"clips.folder: {self._root}: must be writable by its owner, and by nobody else"
            )

    def write(self, job: Job) -> Path | None:
        """The clip of ``job`` and its ``.json``; None when its face is in no frame.

        Raises:
            OSError: the disk refuses.
        """
        frames = self._shown(job)
        if not frames:
            return None
        folder = self._root / stream_name(job.event.stream)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _private(folder, 0o077):
            raise PermissionError(f"{folder}: others can reach it")
        base = folder / _name(job.event)
        clip = base.with_name(base.name + ".mp4")
        pictures = (self._picture(frame, job.event.face) for frame in frames)
        times = [frame.stamp.pts for frame in frames]
        _put(clip, lambda file: _encode(file, times, pictures))
        about = {"event": job.event, "clip": self._about(job.event, frames, clip)}
        text = msgspec.json.format(msgspec.json.encode(about), indent=1)
        _put(base.with_name(base.name + ".json"), lambda file: file.write(text + b"\n"))
        return clip

    def _shown(self, job: Job) -> list[Kept]:
        """The frames that make the clip: of one size, and with the face where crops are kept."""
        if self.settings.crops:
            return [frame for frame in job.frames if job.event.face in frame.crops]
        return [f for f in job.frames if f.picture and f.shape == job.frames[-1].shape]

    def _picture(self, frame: Kept, face: int) -> Image:
        if self.settings.crops:
            return unpacked(frame.crops[face])
        image = unpacked(frame.picture or b"")
        return hidden(image, frame.regions.get(face)) if self.settings.blur else image

    def _about(self, event: EventMessage, frames: list[Kept], clip: Path) -> dict[str, Any]:
        first, last = frames[0].stamp, frames[-1].stamp
        assert event.onset is not None and event.offset is not None
        shows = "crops" if self.settings.crops else "regions" if self.settings.blur else "all"
        return {
            "file": clip.name,
            "shows": shows,
            "frames": [frame.stamp.frame for frame in frames],
            "from_pts": first.pts,
            "to_pts": last.pts,
            "whole": first.pts <= event.onset.pts and last.pts >= event.offset.pts,
        }

    def sweep(self) -> None:
        """Delete clips that are too old, then the oldest until the rest fits. Ours alone."""
        now = time.time()
        clips: dict[Path, list[tuple[Path, os.stat_result]]] = {}
        for base, path, told in self._ours():
            if path.suffix == ".part":
                if now - told.st_mtime > _STALE_S:
                    path.unlink(missing_ok=True)
            else:
                clips.setdefault(base, []).append((path, told))
        by_age = sorted(clips.values(), key=lambda files: max(t.st_mtime for _, t in files))
        room = self.settings.max_mb * 1e6
        total = sum(told.st_size for files in by_age for _, told in files)
        for files in by_age:
            age = now - max(told.st_mtime for _, told in files)
            if age <= self.settings.retention_days * _DAY_S and total <= room:
                break
            for path, told in files:
                path.unlink(missing_ok=True)
                total -= told.st_size

    def _ours(self) -> Iterator[tuple[Path, Path, os.stat_result]]:
        """Clip, file and its figures; no link is followed, nothing of another name is seen."""
        for folder in _entries(self._root):
            if folder.is_symlink() or not folder.is_dir():
                continue
            for path in _entries(folder):
                match = _OURS.fullmatch(path.name)
                told = _told(path)
                if match is not None and told is not None and stat.S_ISREG(told.st_mode):
                    yield folder / match[1], path, told


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _told(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _private(folder: Path, bits: int) -> bool:
    """Whether ``folder`` is a folder, no link, and closed to others by ``bits``."""
    told = folder.lstat() if bits & 0o044 else folder.stat()
    ours = told.st_uid == os.geteuid()
    return stat.S_ISDIR(told.st_mode) and ours and not stat.S_IMODE(told.st_mode) & bits


def _name(event: EventMessage) -> str:
    assert event.onset is not None
    at = datetime.fromtimestamp(event.onset.utc_ns / 1e9, UTC)
    stamp = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"
    return f"{stamp}_{stream_name(event.id)[:100]}"


def _put(path: Path, fill: Any) -> None:
    """A new file, 0600, whole or not at all."""
    draft = path.with_name(path.name + ".part")
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w+b") as file:
            fill(file)
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _encode(file: Any, times: list[float], pictures: Iterator[Image]) -> None:
    with av.open(file, "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = container.add_stream(codec, rate=_rate(times))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.codec_context.options = {"preset": "veryfast", "crf": "18"}
        for pts, image in zip(times, pictures, strict=True):
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = round((pts - times[0]) * _CLOCK)
            frame.time_base = Fraction(1, _CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _rate(times: list[float]) -> int:
    spent = times[-1] - times[0]
    return max(1, round((len(times) - 1) / spent)) if spent > 0 else 30
