"""Synthetic planes for MAP: three classes by where something moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.map_net import MapNet
from models.recognition.map_recipe import MapRecipe
from models.recognition.recipe import Batch

PLACES = {  # by class: AU, and the (y, x) of its spots in shares of the side
    0: (1, [(0.2, 0.5)]),
    1: (12, [(0.7, 0.2), (0.7, 0.8)]),
    2: (17, [(0.9, 0.5)]),
}


def blobs(count: int, aus: Sequence[int], side: int, seed: int = 0) -> Batch:
    """Brow, mouth corners or chin move over noise; classes take turns."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    plane = 0.2 * torch.rand(count, 1, side, side, generator=generator)
    multi_hot = torch.zeros(count, len(aus))
    for i in range(count):
        au, spots = PLACES[int(labels[i])]
        multi_hot[i, aus.index(au)] = 1
        for y, x in spots:
            plane[i, 0] += spot(side, y, x)
    return Batch({"amplified": 90 * plane, "on_a": plane, "off_a": 0.8 * plane}, labels, multi_hot)


def spot(side: int, y: float, x: float) -> torch.Tensor:
    """A Gaussian of height 1, (side, side)."""
    ys, xs = torch.meshgrid(*[torch.arange(side) / side] * 2, indexing="ij")
    return torch.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 0.006)


def trained(recipe: MapRecipe, data: Batch, steps: int) -> tuple[MapNet, list[float]]:
    """A network after some steps on the whole of ``data``, and the loss of each step."""
    torch.manual_seed(0)
    network = recipe.network().train()
    optimiser, _ = recipe.optimiser(network)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        batch = recipe.augment(data, data, generator)
        loss, _ = recipe.loss(network, batch, torch.bincount(data.labels))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return network.eval(), losses
