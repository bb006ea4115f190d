"""Classification: the coding guide's reading of an expression, and a recogniser's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, overload

import msgspec
import numpy as np
import numpy.typing as npt

from models import facs
from models.errors import ModelError
from models.recogniser import InputSpec, Recogniser
from stages.farneback import farneback
from stages.items import Event, Evidence, Floats, Grey, Interval, Reading

Flow = Callable[[Grey, Grey], Floats]
_Item = TypeVar("_Item")

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
    fields: dict[tuple[str, str], npt.NDArray[np.generic]] = {}
    for spec in inputs.values():
        key = (spec.source, spec.region)
        if key not in fields:
            fields[key] = _field(spec, evidence, flow)
    return {name: spec.tensor(fields[spec.source, spec.region]) for name, spec in inputs.items()}


def _field(spec: InputSpec, evidence: Evidence, flow: Flow) -> npt.NDArray[np.generic]:
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
        flow: (reference, image), uint8 (h, w) each, to (h, w, 2) float32 px.
    """

    def __init__(
        self, prototypes: str, recogniser: Recogniser | None = None, flow: Flow = farneback
    ) -> None:
        self._prototypes = prototypes
        self._recogniser = recogniser
        self._flow = flow
        self._models = [] if recogniser is None else [recogniser.card.label]
        if recogniser is not None:
            # compiles the flow now, not when the first event waits for it
            eye, mouth = np.zeros(_EYE, np.uint8), np.zeros(_MOUTH, np.uint8)
            prepare(recogniser.inputs, Evidence(eye, mouth, eye, mouth, eye, mouth), flow)

    @property
    def device(self) -> str:
        """Where the recogniser runs; "" without one."""
        return "" if self._recogniser is None else self._recogniser.device

    @overload
    def process(self, item: Interval) -> list[Event]: ...

    @overload
    def process(self, item: _Item) -> list[_Item]: ...

    def process(self, item: object) -> list[object]:
        """Classify an ``Interval``.

        Raises:
            ValueError: an AU that FACS does not have.
        """
        if not isinstance(item, Interval):
            return [item]
        readings: list[Reading] = []
        if item.phase != "retracted":
            readings = guide_readings(au.au for au in item.aus)
        if item.phase == "final" and self._recogniser is not None:
            readings.append(self._recognise(self._recogniser, item.evidence))
        bare = msgspec.structs.replace(item, evidence=None)
        return [Event(bare, readings, self._prototypes, list(self._models))]

    def flush(self) -> list[object]:
        """Nothing is held back."""
        return []

    def reset(self) -> None:
        """There is no state."""

    def _recognise(self, recogniser: Recogniser, evidence: Evidence | None) -> Reading:
        device = recogniser.device
        if evidence is None:
            reason = "not scored: the crops of the key frames are gone"
            return Reading(recogniser.name, "", rule=reason, device=device)
        try:
            scores = recogniser.scores(prepare(recogniser.inputs, evidence, self._flow))
        except ModelError as error:
            return Reading(recogniser.name, "", rule=f"not scored: {error}", device=device)
        label = max(scores, key=scores.__getitem__)
        return Reading(
            recogniser.name, label, recogniser.category(label), scores=scores, device=device
        )
