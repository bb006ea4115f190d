"""Action units as annotators write them: ``4+7``, ``L12``, ``R6A``, ``4(B/C)+7B``, ``R12 or R14``.

FACS writes a side before the number (L, R; A asymmetric, T and B top and bottom lip) and an
intensity behind it (A to E). SAMM and SAMM Long Videos add ``ref(7)``, alternatives, question
marks and remarks. Every character of a text is accounted for: an AU, a separator, or one of
the remarks listed here; anything else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from models.errors import UserError

Side = Literal["L", "R"]
Spot = Callable[[str], UserError]  # words a mistake at a place


@dataclass(frozen=True)
class AUCode:
    """One action unit of one annotation.

    ``side`` is None for both sides, and for asymmetric, top and bottom (``raw`` has the
    letter). ``certain`` is False for what stands in ``ref(...)``, is one of several
    alternatives, or carries a question mark.
    """

    number: int
    side: Side | None = None
    intensity: str | None = None  # A to E, or a range as written: "B/C"
    raw: str = ""
    certain: bool = True


# Remarks that name no AU, as found in the four label files; AUs that are *lost* are no movement
# of theirs, "all of the above" names none.
_REMARKS = re.compile(
    r"loses\s*(?:AU)?\d+(?:\+\d+)*|all of the above|soft focus|glare|chewing|reaction"
    r"|twice\s*-|double|subject do 2x|big swallow",
    re.IGNORECASE,
)
_SPREAD = re.compile(r"([LRATB])\((\d{1,2})\s*or\s*(\d{1,2})\)([A-E]?)")  # R(12or14)B
_WRAPPED = re.compile(r"([LRATB])\((\d{1,2}[A-E]?(?:/[A-E])?)\)")  # A(4B/C)
_EITHER = re.compile(r"\(([LRATB]/[LRATB])\)(?=\d)")  # (L/A)4B
_RANGE = re.compile(r"(?<=\d)\(([A-E])(?:/|\s*and then\s*)([A-E])\)")  # 4(B/C)
_CODE = re.compile(
    r"(?:AU|AD)?\s?([LRATB](?:/[LRATB])?)?(0?[1-9]|[1-9]\d)(?!\d)([A-E](?:/[A-E])?)?(?![A-Z])",
    re.ASCII,
)
_REST = re.compile(r"ref|or|[+()/?;,\s]", re.IGNORECASE)


def parse(text: str, spot: Spot) -> tuple[AUCode, ...]:
    """The action units of ``text``, in its order; an empty text has none.

    Args:
        text: the annotator's words.
        spot: makes the error of a place (file and row).

    Raises:
        UserError: a part of the text is neither an AU nor a known remark.
    """
    codes = _scan(_plain(text), text, spot)
    if "?" in text:
        return tuple(replace(code, certain=False) for code in codes)
    return tuple(codes)


def _plain(text: str) -> str:
    """``text`` without remarks, every AU written as prefix, number, intensity."""
    plain = _REMARKS.sub(" ", text)
    plain = _SPREAD.sub(r"(\1\2\4 or \1\3\4)", plain)
    plain = _WRAPPED.sub(r"\1\2", plain)
    plain = _EITHER.sub(r"\1", plain)
    return _RANGE.sub(r"\1/\2", plain)


def _scan(plain: str, text: str, spot: Spot) -> list[AUCode]:
    codes: list[AUCode] = []
    levels = [_Level(0)]
    ref, at = False, 0
    while at < len(plain):
        code = _CODE.match(plain, at)
        rest = None if code else _REST.match(plain, at)
        if code:
            codes.append(_code(code, certain=not ref))
            ref = False
        elif rest:
            ref = _step(rest[0].lower(), levels, codes, ref)
        else:
            raise spot(f"action units {text!r}: {plain[at:]!r} is not understood (write 4+L12B)")
        at = (code or rest).end()  # type: ignore[union-attr]
    while levels:
        levels.pop().close(codes)
    return codes


@dataclass
class _Level:
    """One pair of parentheses, or the whole text."""

    start: int  # index of its first code
    unsure: bool = False  # it stands behind "ref" or holds alternatives

    def close(self, codes: list[AUCode]) -> None:
        if self.unsure:
            codes[self.start :] = [replace(c, certain=False) for c in codes[self.start :]]


def _step(token: str, levels: list[_Level], codes: list[AUCode], ref: bool) -> bool:
    """Take one separator; returns whether a ``ref`` waits for what it refers to."""
    if token == "ref":
        return True
    if token == "(":
        levels.append(_Level(len(codes), ref))
        return False
    if token == ")" and len(levels) > 1:  # one row of SAMM Long Videos closes what it never opened
        levels.pop().close(codes)
    elif token in ("or", "/"):
        levels[-1].unsure = True
    return ref and token.isspace()


def _code(match: re.Match[str], certain: bool) -> AUCode:
    prefix, number, intensity = match.groups()
    side: Side | None = "L" if prefix == "L" else "R" if prefix == "R" else None
    return AUCode(int(number), side, intensity, match[0], certain)
