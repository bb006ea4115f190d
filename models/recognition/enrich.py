"""The 70-fold augmentation of MER-auGCN (Zhou, Mao, Dong, section IV.B.2): a plan of variants.

Nine frames around the apex stand in for it ("enriched apexes"), and onset and apex are
rotated together by -15 to 15 degrees in steps of 5: ten apexes times seven rotations. Flow
is taken from the rotated onset to the rotated apex.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import UserError

RISE = (6, 7, 8, 9)  # tenths of the way from onset to apex
FALL = (1, 2, 3, 4, 5)  # tenths of the way from apex to offset
DEGREES = (0, -15, -10, -5, 5, 10, 15)


@dataclass(frozen=True)
class Variant:
    """One variant of an expression: which frame stands for the apex, and the rotation."""

    apex: int  # frame number
    degrees: int


def apex_frames(
    onset: int, apex: int, offset: int | None, numbers: Collection[int] | None = None
) -> tuple[int, ...]:
    """The apex and its nine stand-ins, in the paper's order.

    Positions are rounded to the nearest frame (the later of two equally near). Short
    expressions have fewer than ten frames to choose from; then some occur more than once.
    Where the offset is missing, or not after the apex, the fall is taken to mirror the rise:
    ``apex - t * (apex - onset)`` in place of ``apex + t * (offset - apex)``.

    Args:
        onset: frame number, so are the others.
        apex: after the onset.
        offset: None: not annotated.
        numbers: the frames that exist; None: all.

    Raises:
        UserError: the apex is not after the onset, or is not among the frames.
    """
    if apex <= onset:
        raise UserError(f"apex {apex} is not after onset {onset}")
    if numbers is not None and apex not in numbers:
        raise UserError(f"apex {apex} is not among the frames")
    fall = offset - apex if offset is not None and offset > apex else onset - apex
    tenths = [10 * apex]
    tenths += [10 * onset + step * (apex - onset) for step in RISE]
    tenths += [10 * apex + step * fall for step in FALL]
    return tuple(_nearest(at, onset, numbers) for at in tenths)


def _nearest(tenths: int, onset: int, numbers: Collection[int] | None) -> int:
    """The frame after ``onset`` that is nearest to ``tenths`` tenths of a frame."""
    if numbers is None:
        return max((tenths + 5) // 10, onset + 1)
    later = (number for number in numbers if number > onset)
    return min(later, key=lambda number: (abs(10 * number - tenths), -number))


def plan(
    onset: int, apex: int, offset: int | None, numbers: Collection[int] | None = None
) -> tuple[Variant, ...]:
    """The 70 variants of an expression; the first is the expression itself.

    Arguments and errors are those of ``apex_frames``.
    """
    frames = apex_frames(onset, apex, offset, numbers)
    return tuple(Variant(frame, degrees) for frame in frames for degrees in DEGREES)


def rotated(crop: npt.NDArray[np.uint8], degrees: float) -> npt.NDArray[np.uint8]:
    """A crop turned about its centre, counter-clockwise as one sees it.

    Bilinear; what comes in from outside repeats the border.

    Args:
        crop: (h, w) or (h, w, channels) uint8.
        degrees: 0 gives the crop itself.
    """
    if degrees == 0:
        return crop
    height, width = crop.shape[:2]
    centre = ((width - 1) / 2, (height - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    made: Any = cv2.warpAffine(
        crop, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(made, np.uint8)
