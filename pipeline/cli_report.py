"""``mespot report``: one page about a whole recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UserError
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.report_run import Seen


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(report)


def report(
    source: Annotated[
        str, typer.Argument(help="A recording: video file, folder of images, or synthetic:.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path(
        "report.html"
    ),
    fps: Annotated[
        str | None, typer.Option(help="Rate of a folder of images, frames a second.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of the source to run.")] = None,
    faces: Annotated[int | None, typer.Option(help="Faces to follow.", show_default="1")] = None,
    method: Annotated[
        str | None, typer.Option(help="mespot or paper.", show_default="mespot")
    ] = None,
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
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no words.")] = False,
) -> None:
    """Write a page about a recording: timeline, curves, every event with why, tables.

    Ctrl-C ends early and writes what has been found so far.
    """
    if no_models and model:
        raise UserError("--no-models and --model: give one or the other")
    from pipeline.config import load
    from pipeline.pages import check_page

    settings = load(
        config,
        source=source,
        fps=fps,
        duration=duration,
        faces=faces,
        method=method,
        model=[] if no_models else model or None,
    )
    check_page(out)
    from pipeline.report import report as write_report

    with ReportProgress(quiet) as progress:
        seen = write_report(settings, out, progress)
    if seen.warning:
        typer.echo(f"mespot: {seen.warning}", err=True)
    if not quiet:
        partial = f"; partial: {seen.partial}" if seen.partial else ""
        typer.echo(f"{out}: {len(seen.events)} events in {seen.until_s:.1f} s{partial}")


class ReportProgress(Progress):
    """How far a recording is."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(quiet, "loading")

    def __call__(self, seen: Seen) -> bool:
        """Show how far it is; False once a signal has come."""
        return self.show(seen.frames, f"{len(seen.events)} events", seen.planned)
