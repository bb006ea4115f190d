"""Which frame a window takes as its reference."""

from __future__ import annotations

from collections.abc import Iterable

from stages.items import Stamp

PATIENCE_S = 0.6  # longer than a blink; eyes shut for longer are this face's rest


def reference_of(frames: Iterable[tuple[Stamp, bool]], start: int) -> int | None:
    """The reference of a window that begins at frame ``start``.

    The flow against a face in mid-blink is wrong about the eyes for the whole window, so
    that the first frame with open eyes is taken, or the first after ``PATIENCE_S``.

    Args:
        frames: stamp, and whether the eyes are shut, in order.
        start: frame index.

    Returns:
        A frame index; None while there is none yet.
    """
    first: float | None = None
    for stamp, shut in frames:
        if stamp.frame < start:
            continue
        if first is None:
            first = stamp.pts
        if not shut or stamp.pts >= first + PATIENCE_S:
            return stamp.frame
    return None
