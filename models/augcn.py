"""MER-auGCN (Zhou, Mao, Dong): AU detection and micro-expression recognition in one network.

A backbone of two paths, one for each component of the onset-to-apex flow, makes a global
feature z; K attentions make of it a feature for each AU (eq. 1), from which the AUs are
detected (eqs 2-3); two graph convolutions over the AU knowledge graph aggregate them
(eq. 4), and a classifier sees both (eqs 5-6).

Where the paper is silent or contradicts itself, this is chosen:

* Backbone: "two groups of Inception blocks with two layers of depth", no figures. Branches
  of 6 channels (24 in all) in the first block and 16 (64) in the second, each block followed
  by 2x2 max pooling, ReLU throughout, no batch norm, as in the public Keras code of that
  network (Zhou, Mao, Xue, 2019): 2 x 64 x 7 x 7 features at 28x28.
* Resnet18 of Table III: "each path contained four basic blocks". Read as one for each of
  ResNet18's four widths, after its stem, with global average pooling; then the same fully
  connected layer as after the other backbone.
* The hidden sizes of the AU detectors (64) and of the first graph convolution (256); ReLU
  after the fully connected layer that makes z, none after the one that adjusts z_o.
* The softmax attention of Table IV is taken over the d elements of a feature, as the text
  explains it.
* Eq. 2 weights the positives of an AU with their proportion in the batch, so that *rare*
  positives weigh *least*, against the stated purpose. ``balance`` "printed" is eq. 3 as it
  stands; "inverse" swaps the two weights.
* Eq. 5 sums over the samples while eq. 3 takes a mean; with a sum, the batch size would
  rule over lambda. ``reduction`` "mean" is the default, "sum" is eq. 5 as it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Backbone = Literal["dual-inception", "resnet18"]
Attention = Literal["sigmoid", "softmax"]
Head = Literal["global", "au", "relation", "sum", "concatenation"]
Balance = Literal["printed", "inverse", "focal"]
Reduction = Literal["mean", "sum"]

LAMBDA = 0.75  # eq. 6
OFFSET = 0.05  # eq. 3
SIDES: dict[Backbone, int] = {"dual-inception": 28, "resnet18": 112}  # px of the input
_INCEPTION = (6, 16)  # channels of a branch, by block
_WIDTHS = (64, 128, 256, 512)  # of ResNet18's stages


@dataclass(frozen=True)
class AugcnOptions:
    """The shape of the network.

    ``head`` is what is classified: "global" z, without AUs; "au" the summed AU features
    z_o; "relation" z_r; "sum" and "concatenation" both of these, fused (the paper: "sum").

    Raises:
        ValueError: fewer than two classes, or a size below 1.
    """

    classes: int = 5
    features: int = 1024  # d
    relations: int = 64  # d_2
    hidden_relations: int = 256  # d_1
    hidden_detector: int = 64
    backbone: Backbone = "dual-inception"
    attention: Attention = "sigmoid"
    head: Head = "sum"

    def __post_init__(self) -> None:
        sizes = (self.features, self.relations, self.hidden_relations, self.hidden_detector)
        if self.classes < 2 or min(sizes) < 1:
            raise ValueError("at least two classes, and sizes of at least 1")


class AugcnOutput(NamedTuple):
    """What the network says of B samples; softmax and sigmoid are left to the caller."""

    logits: Tensor  # (B, classes)
    au_logits: Tensor | None  # (B, K); None without AU detection


class InceptionBlock(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and 3x3 max pooling, each with a 1x1 convolution.

    (B, inputs, h, w) to (B, 4 * channels, h, w).
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, channels, 1)
        self.before_three = nn.Conv2d(inputs, channels, 1)
        self.three = nn.Conv2d(channels, channels, 3, padding=1)
        self.before_five = nn.Conv2d(inputs, channels, 1)
        self.five = nn.Conv2d(channels, channels, 5, padding=2)
        self.pooled = nn.Conv2d(inputs, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        branches = [
            self.one(x),
            self.three(F.relu(self.before_three(x))),
            self.five(F.relu(self.before_five(x))),
            self.pooled(F.max_pool2d(x, 3, stride=1, padding=1)),
        ]
        return F.relu(torch.cat(branches, dim=1))


class BasicBlock(nn.Module):
    """ResNet18's basic block; (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.body(x) + self.shortcut(x))


