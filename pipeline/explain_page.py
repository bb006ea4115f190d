"""One event as an HTML page that stands by itself."""

from __future__ import annotations

import html
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


def web_page(account: Account, run: Run, config: Config, everything: bool = False) -> str:
    """The same as ``explain_figure.picture``, and the readings of the event."""
    seen = views(account, config)
    first, second = _figure(views_height(seen)), _figure(CURVES)
    draw_views(first, account, seen)
    caption = draw_curves(second, account, config)
    parts = [
        f"<p>{html.escape(story(account, config))}</p>",
        _small(origin(account, config)),
        "<h2>What was seen</h2>",
        image(first, "crops at the key frames, flow between them, prototypes"),
        "<h2>Curves</h2>",
        image(second, "curves of the window with theta and the interval"),
        _small(caption),
        f"<h2>{au_title(account)}</h2>",
        table(AU_HEAD, au_rows(account, config)),
        f"<h2>{veto_title(account)}</h2>",
        table(VETO_HEAD, veto_rows(account, config)),
    ]
    if account.readings:
        rows = [(r.source, r.label, r.category, r.rule) for r in account.readings]
        parts += ["<h2>Readings</h2>", table(("from", "label", "category", "rule"), rows)]
    if everything:
        parts += [f"<h2>{ALL_TITLE}</h2>", table(ALL_HEAD, all_rows(run))]
    return page(headline(account), parts)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def _small(words: str) -> str:
    return f"<p><small>{html.escape(words)}</small></p>"
