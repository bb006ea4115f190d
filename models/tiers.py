"""What the tiers of a coder's ELAN file say: expressions, their kinds, AUs, emotions, apexes.

A tier's name tells what stands in it (``docs/lab.md``); ``@`` and what follows is the
participant, a number in brackets a further tier of the same meaning.

Where there are tiers of expressions, their annotations are the expressions. Elsewhere the
AUs' annotations of one participant are fused into expressions as the method does it: two
intervals belong together when their overlap is more than 0.33 of the shorter (eq. 25), and
their union takes their place (eq. 26), until nothing fuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from models.elan import Annotation, Document
from models.errors import UserError
from models.evaluate import Kind, Labelled
from models.frame_ruler import FrameRuler
from models.labels import Spot, plain_aus

OVERLAP = 0.33  # delta of eq. 25
_AU = re.compile(
    r"(?:AU|FACS)?[\s_-]*([LR])?(\d{1,2})(?:[\s_-]*(?:L|R|left|right|both|bilateral))?",
    re.IGNORECASE,
)
_AUS = re.compile(r"(?:AUs?|FACS|action[\s_-]?units?)", re.IGNORECASE)
_KIND = re.compile(r"(micro|macro)(?:[\s_-]?expressions?)?|(ME|MaE)s?", re.IGNORECASE)
_EXPRESSION = re.compile(r"(?:expressions?|kinds?|mespot)", re.IGNORECASE)
_EMOTION = re.compile(r"emotions?", re.IGNORECASE)
_APEX = re.compile(r"apex(?:es)?", re.IGNORECASE)
_NUMBER = re.compile(r"\s*#(\d{1,9})\s*$")
_KIND_WORD = re.compile(r"(micro|macro)", re.IGNORECASE)

_ASIDE = re.compile(r"emotion: .+|retracted", re.IGNORECASE)  # mespot's own, beside the labels

_Role = Literal["au", "aus", "kind", "expression", "emotion", "apex"]


@dataclass(frozen=True)
class _Meaning:
    role: _Role
    au: int = 0
    kind: Kind | None = None
    participant: str = ""


def meaning(tier: str) -> _Meaning | None:
    """What the annotations of a tier of this name mean; None: nothing that is read."""
    cut = tier.partition("@")
    name = re.sub(r"\s*\(\d+\)\s*$", "", cut[0]).strip()
    who = re.sub(r"\s*\(\d+\)\s*$", "", cut[2]).strip()
    if found := _AU.fullmatch(name):
        return _Meaning("au", au=int(found[2]), participant=who)
    if found := _KIND.fullmatch(name):
        micro = (found[1] or "").lower() == "micro" or (found[2] or "").lower() == "me"
        return _Meaning("kind", kind="micro" if micro else "macro", participant=who)
    roles: tuple[tuple[re.Pattern[str], _Role], ...] = (
        (_AUS, "aus"),
        (_EXPRESSION, "expression"),
        (_EMOTION, "emotion"),
        (_APEX, "apex"),
    )
    for pattern, role in roles:
        if pattern.fullmatch(name):
            return _Meaning(role, participant=who)
    return None


@dataclass
class _Expression:
    """One expression while what belongs to it is gathered."""

    begin: float
    end: float
    who: str
    spot: Spot
    number: str = ""  # that #n names
    kind: Kind | None = None
    aus: set[int] = field(default_factory=set)
    emotion: str | None = None
    apex: float | None = None


@dataclass(frozen=True)
class _Mark:
    """An annotation and what its tier says of it."""

    note: Annotation
    role: _Role
    kind: Kind | None
    aus: tuple[int, ...]
    who: str
    number: str
    text: str
    spot: Spot


def labelled(document: Document, video: str, ruler: FrameRuler) -> tuple[list[Labelled], list[str]]:
    """The expressions of ``document`` in frames, in order, and what was left out, in words.

    Raises:
        UserError: an annotation cannot be read, or no tier is of a known name; names tier and
            annotation.
    """
    marks = list(_marks(document))
    if document.tiers and not any(map(meaning, document.tiers)):
        raise UserError(
            f"{document.path}: no tier is called AU12, AUs, micro, macro or expression "
            f"(docs/lab.md); its tiers are {_few(document.tiers)}"
        )
    found = [_begun(mark) for mark in marks if mark.role in ("kind", "expression")]
    codes = [mark for mark in marks if mark.role in ("au", "aus")]
    if not found:
        found = _fused(codes)
    notes = _not_read(document)
    rest = [mark for mark in marks if mark.role not in ("kind", "expression")]
    outside = [mark for mark in rest if not _join(mark, found)]
    if outside:
        first = outside[0].note
        notes.append(
            f"{len(outside)} annotations outside every expression left out, the first: tier "
            f"{first.tier!r} {first.name}"
        )
    items = [_in_frames(one, video, ruler) for one in found]
    return sorted(items, key=lambda item: (item.onset, item.offset)), notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def _not_read(document: Document) -> list[str]:
    other = [t for t in document.tiers if meaning(t) is None and not _ASIDE.match(t)]
    return [f"tiers not read: {_few(other)}"] if other else []


def _spot(document: Document, note: Annotation) -> Spot:
    place = f"{document.path} tier {note.tier!r} {note.name}"
    return lambda text: UserError(f"{place}: {text}")


def _marks(document: Document) -> Iterable[_Mark]:
    for note in document.annotations:
        said = meaning(note.tier)
        if said is None:
            continue
        spot = _spot(document, note)
        number = _NUMBER.search(note.text)
        text = _NUMBER.sub("", note.text).strip()
        aus = plain_aus(text if said.role == "aus" else str(said.au or ""), spot)
        kind = _kind(text, spot) if said.role == "expression" else said.kind
        who = note.participant or said.participant
        yield _Mark(note, said.role, kind, aus, who, number[1] if number else "", text, spot)


def _kind(text: str, spot: Spot) -> Kind | None:
    """A kind out of an expression's text; None where it names none."""
    named = {word.lower() for word in _KIND_WORD.findall(text)}
    if len(named) > 1:
        raise spot(f"{text!r} names both kinds")
    return None if not named else "micro" if "micro" in named else "macro"


