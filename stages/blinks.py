"""Blinks as what they are: AU 45, told apart from lids that stay shut (AU 43)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.items import Blink, Stamp

_LONGEST_S = 0.5  # eyes shut longer are AU 43, "eyes closed"


@dataclass
class _Run:
    onset: Stamp
    apex: Stamp
    opening: float


class Blinks:
    """Closures of one face's lids, frame by frame."""

    def __init__(self) -> None:
        self._open: Stamp | None = None  # the last frame with open eyes
        self._run: _Run | None = None

    def __call__(self, stamp: Stamp, shut: bool, opening: float, face: int) -> Blink | None:
        """The closure that has just ended, if one has.

        Args:
            stamp: the frame.
            shut: the lids are seen shut (``stages.lids``).
            opening: of the lids, as a share of its running median.
            face: id within the stream.
        """
        if shut:
            self._close(stamp, opening)
            return None
        self._open = stamp
        run, self._run = self._run, None
        if run is None:
            return None
        au = 45 if stamp.pts - run.onset.pts <= _LONGEST_S else 43
        return Blink(face, au, run.onset, run.apex, stamp, 1.0 - run.opening)

    def _close(self, stamp: Stamp, opening: float) -> None:
        if self._run is None:
            self._run = _Run(self._open or stamp, stamp, opening)
        elif opening < self._run.opening:
            self._run.apex, self._run.opening = stamp, opening
