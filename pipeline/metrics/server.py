"""The HTTP server of ``/metrics`` and ``/healthz``: reads alone, and little patience."""

from __future__ import annotations

import errno
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from models.errors import AddressError
from pipeline.config import MetricsConfig
from pipeline.guard import reach
from pipeline.keys import KeysError
from pipeline.metrics.health import Health

_AT_ONCE = 16  # connections; more are closed unheard
_SILENCE_S = 5.0
_WHOLE_S = 10.0  # of one connection, however slowly it trickles
_POLL_S = 0.1
_ACCEPT = 200  # characters of the header that are looked at


def check_open(settings: MetricsConfig, insecure: bool) -> str:
    """A warning where everybody may read, "" where not.

    Raises:
        KeysError: others could reach the address, and no token is asked for.
    """
    address = _tcp(settings.host, settings.port)
    if reach(address) != "network" or settings.token is not None:
        return ""
    if insecure:
        return f"metrics: {address} is open to everybody who reaches this machine (--insecure)"
    raise KeysError(
        f"metrics.host: {settings.host} could be reached by others; set metrics.token "
        "(MESPOT_METRICS__TOKEN), or say --insecure"
    )


class Server:
    """Serves in threads of its own until ``close``.

    Args:
        settings: the ``metrics`` section.
        registry: what ``/metrics`` shows.
        health: what ``/healthz`` says.

    Attributes:
        url: of the metrics, with the port that it really has.

    Raises:
        AddressError: the address is occupied or cannot be bound.
    """

    def __init__(
        self, settings: MetricsConfig, registry: CollectorRegistry, health: Health
    ) -> None:
        token = None if settings.token is None else settings.token.get_secret_value()
        local = reach(_tcp(settings.host, settings.port)) == "loopback"

        class Handler(_Handler):
            pages = _Pages(registry, health, token, local and token is None)

        host = "127.0.0.1" if settings.host == "localhost" else settings.host.strip("[]")
        self._http = _bound(host, settings.port, Handler)
        port = self._http.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}/metrics"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _tcp(host: str, port: int) -> str:
    return f"tcp://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"


def _bound(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> _Http:
    class Http(_Http):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Http((host, port), handler)
    except OSError as error:
        hint = "choose another with metrics.port; 0 takes a free one"
        if error.errno == errno.EADDRINUSE:
            raise AddressError(f"metrics: {_tcp(host, port)} is occupied; {hint}") from None
        why = error.strerror or error
        raise AddressError(f"metrics: cannot bind {_tcp(host, port)}: {why}; {hint}") from None


class _Http(ThreadingHTTPServer):
    """Bounded in connections and in the time of each."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = _AT_ONCE

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Without the look-up of a name that the base class makes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and no longer than it may take."""
        late = threading.Timer(_WHOLE_S, _cut, (request,))
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's concern."""


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Shown(Collector):
    """A registry without the times at which its series began: half of all lines."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        for metric in self._registry.collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


class _Pages:
    """What is served to whom."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, token: str | None, local: bool
    ) -> None:
        self._registry = registry
        self._health = health
        self._token = None if token is None else f"Bearer {token}".encode()
        self._local = local
        self._one = threading.Lock()
        self._served: dict[str, Callable[[str], tuple[int, str, bytes]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
        }

    def refused(self, host: str, authorization: str) -> HTTPStatus | None:
        """Why somebody is not let in.

        Without a token a page that a browser shows must not read it under a name that its
        author lets point here.
        """
        if self._token is not None and not hmac.compare_digest(
            authorization.encode("latin-1", "replace"), self._token
        ):
            return HTTPStatus.UNAUTHORIZED
        if self._local and host and reach(f"tcp://{_with_port(host)}") != "loopback":
            return HTTPStatus.FORBIDDEN
        return None

    def get(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        page = self._served.get(path.partition("?")[0])
        if page is None:
            return HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /healthz\n"
        return page(accept)

    def _metrics(self, accept: str) -> tuple[int, str, bytes]:
        encode, kind = choose_encoder(accept)
        with self._one:  # collecting twice at once gains nothing
            return HTTPStatus.OK, kind, encode(_Shown(self._registry))

    def _healthz(self, accept: str) -> tuple[int, str, bytes]:
        del accept
        ok, body = self._health.look()
        status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json", json.dumps(body).encode() + b"\n"


def _with_port(host: str) -> str:
    return host if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else f"{host}:80"


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    pages: _Pages
    timeout = _SILENCE_S
    server_version, sys_version = "mespot", ""

    def do_GET(self) -> None:
        """Answer."""
        said = self.headers
        status = self.pages.refused(said.get("Host", ""), said.get("Authorization", ""))
        if status is not None:
            self._answer(status, "text/plain", f"{status.phrase}\n".encode())
            return
        self._answer(*self.pages.get(self.path, said.get("Accept", "")[:_ACCEPT]))

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self.do_GET()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: what strangers ask for does not belong into a log."""
