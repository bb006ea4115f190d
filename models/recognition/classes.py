"""Class schemes: what an annotation's emotion or AUs are called in the papers' tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from models import au_graph
from models.datasets import Annotation
from models.errors import UserError

Scheme = Literal["five", "three", "objective"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

# Paper 002, section 4.1 and Table 2
_FIVE = {
    "casme2": ("disgust", "happiness", "repression", "surprise", "others"),
    "samm": ("contempt", "happiness", "anger", "surprise", "others"),
}
_THREE = ("positive", "negative", "surprise")
# On SAMM section 4.1 makes "negative" of contempt and anger (69), Table 2 of every negative
# emotion (92): the table is followed, as it is what was counted.
_THREE_OF = {
    "casme2": {
        "happiness": "positive",
        "disgust": "negative",
        "repression": "negative",
        "surprise": "surprise",
    },
    "samm": {
        "happiness": "positive",
        "contempt": "negative",
        "anger": "negative",
        "disgust": "negative",
        "fear": "negative",
        "sadness": "negative",
        "surprise": "surprise",
    },
}
_SPELLINGS = {"other": "others"}  # SAMM's workbook


def classes(scheme: Scheme, datasets: Sequence[str]) -> tuple[str, ...]:
    """The classes of a scheme, in the papers' order.

    Raises:
        UserError: the data sets have no such classes, or not the same.
    """
    if scheme == "objective":
        return au_graph.CLASSES
    unknown = [name for name in datasets if name not in _FIVE]
    if unknown:
        raise UserError(f"{unknown[0]}: no emotion classes are known; use --classes objective")
    if scheme == "three":
        return _THREE
    found = {_FIVE[name] for name in datasets}
    if len(found) != 1:
        raise UserError(
            f"the five classes of {' and '.join(datasets)} are not the same; use --classes three "
            "or objective"
        )
    return found.pop()


def class_of(scheme: Scheme, dataset: str, annotation: Annotation) -> str | None:
    """The annotation's class; None: it is in none, and left out.

    ``objective`` is the table's own column where it has one (SAMM), else read off the AUs by the
    extended rule, which was fitted to that column (``models.au_graph``; paper 003, Table I).
    """
    if scheme == "objective":
        if annotation.objective is None:
            return au_graph.class_of(annotation, "extended")
        official = annotation.objective - 1
        return au_graph.CLASSES[official] if official < len(au_graph.CLASSES) else None
    emotion = annotation.emotion.strip().lower()
    emotion = _SPELLINGS.get(emotion, emotion)
    if scheme == "three":
        return _THREE_OF[dataset].get(emotion)
    return emotion if emotion in _FIVE[dataset] else None
