"""A picture of one event: key frames, matching curves with theta and interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.inline import run
from pipeline.sources import open_source
from stages.items import Curves, Event, Frame, Interval

Image = npt.NDArray[np.uint8]
_KEYS = ("onset", "apex", "offset")


@dataclass(frozen=True)
class Told:
    """A final interval and the curves of the window that it was found in."""

    interval: Interval
    label: str
    times: npt.NDArray[np.float64]  # (n,) s
    values: npt.NDArray[np.float64]  # (n, V)


def events_with_curves(config: Config) -> list[Told]:
    """Every final event of a recorded source, with its window's curves."""
    config = config.model_copy(
        update={"publish": config.publish.model_copy(update={"curves": True})}
    )
    columns: dict[int, dict[float, npt.NDArray[np.float32]]] = {}
    told: list[tuple[Interval, str]] = []
    source = open_source(config.source, fps="max", duration_s=config.duration)
    for item in run(source.frames(), config):
        if isinstance(item, Curves):
            for column in item.columns:
                columns.setdefault(column.reference, {})[item.stamp.pts] = column.values
        elif isinstance(item, Event) and item.interval.phase == "final":
            told.append((item.interval, item.readings[0].label if item.readings else ""))
    return [_told(interval, label, columns[interval.reference]) for interval, label in told]


def _told(interval: Interval, label: str, columns: dict[float, npt.NDArray[np.float32]]) -> Told:
    times = sorted(columns)
    values = np.array([columns[t] for t in times], np.float64)
    return Told(interval, label, np.array(times), values)


def _stills(config: Config, interval: Interval) -> dict[str, Image]:
    wanted = {stamp.frame: key for key in _KEYS if (stamp := getattr(interval, key)) is not None}
    source = open_source(config.source, fps="max")
    stills: dict[str, Image] = {}
    for frame in source.frames():
        if frame.stamp.frame in wanted:
            stills[wanted[frame.stamp.frame]] = _face_part(frame)
        if len(stills) == len(wanted):
            break
    return stills


def _face_part(frame: Frame) -> Image:
    from stages.landmarks import FaceMeshLandmarker

    faces = FaceMeshLandmarker(max_faces=1).detect(frame.image, frame.stamp.pts)
    if not faces:
        return frame.image
    low, high = faces[0].min(axis=0), faces[0].max(axis=0)
    x0, y0 = np.maximum(low - 0.1 * (high - low), 0).astype(int)
    x1, y1 = (high + 0.1 * (high - low)).astype(int)
    part: Image = frame.image[y0:y1, x0:x1]
    return part


def draw(config: Config, out: Path, which: int | None = None) -> Interval:
    """Draw event number ``which`` (default: the one with the highest peak over theta).

    Raises:
        UserError: the source holds no such event.
    """
    told = events_with_curves(config)
    if not told:
        raise UserError(f"{config.source}: no event was spotted, so there is nothing to draw")
    if which is not None and not 0 <= which < len(told):
        raise UserError(f"event: there are {len(told)} events, from 0 to {len(told) - 1}")
    chosen_set = prototypes(config)
    thetas = dict(zip(chosen_set.aus, chosen_set.thetas * config.spot.threshold_scale, strict=True))
    chosen = told[which] if which is not None else max(told, key=lambda t: _strength(t, thetas))
    figure = _figure(chosen, _stills(config, chosen.interval), list(chosen_set.aus), thetas)
    figure.savefig(out, dpi=110)
    return chosen.interval


def _strength(told: Told, thetas: dict[int, Any]) -> float:
    return max(a.index / float(thetas[a.au]) for a in told.interval.aus)


def _figure(told: Told, stills: dict[str, Image], aus: list[int], thetas: dict[int, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.15, 1])
    for place, key in enumerate(_KEYS):
        axes = figure.add_subplot(grid[0, place])
        axes.axis("off")
        stamp = getattr(told.interval, key)
        if key in stills:
            axes.imshow(stills[key][..., ::-1] if stills[key].ndim == 3 else stills[key], "gray")
        axes.set_title(f"{key}: frame {stamp.frame}, {stamp.pts:.2f} s", fontsize=10)
    _curves(figure.add_subplot(grid[1, :]), told, aus, thetas)
    names = " + ".join(f"AU {a.au}" for a in told.interval.aus)
    figure.suptitle(f"{told.interval.kind}-expression, {names}: {told.label}", fontsize=12)
    return figure


def _curves(axes: Any, told: Told, aus: list[int], thetas: dict[int, Any]) -> None:
    shown = {a.au for a in told.interval.aus}
    for row, au in enumerate(aus):
        values = told.values[:, row] / float(thetas[au])
        style = {"lw": 1.8, "label": f"AU {au}"} if au in shown else {"lw": 0.8, "color": "0.75"}
        axes.plot(told.times, values, **style)
    axes.axhline(1, color="k", ls=":", lw=1)
    axes.text(told.times[0], 1, " θ", va="bottom", fontsize=9)
    onset, offset = told.interval.onset, told.interval.offset
    if onset is not None and offset is not None:
        axes.axvspan(onset.pts, offset.pts, color="tab:orange", alpha=0.2, label="interval")
    axes.axvline(told.interval.apex.pts, color="tab:red", lw=1, label="apex")
    axes.set_xlabel("source time, s")
    axes.set_ylabel("matching index / θ")
    axes.legend(fontsize=8, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
