"""A folder of numbered images, in natural order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from models.errors import SourceError, UserError
from pipeline.sources.base import stamped, stream_name
from pipeline.sources.pace import paced
from stages.items import Frame

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp"}


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sorts img2 before img10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in parts]


class ImageFolder:
    """Numbered images recorded at ``rate`` frames a second.

    Args:
        folder: the images.
        rate: frames a second at which they were recorded (``--fps``).
        fast: replay as fast as it goes instead of at ``rate``.

    Raises:
        UserError: no rate given.
        SourceError: no images.
    """

    live = False
    fps: float | None
    n_frames: int | None

    def __init__(
        self,
        folder: Path,
        rate: float | None,
        stream: str | None,
        duration_s: float | None,
        fast: bool = False,
    ) -> None:
        if rate is None:
            raise UserError(f"{folder}: an image folder has no rate of its own; give --fps N")
        found = [p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES]
        if not found:
            raise SourceError(f"{folder}: holds no images ({', '.join(sorted(_SUFFIXES))})")
        self._paths = sorted(found, key=natural_key)
        self._duration_s = duration_s
        self._fast = fast
        self._stopped = False
        self.fps = self._rate = rate
        self.n_frames = len(self._paths)
        self.stream = stream or stream_name(folder.resolve().name)
        self.warning = ""
        if _read(self._paths[0]) is None:
            raise SourceError(f"{self._paths[0]}: not a readable image")

    def frames(self) -> Iterator[Frame]:
        """Frames in natural order; an unreadable image is left out and warned of."""
        frames = self._recorded()
        return frames if self._fast else paced(frames, self.fps)

    def _recorded(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            pts = index / self._rate
            if self._stopped or (self._duration_s is not None and pts >= self._duration_s):
                return
            image = _read(path)
            if image is None:
                self.warning = f"{path}: not a readable image; left out"
                continue
            yield stamped(self.stream, index, pts, image)

    def interrupt(self) -> None:
        """End with the next image."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open."""


def _read(path: Path) -> np.ndarray | None:  # type: ignore[type-arg]
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    if not data.size:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR)
    return None if image is None else np.asarray(image, np.uint8)
