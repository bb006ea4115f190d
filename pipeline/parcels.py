"""Between threads of one process an item itself is handed over: only its number travels."""

from __future__ import annotations

import itertools

from pipeline.wire import Buffer, Wire, WireError

_MARK = b"\xc1"  # no msgpack message begins so


class Parcels:
    """Items on their way from thread to thread; each is taken once.

    Nothing is encoded or copied: sender and receiver hold the same arrays, so neither may
    write to them.
    """

    def __init__(self) -> None:
        self._items: dict[int, Wire] = {}
        self._numbers = itertools.count()

    def put(self, item: Wire) -> bytes:
        """The message that stands for ``item``."""
        number = next(self._numbers)
        self._items[number] = item
        return _MARK + number.to_bytes(8, "big")

    @staticmethod
    def is_one(message: Buffer) -> bool:
        """Whether ``message`` stands for an item."""
        return bytes(message[:1]) == _MARK

    def take(self, message: Buffer) -> Wire:
        """The item that ``message`` stands for.

        Raises:
            WireError: there is none, or none any more.
        """
        try:
            return self._items.pop(int.from_bytes(message[1:], "big"))
        except KeyError:
            raise WireError("no such item") from None
