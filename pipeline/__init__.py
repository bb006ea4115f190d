"""The runtime: sockets, clocks, processes and logs; ``Pipeline`` for use from Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import models  # noqa: F401  it bounds what OpenCV decodes, before OpenCV is loaded

if TYPE_CHECKING:
    from pipeline.library import FrameError, Pipeline, Result, WindowCurves

__all__ = ["FrameError", "Pipeline", "Result", "WindowCurves"]


def __getattr__(name: str) -> Any:
    """The library, once it is asked for: the command line needs none of it."""
    if name in __all__:
        return getattr(importlib.import_module("pipeline.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
