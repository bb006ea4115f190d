"""The page's server: a watcher with a thread of its own (docs/dashboard.md)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models.errors import AddressError, UserError
from pipeline.config import DashboardConfig
from pipeline.dashboard.hub import Hub
from pipeline.keys import KeysError
from pipeline.messages import Report
from pipeline.watchers import Watcher

if TYPE_CHECKING:
    from pipeline.graph import Graph

_BEAT_S = 1.0
_END_S = 5.0
_LEAST_TOKEN = 16  # characters
_MOST_AT_ONCE = 100  # requests and browsers


class Dashboard(Watcher):
    """Serves the page until it is closed; one for all cameras of this process.

    Args:
        settings: where, for whom, and with pictures or not.

    Raises:
        UserError: Starlette, uvicorn or websockets is missing.
        KeysError: others would reach it, and there is no token.
        AddressError: the address is occupied or not this machine's.
    """

    def __init__(self, settings: DashboardConfig) -> None:
        token = _token(settings)
        uvicorn = _libraries()
        from pipeline.dashboard.routes import app

        self._hub = Hub(settings.pictures)
        self._socket = _bound(settings)
        host, port = self._socket.getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        self.address = f"http://{named}:{port}"
        guarded = app(self._hub, token, settings.loopback, settings.origin)
        self._server = uvicorn.Server(_uvicorn_config(uvicorn, guarded))
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)
        self._thread.start()

    def on_report(self, report: Report, graph: Graph) -> None:
        """Figures of a node."""
        self._hub.report(report, graph)

    def on_message(self, parts: Sequence[bytes]) -> None:
        """What was published, and what nodes let the page see."""
        self._hub.message(parts)

    def close(self) -> None:
        """Let the browsers go, which will look for the next run."""
        self._server.should_exit = True
        self._thread.join(_END_S)
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(SystemExit):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        beating = asyncio.create_task(self._beat())
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            self._hub.beat()


def _libraries() -> Any:
    try:
        import starlette
        import uvicorn
        import websockets
    except ImportError as error:
        raise UserError(f"--dashboard needs {error.name}: pip install 'mespot[page]'") from None
    del starlette, websockets
    return uvicorn


def _uvicorn_config(uvicorn: Any, app: Any) -> Any:
    from pipeline.dashboard.patience import Patience

    return uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,  # it would show tokens
        lifespan="off",
        loop="asyncio",
        http=Patience,
        ws_max_size=4096,
        ws_per_message_deflate=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=1,
    )


def _token(settings: DashboardConfig) -> str | None:
    """The token.

    Raises:
        KeysError: there is none, or a short one, and others reach the page.
    """
    token = "" if settings.token is None else settings.token.get_secret_value()
    if not token and not settings.loopback:
        key, where = ("origin", settings.origin) if settings.origin else ("host", settings.host)
        raise KeysError(
            f"dashboard.{key}: {where} is reached by others: set dashboard.token "
            f"(or MESPOT_DASHBOARD__TOKEN), {_LEAST_TOKEN} characters or more"
        )
    if token and len(token) < _LEAST_TOKEN:
        raise KeysError(f"dashboard.token: needs {_LEAST_TOKEN} characters or more")
    return token or None


def _bound(settings: DashboardConfig) -> socket.socket:
    """A listening socket.

    Raises:
        AddressError: it cannot be had.
    """
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, settings.port))
        made.listen(64)
    except OSError as error:
        made.close()
        where = f"dashboard: {host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            hint = "choose another dashboard.port (MESPOT_DASHBOARD__PORT), or 0 for a free one"
            raise AddressError(f"{where} is occupied; {hint}") from None
        raise AddressError(f"{where}: cannot be bound: {error.strerror or error}") from None
    return made
