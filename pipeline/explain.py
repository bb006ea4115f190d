"""``mespot explain``: why an event of a recording was raised, or an announcement withdrawn."""

from __future__ import annotations

from pathlib import Path

from models.errors import UserError
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.explain_account import Account, Run
from pipeline.explain_figure import picture
from pipeline.explain_page import web_page
from pipeline.explain_profile import thetas
from pipeline.pages import is_page, png, write


def chosen(run: Run, config: Config, which: str | None) -> Account:
    """The announcement that ``which`` names.

    Args:
        run: what was found.
        config: of the run.
        which: number of an event from 0, r and the number of a withdrawn announcement, an
            id, or None: the strongest event.

    Raises:
        UserError: there is no such event.
    """
    if which is not None:
        return _named(run, which)
    if run.events:
        return max(run.events, key=lambda account: _strength(account, config))
    more = ""
    if run.retracted:
        more = (
            f"; announced and withdrawn: {len(run.retracted)} (--all lists them, --event r0 "
            "explains the first)"
        )
    raise UserError(f"{config.source}: no event was spotted, so there is none to explain{more}")


def _named(run: Run, which: str) -> Account:
    for letter, accounts in (("", run.events), ("r", run.retracted)):
        for number, account in enumerate(accounts):
            if which in (f"{letter}{number}", account.interval.id):
                return account
    there = [
        f"{words} {letter}0 to {letter}{len(accounts) - 1}" if accounts else f"no {words}"
        for words, letter, accounts in (
            ("events", "", run.events),
            ("withdrawn announcements", "r", run.retracted),
        )
    ]
    raise UserError(f"--event {which}: no such event; there are {' and '.join(there)}, and ids")


def _strength(account: Account, config: Config) -> float:
    if config.method == "mespot":
        return account.interval.height
    level = thetas(prototypes(config), config)
    return max(a.index / level[a.au] for a in account.interval.aus)


def explain(
    account: Account, run: Run, config: Config, out: Path, everything: bool = False
) -> None:
    """Write the explanation of one announcement as PNG or HTML, by the name of ``out``.

    Raises:
        UserError: the file cannot be written.
    """
    if is_page(out):
        write(out, web_page(account, run, config, everything))
    else:
        write(out, png(picture(account, run, config, everything)))
