"""Tables of a measurement, their figures, and the machine they were made on."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.machine import describe, in_words
from models.errors import UserError

SCHEMA = 1
Cell = str | float
STDOUT = "-"


@dataclass
class Result:
    """One table: a title, column names, rows of text or numbers.

    ``add`` ties figures to a row; where one of them has an aim, the table ends in two more
    columns: the aim, and whether it is reached. ``part`` names the table's place in a document.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    aimed: dict[int, list[Figure]] = field(default_factory=dict)  # by row
    part: str = ""

    def add(self, cells: Sequence[Cell], *figures: Figure | None) -> None:
        """A row, with the figures that it shows; None stands for one without any item."""
        known = [figure for figure in figures if figure is not None]
        self.figures += known
        aimed = [figure for figure in known if figure.aim is not None]
        if aimed:
            self.aimed[len(self.rows)] = aimed
        self.rows.append(list(cells))

    def shown(self) -> tuple[list[str], list[list[Cell]]]:
        """Columns and rows as printed, aims included."""
        if not self.aimed:
            return self.columns, self.rows
        rows = [[*row, *_verdict(self.aimed.get(i, []))] for i, row in enumerate(self.rows)]
        return [*self.columns, "aim", ""], rows

    def as_json(self) -> dict[str, Any]:
        """As printed, in plain types."""
        columns, shown = self.shown()
        rows = [[_finite(cell) for cell in row] for row in shown]
        return {"title": self.title, "columns": columns, "rows": rows, "notes": self.notes}


def _finite(cell: Cell) -> Cell | None:
    """JSON knows no nan and no infinity."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _verdict(figures: Sequence[Figure]) -> list[Cell]:
    many = len(figures) > 1
    names = [figure.key.rpartition(".")[2] + " " if many else "" for figure in figures]
    aims = "; ".join(f"{name}{figure.aim}" for name, figure in zip(names, figures, strict=True))
    words = ["reached" if figure.reached else "missed" for figure in figures]
    return [aims, words[0] if len(set(words)) == 1 else "; ".join(words)]


def rounded(value: float) -> float:
    """Three significant digits, and whole numbers from 1000 on."""
    if not math.isfinite(value) or value == 0:
        return value
    digits = 2 - math.floor(math.log10(abs(value)))
    return round(value, max(digits, 0))


def spread_cells(figure: Figure) -> list[Cell]:
    """Median, least, most."""
    values = (figure.value, figure.spread["min"], figure.spread["max"])
    return [rounded(value) for value in values]


def percentile_cells(samples: Iterable[float]) -> list[Cell]:
    """p50, p95, p99 and count."""
    values = list(samples)
    if not values:
        return ["-", "-", "-", 0]
    return [*(round(float(v), 2) for v in np.percentile(values, [50, 95, 99])), len(values)]


def document(command: str, results: Sequence[Result]) -> dict[str, Any]:
    """What ``--json`` writes; ``bench/README.md`` states the schema.

    Raises:
        ValueError: two figures have one key.
    """
    figures = [figure for result in results for figure in result.figures]
    keys = [figure.key for figure in figures]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"two figures are called {', '.join(sorted(twice))}")
    return {
        "schema": SCHEMA,
        "command": command,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "figures": [figure.as_json() for figure in figures],
        "tables": [result.as_json() for result in results],
    }


def write_json(made: dict[str, Any], path: str) -> None:
    """To a file, or to standard output for ``-``.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps(made)
    if path == STDOUT:
        print(text)
        return
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path}: cannot be written: {error.strerror}") from None


def check_out(path: str | None) -> None:
    """Refuse a file that cannot be written before the measurement, not after it.

    Raises:
        UserError: its folder does not exist, or it is a folder.
    """
    if path is None or path == STDOUT:
        return
    if not Path(path).parent.is_dir():
        raise UserError(f"--json {path}: no such folder")
    if Path(path).is_dir():
        raise UserError(f"--json {path}: is a folder")


def show(results: Sequence[Result], as_markdown: bool, heading: bool = True) -> None:
    """Print the tables."""
    console = Console(soft_wrap=as_markdown)
    if heading:
        console.print(f"machine: {in_words(describe())}", markup=False, highlight=False)
    for result in results:
        if as_markdown:
            console.print(markdown(result), markup=False)
            continue
        columns, rows = result.shown()
        table = Table(*columns, title=result.title, title_justify="left")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
        for note in result.notes:
            console.print(note, markup=False)


def markdown(result: Result) -> str:
    """The table in Markdown, title before and notes after it."""
    columns, rows = result.shown()
    lines = [f"\n**{result.title}**\n", "| " + " | ".join(columns) + " |"]
    lines.append("|" + " --- |" * len(columns))
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([*lines, *(f"\n{note}" for note in result.notes)])


def say(text: str) -> None:
    """Progress, on standard error so that JSON on standard output stays JSON."""
    print(text, file=sys.stderr, flush=True)
