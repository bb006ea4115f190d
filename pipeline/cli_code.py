"""``mespot code`` and ``mespot crowd``: the coding guide (docs/coding-guide.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models import facs
from models.errors import UserError
from models.labels import plain_aus

if TYPE_CHECKING:
    from models.crowd import Contributions, Crowd

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command()(code)
    app.command()(crowd)


def code(
    aus: Annotated[
        str | None, typer.Option(help="Action units to read, such as 4,7 or L12+6B.")
    ] = None,
    muscle: Annotated[str | None, typer.Option(help="List the AUs of this muscle.")] = None,
    branch: Annotated[
        str | None, typer.Option(help=f"AUs of this nerve branch: {', '.join(facs.NERVE_BRANCHES)}")
    ] = None,
    emotion: Annotated[
        str | None, typer.Option(help=f"AUs of this emotion: {', '.join(facs.EMOTION_AUS)}.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Read action units by the coding guide, or list those of a muscle, nerve branch or emotion."""
    asked = (
        (aus, _given_aus),
        (muscle and muscle.lower(), facs.aus_of_muscle),
        (branch and branch.lower(), facs.aus_of_branch),
        (emotion and emotion.lower(), facs.aus_of_emotion),
    )
    given = [(text, numbers) for text, numbers in asked if text is not None]
    if len(given) != 1:
        raise UserError("give one of --aus, --muscle, --branch, --emotion (--aus 4,7)")
    found = _looked_up(*given[0])
    report: dict[str, Any] = {"aus": [_unit(au) for au in found]}
    if aus is not None:
        report["readings"] = [_reading(reading) for reading in facs.read(found)]
    typer.echo(json.dumps(report, indent=2) if as_json else "\n".join(_code_lines(report)))


def _given_aus(text: str) -> tuple[int, ...]:
    """What ``--aus`` names; sides and intensities fall away, as in a CSV."""
    words = re.sub(r"\bAU(?=[0-9])", "", text, flags=re.IGNORECASE).replace(",", " ")
    found = plain_aus(words, lambda what: UserError(f"--{what}"))
    if not found:
        raise UserError("--aus: no action unit is named (write 4,7)")
    unknown = [str(au) for au in found if au not in facs.ACTION_UNITS]
    if unknown:
        raise UserError(f"--aus: FACS has no AU {', '.join(unknown)}")
    return found


def _looked_up(text: str, numbers: Callable[[str], tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return numbers(text.strip())
    except ValueError as error:
        raise UserError(str(error)) from None


def _unit(number: int) -> dict[str, Any]:
    unit, emotions = facs.ACTION_UNITS[number], facs.emotions_of(number)
    return {
        "au": number,
        "name": unit.name,
        "muscles": list(unit.muscles),
        "branches": list(unit.branches),
        "emotions": list(emotions),
        "exclusive": len(emotions) == 1,
    }


def _reading(reading: facs.CodingReading) -> dict[str, Any]:
    units = [facs.ACTION_UNITS[au] for au in sorted(reading.aus)]
    return {
        "label": reading.label,
        "category": reading.category,
        "rule": reading.rule,
        "text": reading.text,
        "aus": sorted(reading.aus),
        "muscles": list(dict.fromkeys(name for unit in units for name in unit.muscles)),
        "branches": list(dict.fromkeys(name for unit in units for name in unit.branches)),
    }


def _code_lines(report: dict[str, Any]) -> list[str]:
    rows = [["AU", "name", "muscles", "nerve branches", "emotions (Table 3)"]]
    for unit in report["aus"]:
        emotions = _listed(unit["emotions"]) + (" only" if unit["exclusive"] else "")
        lists = (_listed(unit["muscles"]), _listed(unit["branches"]), emotions)
        rows.append([str(unit["au"]), unit["name"], *lists])
    lines = columns(rows)
    if "readings" in report:
        lines += ["", "readings, the primary one first:"]
    for reading in report.get("readings", ()):
        lines += ["", f"{reading['label']} ({reading['category']})", f"  {reading['text']}"]
        if reading["aus"]:
            lines.append(f"  muscles         {_listed(reading['muscles'])}")
            lines.append(f"  nerve branches  {_listed(reading['branches'])}")
    return lines


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "-"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as text columns, flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def crowd(
    labels: Annotated[
        Path,
        typer.Argument(help="Image and AUs a line (RAFAU_label.txt), or a table of both."),
    ],
    scores: Annotated[
        Path | None,
        typer.Argument(help="Image and six or seven crowd scores a line (distribution.txt)."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="AUs an emotion.")] = 10,
    normalisation: Annotated[
        str, typer.Option(help="Of Algorithm 2: mean, as Table 2 shows; sum, as it is printed.")
    ] = "mean",
    as_json: _Json = False,
) -> None:
    """Contribution of AUs to emotions: Algorithms 1 and 2, as Tables 1 and 2 in Markdown."""
    from models.crowd import NORMALISATIONS, method_1, method_2, read

    chosen = [name for name in NORMALISATIONS if name == normalisation]
    if not chosen:
        raise UserError(f"--normalisation {normalisation}: one of {', '.join(NORMALISATIONS)}")
    table = read(labels, scores)
    results = [method_1(table.samples), method_2(table.samples, chosen[0])]
    if as_json:
        typer.echo(json.dumps(_crowd_report(table, results, top), indent=2))
        return
    lines = [_crowd_line(table)]
    for result in results:
        what = "pairs of combination and emotion" if result.method == 1 else "samples"
        lines += [
            "",
            f"Table {result.method}. Top {top} of AUs' contribution to the six basic emotions "
            f"(method {result.method}: {result.normalisation}; {result.counted} {what})",
            "",
            result.markdown(top),
        ]
    typer.echo("\n".join(lines))


def _crowd_report(table: Crowd, results: Sequence[Contributions], top: int) -> dict[str, Any]:
    return {
        "samples": len(table.samples),
        "without_aus": table.without_aus,
        "tied": table.tied,
        "unlabelled": table.unlabelled,
        "aus_left_out": {str(au): count for au, count in table.unknown.items()},
        "methods": [
            {
                "method": result.method,
                "normalisation": result.normalisation,
                "counted": result.counted,
                "top": {
                    emotion: [{"au": au, "score": score} for au, score in ranked]
                    for emotion, ranked in result.top(top).items()
                },
            }
            for result in results
        ],
    }


def _crowd_line(table: Crowd) -> str:
    parts = [
        f"{len(table.samples)} samples",
        f"{table.without_aus} without AUs",
        f"{table.tied} with equal highest scores (the first of the table's emotions was taken)",
    ]
    if table.unlabelled:
        parts.append(f"{table.unlabelled} with scores but no row of AUs")
    if table.unknown:
        listed = ", ".join(f"{au} ({count})" for au, count in table.unknown.items())
        parts.append(f"AUs left out, for FACS has none of the number: {listed}")
    return "; ".join(parts)
