"""Which node takes which item; the same for every driver."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.messages import Camera, Restarted, Sync
from pipeline.wire import Wire, WireError
from stages.base import Stage
from stages.items import Curves, Event, Face, FaceState, Frame, Interval, Stride, WindowEnd

ACCEPTS: dict[str, tuple[type, ...]] = {
    "face": (Frame,),
    "motion": (Face, FaceState, Stride),
    "spot": (Curves, WindowEnd, FaceState),
    "classify": (Interval,),
}
# taken by a stage and of interest further down as well
_ALSO_FORWARDED = (FaceState,)
# where the items of the work itself may arrive; ``feedback`` is motion's second inbox
_PLACES: dict[type, tuple[str, ...]] = {
    Frame: ("face",),
    Face: ("motion",),
    Stride: ("feedback",),
    WindowEnd: ("spot",),
    Sync: ("spot", "feedback"),
    Curves: ("spot", "classify", "publish"),
    Interval: ("classify",),
    Event: ("publish",),
}


def check_place(item: Wire, place: str) -> None:
    """Pass an item that another node may have sent to ``place``.

    Raises:
        WireError: no node sends such an item there.
    """
    if place not in _PLACES.get(type(item), (place,)):
        raise WireError(f"no place for a {type(item).__name__}")


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
