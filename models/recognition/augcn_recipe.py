"""MER-auGCN (Zhou, Mao, Dong) as a recipe: training, ablation variants, what is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.au_graph import AUGraph, Normalisation, dense, induced, original
from models.augcn import (
    SIDES,
    Attention,
    AugcnNet,
    AugcnOptions,
    AugcnOutput,
    Backbone,
    Balance,
    Head,
    Reduction,
    joint_loss,
)
from models.errors import UserError
from models.recogniser import FlowMethod, InputSpec
from models.recognition.recipe import Batch, Prediction

FLOW = "flow"  # the only input


@dataclass(frozen=True)
class _Variant:
    """A row of Tables III to V: what differs from the full method."""

    backbone: Backbone = "dual-inception"
    attention: Attention = "sigmoid"
    head: Head = "sum"
    focal: bool = False
    graph: Literal["adjusted", "dense", "original"] = "adjusted"
    augmented: bool = True


VARIANTS = {
    "full": _Variant(),
    "resnet18": _Variant(backbone="resnet18", head="global"),
    "dual-inception": _Variant(head="global"),
    "aufeat": _Variant(head="au"),
    "relfeat": _Variant(head="relation"),
    "confeat": _Variant(head="concatenation"),
    "w/o DA": _Variant(augmented=False),
    "softmax-attention": _Variant(attention="softmax"),
    "focal-loss": _Variant(focal=True),
    "dense-graph": _Variant(graph="dense"),
    "original-graph": _Variant(graph="original"),
}


class ServedAugcn(nn.Module):
    """Flow (B, 2, side, side) to (B, classes) and, where AUs are detected, (B, K) probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, flow: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """See the class."""
        logits, au_logits = self.network(flow)
        probabilities: Tensor = logits.softmax(dim=1)
        return probabilities if au_logits is None else (probabilities, au_logits.sigmoid())


@dataclass
class AugcnRecipe:
    """See ``models.recognition.recipe.Recipe``.

    Args:
        classes: their names.
        aus: nodes of the AU graph, those of ``au_graph.adjusted`` for the paper's method. The
            variant "original-graph" takes all 17 of Table I instead.
        variant: one of ``VARIANTS``; "full" is the paper's method.
        features: d; the paper: 1024.
        at: width and height to which the face is resized before the flow is taken; the
            paper does not say.
        flow: how the flow is computed; the paper: TV-L1.
        steady: the motion of the whole face is taken out of the flow; the paper is silent.
        scale: of the flow, 1 for px of ``at``.
        balance: see ``augcn.detection_loss``; "focal-loss" has its own.
        reduction: see ``augcn.joint_loss``.
        normalisation: of the graph, see ``au_graph.AUGraph.matrix``.
        epochs: as printed, so are batch size and learning rate.
        batch_size: samples of a training batch.
        learning_rate: of Adam.

    Raises:
        UserError: the variant is not known, or there are fewer than two classes, or no AUs.
    """

    classes: tuple[str, ...]
    aus: tuple[int, ...]
    variant: str = "full"
    features: int = 1024
    at: tuple[int, int] = (112, 112)
    flow: FlowMethod = "tvl1"
    steady: bool = True
    scale: float = 1.0
    balance: Balance = "printed"
    reduction: Reduction = "mean"
    normalisation: Normalisation = "none"
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 5e-4
    name: str = field(default="augcn", init=False)
    augmented: bool = field(init=False)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise UserError(f"augcn has no variant {self.variant!r}; use {', '.join(VARIANTS)}")
        if len(self.classes) < 2:
            raise UserError("augcn needs at least two classes")
        self.augmented = self._variant.augmented
        if self._variant.graph == "original":
            self.aus = original().aus
        if not self.aus:
            raise UserError("augcn needs action units; the training sets have none in common")

    @property
    def _variant(self) -> _Variant:
        return VARIANTS[self.variant]

    @property
    def graph(self) -> AUGraph:
        """The AU graph over ``aus``."""
        return dense(self.aus) if self._variant.graph == "dense" else induced(original(), self.aus)

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """Flow from onset to apex over the face, u and v, 28x28 (ResNet18: 112x112)."""
        side = SIDES[self._variant.backbone]
        spec = InputSpec(
            source="flow_onset_apex",
            region="face",
            size=(side, side),
            channels=["u", "v"],
            scale=self.scale,
            flow=self.flow,
            at=self.at,
            steady=self.steady,
        )
        return {FLOW: spec}

    def network(self) -> AugcnNet:
        """A new network, initialised from torch's global generator."""
        made = self._variant
        options = AugcnOptions(
            classes=len(self.classes),
            features=self.features,
            backbone=made.backbone,
            attention=made.attention,
            head=made.head,
        )
        return AugcnNet(options, self.graph.matrix(self.normalisation))

    def optimiser(
        self, network: nn.Module
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        """Adam as printed, without a schedule."""
        made = torch.optim.Adam(
            network.parameters(), lr=self.learning_rate, betas=(0.9, 0.999), eps=1e-8
        )
        return made, None

    def augment(self, batch: Batch, pool: Batch, generator: torch.Generator) -> Batch:
        """The batch as it is: the paper's augmentation is in the samples' variants."""
        return batch

    def loss(
        self, network: nn.Module, batch: Batch, counts: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Eq. 6; classes are not weighted."""
        output: AugcnOutput = network(batch.inputs[FLOW])
        balance: Balance = "focal" if self._variant.focal else self.balance
        return joint_loss(output, batch.labels, batch.aus, balance, self.reduction)

    def predict(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Prediction:
        """Probabilities of classes and, where they are detected, of AUs."""
        output: AugcnOutput = network(inputs[FLOW])
        aus = None if output.au_logits is None else output.au_logits.sigmoid()
        return Prediction(output.logits.softmax(dim=1), aus)

    def served(self, network: nn.Module) -> ServedAugcn:
        """What is exported."""
        return ServedAugcn(network)
