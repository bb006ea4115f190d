"""Motion magnification of a still: the apex with its displacement from the onset multiplied.

The MAP network ("Mimicking the Annotation Process", section 3.1.1) sees the apex magnified
by the learning-based network of Oh et al. (ECCV 2018). That network is not shipped:
``OnnxMagnifier`` runs one that the user supplies, ``FlowWarpMagnifier`` needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import msgspec
import numpy as np

from models.errors import ModelError
from models.onnx_session import Compute, OnnxSession
from stages.farneback import farneback
from stages.items import Floats, Grey

Flow = Callable[[Grey, Grey], Floats]

_ROUNDS, _WEIGHT = 8, 0.6  # of the fixed point; 99 of 100 px are then within 0.15 px
_SMOOTHING = 0.01  # of the longer side: sharper flow, six times as long, folds over
_MOST_SIDE = 4096
_INPUTS = {"onset", "apex", "factor"}


class Magnifier(Protocol):
    """Multiplies the displacement between two crops."""

    def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
        """The apex at ``factor`` times its displacement from the onset.

        Args:
            onset, apex: (h, w) uint8.
            factor: 1 gives the apex itself.

        Returns:
            (h, w) uint8.
        """
        ...


class FlowWarpMagnifier:
    """Magnifies by warping: what moved by f moves by ``factor`` f and keeps the apex's looks.

    With f the flow from onset to apex, a point x of the onset is seen in the apex at
    x + f(x) and belongs at y = x + factor f(x). For every y that is solved for x by fixed
    point, x <- y - factor f(x).

    Args:
        flow: (onset, apex), uint8 (h, w) each, to (h, w, 2) float32 px.
    """

    def __init__(self, flow: Flow = farneback) -> None:
        self._flow = flow

    def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
        """As ``Magnifier.magnify``."""
        sigma = _SMOOTHING * max(onset.shape)
        flow = np.asarray(cv2.GaussianBlur(self._flow(onset, apex), (0, 0), sigma), np.float32)
        origin = _origin(flow, factor)
        across, down = cv2.split(origin + _sampled(flow, origin))
        made = cv2.remap(apex, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(made, np.uint8)


def _origin(flow: Floats, factor: float) -> Floats:
    """Where each pixel y comes from: x with y = x + factor flow(x), (h, w, 2)."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    target = np.stack([columns, rows], axis=-1)
    found = target - np.float32(factor) * flow
    for _ in range(_ROUNDS - 1):
        step = target - np.float32(factor) * _sampled(flow, found)
        found += np.float32(_WEIGHT) * (step - found)  # a full step swings where flow is steep
    return np.asarray(found, np.float32)


def _sampled(flow: Floats, at: Floats) -> Floats:
    across, down = cv2.split(at)
    made = cv2.remap(flow, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.float32)


class OnnxMagnifier:
    """Magnifies with a network that the user supplies (``docs/recogniser-format.md``).

    Args:
        path: the ``.onnx`` file.
        compute: where it runs; default: CUDA where it works, else one thread of the CPU.

    Raises:
        ModelError: the file is missing or does not fit; the message says how.
        GpuError: the GPU that ``compute`` demands cannot be used.
    """

    def __init__(self, path: Path, compute: Compute | None = None) -> None:
        self._session = OnnxSession(path, compute or Compute())
        self._path = path
        shapes = {port.name: port.shape for port in self._session.inputs}
        if shapes.keys() != _INPUTS:
            raise self._wrong(f"the inputs are {sorted(shapes)}, not {sorted(_INPUTS)}")
        frame = shapes["onset"]
        if len(frame) != 4 or frame[1] not in (1, 3) or len(shapes["apex"]) != 4:
            raise self._wrong("onset and apex must be (1, 3, h, w) or (1, 1, h, w)")
        self._channels = int(frame[1])
        sizes = [n for port in shapes.values() for n in port if isinstance(n, int)]
        if any(not 0 < n <= _MOST_SIDE for n in sizes):
            raise self._wrong(f"a side of an input is not from 1 to {_MOST_SIDE}")
        fixed = isinstance(frame[2], int) and isinstance(frame[3], int)
        self._size = (int(frame[3]), int(frame[2])) if fixed else None  # type: ignore[arg-type]
        self._factor_shape = [n if isinstance(n, int) else 1 for n in shapes["factor"]]
        self._low, self._high = self._range()
        self._less = self._gain()
        blank = np.zeros((224, 224), np.uint8)
        self.magnify(blank, blank, 2.0)

    def magnify(self, onset: Grey, apex: Grey, factor: float) -> Grey:
        """As ``Magnifier.magnify``.

        Raises:
            ModelError: the network cannot run, or gives no image.
        """
        inputs = {"onset": self._tensor(onset), "apex": self._tensor(apex)}
        inputs["factor"] = np.full(self._factor_shape, factor - self._less, np.float32)
        (made,) = self._session.run(self._session.outputs[:1], inputs)
        if made.shape != inputs["apex"].shape or not np.isfinite(made).all():
            raise self._wrong(f"the first output is no image {inputs['apex'].shape}")
        grey = np.asarray(made[0].mean(axis=0), np.float32)
        grey = (grey - self._low) * np.float32(255 / (self._high - self._low))
        whole = cv2.resize(grey, apex.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(np.rint(whole), 0, 255), np.uint8)

    def _tensor(self, crop: Grey) -> Floats:
        if self._size is not None:
            shrinks = self._size[0] <= crop.shape[1] and self._size[1] <= crop.shape[0]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            crop = np.asarray(cv2.resize(crop, self._size, interpolation=method), np.uint8)
        plane = self._low + crop.astype(np.float32) * ((self._high - self._low) / 255)
        return np.repeat(plane[None, None].astype(np.float32), self._channels, axis=1)

    def _range(self) -> tuple[float, float]:
        text = self._session.metadata.get("mespot.range", "[-1, 1]")
        try:
            low, high = msgspec.json.decode(text, type=tuple[float, float])
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._wrong(f"metadata mespot.range: {error}") from None
        if not -1e6 < low < high < 1e6:
            raise self._wrong("metadata mespot.range: the lowest value comes first")
        return low, high

    def _gain(self) -> float:
        """What the network wants less than the multiple."""
        kind = self._session.metadata.get("mespot.factor", "multiple")
        if kind not in ("multiple", "gain"):
            raise self._wrong(f"metadata mespot.factor is {kind!r}, not multiple or gain")
        return 1.0 if kind == "gain" else 0.0

    def _wrong(self, text: str) -> ModelError:
        return ModelError(f"{self._path}: {text}; see docs/recogniser-format.md")
