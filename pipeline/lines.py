"""The supervisor's sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import msgspec
import zmq

from pipeline import arrived, sockets
from pipeline.messages import Command, Report, Setting
from pipeline.sockets import NODES, Addresses, Socket
from pipeline.wire import Wire, WireError, encode

_TOLD = 100  # words to a node that it has not taken


class Lines:
    """Reports in, commands and a few words out. Nothing here waits for a node."""

    def __init__(self, context: zmq.Context[Any], addresses: Addresses) -> None:
        self.context, self.addresses = context, addresses
        self.malformed = 0  # reports that were none
        self._stack = contextlib.ExitStack()
        self._reports = self._own(sockets.pull(context, addresses["reports"], sockets.REPORTS))
        self._commands = self._own(sockets.broadcast(context, addresses["commands"]))
        self._nodes = {  # now, as a connection takes a while to stand
            name: self._own(sockets.push(context, addresses[name], _TOLD)) for name in NODES[1:]
        }

    def _own(self, opened: Socket) -> Socket:
        self._stack.callback(opened.close)
        return opened

    def report(self, wait_ms: int) -> Report | None:
        """The next report; None when none came for ``wait_ms``."""
        if not self._reports.poll(wait_ms):
            return None
        try:
            return arrived.report(self._reports.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:  # a stranger who is turned away is announced like a report
            return None
        except WireError:
            self.malformed += 1
            return None

    def command(self, kind: Literal["go", "stop"]) -> None:
        """A word to all nodes."""
        self._commands.send(msgspec.msgpack.encode(Command(kind)))

    def reload(self, revision: int, settings: Mapping[str, Setting]) -> None:
        """To all nodes: what holds from now on, by key."""
        self._commands.send(msgspec.msgpack.encode(Command("reload", revision, dict(settings))))

    def tell(self, name: str, item: Wire) -> bool:
        """Put ``item`` into a node's inbox; False when there is no room or no node now."""
        link = self._nodes[name]
        if not link.poll(0, zmq.POLLOUT):
            return False
        link.send_multipart(encode(item))
        return True

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
