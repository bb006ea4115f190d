"""Which node takes which item; the same for every driver."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.messages import Camera, Restarted
from pipeline.wire import Wire
from stages.base import Stage
from stages.items import Curves, Face, FaceState, Frame, Interval, Stride, WindowEnd

ACCEPTS: dict[str, tuple[type, ...]] = {
    "face": (Frame,),
    "motion": (Face, FaceState, Stride),
    "spot": (Curves, WindowEnd, FaceState),
    "classify": (Interval,),
}
# taken by a stage and of interest further down as well
_ALSO_FORWARDED = (FaceState,)


def step(name: str, stage: Stage, item: Wire, curves: bool = False) -> Iterable[Wire]:
    """What node ``name`` sends on for ``item``; ``curves`` lets matching curves pass spot."""
    if not isinstance(item, ACCEPTS[name]):
        if isinstance(item, Restarted):
            getattr(stage, "restart", stage.reset)()
        if isinstance(item, Camera) and item.kind == "lost":
            return [*getattr(stage, "interrupt", list)(), item]
        return [item]
    outputs: list[Wire] = list(stage.process(item))
    if isinstance(item, _ALSO_FORWARDED):
        outputs.append(item)
    if curves and name == "spot" and isinstance(item, Curves):
        outputs.append(msgspec.structs.replace(item, eye=None, mouth=None, whole=None))
    return outputs
