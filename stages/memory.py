"""What joint explanation keeps of a face from one window to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stages.noise import Noise

_TICK = 1e-6
_MOUTHS = 30  # movements of the mouth that are remembered: those of a window


@dataclass
class MouthMoved:
    """A movement of the mouth: when it ended, how high it was, whether it was speech."""

    until: float
    height: float
    speaking: bool


@dataclass
class Memory:
    """What is known of a face beyond one window."""

    noise: Noise
    mouth: list[MouthMoved] = field(default_factory=list)  # the last ones, oldest first
    first: float | None = None  # source time of the first frame

    def begin(self, time: float) -> None:
        """A window begins at ``time`` s: what is to be seen again has not been seen."""
        self.mouth = [moved for moved in self.mouth if moved.until <= time + _TICK]
        if self.first is None or time < self.first:
            self.first = time

    @property
    def last(self) -> MouthMoved:
        """The last movement of the mouth."""
        return self.mouth[-1] if self.mouth else MouthMoved(-np.inf, 0.0, False)

    def moved(self, until: float, height: float, speaking: bool) -> None:
        """The mouth has moved."""
        self.mouth = [*self.mouth[-_MOUTHS:], MouthMoved(until, height, speaking)]
