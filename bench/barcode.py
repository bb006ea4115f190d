"""A frame's number inside its picture, as black and white bars that survive encoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

BITS = 20
_BAR = 16  # px; macroblocks of H.264 are as wide


def mark(image: Image, number: int) -> None:
    """Write ``number`` into the top left corner; once more, inverted, below as a check."""
    for bit in range(BITS):
        level = 235 if number >> bit & 1 else 16
        left = slice(bit * _BAR, (bit + 1) * _BAR)
        image[:_BAR, left] = level
        image[_BAR : 2 * _BAR, left] = 251 - level


def read(image: Image) -> int | None:
    """The number in ``image``; None when it cannot be read."""
    number = 0
    half = _BAR // 2
    for bit in range(BITS):
        upper = int(image[half, bit * _BAR + half].mean())
        lower = int(image[_BAR + half, bit * _BAR + half].mean())
        if abs(upper - lower) < 100:
            return None
        number |= (upper > lower) << bit
    return number


def film(path: Path, pictures: Sequence[Image], fps: int, times: int, key_every: int = 20) -> None:
    """``pictures`` again and again, each frame with its number, as H.264 of a camera's kind.

    Args:
        path: the MP4 to be written.
        pictures: (h, w, 3) BGR, at least ``BITS`` bars wide.
        fps: rate.
        times: how often the pictures are shown.
        key_every: frames between key frames.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        quick = {"preset": "veryfast", "tune": "zerolatency"}
        stream.options = quick | {"crf": "23", "bf": "0", "g": str(key_every)}
        for number in range(len(pictures) * times):
            picture = pictures[number % len(pictures)].copy()
            mark(picture, number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
