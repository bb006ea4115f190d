"""``python -m bench {latency|throughput|flow|spotting}``: see ``bench/README.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from models.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Every claim of the README, as a command. Data is synthetic unless --source names a file.",
)

Source = Annotated[Path | None, typer.Option(help="A video; default: a synthetic clip.")]
Seconds = Annotated[float, typer.Option(help="Length of the synthetic clip.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]


@app.command()
def latency(
    source: Source = None, seconds: Seconds = 20.0, json: Json = False, markdown: Markdown = False
) -> None:
    """Per-stage and end-to-end latency at the clip's own rate, from inside and outside."""
    from bench.latency import measure
    from bench.report import show

    show(measure(source, seconds), json, markdown)


@app.command()
def throughput(
    source: Source = None,
    seconds: Seconds = 20.0,
    repeat: Annotated[int, typer.Option(help="Paired runs.")] = 3,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Frames a second, ours against the plain pipeline, in paired runs."""
    from bench.report import show
    from bench.throughput import measure

    show(measure(source, seconds, repeat), json, markdown)


@app.command()
def flow(json: Json = False, markdown: Markdown = False) -> None:
    """Our Farnebäck, exact and fast, against OpenCV's, one thread each."""
    from bench.flow import measure
    from bench.report import show

    show(measure(), json, markdown)


@app.command()
def clips(
    folder: Annotated[Path, typer.Argument(help="Videos beside a truth.json.")],
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Spotted against true events of a folder of clips: F1 at IoU 0.5 and 0.3."""
    from bench.clips import measure
    from bench.report import show

    show(measure(folder), json, markdown)


def main() -> int:
    """Run; a user's mistake is one line."""
    try:
        app(standalone_mode=False)
    except UserError as error:
        typer.echo(f"bench: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
