"""Events as the files that labs work with; one writer a format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from pipeline.event_table import EventTable
from pipeline.export_rows import run_of
from pipeline.exports.bids import write_bids
from pipeline.exports.elan import write_elan
from pipeline.exports.parquet import write_parquet
from pipeline.exports.text import write_csv, write_json_lines, write_vtt


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    name: str
    suffix: str
    write: Callable[[EventTable, Path], None]
    one_stream: bool = False  # it tells of one recording
    by_au: bool = True  # whether a row an AU makes sense


FORMATS = {
    known.name: known
    for known in (
        Format("csv", ".csv", write_csv),
        Format("parquet", ".parquet", write_parquet),
        Format("jsonl", ".jsonl", write_json_lines, by_au=False),
        Format("elan", ".eaf", write_elan, one_stream=True, by_au=False),
        Format("bids", ".tsv", write_bids, one_stream=True),
        Format("vtt", ".vtt", write_vtt, one_stream=True, by_au=False),
    )
}


def format_of(path: Path, name: str | None = None) -> Format:
    """The format called ``name``, else the one of the suffix.

    Raises:
        UserError: there is no such format.
    """
    if name is not None:
        if name not in FORMATS:
            raise UserError(f"--format {name}: one of {', '.join(FORMATS)}")
        return FORMATS[name]
    for known in FORMATS.values():
        if path.suffix.lower() == known.suffix:
            return known
    suffixes = ", ".join(known.suffix for known in FORMATS.values())
    raise UserError(f"{path}: which format? Use one of {suffixes}, or --format")


def write(known: Format, table: EventTable, path: Path, media: Path | None = None) -> None:
    """Write ``table`` to ``path``, linked to the video ``media`` where the format links one.

    Raises:
        UserError: the format holds one recording and the table several, a library is missing,
            or the file cannot be written.
    """
    if known.one_stream:
        _one_recording(known, table)
    if known.name == "elan":
        write_elan(table, path, media)
    else:
        known.write(table, path)


def _one_recording(known: Format, table: EventTable) -> None:
    if len(table.streams) > 1:
        names = ", ".join(table.streams[:5])
        raise UserError(f"{known.name} holds one recording; choose with --stream: {names}")
    if len({run_of(event) for event in table.events}) > 1 and table.ruler.name == "pts":
        raise UserError(
            f"{known.name} holds one recording, and source time begins anew with each run; use "
            "--ruler utc, or csv, parquet or jsonl"
        )
