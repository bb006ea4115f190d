"""``--compare FILE``: this run's figures against those of an earlier one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.machine import alike, describe
from bench.report import SCHEMA, Result, rounded
from models.errors import UserError
from models.files import read_text

TOLERANCE = 0.15  # a shared machine's medians vary by about a tenth


@dataclass(frozen=True)
class Earlier:
    """An earlier run: its machine and figures by key."""

    path: Path
    made: str
    machine: dict[str, Any]
    figures: dict[str, Figure]


def earlier(path: Path) -> Earlier:
    """Read what ``--json FILE`` wrote.

    Raises:
        UserError: missing, no JSON, another schema, or no figures in it.
    """
    try:
        held = json.loads(read_text(path, "a measurement of this bench"))
    except UserError as error:
        raise UserError(f"--compare {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--compare {path}: not JSON: {error}") from None
    if not isinstance(held, dict) or "schema" not in held:
        raise UserError(
            f"--compare {path}: not a measurement of this bench (--json FILE makes one)"
        )
    if held["schema"] != SCHEMA:
        raise UserError(f"--compare {path}: schema {held['schema']}, but {SCHEMA} is understood")
    try:
        figures = [Figure.from_json(row) for row in held["figures"]]
        machine = dict(held["machine"])
        made = str(held["made"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"--compare {path}: malformed: {type(error).__name__}: {error}") from None
    return Earlier(path, made, machine, {figure.key: figure for figure in figures})


@dataclass(frozen=True)
class Change:
    """One figure then and now."""

    now: Figure
    then: Figure
    comparable: bool  # a raw time of another machine is not

    @property
    def ratio(self) -> float | None:
        """Now over then; None where a zero or negative number makes it mean nothing."""
        a, b = self.now.value, self.then.value
        good = math.isfinite(a) and math.isfinite(b) and a > 0 and b > 0
        return a / b if good else None

    def word(self, tolerance: float) -> str:
        """``same``, ``better``, ``regression``, or why it is not judged."""
        if not self.comparable:
            return "other machine"
        allowed = tolerance if self.now.tolerance is None else self.now.tolerance
        if self.ratio is None:
            return self._by_aim()
        gain = self.ratio if self.now.larger_is_better else 1 / self.ratio
        if gain < 1 - allowed:
            return "regression"
        return "better" if gain > 1 / (1 - allowed) else "same"

    def _by_aim(self) -> str:
        """Without a ratio only the aim can tell."""
        then, now = self.then.value, self.now.value
        reached = self.now.aim is None or self.now.aim.reached(then)
        return "regression" if reached and self.now.reached is False and now != then else "same"


def compared(
    figures: Iterable[Figure], before: Earlier, tolerance: float = TOLERANCE
) -> tuple[Result, bool]:
    """The table of ratios, and whether something regressed.

    Figures of the same command alone are compared; keys that only one run has are told.
    """
    now = {figure.key: figure for figure in figures}
    same_machine = alike(describe(), before.machine)
    result = Result(
        f"against {before.path} ({before.made}), now / then",
        ["figure", "unit", "then", "now", "now / then", "better", ""],
    )
    worse = False
    for key, figure in now.items():
        then = before.figures.get(key)
        if then is None:
            continue
        change = Change(figure, then, same_machine or figure.portable)
        word = change.word(tolerance)
        worse = worse or word == "regression"
        ratio = "-" if change.ratio is None else round(change.ratio, 3)
        better = "larger" if figure.larger_is_better else "smaller"
        cells = [rounded(then.value), rounded(figure.value), ratio, better, word]
        result.rows.append([key, figure.unit, *cells])
    result.notes = _notes(now, before, same_machine, tolerance)
    return result, worse


def _notes(
    now: dict[str, Figure], before: Earlier, same_machine: bool, tolerance: float
) -> list[str]:
    notes = [
        f"regression: worse by more than {tolerance:.0%}, or by the figure's own tolerance where "
        "it has one; without a ratio (zero or negative), an aim that was reached and now is not."
    ]
    if not same_machine:
        notes.append(
            "the machines differ: raw times are shown and not judged; ratios within a run and "
            "accuracies are."
        )
    commands = {key.partition(".")[0] for key in now}
    gone = [k for k in before.figures if k not in now and k.partition(".")[0] in commands]
    new = [key for key in now if key not in before.figures]
    if gone:
        notes.append(f"not measured now: {', '.join(gone)}")
    if new:
        notes.append(f"not in the earlier run: {', '.join(new)}")
    return notes