def inception_path() -> tuple[nn.Module, int]:
    """One path of Dual-Inception for (B, 1, 28, 28), and how many features it gives."""
    first, second = _INCEPTION
    path = nn.Sequential(
        InceptionBlock(1, first),
        nn.MaxPool2d(2),
        InceptionBlock(4 * first, second),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return path, 4 * second * (SIDES["dual-inception"] // 4) ** 2


def resnet_path() -> tuple[nn.Module, int]:
    """One path of ResNet18 for (B, 1, 112, 112), and how many features it gives."""
    stem = [
        nn.Conv2d(1, _WIDTHS[0], 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(_WIDTHS[0]),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inputs = (_WIDTHS[0], *_WIDTHS[:-1])
    blocks = [
        BasicBlock(before, width, 1 if before == width else 2)
        for before, width in zip(inputs, _WIDTHS, strict=True)
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), _WIDTHS[-1]


class TwoPaths(nn.Module):
    """The backbone: flow (B, 2, side, side) to the global feature z (B, d)."""

    def __init__(self, backbone: Backbone, features: int) -> None:
        super().__init__()
        path = inception_path if backbone == "dual-inception" else resnet_path
        (self.u, size), (self.v, _) = path(), path()
        self.joined = nn.Linear(2 * size, features)

    def forward(self, flow: Tensor) -> Tensor:
        """See the class."""
        both = torch.cat([self.u(flow[:, :1]), self.v(flow[:, 1:])], dim=1)
        return F.relu(self.joined(both))


class PerAU(nn.Module):
    """K fully connected layers, one for each AU: (B, K, inputs) to (B, K, outputs)."""

    def __init__(self, aus: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as nn.Linear begins
        self.weight = nn.Parameter(torch.empty(aus, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(aus, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return (x.transpose(0, 1) @ self.weight + self.bias).transpose(0, 1)


class AUAttention(nn.Module):
    """Eq. 1: the global feature z (B, d) to the AU features X (B, K, d)."""

    def __init__(self, aus: int, features: int, attention: Attention) -> None:
        super().__init__()
        self.aus = aus
        self.scores = nn.Linear(features, aus * features)
        self.attention = attention

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        scores: Tensor = self.scores(z).unflatten(1, (self.aus, -1))
        if self.attention == "softmax":
            return scores.softmax(dim=2) * z[:, None]
        return scores.sigmoid() * z[:, None]


class GraphConvolution(nn.Module):
    """Eq. 4: ReLU(G Z W), (B, K, inputs) to (B, K, outputs)."""

    def __init__(self, graph: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("graph", graph)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.get_buffer("graph") @ (z @ self.weight))


class AugcnNet(nn.Module):
    """The network.

    Args:
        options: its shape.
        graph: G, (K, K), see ``models.au_graph.AUGraph.matrix``.
    """

    def __init__(self, options: AugcnOptions, graph: npt.ArrayLike) -> None:
        super().__init__()
        self.options = options
        d, d2 = options.features, options.relations
        self.backbone = TwoPaths(options.backbone, d)
        sizes: dict[Head, int] = {"global": d, "au": d, "concatenation": 2 * d2}
        self.classifier = nn.Linear(sizes.get(options.head, d2), options.classes)
        if options.head == "global":
            return
        matrix = torch.as_tensor(graph, dtype=torch.float32)
        aus = len(matrix)
        self.attention = AUAttention(aus, d, options.attention)
        self.detectors = nn.Sequential(
            PerAU(aus, d, options.hidden_detector),
            nn.ReLU(),
            PerAU(aus, options.hidden_detector, 1),
        )
        if options.head == "au":
            return
        self.relations = nn.Sequential(
            GraphConvolution(matrix, d, options.hidden_relations),
            GraphConvolution(matrix, options.hidden_relations, d2),
        )
        if options.head != "relation":
            self.adjust = nn.Linear(d, d2)

    def forward(self, flow: Tensor) -> AugcnOutput:
        """Flow (B, 2, side, side), channels u and v, to classes and AUs."""
        z = self.backbone(flow)
        if self.options.head == "global":
            return AugcnOutput(self.classifier(z), None)
        features = self.attention(z)
        au_logits = self.detectors(features).squeeze(2)
        return AugcnOutput(self.classifier(self._aggregated(features)), au_logits)

    def _aggregated(self, features: Tensor) -> Tensor:
        """AU features (B, K, d) to the one vector that is classified, (B, its size)."""
        summed = features.sum(dim=1)  # z_o
        if self.options.head == "au":
            return summed
        related: Tensor = self.relations(features).sum(dim=1)  # z_r
        if self.options.head == "relation":
            return related
        own: Tensor = self.adjust(summed)
        if self.options.head == "concatenation":
            return torch.cat([own, related], dim=1)
        return own + related


def detection_loss(au_logits: Tensor, aus: Tensor, balance: Balance = "printed") -> Tensor:
    """Eqs 2-3, the mean over M samples and K AUs.

    Args:
        au_logits: (M, K), before the sigmoid.
        aus: (M, K) of 0 and 1.
        balance: which weights positives and negatives have, see above; "focal" is the
            original focal loss (Lin et al., 2017: alpha 0.25, gamma 2, no offset).
    """
    p = au_logits.sigmoid()
    if balance == "focal":
        alpha = torch.full_like(aus[0], 0.25)
        hit, miss = F.logsigmoid(au_logits), F.logsigmoid(-au_logits)
    else:
        share = aus.mean(dim=0)
        alpha = share if balance == "printed" else 1 - share
        hit = torch.log((p + OFFSET) / (1 + OFFSET))
        miss = torch.log((1 + OFFSET - p) / (1 + OFFSET))
    positives = alpha * (1 - p) ** 2 * aus * hit
    negatives = (1 - alpha) * p**2 * (1 - aus) * miss
    return -(positives + negatives).mean()


def joint_loss(
    output: AugcnOutput,
    labels: Tensor,
    aus: Tensor,
    balance: Balance = "printed",
    reduction: Reduction = "mean",
) -> tuple[Tensor, dict[str, float]]:
    """Eq. 6, and its parts "classes" (eq. 5) and, where AUs are detected, "aus" (eq. 3).

    Args:
        output: of the network.
        labels: (B,) int64.
        aus: (B, K) of 0 and 1.
        balance: see ``detection_loss``.
        reduction: mean or sum over the samples in eq. 5.
    """
    classes = F.cross_entropy(output.logits, labels, reduction=reduction)
    if output.au_logits is None:
        return classes, {"classes": float(classes.detach())}
    found = detection_loss(output.au_logits, aus, balance)
    parts = {"classes": float(classes.detach()), "aus": float(found.detach())}
    return classes + LAMBDA * found, parts
