"""One face over time: where it is and moves, what it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages import tracking
from stages.alignment import Alignment
from stages.items import Floats, Stamp
from stages.likeness import unit
from stages.region import Similarity

Point = npt.NDArray[np.float64]

_FOLLOW_S = 0.1  # time constant with which the speed is followed
_COAST_S = 0.5  # a face unseen goes on at its speed for about so long
_MEMORY_S = 2.0  # time constant of the running look
_YOUNG_S = 0.3  # a landmarker's first looks at a face are not its best
_YOUNG = 0.5  # weight of each later look meanwhile


@dataclass(eq=False)
class Track:
    """One face that is or was there."""

    number: int
    middle: Point  # between the outer eye corners, source px
    d: float  # outer-eye-corner distance, source px
    seen: Stamp
    visible: bool = False
    alignment: Alignment = field(default_factory=Alignment)
    look: tracking.Look | None = None  # the last one of the landmarker
    at: float = 0.0  # source time of ``middle``, s
    speed: Point = field(default_factory=lambda: np.zeros(2))  # px/s
    likeness: Floats | None = None  # running mean; None where nobody asks
    newest: Floats | None = None  # likeness when last seen
    since: float = 0.0  # source time of the first look, s
    mixed: bool = False  # it overlaps another face: crops and landmarks are of both
    sure: bool = True  # no other face has come near since the look was last compared

    @classmethod
    def new(cls, number: int, eye: Similarity, stamp: Stamp) -> Track:
        """A face seen for the first time."""
        return cls(number, np.array(eye.origin), eye.d, stamp, at=stamp.pts, since=stamp.pts)

    def place(self, eye: Similarity, pts: float) -> None:
        """It is here at ``pts``."""
        middle, passed = np.array(eye.origin), pts - self.at
        if passed > 0:
            weight = 1 - np.exp(-passed / _FOLLOW_S)
            self.speed = self.speed + weight * ((middle - self.middle) / passed - self.speed)
        self.middle, self.d, self.at = middle, eye.d, pts

    def expected(self, pts: float) -> Point:
        """Where it should be at ``pts``, if it goes on as it went, source px."""
        coasting = _COAST_S * (1 - np.exp(-max(pts - self.at, 0.0) / _COAST_S))
        return np.asarray(self.middle + coasting * self.speed, np.float64)

    def young(self, pts: float) -> bool:
        """Whether little is known yet of its looks."""
        return pts - self.since < _YOUNG_S

    def learn(self, likeness: Floats, pts: float) -> None:
        """What it looks like at ``pts``; to be told before ``place``."""
        if self.likeness is None:
            self.likeness = likeness
        else:
            weight = 1 - np.exp(-max(pts - self.at, 0.0) / _MEMORY_S)
            weight = max(weight, _YOUNG) if self.young(pts) else weight
            self.likeness = unit(self.likeness + np.float32(weight) * (likeness - self.likeness))
