"""Where the videos of a data set lie below its root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from models.datasets.records import VIDEOS
from models.errors import UserError
from models.files import within

_DEPTH = 5
Key = Callable[[Path], str | None]  # a folder or video file; its video's name, or None


def find_places(root: Path, key: Key, prefer: Sequence[str] = ()) -> dict[str, Path]:
    """Folders and video files below ``root`` by the video that they hold.

    Where one video lies in several places, the place wins whose path has the first of
    ``prefer`` in it; folders of faces cut out by others (``crop``) come last.

    Raises:
        UserError: none, or two equally good places.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    found: dict[str, list[Path]] = {}
    for path, name in _walk(root, root, key, _DEPTH):
        found.setdefault(name, []).append(path)
    if not found:
        raise UserError(f"{root}: no videos or folders of images as this data set names them")
    return {name: _best(root, name, paths, prefer) for name, paths in sorted(found.items())}


def _walk(root: Path, folder: Path, key: Key, depth: int) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror or error}") from None
    for entry in entries:
        path, is_dir = Path(entry.path), entry.is_dir()
        if entry.name.startswith(".") or not (is_dir or path.suffix.lower() in VIDEOS):
            continue
        if entry.is_symlink() and not within(path, root):
            raise UserError(f"{path}: a link out of {root}; name its own folder with --images")
        name = key(path)
        if name is not None:
            yield path, name
        elif is_dir and depth > 1:
            yield from _walk(root, path, key, depth - 1)


def _best(root: Path, name: str, paths: Sequence[Path], prefer: Sequence[str]) -> Path:
    ranked = sorted((_rank(path.relative_to(root), prefer), path) for path in paths)
    if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
        places = " and ".join(str(path.relative_to(root)) for _, path in ranked[:2])
        raise UserError(f"{root}: video {name} lies in {places}; name one folder of images")
    return ranked[0][1]


def _rank(path: Path, prefer: Sequence[str]) -> int:
    words = path.as_posix().lower()
    if "crop" in words:
        return len(prefer) + 1
    return next((i for i, word in enumerate(prefer) if word in words), len(prefer))
