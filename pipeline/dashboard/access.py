"""Who may look: this machine's own pages, or whoever has the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_YEAR_S = 365 * 24 * 3600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_ASKED = (
    "mespot: this page asks for its token. Open it once with ?token=... behind the address "
    "(dashboard.token of the configuration), or send Authorization: Bearer ...\n"
)


class Access:
    """Lets a request through, or answers it.

    Args:
        app: what is guarded.
        token: what a browser must know; None: nothing.
        loopback: this machine alone reaches the page, and so may only its own names be asked for:
            a foreign name that was made to mean 127.0.0.1 is turned away.
        origin: of a proxy before the page, as ``https://name``; "": none.
    """

    def __init__(self, app: ASGIApp, token: str | None, loopback: bool, origin: str = "") -> None:
        self._app = app
        self._token = token
        self._loopback = loopback
        self._origin = origin.lower()
        # the cookie outlives a restart, and does not tell the token
        self._cookie = (
            "" if token is None else hmac.digest(token.encode(), b"mespot page", "sha256").hex()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403})  # before it is accepted: 403
        else:
            await answer(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """What to say instead; None: it may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._loopback and not _is_own(host):
            return PlainTextResponse("mespot: not a name of this machine\n", 403)
        if not _same_origin(headers, host, self._origin, scope["type"] == "websocket"):
            return PlainTextResponse("mespot: not for other sites\n", 403)
        if self._token is None or self._known(headers, cookie_name(host)):
            return None
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and scope["path"] == "/" and self._is_token(asked):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                cookie_name(host),
                self._cookie,
                max_age=_YEAR_S,
                secure=self._origin.startswith("https:"),
                httponly=True,
                samesite="lax",
            )
            return answer
        return PlainTextResponse(_ASKED, 401, headers={"www-authenticate": "Bearer"})

    def _known(self, headers: Headers, cookie: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        # other programs of this host put odd ones beside it
        jar = cookie_parser("; ".join(headers.getlist("cookie")))
        return _equal(jar.get(cookie, ""), self._cookie)

    def _is_token(self, given: str) -> bool:
        return self._token is not None and _equal(given, self._token)


def cookie_name(host: str) -> str:
    """Of a page as ``host`` (a Host header) names it: browsers keep cookies of all ports as one."""
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        port = None
    return "mespot" if port is None else f"mespot-{port}"


def _equal(given: str, wanted: str) -> bool:
    """Compared in a time that does not depend on what is equal, nor on lengths."""
    digests = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, wanted)]
    return hmac.compare_digest(*digests)


def _is_own(host: str) -> bool:
    """Whether ``host`` (a Host header) names this machine to itself."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same_origin(headers: Headers, host: str, proxy: str, socket: bool) -> bool:
    """Whether a request comes from this page, from a person, or from a program."""
    origin = headers.get("origin")
    is_proxy = origin is not None and proxy != "" and origin.lower() == proxy
    if origin is not None and not is_proxy and urlsplit(origin).netloc.lower() != host.lower():
        return False
    site = headers.get("sec-fetch-site", "none")
    if socket or headers.get("sec-fetch-mode", "") != "navigate":
        return site in ("same-origin", "none")
    return True  # a link to the page may be anywhere


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            added: dict[str, Any] = dict(_HEADERS)
            own = {name.decode().lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((k.encode(), v.encode()) for k, v in added.items() if k not in own),
            ]
        await send(message)

    return sending
