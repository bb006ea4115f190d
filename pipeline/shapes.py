"""Arrays of decoded items: of the shape and kind that the stages count on, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.messages import Camera, End, Notice, Restarted, Sync
from stages.items import (
    EYE_SHAPE,
    FACE_SHAPE,
    LANDMARKS_SHAPE,
    MOST_PIXELS,
    MOST_SIDE,
    MOUTH_SHAPE,
    Column,
    Curves,
    Evidence,
    Face,
    Frame,
    Interval,
    Item,
)

_MOST_CURVES = 256  # V
_MOST_PROJECTIONS = 4096  # K
_CROPS = {"eye": EYE_SHAPE, "mouth": MOUTH_SHAPE, "face": FACE_SHAPE}
_GREY = np.dtype(np.uint8)


def check(item: Item | Camera | End | Notice | Restarted | Sync) -> None:
    """Pass ``item``.

    Raises:
        ValueError: an array in it is none that a stage can work on.
    """
    if isinstance(item, Frame):
        _check_image(item.image)
    elif isinstance(item, Face):
        _check_grey("eye", item.eye, EYE_SHAPE)
        _check_grey("mouth", item.mouth, MOUTH_SHAPE)
        _check_grey("whole", item.whole, FACE_SHAPE)
        _check_floats("landmarks", item.landmarks, LANDMARKS_SHAPE)
    elif isinstance(item, Curves):
        _check_grey("eye", item.eye, EYE_SHAPE)
        _check_grey("mouth", item.mouth, MOUTH_SHAPE)
        _check_grey("whole", item.whole, FACE_SHAPE)
        for column in item.columns:
            _check_column(column)
    elif isinstance(item, Interval) and item.evidence is not None:
        check_evidence(item.evidence)


def _check_image(image: Any) -> None:
    grey_or_bgr = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != _GREY or not grey_or_bgr:
        raise ValueError(f"an image of shape {image.shape}, {image.dtype}")
    height, width = image.shape[:2]
    if max(height, width) > MOST_SIDE or not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"an image of {width} x {height} px")


def _check_grey(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if array is not None and (array.shape != shape or array.dtype != _GREY):
        raise ValueError(f"{name} has shape {array.shape}, {array.dtype}, not {shape}, uint8")


def _check_floats(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{name} is not {shape} of finite numbers")


def _check_column(column: Column) -> None:
    _check_floats("values", column.values, column.values.shape[:1])
    if not 0 < len(column.values) <= _MOST_CURVES:
        raise ValueError(f"{len(column.values)} curves")
    parts: Any = column.parts
    if parts is None:
        return
    _check_floats("parts", parts, (2, *parts.shape[1:2]))
    if not 0 < parts.shape[-1] <= _MOST_PROJECTIONS:
        raise ValueError(f"{parts.shape[-1]} projections")


def check_evidence(evidence: Evidence) -> None:
    """Pass ``evidence``.

    Raises:
        ValueError: a crop of it is none.
    """
    for name in Evidence.__struct_fields__:
        _check_grey(name, getattr(evidence, name), _CROPS[name.partition("_")[2]])
