"""A row of an export and its columns' common ground: rulers, UTC as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from models.errors import UserError
from pipeline.schema import AUMessage, EventMessage, Moment

NS = 10**9
_LETTERS = {"both": "", "left": "L", "right": "R"}
_START = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)", re.ASCII
)

Type = Literal["text", "integer", "number", "utc", "list", "records"]


@dataclass(frozen=True)
class Ruler:
    """Seconds of a moment: of source time (``pts``), or of UTC since ``start_ns``."""

    name: Literal["pts", "utc"] = "pts"
    start_ns: int = 0

    def seconds(self, moment: Moment) -> float:
        """Where ``moment`` stands, s."""
        if self.name == "pts":
            return moment.pts
        return (moment.utc_ns - self.start_ns) / NS

    def milliseconds(self, moment: Moment) -> int:
        """Where ``moment`` stands in a medium, ms.

        Raises:
            UserError: before its beginning.
        """
        ms = round(self.seconds(moment) * 1000)
        if ms < 0:
            raise UserError(
                f"an event is {-ms / 1000:g} s before the ruler's 0; give an earlier --start"
            )
        return ms

    @property
    def meaning(self) -> str:
        """The ruler in words."""
        if self.name == "pts":
            return "source time since the first frame"
        return f"UTC since {utc_text(self.start_ns)}"


def utc_text(ns: int) -> str:
    """ISO 8601 with nine decimals."""
    whole = datetime.fromtimestamp(ns // NS, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % NS:09d}Z"


def utc_ns(text: str) -> int:
    """The time that ISO 8601 with a zone says, ns.

    Raises:
        ValueError: it is none.
    """
    found = _START.fullmatch(text.strip())
    if not found:
        raise ValueError("write 2026-05-04T09:30:00Z, with the time zone")
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * NS + int((found[2] or "0").ljust(9, "0"))


@dataclass(frozen=True)
class Row:
    """One row: an event, or one of its action units."""

    event: EventMessage
    au: AUMessage | None = None


@dataclass(frozen=True)
class Column:
    """One column, described."""

    name: str
    type: Type
    unit: str  # "" where it has none
    meaning: str
    value: Callable[[Row, Ruler], Any] = field(repr=False)  # None: not known


def run_of(event: EventMessage) -> int:
    """The run of the event log that an event is of; 0 where it is of no log."""
    return int(getattr(event, "run", 0))


def facs(au: AUMessage) -> str:
    """An action unit as coders write it: 12, L12, R12."""
    return f"{_LETTERS[au.side]}{au.au}"
