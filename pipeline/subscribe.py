"""Reading the event socket: the client behind ``mespot subscribe``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from models.errors import AddressError
from pipeline import arrived, sockets
from pipeline.wire import WireError


def subscribe(
    address: str, topic: str = "event.", timeout_s: float | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topics and messages from ``address``, as they come; what is no message is left out.

    Args:
        topic: prefix of the topics wanted; "" for all.
        timeout_s: end after so long without a message; None waits for ever.

    Raises:
        AddressError: not an address.
    """
    with zmq.Context() as context:
        try:
            link = sockets.listen(context, address, topic.encode())
        except zmq.ZMQError as error:
            raise AddressError(f"{address}: not a ZeroMQ address: {error.strerror}") from None
        with link:
            while link.poll(None if timeout_s is None else int(timeout_s * 1000)):
                try:
                    found = arrived.published(link.recv_multipart())
                except WireError:
                    continue
                yield found
