"""What the page's address answers to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from models.errors import UserError
from pipeline.dashboard.access import Access
from pipeline.dashboard.hub import Hub
from pipeline.dashboard.outbox import Outbox

STATIC = Path(__file__).parent / "static"
_SLOW_S = 15.0  # a browser that takes nothing for so long is let go
_STEP_S = 0.03  # what comes within goes out together
_LONGEST_WORD = 2000


def app(hub: Hub, token: str | None, loopback: bool, origin: str = "") -> ASGIApp:
    """The page, its parts and its socket, guarded."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def event(request: Request) -> Response:  # not async: it runs beside the loop
        found = hub.record(*_asked(request))
        if found is None or found[0].config is None:
            return PlainTextResponse("no such event\n", 404)
        from pipeline.dashboard.account import account_of

        try:
            body = msgspec.json.encode(account_of(found[1], found[0].config))
        except UserError as error:
            return PlainTextResponse(f"{error}\n", 500)
        return Response(body, media_type="application/json")

    def crop(request: Request) -> Response:
        found = hub.record(*_asked(request))
        data = None if found is None else found[1].crops.get(request.query_params.get("name", ""))
        if data is None or not hub.images:
            return PlainTextResponse("no such picture\n", 404)
        return Response(data, media_type="image/jpeg")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        client = Outbox(asyncio.get_running_loop())
        hub.join(client)
        hearing = asyncio.create_task(_hear(hub, client, socket))
        telling = asyncio.create_task(_tell(client, socket))
        try:
            await asyncio.wait({hearing, telling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.leave(client)
            for task in (hearing, telling):
                task.cancel()
            await asyncio.gather(hearing, telling, return_exceptions=True)
            with contextlib.suppress(RuntimeError):
                await socket.close()

    routes = [
        Route("/", page),
        Route("/api/event", event),
        Route("/api/crop", crop),
        WebSocketRoute("/live", live),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Access(Starlette(routes=routes), token, loopback, origin)


def _asked(request: Request) -> tuple[str, str]:
    return request.query_params.get("stream", ""), request.query_params.get("id", "")


async def _tell(client: Outbox, socket: WebSocket) -> None:
    while True:
        for payload in await client.take():
            sent = socket.send_text if isinstance(payload, str) else socket.send_bytes
            await asyncio.wait_for(sent(payload), _SLOW_S)  # type: ignore[arg-type]
        await asyncio.sleep(_STEP_S)


async def _hear(hub: Hub, client: Outbox, socket: WebSocket) -> None:
    """A browser says one thing: which camera it looks at."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await socket.receive_text()
            with contextlib.suppress(ValueError, AttributeError):
                asked: Any = json.loads(message[:_LONGEST_WORD])
                hub.watch(client, str(asked.get("watch", "")))
