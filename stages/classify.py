"""Classification: the coding guide's reading of an expression, and a recogniser's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from models import facs
from models.errors import ModelError
from stages.items import Event, Evidence, Floats, Grey, Interval, Item, Reading

if TYPE_CHECKING:
    from models.recogniser import InputSpec, Recogniser

Flow = Callable[[Grey, Grey], Floats]

CODING_GUIDE = "coding-guide"
_EYE, _MOUTH = (240, 280), (160, 260)


def guide_readings(aus: Iterable[int]) -> list[Reading]:
    """The coding guide's readings of ``aus``, the primary one first (``models.facs.read``).

    Raises:
        ValueError: an AU that FACS does not have.
    """
    return [
        Reading(CODING_GUIDE, reading.label, reading.category, reading.text)
        for reading in facs.read(aus)
    ]


def prepare(inputs: dict[str, InputSpec], evidence: Evidence, flow: Flow) -> dict[str, Floats]:
    """The tensors that a recogniser asks for, ``InputSpec.shape`` float32 each.

    ``flow_onset_apex`` is the flow from the onset crop to the apex crop,
    ``flow_offset_apex`` from the offset crop to the apex crop; each field is
    computed once, however many inputs use it.
    """
    fields: dict[tuple[str, str], npt.NDArray[Any]] = {}
    for spec in inputs.values():
        key = (spec.source, spec.region)
        if key not in fields:
            fields[key] = _field(spec, evidence, flow)
    return {name: spec.tensor(fields[spec.source, spec.region]) for name, spec in inputs.items()}


def _field(spec: InputSpec, evidence: Evidence, flow: Flow) -> npt.NDArray[Any]:
    moment = spec.source.removeprefix("flow_").removesuffix("_apex")
    crop: Grey = getattr(evidence, f"{moment}_{spec.region}")
    if not spec.is_flow:
        return crop
    apex: Grey = getattr(evidence, f"apex_{spec.region}")
    return flow(crop, apex)


class ClassifyStage:
    """Turns each ``Interval`` into an ``Event``; everything else passes unchanged.

    ``apex``, ``update`` and ``final`` get the coding guide's readings of their AUs,
    ``retracted`` none. With a recogniser, ``final`` also gets its scores. The crops
    end here: the event's interval carries no evidence. A recogniser that cannot
    score an event never costs the event: its reading then has the label "" and the
    cause in ``rule``.

    Args:
        prototypes: name and version of the prototype set, ``name@version``.
        recogniser: None for the coding guide alone.
        flow: (reference, image), uint8 (h, w) each, to (h, w, 2) float32 px; default:
            ``stages.farneback.farneback``.
    """

    def __init__(
        self, prototypes: str, recogniser: Recogniser | None = None, flow: Flow | None = None
    ) -> None:
        self._prototypes = prototypes
        self._scorer = None if recogniser is None else _Scorer(recogniser, flow or _own_flow())

    @property
    def device(self) -> str:
        """Where the recogniser runs; "" without one."""
        return "" if self._scorer is None else self._scorer.recogniser.device

    def process(self, item: Item) -> list[Item]:
        """Classify an ``Interval``.

        Raises:
            ValueError: an AU that FACS does not have.
        """
        if not isinstance(item, Interval):
            return [item]
        readings: list[Reading] = []
        models: list[str] = []
        if item.phase != "retracted":
            readings = guide_readings(au.au for au in item.aus)
        if self._scorer is not None:
            models = [self._scorer.recogniser.card.label]
            if item.phase == "final":
                readings.append(self._scorer.reading(item.evidence))
        bare = msgspec.structs.replace(item, evidence=None)
        return [Event(bare, readings, self._prototypes, models)]

    def flush(self) -> list[Item]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """There is no state."""


class _Scorer:
    """A recogniser and the flow that feeds it."""

    def __init__(self, recogniser: Recogniser, flow: Flow) -> None:
        self.recogniser = recogniser
        self._flow = flow
        # compiles the flow now, not when the first event waits for it
        eye, mouth = np.zeros(_EYE, np.uint8), np.zeros(_MOUTH, np.uint8)
        prepare(recogniser.inputs, Evidence(eye, mouth, eye, mouth, eye, mouth), flow)

    def reading(self, evidence: Evidence | None) -> Reading:
        """The recogniser's reading, or why there is none."""
        model = self.recogniser
        if evidence is None:
            return self._unscored("the crops of the key frames are gone")
        try:
            scores = model.scores(prepare(model.inputs, evidence, self._flow))
        except ModelError as error:
            return self._unscored(str(error))
        label = max(scores, key=scores.__getitem__)
        category = model.category(label)
        return Reading(model.name, label, category, scores=scores, device=model.device)

    def _unscored(self, cause: str) -> Reading:
        model = self.recogniser
        return Reading(model.name, "", rule=f"not scored: {cause}", device=model.device)


def _own_flow() -> Flow:
    from stages.farneback import farneback  # numba: loaded only where a recogniser needs it

    return farneback
