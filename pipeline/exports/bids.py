"""BIDS: ``events.tsv`` and the JSON sidecar that describes its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.event_table import EventTable
from pipeline.export_rows import Column, Row, Ruler
from pipeline.exports.files import whole
from pipeline.exports.text import cell
from pipeline.exports.version import version

_RENAMED = {
    "onset_s": "onset",
    "duration_s": "duration",
    "event_onset_s": "event_onset",
    "event_duration_s": "event_duration",
}
_LEVELS = {
    "micro": "micro-expression",
    "macro": "macro-expression",
    "unknown": "announced and withdrawn, with --retracted",
}


def write_bids(table: EventTable, path: Path) -> None:
    """``path`` (``.tsv``) and, beside it, the sidecar of the same name (``.json``)."""
    columns = _columns(table)
    sidecar = path.with_suffix(".json")
    with whole(path, sidecar) as (rows, about):
        with rows.open("w", encoding="utf-8", newline="\n") as file:
            file.write("\t".join(name for name, _ in columns) + "\n")
            for row in table.rows:
                cells = (cell(c, c.value(row, table.ruler), "n/a") for _, c in columns)
                file.write("\t".join(_one_line(text) for text in cells) + "\n")
        text = json.dumps(_sidecar(table, columns), indent=2, ensure_ascii=False)
        about.write_text(text + "\n", encoding="utf-8")


def _columns(table: EventTable) -> list[tuple[str, Column]]:
    """onset, duration and trial_type first; what is itself a table stays out."""
    flat = [column for column in table.columns if column.type != "records"]
    named = [(_RENAMED.get(column.name, column.name), column) for column in flat]
    first = [item for key in ("onset", "duration") for item in named if item[0] == key]
    return [*first, ("trial_type", _trial_type(table)), *(i for i in named if i not in first)]


def _trial_type(table: EventTable) -> Column:
    def value(row: Row, ruler: Ruler) -> str:
        if not table.by_au or row.au is None:
            return row.event.kind
        side = "" if row.au.side == "both" else f"_{row.au.side[0].upper()}"
        return f"AU{row.au.au}{side}"

    meaning = "action unit, _L or _R where one side alone" if table.by_au else "kind of expression"
    return Column("trial_type", "text", "", meaning, value)


def _one_line(text: str) -> str:
    return " ".join(text.split("\t")).replace("\n", " ").replace("\r", " ")


def _sidecar(table: EventTable, columns: list[tuple[str, Column]]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for name, column in columns:
        about[name] = {"Description": _meaning(table, column)}
        if column.unit:
            about[name]["Units"] = column.unit
    if not table.by_au:
        about["trial_type"]["Levels"] = _LEVELS
    about["GeneratedBy"] = [{"Name": "mespot", "Version": version()}]
    return about


def _meaning(table: EventTable, column: Column) -> str:
    on_ruler = column.name.endswith("_s") and column.name.removesuffix("_s").endswith(
        ("onset", "apex", "offset")
    )
    return f"{column.meaning}; {table.ruler.meaning}" if on_ruler else column.meaning
