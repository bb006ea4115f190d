"""One event as an HTML page that stands by itself."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.explain_account import Account, Run
from pipeline.explain_curves import draw_curves
from pipeline.explain_figure import ALL_TITLE, CURVES, WIDTH, views_height
from pipeline.explain_views import draw_views, views
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
from pipeline.pages import image, page, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Figure", str], str]


def web_page(account: Account, run: Run, config: Config, everything: bool = False) -> str:
    """The same as ``explain_figure.picture``, and the readings of the event."""
    parts = [
        f"<p>{html.escape(story(account, config))}</p>",
        _small(origin(account, config)),
        *told(account, config),
    ]
    if everything:
        parts += [f"<h2>{ALL_TITLE}</h2>", table(ALL_HEAD, all_rows(run))]
    return page(headline(account), parts)


def told(
    account: Account, config: Config, draw: Draw = image, heading: str = "h2"
) -> Iterator[str]:
    """What was seen of an announcement, its curves, AUs, vetoes and readings, as HTML.

    Args:
        account: the event, or the announcement that was withdrawn.
        config: of the run.
        draw: makes an HTML element of a figure and what it shows in words.
        heading: the element of the titles.
    """
    seen = views(account, config)
    first, second = _figure(views_height(seen)), _figure(CURVES)
    draw_views(first, account, seen)
    caption = draw_curves(second, account, config)

    def title(words: str) -> str:
        return f"<{heading}>{words}</{heading}>"

    yield title("What was seen")
    yield draw(first, "crops at the key frames, flow between them, prototypes")
    yield title("Curves")
    yield draw(second, "curves of the window with theta and the interval")
    yield _small(caption)
    yield title(au_title(account))
    yield table(AU_HEAD, au_rows(account, config))
    yield title(veto_title(account))
    yield table(VETO_HEAD, veto_rows(account, config))
    if account.readings:
        rows = [(r.source, r.label, r.category, r.rule) for r in account.readings]
        yield title("Readings")
        yield table(("from", "label", "category", "rule"), rows)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def _small(words: str) -> str:
    return f"<p><small>{html.escape(words)}</small></p>"
