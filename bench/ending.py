"""What every command does with its results: print, write, compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare import TOLERANCE, compared, earlier
from bench.figures import Figure
from bench.machine import describe, in_words
from bench.markers import rewrite
from bench.report import (
    STDOUT,
    Result,
    check_out,
    document,
    markdown,
    rounded,
    say,
    show,
    write_json,
)
from models.errors import UserError


@dataclass(frozen=True)
class Form:
    """How results go out.

    Attributes:
        json: a file, ``-`` for standard output in place of the tables, or None.
        markdown: print Markdown tables.
        compare: an earlier run's JSON.
        tolerance: share by which a figure may be worse.
        into: a document whose marked tables are rewritten.
    """

    json: str | None = None
    markdown: bool = False
    compare: Path | None = None
    tolerance: float = TOLERANCE
    into: Path | None = None

    def check(self) -> None:
        """Find mistakes before the measurement.

        Raises:
            UserError: what ``--json``, ``--compare`` or ``--into`` names is wrong.
        """
        check_out(self.json)
        if not 0 <= self.tolerance < 1:
            raise UserError(f"--tolerance {self.tolerance:g}: must be at least 0 and below 1")
        if self.compare is not None:
            earlier(self.compare)
        if self.into is not None:
            rewrite(self.into, {})


def finish(
    command: str, results: Sequence[Result], form: Form, more: dict[str, Any] | None = None
) -> int:
    """Put the results out; the exit code, 1 when a figure regressed.

    ``more`` goes into the JSON beside what every command writes.
    """
    tables, worse = list(results), False
    if form.compare is not None:
        figures = [figure for result in results for figure in result.figures]
        table, worse = compared(figures, earlier(form.compare), form.tolerance)
        tables.append(table)
    if form.json is not None:
        write_json(document(command, tables) | (more or {}), form.json)
    if form.json != STDOUT:
        show(tables, form.markdown)
    if form.into is not None:
        homeless = rewrite(form.into, parts(command, results))
        if homeless:
            say(f"{form.into}: no markers for {', '.join(homeless)}")
    return int(worse)


def parts(command: str, results: Sequence[Result]) -> dict[str, str]:
    """Markdown by marker name: each part's tables, and how they were made."""
    made: dict[str, list[str]] = {}
    for result in results:
        made.setdefault(result.part or command, []).append(markdown(result))
    origin = f"\n\nmachine: {in_words(describe())}"
    return {name: "\n".join(tables) + origin for name, tables in made.items()}


def aims(results: Sequence[Result]) -> Result:
    """Every figure that has an aim, on one sheet."""
    table = Result(
        "what must be reached",
        ["figure", "unit", "measured", "least", "most", "n"],
        part="aims",
    )
    for figure in (f for result in results for f in result.figures):
        if figure.aim is not None:
            table.add(_cells(figure))
            table.aimed[len(table.rows) - 1] = [figure]
    return table


def _cells(figure: Figure) -> list[str | float]:
    spread = figure.spread
    ends = [rounded(spread[name]) if name in spread else "-" for name in ("min", "max")]
    count = int(spread["n"]) if "n" in spread else "-"
    return [figure.key, figure.unit, rounded(figure.value), *ends, count]
