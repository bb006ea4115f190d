"""What recognisers say of events: tensors, inference in batches, readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from models.errors import ModelError
from models.onnx_session import CPU
from models.recogniser import Recogniser, Scores
from stages.items import Evidence, Floats, Reading
from stages.magnify import Magnifier
from stages.prepare import Preparation
from stages.region import EYE_SIZE, FACE_SIZE, MOUTH_SIZE

Tensors = Mapping[str, Floats]
_ON_CPU = 2  # events at once: a batch saves little there, and the first would wait for the last


class Scoring(Protocol):
    """What reads events: recognisers of this process, or of another."""

    @property
    def models(self) -> list[str]:
        """``name@version`` of each recogniser."""
        ...

    @property
    def about(self) -> list[str]:
        """A line on each recogniser: what it is, where it runs, what it was trained on."""
        ...

    @property
    def at_once(self) -> int:
        """How many events to hand over, where some result soon beats all results later."""
        ...

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        """Per event one reading of each recogniser, in their order."""
        ...

    def unscored(self, cause: str) -> list[Reading]:
        """The readings of an event that could not be scored."""
        ...


class Scorer:
    """Recognisers, one after the other, on events in batches.

    A recogniser that cannot score an event costs neither the event nor the others their
    scores, whatever was raised: its reading then has the label "" and the cause in
    ``rule``. Not safe for concurrent use.

    Args:
        recognisers: at least one.
        magnifier: makes the magnified apex, for recognisers that want it.
        batch: most events in one inference.
    """

    def __init__(
        self, recognisers: Sequence[Recogniser], magnifier: Magnifier, batch: int = 16
    ) -> None:
        self.recognisers = list(recognisers)
        self._magnifier = magnifier
        self._batch = batch

    @property
    def models(self) -> list[str]:
        """``name@version`` of each recogniser."""
        return [recogniser.card.label for recogniser in self.recognisers]

    @property
    def about(self) -> list[str]:
        """A line on each recogniser: what it is, where it runs, what it was trained on."""
        return [
            f"{one.card.label} on {one.device}, trained on: {one.card.training}"
            for one in self.recognisers
        ]

    @property
    def at_once(self) -> int:
        """How many events to hand over, where some result soon beats all results later."""
        return self._batch if self._on_gpu else min(self._batch, _ON_CPU)

    @property
    def _on_gpu(self) -> bool:
        return any(recogniser.device != CPU for recogniser in self.recognisers)

    def warm_up(self) -> None:
        """Compile and touch everything, so that the first event is not late."""
        shapes = [size[::-1] for size in (EYE_SIZE, MOUTH_SIZE)] * 3 + [FACE_SIZE[::-1]] * 3
        blank = Evidence(*(np.zeros(shape, np.uint8) for shape in shapes))
        self.score([blank])
        if self._on_gpu:
            self.score([blank] * self._batch)  # a GPU chooses its kernels by shape

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        """Per event one reading of each recogniser, in their order.

        Args:
            events: the crops; None when they are gone.
        """
        prepared = [None if e is None else Preparation(e, self._magnifier) for e in events]
        columns = [self._column(recogniser, prepared) for recogniser in self.recognisers]
        return [list(row) for row in zip(*columns, strict=True)]

    def unscored(self, cause: str) -> list[Reading]:
        """The readings of an event that could not be scored."""
        return [_unscored(recogniser, cause) for recogniser in self.recognisers]

    def _column(
        self, recogniser: Recogniser, prepared: Sequence[Preparation | None]
    ) -> list[Reading]:
        """One recogniser's reading of every event."""
        readings: list[Reading] = []
        ready: dict[int, Tensors] = {}
        for i, preparation in enumerate(prepared):
            cause = "the crops of the key frames are gone"
            if preparation is not None:
                try:
                    ready[i] = preparation.tensors(recogniser.inputs)
                except Exception as error:  # noqa: BLE001  flows and magnifiers may raise anything
                    cause = _cause(error)
            readings.append(_unscored(recogniser, cause))
        places = list(ready)
        for k in range(0, len(places), self._batch):
            chunk = places[k : k + self._batch]
            made = _readings(recogniser, [ready[i] for i in chunk])
            for i, reading in zip(chunk, made, strict=True):
                readings[i] = reading
        return readings


def _readings(recogniser: Recogniser, batch: Sequence[Tensors]) -> list[Reading]:
    try:
        return [_reading(recogniser, scores) for scores in recogniser.score_batch(batch)]
    except Exception as error:  # noqa: BLE001  a runtime may raise anything
        if len(batch) == 1:
            return [_unscored(recogniser, _cause(error))]
        # one event that cannot be scored must not cost the others their scores
        return [_readings(recogniser, [tensors])[0] for tensors in batch]


def _cause(error: Exception) -> str:
    """One line; a ``ModelError`` is worded for the user already."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ModelError) else f"{type(error).__name__}: {text}"


def _reading(recogniser: Recogniser, scores: Scores) -> Reading:
    label = max(scores.classes, key=scores.classes.__getitem__)
    return Reading(
        recogniser.name,
        label,
        recogniser.category(label),
        scores=scores.classes,
        device=recogniser.device,
        training=recogniser.card.training,
        aus={str(au): value for au, value in scores.aus.items()},
    )


def _unscored(recogniser: Recogniser, cause: str) -> Reading:
    return Reading(
        recogniser.name,
        "",
        rule=f"not scored: {cause}",
        device=recogniser.device,
        training=recogniser.card.training,
    )
