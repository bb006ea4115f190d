"""Classification: the coding guide's reading of an expression, and the recognisers'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from models import facs
from stages.items import Event, Interval, Item, Reading
from stages.score import Scoring

CODING_GUIDE = "coding-guide"


def guide_readings(aus: Iterable[int]) -> list[Reading]:
    """The coding guide's readings of ``aus``, the primary one first (``models.facs.read``).

    Raises:
        ValueError: an AU that FACS does not have.
    """
    return [
        Reading(CODING_GUIDE, reading.label, reading.category, reading.text)
        for reading in facs.read(aus)
    ]


class ClassifyStage:
    """Turns each ``Interval`` into an ``Event``; everything else passes unchanged.

    ``apex``, ``update`` and ``final`` get the coding guide's readings of their AUs,
    ``retracted`` none; with a scorer ``final`` also gets the recognisers' readings. The
    crops end here: the event's interval carries no evidence.

    Args:
        prototypes: name and version of the prototype set, ``name@version``.
        scorer: None for the coding guide alone.
    """

    def __init__(self, prototypes: str, scorer: Scoring | None = None) -> None:
        self._prototypes = prototypes
        self.scorer = scorer

    def read(self, interval: Interval) -> Event:
        """The event with the coding guide's readings alone.

        Raises:
            ValueError: an AU that FACS does not have.
        """
        readings: list[Reading] = []
        if interval.phase != "retracted":
            readings = guide_readings(au.au for au in interval.aus)
        models = [] if self.scorer is None else self.scorer.models
        bare = msgspec.structs.replace(interval, evidence=None)
        return Event(bare, readings, self._prototypes, models)

    def process(self, item: Item) -> list[Item]:
        """Classify an ``Interval``; the recognisers are waited for.

        Raises:
            ValueError: an AU that FACS does not have.
        """
        if not isinstance(item, Interval):
            return [item]
        event = self.read(item)
        if self.scorer is None or item.phase != "final":
            return [event]
        return [self.complete(event, self.scorer.score([item.evidence])[0])]

    @staticmethod
    def complete(event: Event, readings: Sequence[Reading]) -> Event:
        """``event`` with the recognisers' ``readings`` behind the coding guide's."""
        return msgspec.structs.replace(event, readings=[*event.readings, *readings])

    def flush(self) -> list[Item]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """There is no state."""
