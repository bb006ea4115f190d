"""Agreement of coders: reliability R for any number of them, and Cohen's and Fleiss' kappa.

Both papers measure coders by R. *guide* (Dong et al., FME '21, eq. 1) prints
2 |intersection| / |union| over N coders, *face* (2022, eq. 2) N |intersection| / |union|. With
the union of sets neither is a share: coders of one mind get 2 and N. Both come from FACS's
agreement index (Ekman and Friesen 1978): N times the codes that all coders agree on, over all
codes that they gave together, which is 1 for coders of one mind, and for two coders the Dice
index. That is what follows if the union keeps repetitions; it is the default here, ``bounded``.
``guide`` and ``face`` are there as printed, to compare with figures made by them.

R knows nothing of chance. Kappa does: it asks how much of the agreement that chance leaves open
was reached; 1 is full agreement, 0 that of chance, and it may be negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Literal, TypeVar

from models.errors import UserError
from models.evaluate import PROTOCOLS, Labelled, match

Formula = Literal["bounded", "guide", "face"]
FORMULAS: dict[Formula, str] = {
    "bounded": "N x codes of all coders / codes given by all together; at most 1",
    "guide": "2 x |intersection| / |union| (guide eq. 1, as printed); at most 2",
    "face": "N x |intersection| / |union| (face eq. 2, as printed); at most N",
}
# Coders of one expression may differ in its kind, and a kind need not be given.
MATCHING = PROTOCOLS["any-type"]

_Code = TypeVar("_Code", bound=Hashable)

CodeSet = AbstractSet[Hashable]
Expression = tuple[Labelled | None, ...]  # one place a coder; None: not marked


@dataclass(frozen=True)
class Reliability:
    """R over many samples, pooled and sample by sample.

    ``shared`` and ``whole`` are totals over the samples; ``pooled`` is their R, ``mean`` the
    mean of ``values``. ``values`` has None where no coder gave a code: nothing was coded there,
    and the sample does not count.
    """

    formula: Formula
    coders: int
    shared: int  # codes that all coders gave
    whole: int  # what the formula divides by
    values: tuple[float | None, ...]

    @property
    def counted(self) -> int:
        """Samples with at least one code."""
        return sum(value is not None for value in self.values)

    @property
    def pooled(self) -> float | None:
        """R of the totals: every code weighs the same; None without a code."""
        return _factor(self.formula, self.coders) * self.shared / self.whole if self.whole else None

    @property
    def mean(self) -> float | None:
        """Mean R: every sample weighs the same; None without a code."""
        values = [value for value in self.values if value is not None]
        return fmean(values) if values else None


def reliability(
    samples: Iterable[Sequence[CodeSet]], coders: int, formula: Formula = "bounded"
) -> Reliability:
    """R of ``coders`` coders.

    Args:
        samples: for each sample one set of codes (AUs, or emotions) a coder; empty where a
            coder saw nothing.
        coders: N, at least 2.
        formula: one of ``FORMULAS``.

    Raises:
        ValueError: fewer than two coders, a sample of another number, or an unknown formula.
    """
    if coders < 2 or formula not in FORMULAS:
        known = ", ".join(FORMULAS)
        raise ValueError(f"{coders} coders, {formula!r}: give two or more, and one of {known}")
    shared = whole = 0
    values: list[float | None] = []
    for sets in samples:
        if len(sets) != coders:
            raise ValueError(f"a sample with {len(sets)} sets for {coders} coders")
        common = len(frozenset(sets[0]).intersection(*sets[1:]))
        below = _below(sets, formula)
        values.append(_factor(formula, coders) * common / below if below else None)
        shared, whole = shared + common, whole + below
    return Reliability(formula, coders, shared, whole, tuple(values))


def _factor(formula: Formula, coders: int) -> int:
    return 2 if formula == "guide" else coders


def _below(sets: Sequence[CodeSet], formula: Formula) -> int:
    if formula == "bounded":
        return sum(map(len, sets))
    return len(frozenset[Hashable]().union(*sets))


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Cohen's kappa (1960) of two coders' categories, item by item.

    None without items, and where both use one and the same category throughout: chance alone
    gives full agreement then, and kappa is 0 / 0.

    Raises:
        ValueError: not as many items in the one as in the other.
    """
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        return None
    count, ours, theirs = len(pairs), Counter(first), Counter(second)
    # in whole numbers, so that 0 / 0 is seen: kappa = (n agreed - chance) / (n n - chance)
    agreed = sum(a == b for a, b in pairs)
    chance = sum(ours[category] * theirs[category] for category in ours)
    left = count * count - chance
    return (count * agreed - chance) / left if left else None


