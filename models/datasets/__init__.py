"""Readers of the licensed data sets, in their official formats, and of anyone's own data.

``load("casme2", root)`` gives a ``Dataset``: annotations, and the frames of their videos.
What is expected below ``root`` is in ``docs/datasets.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from models.datasets import casme2, casme_sq, samm, samm_lv
from models.datasets.aus import AUCode
from models.datasets.counts import Facts, facts
from models.datasets.records import Annotation, Clip, Dataset, FrameSource, Kind, Pair
from models.errors import UserError

__all__ = [
    "NAMES",
    "AUCode",
    "Annotation",
    "Clip",
    "Dataset",
    "Facts",
    "FrameSource",
    "Kind",
    "Pair",
    "facts",
    "load",
]


class _Reader(Protocol):
    def __call__(
        self,
        root: Path,
        *,
        corrections: bool = ...,
        workbook: Path | None = ...,
        images: Path | None = ...,
    ) -> Dataset: ...


_READERS: dict[str, _Reader] = {
    module.NAME: module.read for module in (casme2, samm, casme_sq, samm_lv)
}
NAMES = tuple(_READERS)


def load(
    name: str,
    root: Path,
    *,
    corrections: bool = True,
    workbook: Path | None = None,
    images: Path | None = None,
) -> Dataset:
    """The data set ``name`` below ``root``.

    Args:
        name: one of ``NAMES``.
        root: the folder in which workbook and frames lie.
        corrections: correct the known mistakes of the labels; ``reports`` says which.
        workbook: the workbook, where several fit.
        images: the folder of frames, where there are several.

    Raises:
        UserError: an unknown name, or the workbook is missing, ambiguous or malformed.
    """
    if name not in _READERS:
        raise UserError(f"data set {name!r} is not known; known are {', '.join(NAMES)}")
    return _READERS[name](root, corrections=corrections, workbook=workbook, images=images)
