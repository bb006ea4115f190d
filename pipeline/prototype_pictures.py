"""``mespot prototypes show``: directional maps and heat maps of a prototype set (eqs 31-32)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.joint import JointModel
from models.prototypes import SIZES, PrototypeSet, Region, heat_map
from pipeline.drawing import (
    backdrops,
    corner_frame,
    draw_field,
    heat_key,
    pooled,
    recovered,
    unpooled,
)
from pipeline.explain_words import au_name
from pipeline.pages import check_out, image, is_page, page, png, table, write
from stages.items import Floats, Grey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

Array = npt.NDArray[np.float64]

_MOUTH_BELOW_NOSE = 0.25  # as in stages.region
_PX_PER_D = 200.0
_PER_ROW = 4  # AUs of the joint model


def _set_part(figure: FigureBase, chosen: PrototypeSet) -> None:
    """Directional map and heat map of each prototype of the set, four to a row."""
    faces = backdrops()
    top = max(float(heat_map(p.field).max()) for p in chosen.prototypes)
    phi = 22.0 / top
    columns = 4
    groups = [
        [p for p in chosen.prototypes if p.region == region][i : i + columns]
        for region in ("eye", "mouth")
        for i in range(0, sum(p.region == region for p in chosen.prototypes), columns)
    ]
    grid = figure.add_gridspec(
        2 * len(groups),
        columns,
        height_ratios=[SIZES[group[0].region][1] for group in groups for _ in (0, 1)],
    )
    made = []
    for row, group in enumerate(groups):
        for column, prototype in enumerate(group):
            arrows = figure.add_subplot(grid[2 * row, column])
            heat = figure.add_subplot(grid[2 * row + 1, column])
            face = faces[prototype.region]
            draw_field(arrows, face, prototype.field, top, phi, heat=False)
            draw_field(heat, face, prototype.field, top, phi, arrows=False)
            arrows.set_title(f"AU {prototype.au}  {au_name(prototype.au)}", fontsize=11)
            made += [arrows, heat]
            if column == 0:
                arrows.set_ylabel("direction", fontsize=9)
                heat.set_ylabel("strength", fontsize=9)
    heat_key(figure, made, top, "px of movement in the crop", shrink=0.5, aspect=40)
    figure.suptitle(
        f"Prototypes “{chosen.name}” {chosen.version}: mean movement from onset to apex\n"
        f"arrows: direction, {phi:.0f} times as long as the movement (eq. 31); "
        "colour: strength (eq. 32)",
        fontsize=13,
    )


def _matrix(axes: Axes, values: Array, labels: Sequence[str], title: str, size: float) -> Any:
    shown = axes.imshow(values, "RdBu_r", vmin=-1, vmax=1)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=90, fontsize=size)
    axes.set_yticks(places, labels, fontsize=size)
    axes.set_title(title, fontsize=11)
    if len(labels) <= 20:
        for i in places:
            for k in places:
                dark = abs(values[i, k]) > 0.6
                axes.text(
                    k,
                    i,
                    f"{values[i, k]:.1f}".replace("-0.0", "0.0"),
                    ha="center",
                    va="center",
                    fontsize=size - 2,
                    color="w" if dark else "0.3",
                )
    return shown


def cosines(rows: Array, metric: Array | None = None) -> Array:
    """Cosine of the angle between every two rows (n, K), in the metric (K, K) if given."""
    gram = rows @ (rows.T if metric is None else metric @ rows.T)
    length = np.sqrt(np.maximum(np.diag(gram), 1e-30))
    return np.asarray(gram / np.outer(length, length))


def _likeness_part(figure: FigureBase, chosen: PrototypeSet) -> None:
    """How alike the prototypes are."""
    rows = np.array([pooled(p) for p in chosen.prototypes])
    columns = 1 if chosen.joint is None else 2
    axes = figure.subplots(1, columns, squeeze=False)[0]
    names = [f"AU {au}" for au in chosen.aus]
    shown = _matrix(axes[0], cosines(rows), names, "as pictures: the set's own fields", 9)
    if chosen.joint is not None:
        model = chosen.joint
        both = [(au, model.index(au, "left"), model.index(au, "right")) for au in model.aus]
        sums = np.array([model.responses[left] + model.responses[right] for _, left, right in both])
        _matrix(
            axes[1],
            cosines(sums, np.linalg.inv(model.noise)),
            [f"AU {au}" for au, _, _ in both],
            "as the joint model tells them apart, in the noise of neutral faces (both sides)",
            8,
        )
    key = figure.colorbar(shown, ax=list(axes), shrink=0.8, aspect=30)
    key.ax.tick_params(labelsize=8)
    figure.suptitle(
        "How alike two prototypes are: 1 the same movement, 0 nothing in common, -1 the opposite",
        fontsize=13,
    )


def _canvas(eye: Floats | Grey, mouth: Floats | Grey, below: int) -> Any:
    """Both regions where they lie on the face."""
    height = eye.shape[0] // 2 + below + mouth.shape[0] // 2
    whole = np.zeros((height, *eye.shape[1:]), np.float32)
    count = np.zeros((height, eye.shape[1], *[1] * (eye.ndim - 2)), np.float32)
    x = (eye.shape[1] - mouth.shape[1]) // 2
    for part, rows, left in (
        (eye, slice(0, len(eye)), 0),
        (mouth, slice(height - len(mouth), height), x),
    ):
        place = (rows, slice(left, left + part.shape[1]))
        whole[place] += part
        count[place] += 1
    return whole / np.maximum(count, 1), count


def _joint_part(figure: FigureBase, model: JointModel, fields: Array) -> None:
    """Left and right field of every AU of the joint model, on the face."""
    faces = backdrops()
    below = round((corner_frame()[1].nose + _MOUTH_BELOW_NOSE) * _PX_PER_D)
    face, count = _canvas(faces["eye"], faces["mouth"], below)
    face[count == 0] = 255
    parts = [unpooled(field) for field in fields]
    whole = [_canvas(part["eye"], part["mouth"], below)[0] for part in parts]
    top = max(float(heat_map(field).max()) for field in whole)
    phi = 30.0 / top
    per_row = _PER_ROW
    lines = -(-len(model.aus) // per_row)
    grid = figure.add_gridspec(lines, 2 * per_row)
    made = []
    for number, au in enumerate(model.aus):
        line, place = divmod(number, per_row)
        for column, half in enumerate(("right", "left")):
            axes = figure.add_subplot(grid[line, 2 * place + column])
            field = whole[model.index(au, "left" if half == "left" else "right")]
            draw_field(axes, face.astype(np.uint8), field, top, phi, spacing=22)
            axes.set_title(f"AU {au} {half}", fontsize=9)
            axes.set_xlabel(au_name(au) if column == 0 else "", fontsize=8)
            axes.set_frame_on(False)
            made.append(axes)
    heat_key(figure, made, top, "px per px of movement", shrink=0.5, aspect=40)
    figure.suptitle(
        "Joint model: every AU on the face's own right and left side (the face's right is at the "
        "picture's left)\nrecovered: the smoothest fields with the projections that the model "
        "stores; lid movements (AU 5, 45) come back least sharply\n"
        f"colour: strength; arrows: direction, {phi:.0f} times as long as the movement",
        fontsize=13,
    )


_NO_FIELDS = (
    "The joint model stores projections on another grid than this mespot's; its fields cannot be "
    "recovered, so the set's own fields are drawn alone."
)


def _rows(chosen: PrototypeSet, region: Region) -> int:
    return -(-sum(p.region == region for p in chosen.prototypes) // 4)


def _set_height(chosen: PrototypeSet) -> float:
    return 1.4 + 5.9 * _rows(chosen, "eye") + 4.6 * _rows(chosen, "mouth")


def _sections(chosen: PrototypeSet) -> list[tuple[str, float, Any]]:
    """Words, height in inches and drawing function of each part."""
    made: list[tuple[str, float, Any]] = [
        ("The set's prototypes", _set_height(chosen), lambda f: _set_part(f, chosen)),
        ("How alike the prototypes are", 7.6, lambda f: _likeness_part(f, chosen)),
    ]
    model = chosen.joint
    fields = None if model is None else recovered(model)
    if model is not None and fields is not None:
        lines = -(-len(model.aus) // _PER_ROW)
        made.append(
            (
                "The joint model's prototypes, left and right",
                1.7 + 2.7 * lines,
                lambda f: _joint_part(f, model, fields),
            )
        )
    return made


def note(chosen: PrototypeSet) -> str:
    """What could not be drawn; "" when everything could."""
    if chosen.joint is None:
        return "The set holds no joint model; only the set's own fields are drawn."
    return "" if recovered(chosen.joint) is not None else _NO_FIELDS


def sheet(chosen: PrototypeSet) -> Figure:
    """Everything on one sheet."""
    from matplotlib.figure import Figure

    sections = _sections(chosen)
    heights = [height for _, height, _ in sections]
    figure = Figure(figsize=(15, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(sections), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (_, _, draw) in zip(parts, sections, strict=True):
        draw(part)
    return figure


def web_page(chosen: PrototypeSet) -> str:
    """The same as a page."""
    from matplotlib.figure import Figure

    rows = [
        (
            f"AU {p.au}",
            au_name(p.au),
            p.region,
            str(p.samples),
            f"{p.theta:.0f}",
            f"{float(heat_map(p.field).max()):.2f} px",
        )
        for p in chosen.prototypes
    ]
    head = ("AU", "name", "region", "samples", "θ of eq. 24", "strongest movement")
    parts = [f"<p>Where it comes from: {html.escape(chosen.provenance)}</p>", table(head, rows)]
    if words := note(chosen):
        parts.append(f"<p>{html.escape(words)}</p>")
    for title, height, draw in _sections(chosen):
        figure = Figure(figsize=(15, height), layout="constrained")
        draw(figure)
        parts += [f"<h2>{html.escape(title)}</h2>", image(figure, title)]
    return page(f"Prototypes {chosen.name} {chosen.version}", parts)


def show(chosen: PrototypeSet, out: Path) -> None:
    """Write the sheet as PNG, or the page as HTML, by the name of ``out``.

    Raises:
        UserError: another kind of file, or it cannot be written.
    """
    check_out(out)
    write(out, web_page(chosen) if is_page(out) else png(sheet(chosen)))
