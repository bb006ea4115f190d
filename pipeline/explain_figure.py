"""One event on one sheet."""

from __future__ import annotations

from textwrap import fill, wrap
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.explain_account import Account, Run
from pipeline.explain_curves import draw_curves
from pipeline.explain_views import Views, columns, draw_views, views
from pipeline.explain_words import (
    ALL_HEAD,
    AU_HEAD,
    VETO_HEAD,
    all_rows,
    au_rows,
    au_title,
    headline,
    origin,
    story,
    veto_rows,
    veto_title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

Rows = list[tuple[str, ...]]

WIDTH = 15.0  # inches
CURVES = 3.7  # inches, height
ALL_TITLE = "All that was announced in this recording"
_VIEWS = {5: 5.4, 6: 4.7}  # inches, height, by columns
_LINE = 0.19  # inches
_CHARACTERS = 12.5  # an inch, at 9.5 points
_MOST_ROWS = 40  # of the list of everything; the rest is counted
_AU_WIDTHS = (0.85, 1.75, 0.8, 1.1)
_VETO_WIDTHS = (1.35, 2.2, 2.35, 1.75, 2.4)
_ALL_WIDTHS = (0.7, 0.9, 4.3, 6.3, 2.2)


def views_height(seen: Views) -> float:
    """Inches that crops and flow need."""
    return _VIEWS[columns(seen)]


def _wrapped(rows: Rows, widths: tuple[float, ...]) -> list[list[list[str]]]:
    return [
        [
            wrap(cell, max(int(width * _CHARACTERS), 6))
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in rows
    ]


def _height(rows: Rows, widths: tuple[float, ...]) -> float:
    """Inches that a table with title and head takes."""
    lines = [max(len(cell) for cell in row) for row in _wrapped(rows, widths)]
    return 0.75 + sum(_LINE * (count + 0.45) for count in lines)


def _lay(
    figure: FigureBase,
    title: str,
    head: tuple[str, ...],
    rows: Rows,
    left: float,
    widths: tuple[float, ...],
    height: float,
) -> None:
    """A table as text; ``left``, ``widths`` and ``height`` in inches."""
    figure.text(left / WIDTH, 1.0, title, fontsize=12, weight="bold", va="top")
    y = 0.35
    for number, row in enumerate(_wrapped([head, *rows], widths)):
        x = left
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            words = "\n".join(cell)
            figure.text(
                x / WIDTH,
                1 - y / height,
                words,
                fontsize=9.5,
                va="top",
                weight="bold" if place == 0 and number else "normal",
                color=_colour(words) if number else "0.5",
            )
            x += width
        y += _LINE * (max(len(cell) for cell in row) + 0.45)


def _colour(words: str) -> str:
    """An outcome in the colour of its mark; all else black."""
    return {"✗": "#b71c1c", "✓": "#1b5e20"}.get(words[:1], "black")


def listed(run: Run) -> Rows:
    """Every announcement; the last row counts those that are left out."""
    rows = all_rows(run) or [("", "", "nothing was announced", "", "")]
    if len(rows) <= _MOST_ROWS:
        return rows
    left = len(rows) - _MOST_ROWS
    return [*rows[:_MOST_ROWS], ("…", "", f"and {left} more: the command prints them all", "", "")]


def picture(account: Account, run: Run, config: Config, everything: bool = False) -> Figure:
    """Crops, flow, prototypes, curves, AUs and vetoes of one event.

    Args:
        account: the event, or the announcement that was withdrawn.
        run: what else was found.
        config: of the run.
        everything: list all that was announced as well.
    """
    from matplotlib.figure import Figure

    seen = views(account, config)
    aus, vetoes = au_rows(account, config), veto_rows(account, config)
    rest = listed(run)
    tables = max(_height(aus, _AU_WIDTHS), _height(vetoes, _VETO_WIDTHS))
    heights = [1.2, views_height(seen), CURVES, 0.75, tables]
    heights += [_height(rest, _ALL_WIDTHS)] * everything
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    parts = [figure.add_subfigure(grid[row, 0]) for row in range(len(heights))]
    _head(parts[0], account, config)
    draw_views(parts[1], account, seen)
    caption = draw_curves(parts[2], account, config)
    parts[3].text(0.02, 0.95, fill(caption, 195), fontsize=9, color="0.35", va="top")
    _lay(parts[4], au_title(account), AU_HEAD, aus, 0.3, _AU_WIDTHS, tables)
    _lay(parts[4], veto_title(account), VETO_HEAD, vetoes, 4.95, _VETO_WIDTHS, tables)
    if everything:
        _lay(parts[5], ALL_TITLE, ALL_HEAD, rest, 0.3, _ALL_WIDTHS, heights[5])
    return figure


def _head(figure: FigureBase, account: Account, config: Config) -> None:
    colour = "black" if account.final else "#b71c1c"
    figure.text(0.02, 0.8, headline(account), fontsize=17, weight="bold", va="center", color=colour)
    figure.text(0.02, 0.45, story(account, config), fontsize=11, va="center")
    figure.text(0.02, 0.15, origin(account, config), fontsize=9, color="0.45", va="center")
