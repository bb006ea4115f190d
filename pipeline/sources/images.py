"""A folder of numbered images, in natural order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from models.errors import SourceError, UserError
from models.images import read
from pipeline.sources.base import Image, said, stamped, stream_name
from pipeline.sources.pace import Recorded
from stages.items import MOST_PIXELS, Frame

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp"}


def natural_key(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts img2 before img10."""
    parts = re.split(r"(\d+)", path.name)
    key = [(0, int(part)) if part.isdecimal() else (1, part.lower()) for part in parts]
    return key, path.name


class ImageFolder(Recorded):
    """Numbered images recorded at ``rate`` frames a second and replayed at it.

    An image that cannot be read leaves a gap in the frame index and a ``warning``.

    Args:
        folder: the images.
        rate: frames a second at which they were recorded (``--fps``).
        stream: name in the stamps; default: the folder's.
        duration_s: stop at this source time.

    Raises:
        UserError: no rate given.
        SourceError: no images, or the first one cannot be read.
    """

    def __init__(
        self, folder: Path, rate: float | None, stream: str | None, duration_s: float | None
    ) -> None:
        super().__init__(stream or stream_name(folder.resolve().name), rate, duration_s)
        self._paths = _images(folder)
        if rate is None:
            raise UserError(f"{folder}: an image folder has no rate of its own; give --fps N")
        first = _read(self._paths[0])
        if first is None:
            raise SourceError(f"{self._paths[0]}: not a readable image")
        self.height, self.width = first.shape[:2]
        self.fps = self._rate = rate
        self.n_frames = len(self._paths)
        if duration_s is not None:
            self.n_frames = min(self.n_frames, ceil(duration_s * rate))

    def _recorded(self) -> Iterator[Frame]:
        unreadable = 0
        for index, path in enumerate(self._paths):
            if index <= self._after:
                continue
            image = _read(path)
            if image is None:
                unreadable += 1
                self.warning = (
                    f"{path}: not a readable image; left out"
                    if unreadable == 1
                    else f"{path.parent}: {unreadable} unreadable images left out"
                )
                continue
            yield stamped(self.stream, index, index / self._rate, image)


def _images(folder: Path) -> list[Path]:
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
        ]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {said(error)}") from None
    if not found:
        raise SourceError(f"{folder}: holds no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=natural_key)


def _read(path: Path) -> Image | None:
    image = read(path)
    return None if image is None or image.shape[0] * image.shape[1] > MOST_PIXELS else image
