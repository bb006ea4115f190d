"""Reading the event socket: the client behind ``mespot subscribe``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import zmq

from pipeline import sockets
from pipeline.keys import ClientKey


def subscribe(
    address: str,
    topic: str = "event.",
    timeout_s: float | None = None,
    key: ClientKey | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topics and messages from ``address``, as they come.

    Args:
        topic: prefix of the topics wanted; "" for all.
        timeout_s: end after so long without a message; None waits for ever.
        key: what ``mespot keys new`` made for this client, where the socket asks for one.

    Raises:
        AddressError: not an address.
    """
    with zmq.Context() as context:
        link = sockets.listen(context, address, topic.encode(), key)
        with link:
            while link.poll(None if timeout_s is None else int(timeout_s * 1000)):
                name, body = link.recv_multipart()
                yield name.decode(), msgspec.msgpack.decode(body)
