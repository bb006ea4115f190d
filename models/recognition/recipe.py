"""What a network brings along to be trained, evaluated and exported by the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.recogniser import InputSpec


@dataclass(frozen=True)
class Batch:
    """B samples on one device."""

    inputs: Mapping[str, Tensor]  # by ONNX input: (B, channels, height, width) float32
    labels: Tensor  # (B,) int64
    aus: Tensor  # (B, K) float32 in [0, 1], over the recipe's ``aus``


@dataclass(frozen=True)
class Prediction:
    """What a network says of B samples."""

    probabilities: Tensor  # (B, classes)
    aus: Tensor | None = None  # (B, K), where the network detects AUs


class Recipe(Protocol):
    """A network with everything that its paper says about training it.

    ``variant`` names a row of the paper's ablation tables; "full" is the paper's method.
    """

    name: str
    variant: str
    classes: tuple[str, ...]
    aus: tuple[int, ...]  # of the multi-hot labels
    epochs: int
    batch_size: int
    augmented: bool  # trains on all variants of ``Samples``, not on variant 0 alone

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """How each ONNX input is made from an expression's key frames."""
        ...

    def network(self) -> nn.Module:
        """A new network, initialised from torch's global generator."""
        ...

    def optimiser(
        self, network: nn.Module
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        """The optimiser and, stepped once an epoch, its schedule."""
        ...

    def augment(self, batch: Batch, pool: Batch, generator: torch.Generator) -> Batch:
        """Random augmentation of a training batch; ``pool`` is the whole training split."""
        ...

    def loss(
        self, network: nn.Module, batch: Batch, counts: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise, and its parts for the log.

        ``counts``: samples of each class in the training split, (classes,).
        """
        ...

    def predict(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Prediction:
        """Probabilities of a batch; the network is in eval mode."""
        ...

    def served(self, network: nn.Module) -> nn.Module:
        """What is exported: tensors in the order of ``inputs`` to (B, classes) probabilities

        and, where AUs are detected, (B, K) probabilities of ``aus`` as second output.
        """
        ...
