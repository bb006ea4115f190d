"""Connections that ask nothing are cut: places are few, and others want one too."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ASK_S = 10.0  # for a whole request, however slowly it trickles
ANSWER_S = 60.0  # until its answer is taken
MOST_OF_ONE = 32  # connections of one address beyond loopback


class Patience(H11Protocol):
    """HTTP with limits that uvicorn lacks; it itself waits for a first request for ever."""

    _late: asyncio.TimerHandle | None = None
    _asking = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there; there may be too many of them."""
        super().connection_made(transport)
        if self.client is not None and not _is_loopback(self.client[0]):
            peers = [getattr(one, "client", None) for one in self.connections]
            if sum(peer is not None and peer[0] == self.client[0] for peer in peers) > MOST_OF_ONE:
                transport.abort()
                return
        self._within(ASK_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """They went, or were cut."""
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Once a request is whole, its answer has its time."""
        super().handle_events()
        cycle = self.cycle
        if self._asking and cycle and not cycle.more_body and not cycle.response_complete:
            self._asking = False
            self._within(ANSWER_S)

    def on_response_complete(self) -> None:
        """The next request has its time."""
        self._asking = True
        self._within(ASK_S)
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """A socket lives on, under rules of its own."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def _within(self, seconds: float) -> None:
        self._stop()
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _is_loopback(host: Any) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
