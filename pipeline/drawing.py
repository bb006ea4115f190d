"""Movement fields drawn over a face: heat for strength (eq. 32), arrows for direction (eq. 31).

The joint model keeps no fields, only projections of them; ``recovered`` gives the smoothest
fields that have these projections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from models.joint import JointModel
from models.prototypes import SIZES, Prototype, Region, directional_map, heat_map
from models.synthesis import load_portrait
from stages.items import Floats, Grey
from stages.pooling import EYE_GRID, EYE_LENGTH, LENGTH, MOUTH_GRID, pool
from stages.region import Similarity, crop_face

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

Array = npt.NDArray[np.float64]

HEAT = "YlOrRd"
_SMOOTH_CELLS = 3.0  # of the recovered fields, cells of 8 px
_EPSILON = 1e-4
_FAINT = 0.15  # arrows shorter than this share of the longest are left out
_HAZE = 0.06  # heat below this share of the top is not shown


def corner_frame() -> tuple[Grey, Similarity]:
    """The portrait that the shipped prototypes were made with, and its eye-corner frame."""
    portrait, points = load_portrait()
    first, second = points[36], points[45]
    along = second - first
    d, angle = float(np.hypot(*along)), float(np.arctan2(along[1], along[0]))
    middle = (first + second) / 2
    down = np.array([-np.sin(angle), np.cos(angle)])
    nose = float((points[33] - middle) @ down) / d
    return portrait, Similarity((float(middle[0]), float(middle[1])), d, angle, nose)


def backdrops() -> dict[Region, Grey]:
    """The eye and the mouth region of a face in grey, to draw on."""
    portrait, frame = corner_frame()
    eye, mouth = crop_face(portrait, frame)
    return {"eye": eye, "mouth": mouth}


def _smoothed(basis: Array) -> Array:
    """Rows of ``basis`` (n, D), each cell averaged with its neighbours in its region."""
    parts = []
    for (width, height), cut in (
        (EYE_GRID, slice(0, EYE_LENGTH)),
        (MOUTH_GRID, slice(EYE_LENGTH, LENGTH)),
    ):
        cells = basis[:, cut].reshape(-1, height, width, 2)
        cells = np.einsum("ab,nbcd->nacd", _kernel(height), cells)
        cells = np.einsum("ab,ncbd->ncad", _kernel(width), cells)
        parts.append(cells.reshape(len(basis), -1))
    return np.concatenate(parts, axis=1)


def _kernel(count: int) -> Array:
    apart = np.arange(count)[:, None] - np.arange(count)
    return np.asarray(np.exp(-0.5 * (apart / _SMOOTH_CELLS) ** 2))


def recovered(model: JointModel) -> Array | None:
    """The smoothest fields with the model's responses, (R, D) px per px of movement.

    None for a model whose projections are of another length than today's pooled flow.
    """
    basis = model.basis.astype(np.float64)
    if basis.shape[1] != LENGTH or model.eye_length != EYE_LENGTH:
        return None
    spread = _smoothed(basis)
    gram = basis @ spread.T
    gram += _EPSILON * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram, model.responses.T).T @ spread)


def unpooled(flow: Array) -> dict[Region, Floats]:
    """Pooled flow (D,) as fields of the size of the crops."""
    parts: dict[Region, tuple[tuple[int, int], Array]] = {
        "eye": (EYE_GRID, flow[:EYE_LENGTH]),
        "mouth": (MOUTH_GRID, flow[EYE_LENGTH:]),
    }
    return {
        region: np.asarray(
            cv2.resize(
                cells.reshape(grid[1], grid[0], 2).astype(np.float32),
                SIZES[region],
                interpolation=cv2.INTER_LINEAR,
            ),
            np.float32,
        )
        for region, (grid, cells) in parts.items()
    }


def pooled(prototype: Prototype) -> Array:
    """A prototype's field on the coarse grid, (D,); the other region is 0."""
    fields = {region: np.zeros((size[1], size[0], 2), np.float32) for region, size in SIZES.items()}
    fields[prototype.region] = prototype.field
    return pool(fields["eye"], fields["mouth"]).astype(np.float64)


def faded(grey: Grey) -> Array:
    """A face light enough to draw on."""
    return np.asarray(255 - (255 - grey.astype(np.float64)) * 0.55)


def draw_field(
    axes: Axes,
    backdrop: Grey,
    field: Floats,
    top: float,
    phi: float,
    spacing: int = 16,
    heat: bool = True,
    arrows: bool = True,
) -> None:
    """A field over a face: heat (eq. 32), full at ``top`` px, and arrows (eq. 31)."""
    import matplotlib

    axes.imshow(faded(backdrop), "gray", vmin=0, vmax=255)
    if heat:
        share = np.clip(heat_map(field) / max(top, 1e-9), 0, 1)
        colour = matplotlib.colormaps[HEAT](share)
        colour[..., 3] = 0.85 * np.clip((share - _HAZE) / (0.5 - _HAZE), 0, 1)
        axes.imshow(colour)
    if arrows:
        lines = directional_map(field, spacing, phi)
        dx, dy = lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]
        seen = np.hypot(dx, dy) > _FAINT * phi * top
        axes.quiver(
            lines[seen, 0],
            lines[seen, 1],
            dx[seen],
            dy[seen],
            angles="xy",
            scale_units="xy",
            scale=1,
            color="#1a237e",
            width=0.006,
            headwidth=4,
            headlength=4,
            headaxislength=3.5,
        )
    height, width = field.shape[:2]
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def heat_key(figure: FigureBase, axes: Any, top: float, words: str, **place: Any) -> None:
    """The scale of the heat."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    key = figure.colorbar(ScalarMappable(Normalize(0, top), HEAT), ax=axes, **place)
    key.set_label(words, fontsize=9)
    key.ax.tick_params(labelsize=8)


def blank(axes: Axes, region: Region, words: str) -> None:
    """A region without a picture, and why."""
    width, height = SIZES[region]
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.text(width / 2, height / 2, words, ha="center", va="center", color="0.5", fontsize=9)