def mean_pairwise_kappa(coders: Sequence[Sequence[Hashable]]) -> float | None:
    """Mean of Cohen's kappa over all pairs of coders; pairs without one are left out.

    None where no pair has one. With two coders it is Cohen's kappa.
    """
    values = [cohen_kappa(a, b) for a, b in combinations(coders, 2)]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def fleiss_kappa(coders: Sequence[Sequence[Hashable]]) -> float | None:
    """Fleiss' kappa (1971) of two or more coders' categories, item by item.

    None without items, and where all use one and the same category throughout.

    Raises:
        ValueError: fewer than two coders, or not as many items in each.
    """
    if len(coders) < 2:
        raise ValueError("Fleiss' kappa needs two coders or more")
    items = [Counter(row) for row in zip(*coders, strict=True)]
    if not items:
        return None
    n, count = len(coders), len(items)
    used = sum(items, Counter[Hashable]())
    agreed = sum(votes * (votes - 1) for item in items for votes in item.values())
    chance = sum(votes * votes for votes in used.values())
    if chance == (n * count) ** 2:
        return None
    observed, expected = agreed / (count * n * (n - 1)), chance / (n * count) ** 2
    return (observed - expected) / (1 - expected)


def expressions(coders: Sequence[Sequence[Labelled]], least_iou: float = 0.5) -> list[Expression]:
    """Which intervals of the coders are one expression: IoU >= ``least_iou``, one to one.

    Two coders are matched as spotted and true intervals are (``models.evaluate.match``, any
    type). With more, all pairs of coders are matched so, and their pairs joined into
    expressions, best IoU first, as long as an expression keeps to one interval a coder. An
    interval that nobody else marked is an expression of its own. In order of video and onset.

    Raises:
        UserError: an interval lacks a border, or ``least_iou`` is not in (0, 1].
    """
    for item in (item for items in coders for item in items if not item.known):
        raise UserError(f"{item.video}: an interval at frame {item.onset} lacks onset or offset")
    links = []
    for a, b in combinations(range(len(coders)), 2):
        for i, j in match(coders[a], coders[b], MATCHING, least_iou):
            iou = MATCHING.iou(coders[a][i], coders[b][j])
            links.append((-iou, coders[a][i].video, coders[a][i].onset, (a, i), (b, j)))
    group = {(c, i): {c: i} for c, items in enumerate(coders) for i in range(len(items))}
    for *_, one, other in sorted(links):
        ours, theirs = group[one], group[other]
        if not ours.keys() & theirs.keys():
            ours |= theirs
            group |= {member: ours for member in theirs.items()}
    distinct = {id(members): members for members in group.values()}.values()
    found = [
        tuple(coders[c][m[c]] if c in m else None for c in range(len(coders))) for m in distinct
    ]
    return sorted(found, key=_first_onset)


def _first_onset(expression: Expression) -> tuple[str, int, int]:
    return min((item.video, item.onset, item.offset) for item in expression if item)


def au_sets(found: Iterable[Expression]) -> list[tuple[CodeSet, ...]]:
    """The AUs that each coder gave each expression; none where it was not marked."""
    return [tuple(frozenset(item.aus if item else ()) for item in e) for e in found]


def emotion_sets(found: Iterable[Expression]) -> list[tuple[CodeSet, ...]]:
    """The emotion that each coder gave each expression, as a set of one or none."""
    return [
        tuple(frozenset([item.emotion] if item and item.emotion else []) for item in e)
        for e in found
    ]


@dataclass(frozen=True)
class Kappas:
    """Kappa over ``items`` items: ``cohen`` is the mean over all pairs of coders."""

    items: int
    cohen: float | None
    fleiss: float | None


def kappas(coders: Sequence[Sequence[Hashable]]) -> Kappas:
    """Both kappas of ``coders``, one category an item each; none without items."""
    if not coders or not coders[0]:
        return Kappas(0, None, None)
    return Kappas(len(coders[0]), mean_pairwise_kappa(coders), fleiss_kappa(coders))


def emotion_kappas(found: Sequence[Expression]) -> Kappas:
    """Kappas of the emotion labels; an expression that a coder gave none is a category, too."""
    return kappas(_by_coder(found, lambda item: item.emotion if item else None))


def au_kappas(found: Sequence[Expression]) -> dict[int, Kappas]:
    """Kappas of each AU's presence, for every AU that a coder used."""
    return {au: kappas(_by_coder(found, _carries(au))) for au in _used(found)}


def pooled_au_kappas(found: Sequence[Expression]) -> Kappas:
    """Kappas of presence over all expressions and AUs that a coder used, as one list of items.

    AUs that nobody used are left out: each would add agreed absences, and so raise it.
    """
    columns = [_by_coder(found, _carries(au)) for au in _used(found)]
    return kappas([[cell for row in rows for cell in row] for rows in zip(*columns, strict=True)])


def _used(found: Iterable[Expression]) -> list[int]:
    return sorted({au for expression in found for item in expression if item for au in item.aus})


def _carries(au: int) -> Callable[[Labelled | None], bool]:
    return lambda item: item is not None and au in item.aus


def _by_coder(
    found: Sequence[Expression], code: Callable[[Labelled | None], _Code]
) -> list[list[_Code]]:
    return [[code(item) for item in row] for row in zip(*found, strict=True)]


def au_counts(found: Sequence[Expression]) -> dict[int, tuple[int, ...]]:
    """For each AU, how many expressions each coder gave it."""
    return {au: tuple(map(sum, _by_coder(found, _carries(au)))) for au in _used(found)}
