"""Figures of a long run in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator


class Samples:
    """The newest of many numbers, four bytes each.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = array("f")
        self._next = 0  # the place of the oldest, once all places are taken

    def extend(self, values: Iterable[float]) -> None:
        """Add ``values``; the oldest make room."""
        for value in values:
            if len(self._kept) < self._most:
                self._kept.append(value)
            else:
                self._kept[self._next] = value
                self._next = (self._next + 1) % self._most

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[float]:
        """From the oldest to the newest."""
        yield from self._kept[self._next :]
        yield from self._kept[: self._next]
