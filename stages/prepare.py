"""What recognisers are given of an event: tensors made from the crops of its key frames.

Training and live use share this file, so that a network sees the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.recogniser import FlowMethod, InputSpec, Region
from stages.farneback import farneback
from stages.items import Evidence, Floats, Grey
from stages.magnify import Magnifier
from stages.rigid import without_rigid
from stages.variational import tvl1

Size = tuple[int, int]  # width, height
_FLOWS: dict[FlowMethod, Callable[[Grey, Grey], Floats]] = {"farneback": farneback, "tvl1": tvl1}


class Preparation:
    """The tensors of one event; each flow and each magnified frame is made once.

    Args:
        evidence: crops of the key frames.
        magnifier: makes the magnified apex, for inputs that want it.
    """

    def __init__(self, evidence: Evidence, magnifier: Magnifier) -> None:
        self._evidence = evidence
        self._magnifier = magnifier
        self._magnified: dict[tuple[Region, float], Grey] = {}
        self._flows: dict[tuple[Any, ...], Floats] = {}

    def tensors(self, inputs: Mapping[str, InputSpec]) -> dict[str, Floats]:
        """``InputSpec.shape`` float32 by name of the input.

        Raises:
            ModelError: a crop is not there.
        """
        return {name: spec.tensor(self._field(spec)) for name, spec in inputs.items()}

    def _field(self, spec: InputSpec) -> npt.NDArray[Any]:
        if not spec.is_flow:
            return _fitted(self._crop(spec.source, spec), spec.at)
        factor = spec.factor if spec.is_magnified else 1.0
        key = spec.source, spec.region, spec.at, spec.flow, factor, spec.steady
        if key not in self._flows:
            begin, end = spec.source.removeprefix("flow_").split("_")
            pair = (_fitted(self._crop(moment, spec), spec.at) for moment in (begin, end))
            flow = _FLOWS[spec.flow](*pair)
            self._flows[key] = without_rigid(flow) if spec.steady else flow
        return self._flows[key]

    def _crop(self, moment: str, spec: InputSpec) -> Grey:
        if moment != "magnified":
            return self._key_frame(moment, spec.region)
        key = spec.region, spec.factor
        if key not in self._magnified:
            onset, apex = (self._key_frame(m, spec.region) for m in ("onset", "apex"))
            self._magnified[key] = self._magnifier.magnify(onset, apex, spec.factor)
        return self._magnified[key]

    def _key_frame(self, moment: str, region: Region) -> Grey:
        crop: Grey | None = getattr(self._evidence, f"{moment}_{region}")
        if crop is None:
            raise ModelError(f"the {region} crop of the {moment} is missing")
        return crop


def prepare(
    inputs: Mapping[str, InputSpec], evidence: Evidence, magnifier: Magnifier
) -> dict[str, Floats]:
    """The tensors of one event for one recogniser, ``InputSpec.shape`` float32 each.

    ``flow_onset_apex`` is the flow from the onset crop to the apex crop, and so on;
    ``magnified`` is the apex as ``magnifier`` makes it from the full crops.

    Raises:
        ModelError: a crop is not there.
    """
    return Preparation(evidence, magnifier).tensors(inputs)


def _fitted(crop: Grey, size: Size | None) -> Grey:
    if size is None or size == crop.shape[::-1]:
        return crop
    shrinks = size[0] <= crop.shape[1] and size[1] <= crop.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, size, interpolation=method), np.uint8)
