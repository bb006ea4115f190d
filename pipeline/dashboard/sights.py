"""What nodes let the page see, beside what is published: pictures, flow, curves, crops.

Each sight is called in its node's thread once an item is on its way, and puts what it makes on
the tap, which never waits. Stages are looked at through read-only properties; they know nothing
of it. Pictures, flow and crops exist only where images are allowed.

| topic | parts after it |
| --- | --- |
| ``picture.<stream>`` | header (msgpack), JPEG |
| ``flow.<stream>``, ``rises.<stream>``, ``crops.<stream>`` | body (msgpack) |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.config import Config
from pipeline.wire import Wire
from stages.base import Stage
from stages.items import Curves, Evidence, Face, Floats, Frame, Interval, Stamp

if TYPE_CHECKING:
    from stages.motion import MotionStage
    from stages.spot import SpotStage

Sight = Callable[[Wire, Sequence[Wire]], None]
Tap = Callable[[Sequence[bytes]], None]

CELL = 20  # px of a crop: both crops are whole cells wide and high
FLOW_UNIT = 0.1  # px of the crop
_QUALITY = 78
_CROP_QUALITY = 85
_CURVES_PER_S = 40.0
_CURVES_AT_ONCE = 60  # of a recording that comes in bursts, or a machine that is late


def sight(name: str, config: Config, stage: Stage, tap: Tap) -> Sight | None:
    """What the page sees of the node called ``name``; None: nothing."""
    wanted = config.dashboard
    if not wanted.enabled:
        return None
    if name == "spot":
        return SpotSight(stage, config, tap)  # type: ignore[arg-type]
    if name == "face" and wanted.pictures:
        return FaceSight(wanted.fps, wanted.width, tap)
    if name == "motion" and wanted.pictures:
        return MotionSight(stage, wanted.fps, tap)  # type: ignore[arg-type]
    return None


class Pace:
    """At most so many a second of wall time, evenly on average.

    Args:
        rate: 1/s.
        burst: so many at once, when there were none before.
        clock: monotonic, s.
    """

    def __init__(
        self, rate: float, burst: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._step = 1.0 / rate
        self._credit = (burst - 1) * self._step
        self._clock = clock
        self._next = 0.0

    def due(self) -> bool:
        """Whether the next one may go now; it is counted as gone."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = max(self._next, now - self._credit) + self._step
        return True


class FaceSight:
    """The frame, smaller, with the regions of its faces.

    Args:
        fps: most pictures a second.
        width: most px of their width.
        tap: takes them.
    """

    def __init__(self, fps: float, width: int, tap: Tap) -> None:
        self._pace = Pace(fps)
        self._width = width
        self._tap = tap

    def __call__(self, item: Wire, outputs: Sequence[Wire]) -> None:
        """A frame, and the faces in it."""
        if not isinstance(item, Frame) or not self._pace.due():
            return
        from pipeline.clip_pictures import regions

        picture, scale = _smaller(item.image, self._width)
        faces = [
            {"face": one.face, "regions": np.round(regions(one) * scale, 1).tolist()}
            for one in outputs
            if isinstance(one, Face)
        ]
        header = _at(item.stamp) | {
            "width": picture.shape[1],
            "height": picture.shape[0],
            "faces": faces,
        }
        body = msgspec.msgpack.encode(header)
        self._tap([_topic("picture", item.stamp), body, _jpeg(picture, _QUALITY)])


class MotionSight:
    """Flow against the window's reference, a mean for each cell of the crops.

    Args:
        stage: has the flow.
        fps: most a second, of each face.
        tap: takes them.
    """

    def __init__(self, stage: MotionStage, fps: float, tap: Tap) -> None:
        self._stage = stage
        self._fps = fps
        self._tap = tap
        self._paces: dict[int, Pace] = {}

    def __call__(self, item: Wire, outputs: Sequence[Wire]) -> None:
        """A face, whose flow was just computed."""
        if not isinstance(item, Face):
            return
        if len(self._paces) > 100:  # faces that are long gone
            self._paces.clear()
        if not self._paces.setdefault(item.face, Pace(self._fps)).due():
            return
        flow = self._stage.flow_of(item.face)
        if flow is None:
            return
        eye, mouth = (
            _cells(one, crop) for one, crop in zip(flow, (item.eye, item.mouth), strict=True)
        )
        body = _at(item.stamp) | {"face": item.face, "unit": FLOW_UNIT, "eye": eye, "mouth": mouth}
        self._tap([_topic("flow", item.stamp), msgspec.msgpack.encode(body)])


