"""The contract of a stage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Stage(Protocol):
    """Numpy in, numpy out; no socket, no clock, no global.

    ``process`` is called with each item in order and may return any number of
    items; ``flush`` is called once after the last item; ``reset`` forgets all
    state, as if newly made. Raise to reject one item: the driver drops it,
    counts it and goes on.
    """

    def process(self, item: Any) -> Iterable[Any]:
        """Take one item, return any number."""
        ...

    def flush(self) -> Iterable[Any]:
        """Return what was held back."""
        ...

    def reset(self) -> None:
        """Forget all state."""
        ...
