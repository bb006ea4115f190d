"""``mespot export-events``: events as CSV, Parquet, JSON Lines, ELAN, BIDS or WebVTT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("export-events")(export_events)


def export_events(
    events: Annotated[Path, typer.Argument(help="What --out wrote, or an event log.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="File: .csv, .parquet, .jsonl, .eaf (ELAN), .tsv (BIDS), .vtt."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv, parquet, jsonl, elan, bids, vtt; else by the suffix."),
    ] = None,
    by_au: Annotated[
        bool, typer.Option("--by-au", help="A row an action unit instead of a row an event.")
    ] = False,
    retracted: Annotated[
        bool, typer.Option("--retracted", help="Also what was announced and withdrawn.")
    ] = False,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated.")
    ] = None,
    face: Annotated[list[int] | None, typer.Option(help="Only this face; may be repeated.")] = None,
    ruler: Annotated[
        Literal["pts", "utc"],
        typer.Option(help="Seconds of source time (pts), or of UTC since --start."),
    ] = "pts",
    start: Annotated[
        str | None,
        typer.Option(
            help="With --ruler utc: where 0 is, such as the start of another recording "
            "(2026-05-04T09:30:00Z).",
            show_default="the first frame",
        ),
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="ELAN: the video to link.", show_default="none")
    ] = None,
) -> None:
    """Write the final EVENTS, each with its last readings, for the tools of the lab."""
    from pipeline.event_input import Told, read_events
    from pipeline.event_table import Choice, event_table
    from pipeline.exports import format_of, write

    known = format_of(out, form)
    if by_au and not known.by_au:
        raise UserError(f"--by-au: {known.name} holds events; use csv, parquet or bids")
    if media is not None and known.name != "elan":
        raise UserError("--media: of ELAN's files alone")
    if events.exists() and out.exists() and out.samefile(events):
        raise UserError(f"{out}: is the file that is read")
    told = Told.of(read_events(events))
    choice = Choice(stream or (), face or (), retracted, by_au, ruler, _start(start, ruler))
    table = event_table(told, choice)
    write(known, table, out, media)
    streams = "1 stream" if len(table.streams) == 1 else f"{len(table.streams)} streams"
    typer.echo(f"{out}: {len(table.events)} events in {streams}")
    if told.open:
        typer.echo(f"{told.open} announced events were never closed and are left out", err=True)


def _start(text: str | None, ruler: str) -> int | None:
    from pipeline.export_rows import utc_ns

    if text is None:
        return None
    if ruler != "utc":
        raise UserError("--start: needs --ruler utc")
    try:
        return utc_ns(text)
    except ValueError as error:
        raise UserError(f"--start {text}: {error}") from None
