"""``mespot explain`` and ``mespot prototypes show``: why an event was raised, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import load


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command()(explain)
    sets = typer.Typer(no_args_is_help=True, help="Prototype sets.")
    sets.callback()(_prototypes)
    sets.command()(show)
    app.add_typer(sets, name="prototypes")


def _prototypes() -> None:
    """Prototype sets."""


def explain(
    source: Annotated[
        str, typer.Argument(help="A recording: video file, folder of images, or synthetic:.")
    ] = "synthetic:",
    event: Annotated[
        str | None,
        typer.Option(
            help="Number from 0, r0 for the first withdrawn announcement, or an id.",
            show_default="the strongest",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG or HTML file to write.")] = Path("event.png"),
    everything: Annotated[
        bool, typer.Option("--all", help="List everything announced, and why it was withdrawn.")
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="mespot or paper.", show_default="mespot")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(help="Rate of a folder of images, frames a second.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of the source to run.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
) -> None:
    """Show why an event was raised or withdrawn: crops, flow, prototypes, curves, vetoes."""
    settings = load(config, source=source, method=method, fps=fps, duration=duration)
    from pipeline.explain import chosen
    from pipeline.explain import explain as write_explanation
    from pipeline.explain_record import record
    from pipeline.explain_words import all_rows
    from pipeline.pages import check_out

    check_out(out)
    run = record(settings)
    if everything:
        for row in all_rows(run):
            typer.echo("  ".join(row))
    account = chosen(run, settings, event)
    write_explanation(account, run, settings, out, everything)
    typer.echo(f"{out}: {account.interval.id}")


def show(
    out: Annotated[Path, typer.Option(help="PNG or HTML file to write.")] = Path("prototypes.png"),
    prototypes: Annotated[
        Path | None, typer.Option(help="Prototype file.", show_default="the shipped set")
    ] = None,
) -> None:
    """Draw every prototype of a set: direction, strength, and how alike they are."""
    from models.prototypes import load as load_set
    from models.prototypes import load_default
    from pipeline import prototype_pictures

    known = load_default() if prototypes is None else load_set(prototypes)
    prototype_pictures.show(known, out)
    typer.echo(out)
    if note := prototype_pictures.note(known):
        typer.echo(note)
