"""The command line: ``mespot live | check | subscribe``; ``run_live.py`` is ``mespot live``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from models.errors import UserError
from pipeline import (
    cli_archive,
    cli_cluster,
    cli_code,
    cli_datasets,
    cli_doctor,
    cli_explain,
    cli_export_events,
    cli_health,
    cli_keys,
    cli_recognition,
    cli_recognition_pictures,
    cli_reliability,
    cli_report,
    cli_score,
    cli_synth,
)
from pipeline.cameras import load_cameras
from pipeline.cli_live import leave, live, obey

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="mespot: micro-expression spotting for live cameras.",
)


@app.callback()
def _group() -> None:
    """mespot: micro-expression spotting for live cameras."""


app.command()(live)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="TOML configuration file.")]) -> None:
    """Validate a configuration file without starting anything."""
    load_cameras(file)
    typer.echo(f"{file}: in order")


@app.command()
def subscribe(
    address: Annotated[str, typer.Argument(help="Event socket.")] = "tcp://127.0.0.1:5556",
    topic: Annotated[str, typer.Option(help="Topic prefix; '' for everything.")] = "event.",
    key: Annotated[
        Path | None,
        typer.Option(help="Key file, where the socket asks for one (mespot keys new)."),
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="text or json lines.")
    ] = "text",
    since: Annotated[
        str | None,
        typer.Option(
            help="seq of the last event that you have: every later one, once and in order. "
            "-1: from the oldest kept. Or SEQ:RUN:LOG, as an event tells them."
        ),
    ] = None,
    replay: Annotated[
        str | None, typer.Option(help="Replay socket.", show_default="as the publisher tells")
    ] = None,
) -> None:
    """Print the messages of a running mespot."""
    from rich.console import Console

    from pipeline.console import event_line
    from pipeline.events import Notice, Position
    from pipeline.events import subscribe as messages
    from pipeline.keys import load_client

    def said(notice: Notice) -> None:
        typer.echo(f"mespot: {notice}", err=True)

    try:
        position = None if since is None else Position.parse(since)
    except ValueError:
        raise UserError(f"--since {since}: a number from -1 on, or SEQ:RUN:LOG") from None
    console = Console(soft_wrap=True, highlight=False)
    known = None if key is None else load_client(key)
    try:
        for name, message in messages(address, topic, position, replay, on_notice=said, key=known):
            if form == "json" or message["type"] != "event":
                typer.echo(json.dumps(message) if form == "json" else f"{name} {message}")
            else:
                console.print(event_line(message))
    except KeyboardInterrupt:
        return


cli_explain.register(app)
cli_keys.register(app)
cli_export_events.register(app)
cli_report.register(app)
cli_doctor.register(app)
cli_health.register(app)
cli_datasets.register(app)
cli_recognition.register(app)
cli_recognition_pictures.register(app)
cli_score.register(app)
cli_code.register(app)
cli_reliability.register(app)
cli_synth.register(app)
cli_archive.register(app)
cli_cluster.register(app)


def run(arguments: list[str], commands: typer.Typer = app, name: str = "mespot") -> int:
    """Run the command line; one line on standard error and an exit code for a mistake."""
    return obey(arguments, commands, name)


def main() -> None:
    """Entry point ``mespot``."""
    leave(run(sys.argv[1:]))
