"""``mespot health``: whether a running mespot does its work, for container health checks."""

from __future__ import annotations

import http.client
import json
from typing import Annotated
from urllib.parse import urlsplit

import typer

from models.errors import UserError
from pipeline.redaction import redacted

_LARGEST = 1_000_000
_TIMEOUT_S = 5.0


def health(
    url: Annotated[
        str | None,
        typer.Argument(
            help="Of the metrics or of /healthz.",
            show_default="http://127.0.0.1:9464/healthz, or as MESPOT_METRICS__… say",
        ),
    ] = None,
) -> None:
    """Ask a running mespot whether it does its work: one line, exit code 0 or 1."""
    from pipeline.config import load

    settings = load().metrics
    address = url or f"http://{_near(settings.host)}:{settings.port}/healthz"
    token = None if settings.token is None else settings.token.get_secret_value()
    ok, line = ask(address, token)
    typer.echo(line)
    raise typer.Exit(0 if ok else 1)


def _near(host: str) -> str:
    """Where a server that listens everywhere is reached from this machine."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{near}]" if ":" in near else near


def ask(url: str, token: str | None = None) -> tuple[bool, str]:
    """Whether the mespot at ``url`` is well; and a line on it.

    Raises:
        UserError: not an address of HTTP.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UserError(f"{redacted(url)}: not an http:// address") from None
    if parts.scheme != "http" or not host:
        raise UserError(f"{redacted(url)}: not an http:// address")
    path = "/healthz" if parts.path in ("", "/", "/metrics") else parts.path
    said = {} if token is None else {"Authorization": f"Bearer {token}"}
    link = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        link.request("GET", path, headers=said)
        answer = link.getresponse()
        body = answer.read(_LARGEST)
    except (OSError, http.client.HTTPException) as error:
        return False, f"unhealthy: {redacted(url)}: {error}"
    finally:
        link.close()
    return _worded(answer.status, body)


def _worded(status: int, body: bytes) -> tuple[bool, str]:
    try:
        told = json.loads(body)
        cameras = {str(name): str(one["state"]) for name, one in told["cameras"].items()}
        reason = str(told["reason"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False, f"unhealthy: HTTP {status}, and no answer of mespot's"
    if status == http.client.OK:
        words = ", ".join(f"{name} {state}" for name, state in cameras.items())
        return True, f"healthy: {words}"
    return False, f"unhealthy: {reason}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(health)
