"""What the expressions of a recognition set carry: emotions, their AU sets, objective classes.

After the label tables of CASME II (246 rows) and SAMM (159 rows): AU sets that stand there
under the emotion, most of them often, as far as the generator has displacement figures for
their AUs. There one set stands under several emotions (AU 4 under others 56 times and under
disgust 11 times; 4+7 under disgust 17 times and others 4 times); here **each set belongs to one
emotion**, so that the emotion follows from the AUs. That makes these sets easier than the real
ones.

Objective classes I to V are those of Table I of Zhou, Mao and Dong (``models.au_graph``). Only
sets are taken on whose class both rules of ``objective_class`` agree: 4+10, which has none by
the table and IV by the extended rule, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from models.au_graph import objective_class, other_class

Kind = Literal["casme2", "samm"]


@dataclass(frozen=True)
class AUSet:
    """AUs that occur together, and how.

    Args:
        aus: their numbers, as annotators order them.
        weight: how often among the sets of an emotion.
        sided: of them, those that may move on one side only.
    """

    aus: tuple[int, ...]
    weight: float
    sided: tuple[int, ...] = ()


@dataclass(frozen=True)
class Emotion:
    """A label, how many rows of the real table have it, and the sets that stand for it."""

    label: str
    rows: int
    sets: tuple[AUSet, ...]


EMOTIONS: dict[Kind, tuple[Emotion, ...]] = {
    "casme2": (
        Emotion(
            "others",
            99,
            (
                AUSet((4,), 6),
                AUSet((14,), 3, (14,)),
                AUSet((4, 5), 1),
                AUSet((24,), 1),
            ),
        ),
        Emotion(
            "disgust",
            63,
            (
                AUSet((4, 7), 4),
                AUSet((4, 7, 10), 3, (10,)),
                AUSet((7, 10), 1, (10,)),
                AUSet((9,), 2),
                AUSet((10,), 2, (10,)),
                AUSet((4, 9), 1),
                AUSet((4, 7, 9), 1),
            ),
        ),
        Emotion("happiness", 32, (AUSet((12,), 3, (12,)), AUSet((6, 12), 1, (12,)))),
        Emotion("repression", 27, (AUSet((17,), 4), AUSet((15,), 3), AUSet((15, 17), 3))),
        Emotion("surprise", 25, (AUSet((1, 2), 3, (1, 2)), AUSet((1,), 1))),
    ),
    "samm": (
        Emotion("Anger", 57, (AUSet((7,), 3), AUSet((4,), 3), AUSet((4, 7), 3))),
        Emotion(
            "Happiness",
            26,
            (AUSet((12,), 5, (12,)), AUSet((7, 12), 2, (12,)), AUSet((6, 12), 1, (12,))),
        ),
        Emotion("Other", 26, (AUSet((2,), 3, (2,)), AUSet((24,), 2))),
        Emotion("Surprise", 15, (AUSet((5,), 3), AUSet((1, 2), 3, (1, 2)), AUSet((5, 24), 1))),
        Emotion("Contempt", 12, (AUSet((14,), 5, (14,)), AUSet((14, 17), 1, (14,)))),
        Emotion("Disgust", 9, (AUSet((9,), 2), AUSet((10,), 2, (10,)), AUSet((4, 9), 2))),
        Emotion("Fear", 8, (AUSet((20,), 4, (20,)), AUSet((7, 20, 26), 1))),
        Emotion("Sadness", 6, (AUSet((1,), 2), AUSet((15, 17), 2))),
    ),
}


def class_of(aus: Iterable[int]) -> str:
    """The objective class, I to VII, of the AU sets here."""
    found = frozenset(aus)
    return objective_class(found) or other_class(found)


def allotted(kind: Kind, count: int) -> list[tuple[str, AUSet]]:
    """``count`` labels with an AU set each, in the order of the table.

    An emotion's share goes with the square root of its rows in the real table: imbalanced
    like it, but with some of each. Shares are met to the nearest whole number, not drawn.
    """
    emotions = EMOTIONS[kind]
    labels = _shared([e.rows**0.5 for e in emotions], count)
    return [
        (emotion.label, one)
        for emotion, n in zip(emotions, labels, strict=True)
        for one, k in zip(emotion.sets, _shared([s.weight for s in emotion.sets], n), strict=True)
        for _ in range(k)
    ]


def _shared(weights: list[float], count: int) -> list[int]:
    """Whole numbers in proportion to ``weights`` that sum to ``count`` (largest remainder)."""
    exact = [count * weight / sum(weights) for weight in weights]
    whole = [int(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda k: (whole[k] - exact[k], k))
    for k in by_rest[: count - sum(whole)]:
        whole[k] += 1
    return whole
