"""The crops of an event, the movement between them, and the prototypes beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.prototypes import AU_REGIONS, SIZES, PrototypeSet, Region, heat_map
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.drawing import blank, draw_field, heat_key, recovered, unpooled
from pipeline.explain_account import Account
from pipeline.explain_profile import account_weights, thetas
from stages.flow import WindowFlow
from stages.items import Floats, Grey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from models.joint import JointModel

REGIONS: tuple[Region, ...] = ("eye", "mouth")
_ARROW_PX = 20.0  # length of the longest arrow, px of the crop
_LEAST_TOP_PX = 0.5  # a weaker flow is not drawn stronger than this
_BORDER_PX = 12  # the flow at the border of a crop is not to be trusted
_FAINT_PX = 0.02


@dataclass(frozen=True)
class Shown:
    """A prototype to compare the movement with."""

    title: str
    field: Floats  # (h, w, 2) px
    own_measure: bool  # a mean over samples, not scaled to this movement


@dataclass(frozen=True)
class Views:
    """Per region: flow, the prototype that matched, all AUs together; px of the crop."""

    flow: dict[Region, Floats]
    best: dict[Region, Shown]
    together: dict[Region, Floats] | None  # None: nothing beyond ``best``


def views(account: Account, config: Config) -> Views:
    """What is to be seen of an event."""
    flow = _flow(account, config)
    known = prototypes(config)
    if config.method == "paper":
        return Views(flow, _paper_fields(account, known, config), None)
    assert known.joint is not None, "the motion stage has refused a set without one"
    return Views(flow, *_joint_fields(account, known.joint))


def _flow(account: Account, config: Config) -> dict[Region, Floats]:
    """Movement from the first key frame to the apex, where both crops are held."""
    first = account.keys[0] if account.keys else None
    apex = next((key for key in account.keys if key.name == "apex"), None)
    found: dict[Region, Floats] = {}
    if first is None or apex is None:
        return found
    for region in REGIONS:
        before, now = getattr(first, region), getattr(apex, region)
        if before is None or now is None:
            continue
        engine = WindowFlow(SIZES[region], config.motion.flow)
        engine.set_reference(before)
        resized = cv2.resize(engine.flow(now), SIZES[region], interpolation=cv2.INTER_LINEAR)
        found[region] = np.asarray(resized, np.float32)
    return found


def _joint_fields(
    account: Account, model: JointModel
) -> tuple[dict[Region, Shown], dict[Region, Floats] | None]:
    """Each region's strongest AU, and all together, at the px that they were given."""
    fields = recovered(model)
    if fields is None:
        return {}, None
    px = account_weights(account, model)
    best: dict[Region, Shown] = {}
    for au in account.interval.aus:
        region = AU_REGIONS[au.au]
        if region not in best:
            alone = np.where([number == au.au for number, _ in model.rows], px, 0.0)
            title = f"AU {au.au} × {au.index:.1f} px"
            best[region] = Shown(title, unpooled(alone @ fields)[region], False)
    return best, unpooled(px @ fields) if len(account.interval.aus) > 1 else None


def _paper_fields(account: Account, known: PrototypeSet, config: Config) -> dict[Region, Shown]:
    level = thetas(known, config)
    found: dict[Region, Shown] = {}
    for au in sorted(account.interval.aus, key=lambda a: -a.index / level[a.au]):
        one = known.prototypes[known.aus.index(au.au)]
        found.setdefault(one.region, Shown(f"AU {au.au}", one.field, True))
    return found


def likeness(first: Floats, second: Floats) -> float:
    """Cosine of the angle between two fields: the matching index (eq. 22), normalised."""
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / length if length else 0.0


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True)
class _Measure:
    top: float  # px at full colour
    phi: float  # arrows are so many times the movement

    @classmethod
    def of(cls, fields: list[Floats]) -> _Measure:
        inner = slice(_BORDER_PX, -_BORDER_PX)
        tops = [float(np.quantile(heat_map(f[inner, inner]), 0.99)) for f in fields]
        top = max([_LEAST_TOP_PX, *tops])
        return cls(top, _ARROW_PX / top)


def columns(seen: Views) -> int:
    """How many pictures stand side by side."""
    return 5 if seen.together is None else 6


