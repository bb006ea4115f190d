"""From a movement and the mixture behind it to an expression: borders, action units, sides."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from models.joint import BLINK, JointModel, Side
from stages.borders import drawn_out
from stages.explanation import Mixture
from stages.peaks import AUSpan, Expression

Array = npt.NDArray[np.float64]

_TICK = 1e-6
_ONE_SIDED = 0.35  # a side that moves less than this share of the other does not count


def expressed(
    model: JointModel, mixture: Mixture, times: Array, path: Array, base: int, micro_s: float
) -> Expression:
    """The expression that a movement is.

    Args:
        model: the joint model.
        mixture: what explains the movement.
        times: (n,) its frames' source times, s.
        path: (n, K) its projections, at rest in its first and its last frame.
        base: index of its first frame in the window.
        micro_s: a shorter expression is micro, s.
    """
    curve = path @ mixture.curve
    apex = int(curve.argmax())
    onset = _nearest(times, drawn_out(times, curve, apex, -1))
    offset = _nearest(times, drawn_out(times, curve, apex, 1))
    short = times[offset] - times[onset] + _TICK < micro_s
    kind: Literal["micro", "macro"] = "micro" if short else "macro"
    borders = base + onset, base + apex, base + offset
    return Expression(*borders, kind, au_spans(model, mixture, *borders))


def au_spans(
    model: JointModel, mixture: Mixture, onset: int, apex: int, offset: int
) -> tuple[AUSpan, ...]:
    """The AUs, the strongest first; the blink that goes along with others is left out."""
    spans = []
    for number, au in enumerate(model.aus):
        left, right = (float(mixture.weights[model.index(au, h)]) for h in ("left", "right"))
        value = max(left, right)
        if value > 0 and au != BLINK:
            spans.append(AUSpan(number, onset, apex, offset, value, _side(left, right)))
    return tuple(sorted(spans, key=lambda span: -span.value))


def _side(left: float, right: float) -> Side:
    if left < _ONE_SIDED * right:
        return "right"
    return "left" if right < _ONE_SIDED * left else "both"


def _nearest(times: Array, time: float) -> int:
    return int(np.abs(times - time).argmin())
