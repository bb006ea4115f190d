"""``mespot keys``: who may listen from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Folder = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="Keys folder.", show_default="security.keys, ~/.config/mespot/keys"
    ),
]
_Name = Annotated[str, typer.Argument(help="The client's name: letters, digits, - and _.")]

keys = typer.Typer(no_args_is_help=True, help="Who may listen from elsewhere: new, list, revoke.")


def register(app: typer.Typer) -> None:
    """Add the command ``keys``."""
    app.add_typer(keys, name="keys")


@keys.command()
def new(
    name: _Name,
    out: Annotated[
        Path | None,
        typer.Option(help="The client's secret file.", show_default="NAME.key"),
    ] = None,
    folder: _Folder = None,
) -> None:
    """Make a key for a client; the first one makes the server's keys as well."""
    from pipeline.keys import new as made

    where = _folder(folder)
    path = made(where, name, out)
    typer.echo(f"{path}: give it to {name} and nobody else; {name} may listen from now on")


@keys.command("list")
def list_(folder: _Folder = None) -> None:
    """Show all clients: name, public key, since when."""
    from pipeline.keys import clients

    where = _folder(folder)
    found = clients(where)
    for client in found:
        state = "revoked" if client.revoked else "may listen"
        since = client.since.isoformat(sep=" ", timespec="seconds")
        typer.echo(f"{client.name:<20} {state:<10} {client.public.decode()} {since}")
    if not found:
        typer.echo(f"{where}: no clients; mespot keys new NAME")


@keys.command()
def revoke(name: _Name, folder: _Folder = None) -> None:
    """Let a client in no more; one that is connected is out within 5 seconds."""
    from pipeline.keys import revoke as struck

    struck(_folder(folder), name)
    typer.echo(f"{name}: may listen no more")


def _folder(given: Path | None) -> Path:
    from pipeline.config import load

    return given if given is not None else load().security.folder