class SpotSight:
    """How far each AU's curve has risen, in theta; crops of final events.

    Frames that come faster than a page can draw are told together, the highest of each AU.

    Args:
        stage: has the curves.
        config: of the run.
        tap: takes them.
    """

    def __init__(self, stage: SpotStage, config: Config, tap: Tap) -> None:
        self._stage = stage
        self._tap = tap
        self._crops = config.dashboard.pictures
        self._lanes, self._of = _lanes(config)
        self._faces: dict[int, tuple[Pace, npt.NDArray[np.float64]]] = {}

    def __call__(self, item: Wire, outputs: Sequence[Wire]) -> None:
        """What spot took, and what it made of it."""
        if isinstance(item, Curves) and item.eye is not None:
            self._rises(item.stamp, item.face)
        if self._crops:
            for output in outputs:
                if isinstance(output, Interval) and output.evidence is not None:
                    self._show(output, output.evidence)

    def _rises(self, stamp: Stamp, face: int) -> None:
        found = self._stage.rises(stamp.stream, face)
        if found is None:
            return
        at, rises = found
        lanes = np.array([rises[rows].max(initial=0.0) for rows in self._of])
        if len(self._faces) > 100:
            self._faces.clear()
        pace, held = self._faces.get(face, (Pace(_CURVES_PER_S, _CURVES_AT_ONCE), lanes))
        highest = np.maximum(held, lanes)
        if not pace.due():
            self._faces[face] = pace, highest
            return
        self._faces[face] = pace, np.zeros(len(lanes))
        body = {"face": face, "pts": at, "utc_ns": stamp.utc_ns, "aus": self._lanes}
        body["values"] = np.round(highest, 3).tolist()
        self._tap([_topic("rises", stamp), msgspec.msgpack.encode(body)])

    def _show(self, interval: Interval, evidence: Evidence) -> None:
        crops = {
            f"{moment}_{region}": _jpeg(getattr(evidence, f"{moment}_{region}"), _CROP_QUALITY)
            for moment in ("onset", "apex", "offset")
            for region in ("eye", "mouth")
        }
        body = {"id": interval.id, "face": interval.face, "crops": crops}
        self._tap([_topic("crops", interval.apex), msgspec.msgpack.encode(body)])


def _lanes(config: Config) -> tuple[list[int], list[list[int]]]:
    """The AU of each lane (0: several at once), and the curves that belong to it."""
    from pipeline.build import prototypes
    from pipeline.report_lanes import TOGETHER, lane_aus

    known = prototypes(config)
    curves: list[tuple[int, ...]] = [(au,) for au in known.aus]
    if config.method == "mespot" and known.joint is not None:
        curves = [tuple(aus) for aus in known.joint.detectors()[0]]
    of = [aus[0] if len(aus) == 1 else TOGETHER for aus in curves]
    lanes = list(lane_aus(known, config))
    return lanes, [[row for row, au in enumerate(of) if au == lane] for lane in lanes]


def _topic(kind: str, stamp: Stamp) -> bytes:
    return f"{kind}.{stamp.stream}".encode()


def _at(stamp: Stamp) -> dict[str, Any]:
    return {"frame": stamp.frame, "pts": stamp.pts, "utc_ns": stamp.utc_ns}


def _smaller(image: npt.NDArray[np.uint8], width: int) -> tuple[npt.NDArray[np.uint8], float]:
    """``image`` at most ``width`` px wide, and its scale."""
    scale = width / image.shape[1]
    if scale >= 1:
        return image, 1.0
    import cv2

    size = (width, max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("a picture that cannot be encoded")
    return bytes(data.tobytes())


def _cells(flow: Floats, crop: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Flow (h, w, 2) of ``crop``: columns, rows, and dx, dy of each cell in ``FLOW_UNIT``."""
    import cv2

    rows, columns = crop.shape[0] // CELL, crop.shape[1] // CELL
    means = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)
    whole = np.round(np.asarray(means) / FLOW_UNIT).clip(-32_000, 32_000).astype(np.int16)
    return {
        "columns": columns,
        "rows": rows,
        "width": crop.shape[1],
        "height": crop.shape[0],
        "values": whole.ravel().tolist(),
    }
