"""Which videos an archive holds, and what tells that one has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from models.errors import SourceError
from pipeline.sources.images import SUFFIXES as IMAGES

_SUFFIXES = "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts webm wmv"
VIDEOS = frozenset(f".{suffix}" for suffix in _SUFFIXES.split(" "))
_LEAST_IMAGES = 2


@dataclass(frozen=True)
class Video:
    """A recording of an archive.

    Attributes:
        name: its path below the archive's folder, with ``/``.
        size: bytes; of a folder of images, of all of them.
        stamp: changes with its content: time of change, ns; of a folder, over all images.
        reason: why it, or the folder of this name, cannot be read; "" where it can.
    """

    name: str
    size: int
    stamp: str
    reason: str = ""


def videos(root: Path, patterns: Sequence[str] = (), images: bool = False) -> list[Video]:
    """The recordings below ``root``, in order of their names.

    Files by suffix; where ``images``, a folder of numbered images is one as well. Hidden files
    and folders are passed over, links to folders are not followed. What cannot be read is listed
    with the reason; so is a folder, whatever the patterns: nobody knows what is in it.

    Args:
        root: of the archive.
        patterns: of the name or of its last part, such as ``*.avi`` or ``s01/*``; none: all.
        images: whether folders of images count.

    Raises:
        SourceError: ``root`` is no folder that can be read.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")

    def unreadable(error: OSError) -> None:
        reason = f"{error.filename}: cannot be read: {error.strerror}"
        folder = Path(error.filename)
        if folder == root:
            raise SourceError(reason)
        closed.append(Video(folder.relative_to(root).as_posix(), 0, "", reason))

    found, closed = list[Video](), list[Video]()
    for folder, below, files in os.walk(root, onerror=unreadable):
        below[:] = [name for name in below if name[0] != "."]
        found += _of_folder(root, Path(folder), [f for f in files if f[0] != "."], images)
    wanted = [v for v in found if not patterns or any(_matches(v.name, p) for p in patterns)]
    return sorted(wanted + closed, key=lambda video: video.name)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or fnmatch(name.rpartition("/")[2], pattern)


def _of_folder(root: Path, folder: Path, files: list[str], images: bool) -> Iterator[Video]:
    for file in files:
        path = folder / file
        if path.suffix.lower() in VIDEOS:
            yield _seen(root, path)
    if images and sum(Path(file).suffix.lower() in IMAGES for file in files) >= _LEAST_IMAGES:
        yield _seen(root, folder)


def _seen(root: Path, path: Path) -> Video:
    name = path.relative_to(root).as_posix()
    try:
        return seen(root, name)
    except SourceError as error:
        return Video(name, 0, "", str(error))


def seen(root: Path, name: str) -> Video:
    """The video called ``name`` as it is now.

    Raises:
        SourceError: it is gone, or cannot be read.
    """
    path = root / name
    try:
        about = path.stat()
        if not path.is_dir():
            return Video(name, about.st_size, str(about.st_mtime_ns))
        parts = sorted(
            (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in path.iterdir()
            if entry.suffix.lower() in IMAGES and entry.name[0] != "."
        )
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:32]
    return Video(name, sum(size for _, size, _ in parts), digest)
