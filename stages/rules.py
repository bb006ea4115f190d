"""The two sets of rules that ``SpotStage`` can follow: joint explanation, or the paper's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.joint import JointModel
from stages.items import Column
from stages.joint import Array, JointParams, JointSpotter, Memory
from stages.noise import Noise, NoiseParams
from stages.peaks import (
    SpotParams,
    StreamingSpotter,
    Update,
    check_thetas,
)


class WindowSpotter(Protocol):
    """Spots in one window; every announcement is closed by one final or retraction."""

    @property
    def rises(self) -> tuple[float, Array] | None:
        """Source time of the newest frame judged, and how far each curve has risen, in theta."""
        ...

    def push(self, time: float, column: Column, shut: bool) -> list[Update]:
        """Take the next column, at ``time`` seconds."""
        ...

    def close(self, complete: bool) -> list[Update]:
        """The window ends; ``complete``: nothing follows."""
        ...

    def abandon(self) -> list[Update]:
        """The window is broken off."""
        ...


class Rules(Protocol):
    """Makes spotters. ``aus``: the AU of each number that updates use."""

    aus: tuple[int, ...]

    def memory(self) -> Memory | None:
        """What a face's windows share."""
        ...

    def spotter(self, memory: Memory | None) -> WindowSpotter:
        """A spotter for one window of a face."""
        ...

    def check(self, column: Column) -> str:
        """What is wrong with a column; "" when nothing is."""
        ...


class _PaperSpotter:
    def __init__(self, spotter: StreamingSpotter) -> None:
        self._spotter = spotter

    @property
    def rises(self) -> tuple[float, Array] | None:
        return self._spotter.rises

    def push(self, time: float, column: Column, shut: bool) -> list[Update]:
        return self._spotter.push(time, column.values)

    def close(self, complete: bool) -> list[Update]:
        return self._spotter.close()

    def abandon(self) -> list[Update]:
        return list(self._spotter.abandon())


class PaperRules:
    """Eqs 24-26 on the matching curves.

    Args:
        aus: action unit of each row of W (eq. 23), length V.
        thetas: (V,) thresholds theta_j of eq. 24.
        params: parameters of the rules.

    Raises:
        ValueError: lengths differ or a theta is not above 0.
    """

    def __init__(self, aus: Sequence[int], thetas: npt.ArrayLike, params: SpotParams) -> None:
        self.aus = tuple(int(au) for au in aus)
        self._thetas = check_thetas(thetas)
        if self._thetas.shape != (len(self.aus),):
            raise ValueError(f"{len(self.aus)} AUs need as many thetas, not {self._thetas.shape}")
        self._params = params

    def memory(self) -> None:
        """Nothing is shared."""
        return None

    def spotter(self, memory: Memory | None) -> WindowSpotter:
        """A ``StreamingSpotter``."""
        return _PaperSpotter(StreamingSpotter(self._thetas, self._params))

    def check(self, column: Column) -> str:
        """Shape and finiteness of the matching indices."""
        return _fault(column.values, self._thetas.shape)


class JointWindowSpotter:
    """``JointSpotter`` as the stage drives it."""

    def __init__(self, spotter: JointSpotter) -> None:
        self._spotter = spotter

    @property
    def rises(self) -> tuple[float, Array] | None:
        """As ``JointSpotter.rises``."""
        return self._spotter.rises

    @property
    def judged(self) -> tuple[Array, Array]:
        """As ``JointSpotter.judged``."""
        return self._spotter.judged

    def push(self, time: float, column: Column, shut: bool) -> list[Update]:
        """Take the next column, at ``time`` seconds."""
        assert column.parts is not None
        return self._spotter.push(time, column.parts, shut)

    def close(self, complete: bool) -> list[Update]:
        """The window ends; ``complete``: nothing follows."""
        return self._spotter.close(complete)

    def abandon(self) -> list[Update]:
        """The window is broken off."""
        return self._spotter.abandon()


class JointRules:
    """Joint explanation (``stages.joint``).

    Args:
        model: the joint model.
        params: parameters of the rules.
        noise: how the face's noise is learned.
    """

    def __init__(self, model: JointModel, params: JointParams, noise: NoiseParams) -> None:
        self.aus = model.aus
        self._model = model
        self._params = params
        self._noise = noise

    def warm_up(self) -> None:
        """Compile the kernels, so that the first expression is not late."""
        spotter = JointSpotter(self._model, self.memory(), self._params)
        spotter.warm_up()
        for time in range(3):
            spotter.push(float(time), np.zeros((2, self._model.size)), False)

    def memory(self) -> Memory:
        """A face's noise, and what its mouth did last."""
        return Memory(Noise(self._model, self._noise))

    def spotter(self, memory: Memory | None) -> WindowSpotter:
        """A ``JointSpotter``."""
        assert memory is not None
        return JointWindowSpotter(JointSpotter(self._model, memory, self._params))

    def check(self, column: Column) -> str:
        """Shape and finiteness of the projections."""
        if column.parts is None:
            return "a column has no projections"
        return _fault(column.parts, (2, self._model.size))


def _fault(array: npt.ArrayLike, shape: tuple[int, ...]) -> str:
    values = np.asarray(array)
    if values.shape != shape:
        return f"a column has shape {values.shape}, not {shape}"
    return "" if np.isfinite(values).all() else "a column is not finite"
