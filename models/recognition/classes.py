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
_THREE_OF = {
    "happiness": "positive",
    "disgust": "negative",
    "repression": "negative",
    "contempt": "negative",
    "anger": "negative",
    "surprise": "surprise",
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

    ``objective`` reads the AUs that the annotators were certain of (paper 003, Table I).
    """
    if scheme == "objective":
        return au_graph.class_of(annotation)
    emotion = annotation.emotion.strip().lower()
    emotion = _SPELLINGS.get(emotion, emotion)
    if scheme == "three":
        return _THREE_OF.get(emotion) if emotion in _FIVE[dataset] else None
    return emotion if emotion in _FIVE[dataset] else None
