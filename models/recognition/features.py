"""The AU features X_F in two dimensions, coloured by AU label (Ruan et al., MM 2022, Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from torch import Tensor

from models.errors import UserError
from models.map_net import PLANES, MapNet
from models.recognition.samples import Floats

AuSet = frozenset[int]

_BATCH = 64
_PERPLEXITY = 30.0  # scikit-learn's default
_FEWEST = 4  # samples
_COLUMNS = 6  # of the legend


def features(network: MapNet, inputs: Mapping[str, Floats]) -> Floats:
    """X_F of eq. 2 for N samples, (N, D) float32, on the unit sphere as the loss sees it.

    Args:
        network: trained; it is left in eval mode.
        inputs: by ONNX input (N, 1, H, W) float32, raw values.
    """
    device = next(network.parameters()).device
    network.eval()
    found: list[Tensor] = []
    with torch.inference_mode():
        for begin in range(0, len(inputs[PLANES[0]]), _BATCH):
            part = (
                torch.from_numpy(inputs[name][begin : begin + _BATCH]).to(device) for name in PLANES
            )
            found.append(network(network.scaled(*part)).features.cpu())
    return np.asarray(torch.nn.functional.normalize(torch.cat(found), dim=1).numpy())


def flattened(points: Floats, seed: int = 0) -> Floats:
    """t-SNE of (N, D) to (N, 2); the same seed gives the same picture on one machine.

    Raises:
        UserError: fewer than 4 samples.
    """
    from sklearn.manifold import TSNE

    if len(points) < _FEWEST:
        raise UserError(f"t-SNE needs at least {_FEWEST} samples, not {len(points)}")
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    tsne = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(points), np.float32)


def hues(sets: Sequence[AuSet]) -> dict[AuSet, float]:
    """A place in [0, 1] on the colour scale for each distinct AU set, similar sets close.

    The sets are laid in a row by hierarchical clustering of their Jaccard distances with
    optimal leaf order; the gap between neighbours is their distance.
    """
    distinct = sorted(set(sets), key=lambda each: (sorted(each), len(each)))
    if len(distinct) == 1:
        return {distinct[0]: 0.0}
    distances = np.array([[_distance(a, b) for b in distinct] for a in distinct])
    condensed = squareform(distances, checks=False)
    order = leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))
    gaps = distances[order[:-1], order[1:]]
    places = np.concatenate([[0.0], np.cumsum(gaps)]) / gaps.sum()
    return {distinct[leaf]: float(place) for leaf, place in zip(order, places, strict=True)}


def _distance(first: AuSet, second: AuSet) -> float:
    either = len(first | second)
    return 1 - len(first & second) / either if either else 0.0


def draw(points: Floats, aus: Sequence[AuSet], title: str, file: Path) -> None:
    """Write Figure 5 as PNG: one point a sample, its colour the AU set, the legend on top.

    Args:
        points: (N, 2) of ``flattened``.
        aus: of each sample.
        title: says what the data are, "synthetic" where they are.
        file: to write.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = matplotlib.colormaps["nipy_spectral"]
    places = hues(aus)
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for each, place in sorted(places.items(), key=lambda item: item[1]):
        rows = [index for index, found in enumerate(aus) if found == each]
        # the scale's white end would not be seen
        colour = scale(0.95 * place)
        axes.scatter(points[rows, 0], points[rows, 1], s=18, color=colour, label=_name(each))
    axes.set(title=title, xticks=[], yticks=[])
    figure.legend(loc="outside upper center", ncols=_COLUMNS, fontsize=8, frameon=False)
    _write(figure, file)


def _name(aus: AuSet) -> str:
    return "+".join(map(str, sorted(aus))) or "no AU"


def _write(figure: Any, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=120)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