def _begun(mark: _Mark) -> _Expression:
    note = mark.note
    return _Expression(note.begin, note.end, mark.who, mark.spot, mark.number, mark.kind)


def _fused(codes: Iterable[_Mark]) -> list[_Expression]:
    """Eqs 25 and 26 over the AUs' intervals of each participant."""
    groups = [_begun(mark) for mark in codes]
    groups.sort(key=_order)
    while pair := _first_pair(groups):
        one, other = groups[pair[0]], groups.pop(pair[1])
        one.begin, one.end = min(one.begin, other.begin), max(one.end, other.end)
        groups.sort(key=_order)
    return groups


def _order(one: _Expression) -> tuple[str, float, float]:
    return one.who, one.begin, one.end


def _first_pair(groups: Sequence[_Expression]) -> tuple[int, int] | None:
    for i, one in enumerate(groups):
        for k in range(i + 1, len(groups)):
            other = groups[k]
            if other.who != one.who or other.begin > one.end:
                break
            if _overlap(one, other.begin, other.end) > OVERLAP:
                return i, k
    return None


def _overlap(one: _Expression, begin: float, end: float) -> float:
    """mu of eq. 25; 1 where the shorter has no length and lies in the other."""
    shared = min(one.end, end) - max(one.begin, begin)
    shorter = min(one.end - one.begin, end - begin)
    if shorter <= 0:
        return 1.0 if shared >= 0 else 0.0
    return max(shared, 0.0) / shorter


def _join(mark: _Mark, found: Sequence[_Expression]) -> bool:
    """Give a mark to its expression: the one it names, else the one it shares most time with."""
    note = mark.note
    same = [one for one in found if one.who == mark.who or not (one.who and mark.who)]
    named = [one for one in same if mark.number and one.number == mark.number]
    near = named or [one for one in same if _shared(one, note) >= 0]
    if not near:
        return False
    best = max(near, key=lambda one: (_shared(one, note), _overlap(one, note.begin, note.end)))
    best.aus.update(mark.aus)
    if mark.role == "emotion":
        word = mark.text.lower() or None
        if best.emotion and word and word != best.emotion:
            raise mark.spot(
                f"a second emotion, {mark.text!r}, of the expression with {best.emotion!r}"
            )
        best.emotion = best.emotion or word
    if mark.role == "apex":
        if best.apex is not None:
            raise mark.spot("a second apex of one expression")
        best.apex = note.begin
    return True


def _shared(one: _Expression, note: Annotation) -> float:
    return min(one.end, note.end) - max(one.begin, note.begin)


def _in_frames(one: _Expression, video: str, ruler: FrameRuler) -> Labelled:
    onset, offset = ruler.frame(one.begin), ruler.frame(one.end)
    if offset == 0:
        raise one.spot("ends with the first frame, which no expression does")
    apex = None if one.apex is None else ruler.frame(one.apex)
    return Labelled(
        video, onset, offset, apex, one.kind, tuple(sorted(one.aus)), emotion=one.emotion
    )
