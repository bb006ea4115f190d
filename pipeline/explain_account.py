"""An event or a withdrawn announcement, with all that explains it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.items import Floats, Grey, Interval, Reading, Stamp
from stages.noise import Filters
from stages.peaks import Announcement, Veto

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Key:
    """A frame that matters for an event, and its crops where they were still held."""

    name: str
    stamp: Stamp
    eye: Grey | None
    mouth: Grey | None


@dataclass
class Window:
    """What the rules were given in one window, and what they said of it."""

    face: int
    reference: int
    times: list[float] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)  # (V,) each
    filters: dict[int, Filters | None] = field(default_factory=dict)  # as of its announcement
    announced: dict[int, Announcement] = field(default_factory=dict)
    withdrawn: dict[int, tuple[Key, ...]] = field(default_factory=dict)
    noise: list[tuple[int, Filters]] = field(default_factory=list)  # in force from which frame on
    projections: tuple[Array, Array] | None = None  # times (n,), (n, K); None: the paper's rules

    def filters_of(self, number: int) -> Filters | None:
        """The filters in force when ``number`` was announced."""
        return self.filters[number]


@dataclass(frozen=True)
class Account:
    """An event or a withdrawn announcement, with all that explains it."""

    interval: Interval  # final or retracted
    readings: list[Reading]
    window: Window
    number: int  # of its announcement in the window
    keys: tuple[Key, ...]  # three: onset, apex, offset, or what comes nearest to them
    vetoes: tuple[Veto, ...]

    @property
    def final(self) -> bool:
        """Whether it stands."""
        return self.interval.phase == "final"


@dataclass(frozen=True)
class Run:
    """What became of a recording."""

    events: list[Account]
    retracted: list[Account]
