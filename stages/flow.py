"""Flow of one region against its window's reference (eq. 8)."""

from __future__ import annotations

from typing import Literal

from stages.farneback import Farneback, FarnebackParams, check
from stages.items import Floats, Grey

Preset = Literal["exact", "fast"]

# OpenCV's customary parameters at full size, and what stands for them at half size:
# the window covers as much of the face, and layers go below OpenCV's least size so
# that a broad smile (30 px of the crop) is within reach. Every frame starts cold: a
# warm start drifted.
EXACT = FarnebackParams()
FAST = FarnebackParams(levels=2, winsize=9, iterations=2, poly_n=3, poly_sigma=0.9, least_size=16)


class WindowFlow:
    """Flow from a reference crop to later crops; the reference is expanded once.

    Args:
        size: (w, h) of the crops in px, even.
        preset: ``exact`` is OpenCV's result at full size; ``fast`` runs at half size.
        beside: flow of the same crops against another reference; what both need of a crop is
            computed once, so nobody may write to it.

    Raises:
        ValueError: unknown preset or odd size.
    """

    def __init__(
        self, size: tuple[int, int], preset: Preset, beside: WindowFlow | None = None
    ) -> None:
        if preset not in ("exact", "fast"):
            raise ValueError(f"preset is exact or fast, not {preset!r}")
        if preset == "fast" and (size[0] % 2 or size[1] % 2):
            raise ValueError(f"the fast preset needs an even size, not {size}")
        self._full = size
        self._half = preset == "fast"
        inner = (size[0] // 2, size[1] // 2) if self._half else size
        self._engine: Farneback = Farneback(
            inner,
            FAST if self._half else EXACT,
            1 / self.scale,
            self._half,
            None if beside is None else beside._engine,
        )
        self.shape = (inner[1], inner[0], 2)  # of the flow
        self._referenced = False
        self._last: Floats | None = None

    @property
    def scale(self) -> float:
        """Size of the flow relative to the crop."""
        return 0.5 if self._half else 1.0

    def set_reference(self, grey: Grey) -> None:
        """Take ``grey`` (h, w) uint8 as the reference.

        Raises:
            ValueError: wrong size or type.
        """
        check(grey, self._full[::-1])
        self._engine.set_reference(grey)
        self._referenced = True
        self._last = None

    @property
    def last(self) -> Floats | None:
        """What ``flow`` gave last against this reference, to be looked at only."""
        return self._last

    def flow(self, grey: Grey) -> Floats:
        """Flow to ``grey`` (h, w) uint8: ``shape`` float32, px of the full-size crop.

        The array is reused by the next call.

        Raises:
            ValueError: wrong size or type, or no reference yet.
        """
        if not self._referenced:
            raise ValueError("set_reference comes before flow")
        check(grey, self._full[::-1])
        self._last = self._engine.flow(grey)
        return self._last
