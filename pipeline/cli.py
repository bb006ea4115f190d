"""The command line: ``mespot live | check | subscribe``; ``run_live.py`` is ``mespot live``."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from models.errors import UserError
from pipeline import (
    cli_code,
    cli_datasets,
    cli_explain,
    cli_recognition,
    cli_recognition_pictures,
    cli_reliability,
    cli_score,
    cli_synth,
)
from pipeline.config import load

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="mespot: micro-expression spotting for live cameras.",
)

_SOURCE_HELP = (
    "Webcam index (0), rtsp:// address, video file, folder of numbered images, "
    "or synthetic: (a scripted face with known truth)."
)


@app.callback()
def _group() -> None:
    """mespot: micro-expression spotting for live cameras."""


@app.command()
def live(
    source: Annotated[
        str | None, typer.Argument(help=_SOURCE_HELP, show_default="synthetic:")
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Replay rate of recorded input: a number, source (its own) or max."),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            help="Address of the event socket; port * takes a free one and prints it.",
            show_default="tcp://127.0.0.1:5556",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the events to this JSON Lines file.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Seconds to run: source time if recorded, wall time if live."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="ONNX recogniser (docs/recogniser-format.md); may be given more than once.",
            show_default="those shipped",
        ),
    ] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="No recogniser: the coding guide alone.")
    ] = False,
    require_gpu: Annotated[
        bool | None,
        typer.Option("--require-gpu", help="Fail when a recogniser cannot use the GPU."),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(
            help="inproc: threads; ipc or tcp: processes. Changes no result.",
            show_default="inproc",
        ),
    ] = None,
    faces: Annotated[int | None, typer.Option(help="Faces to follow.", show_default="1")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="mespot: joint explanation; paper: He et al.'s.", show_default="mespot"),
    ] = None,
    calibrate: Annotated[
        float | None,
        typer.Option(
            help="Learn the neutral face for so many seconds before anything is spotted.",
            show_default="0",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and warnings.")] = False,
) -> None:
    """Spot micro- and macro-expressions in SOURCE and publish them as they happen."""
    if no_models and model:
        raise UserError("--no-models and --model: give one or the other")
    settings = load(
        config,
        source=source,
        fps=fps,
        events=events,
        out=out,
        duration=duration,
        model=[] if no_models else model or None,
        require_gpu=require_gpu,
        transport=transport,
        faces=faces,
        method=method,
        spot=None if calibrate is None else {"calibrate_s": calibrate},
    )
    from pipeline.console import Screen
    from pipeline.graph import Graph
    from pipeline.node import is_live

    screen = Screen(quiet, verbose, is_live(settings.source))
    graph = Graph(settings, screen.on_report)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, graph.on_signal)
    screen.summary(graph.run())


@app.command()
def check(file: Annotated[Path, typer.Argument(help="TOML configuration file.")]) -> None:
    """Validate a configuration file without starting anything."""
    load(file)
    typer.echo(f"{file}: in order")


@app.command()
def subscribe(
    address: Annotated[str, typer.Argument(help="Event socket.")] = "tcp://127.0.0.1:5556",
    topic: Annotated[str, typer.Option(help="Topic prefix; '' for everything.")] = "event.",
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="text or json lines.")
    ] = "text",
) -> None:
    """Print the messages of a running mespot."""
    from rich.console import Console

    from pipeline.console import event_line
    from pipeline.subscribe import subscribe as messages

    console = Console(soft_wrap=True, highlight=False)
    try:
        for name, message in messages(address, topic):
            if form == "json" or message["type"] != "event":
                typer.echo(json.dumps(message) if form == "json" else f"{name} {message}")
            else:
                console.print(event_line(message))
    except KeyboardInterrupt:
        return


cli_explain.register(app)
cli_datasets.register(app)
cli_recognition.register(app)
cli_recognition_pictures.register(app)
cli_score.register(app)
cli_code.register(app)
cli_reliability.register(app)
cli_synth.register(app)

door = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
door.command()(live)


def run(arguments: list[str], commands: typer.Typer = app, name: str = "mespot") -> int:
    """Run the command line; one line on standard error and an exit code for a mistake."""
    try:
        code = commands(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UserError as error:
        typer.echo(f"{name}: {error}", err=True)
        return error.exit_code
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        # Typer vendors or imports Click: its usage errors carry format_message and exit_code
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            typer.echo(f"{name}: {error.format_message()} (see --help)", err=True)
            return int(error.exit_code)
        raise


def main() -> None:
    """Entry point ``mespot``."""
    sys.exit(run(sys.argv[1:]))