def draw_views(figure: FigureBase, account: Account, seen: Views) -> None:
    """Crops, flow and prototypes of both regions."""
    count = columns(seen)
    grid = figure.add_gridspec(2, count, height_ratios=[SIZES[r][1] for r in REGIONS])
    measure = _Measure.of(
        [
            *seen.flow.values(),
            *(shown.field for shown in seen.best.values() if not shown.own_measure),
            *(seen.together or {}).values(),
        ]
    )
    fields = []
    for row, region in enumerate(REGIONS):
        axes = [figure.add_subplot(grid[row, column]) for column in range(count)]
        _draw_crops(axes[:3], account, region)
        _draw_fields(axes[3:], account, seen, region, measure)
        fields += axes[3:]
    heat_key(figure, fields, measure.top, "px of the crop", shrink=0.9, aspect=30, pad=0.01)
    figure.supxlabel(
        "Camera's view: the face's right side is at the left; outer eye corners lie 200 px apart. "
        f"Flow from the first frame shown to the apex; arrows {measure.phi:.1f} times as long "
        "as the movement, colour its strength.\nLikeness to the movement seen: 1 the same, 0 "
        "nothing in common, -1 the opposite.",
        fontsize=9,
        color="0.35",
    )


def _draw_crops(axes: list[Axes], account: Account, region: Region) -> None:
    for place, one in enumerate(axes):
        key = account.keys[place] if place < len(account.keys) else None
        _still(one, None if key is None else getattr(key, region), region)
        if region == "eye" and key is not None:
            title = f"{key.name}\nframe {key.stamp.frame}, {key.stamp.pts:.2f} s"
            one.set_title(title, fontsize=10)
    axes[0].set_ylabel(f"{region} region", fontsize=10)


def _draw_fields(
    axes: list[Axes], account: Account, seen: Views, region: Region, measure: _Measure
) -> None:
    crop = getattr(account.keys[0], region) if account.keys else None
    backdrop = np.full(SIZES[region][::-1], 255, np.uint8) if crop is None else crop
    flow = seen.flow.get(region)
    if region == "eye":
        axes[0].set_title("movement seen\n(optical flow)", fontsize=10)
    if flow is None:
        blank(axes[0], region, "the crops are no longer held")
    else:
        draw_field(axes[0], backdrop, flow, measure.top, measure.phi)
    _draw_best(axes[1], seen.best.get(region), backdrop, region, flow, measure)
    if seen.together is None:
        return
    shown = seen.together[region]
    draw_field(axes[2], backdrop, shown, measure.top, measure.phi)
    if region == "eye":
        axes[2].set_title("every AU found,\nall together", fontsize=10)
    _label(axes[2], "", flow, shown)


def _draw_best(
    axes: Axes,
    best: Shown | None,
    backdrop: Grey,
    region: Region,
    flow: Floats | None,
    measure: _Measure,
) -> None:
    if region == "eye":
        axes.set_title("prototype that\nmatched best", fontsize=10)
    if best is None:
        blank(axes, region, f"no AU of this event\nis of the {region} region")
        return
    own = _Measure(*_own(best.field)) if best.own_measure else measure
    draw_field(axes, backdrop, best.field, own.top, own.phi)
    note = f", full colour {own.top:.1f} px" if best.own_measure else ""
    _label(axes, f"{best.title}{note}", flow, best.field)


def _own(field: Floats) -> tuple[float, float]:
    top = max(float(heat_map(field).max()), 1e-9)
    return top, _ARROW_PX / top


def _label(axes: Axes, words: str, flow: Floats | None, shown: Floats) -> None:
    """What is shown, and how like the movement seen it is where both are to be seen."""
    if flow is not None and float(heat_map(shown).max()) > _FAINT_PX:
        words = f"{words}, " * bool(words) + f"likeness {likeness(flow, shown):.2f}"
    axes.set_xlabel(words, fontsize=9)


def _still(axes: Axes, crop: Grey | None, region: Region) -> None:
    if crop is None:
        blank(axes, region, "no longer held")
        return
    width, height = SIZES[region]
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.imshow(crop, "gray", vmin=0, vmax=255)
