"""A recipe small enough to be followed: one linear layer on one plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.recogniser import InputSpec
from models.recognition.recipe import Batch, Prediction
from models.recognition.samples import Samples

SIDE = 6


class _Net(nn.Module):
    def __init__(self, classes: int, aus: int) -> None:
        super().__init__()
        self.told = nn.Linear(SIDE * SIDE, classes)
        self.seen = nn.Linear(SIDE * SIDE, aus)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        return self.told(flat), self.seen(flat)


class _Served(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        told, seen = self.network(x)
        return told.softmax(1), seen.sigmoid()


@dataclass(frozen=True)
class ToyRecipe:
    classes: tuple[str, ...] = ("happiness", "surprise")
    aus: tuple[int, ...] = (1, 12)
    epochs: int = 6
    batch_size: int = 8
    augmented: bool = False
    rate: float = 0.05
    name: str = "toy"
    variant: str = "full"

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return {"x": InputSpec("apex", "eye", (SIDE, SIDE), ["grey"])}

    def network(self) -> nn.Module:
        return _Net(len(self.classes), len(self.aus))

    def optimiser(
        self, network: nn.Module
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        chosen = torch.optim.Adam(network.parameters(), self.rate)
        return chosen, torch.optim.lr_scheduler.StepLR(chosen, 3)

    def augment(self, batch: Batch, pool: Batch, generator: torch.Generator) -> Batch:
        noise = torch.randn(batch.inputs["x"].shape, generator=generator)
        return Batch({"x": batch.inputs["x"] + 0.01 * noise}, batch.labels, batch.aus)

    def loss(
        self, network: nn.Module, batch: Batch, counts: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        told, seen = network(batch.inputs["x"])
        first = nn.functional.cross_entropy(told, batch.labels)
        second = nn.functional.binary_cross_entropy_with_logits(seen, batch.aus)
        return first + second, {"class": float(first.detach()), "aus": float(second.detach())}

    def predict(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Prediction:
        told, seen = network(inputs["x"])
        return Prediction(told.softmax(1), seen.sigmoid())

    def served(self, network: nn.Module) -> nn.Module:
        return _Served(network)


def toy_samples(
    subjects: int = 6, each: int = 8, datasets: int = 1, variants: int = 1, noise: float = 0.6
) -> Samples:
    """Two classes that differ in the mean of the left half; deterministic."""
    rng = np.random.default_rng(3)
    count = subjects * each
    labels = np.arange(count) % 2
    x = noise * rng.standard_normal((count, variants, 1, SIDE, SIDE)).astype(np.float32)
    x[..., : SIDE // 2] += (labels - 0.5)[:, None, None, None, None].astype(np.float32)
    names = [f"set{(i // each) % datasets}" for i in range(count)]
    return Samples(
        {"x": x},
        labels.astype(np.int64),
        ("happiness", "surprise"),
        tuple(frozenset({1} if label else {12}) for label in labels),
        tuple(f"{names[i]}/s{i // each}" for i in range(count)),
        tuple(names),
        tuple(f"n{i}" for i in range(count)),
    )
