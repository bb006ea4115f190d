"""MAP: eyes and mouth in separate branches, fused by learned weights (Ruan et al., MM 2022).

"Mimicking the Annotation Process for Recognizing the Micro Expressions". Shapes at 224 px
and ``width`` 1, for one half of the face (the paper's Table 1 gives 28, 14, 7 and 1 squared,
which are those of a square of 112 px, not of a half of 112x224 nor of a face of 224x224):

=========================== ==============================
half of the face            (3, 112, 224)
stem: 7x7 convolution, pool (64, 28, 56)
layer 1, shared             (64, 28, 56)
layer 2, shared             (128, 14, 28)
layer 3, one per region     (256, 7, 14)
layer 4, one per region     (512, 4, 7), averaged to (512,)
=========================== ==============================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import UserError

Branches = Literal["dual", "single"]
Gate = Literal["sigmoid", "softmax"]

PLANES = ("amplified", "on_a", "off_a")  # the ONNX inputs, in order
_CHANNELS = (64, 128, 256, 512)  # of ResNet18's layers at width 1


@dataclass(frozen=True)
class MapOptions:
    """What a MAP network is made of; ``official`` gives the published code's choices.

    Args:
        width: factor on all channels, a multiple of ``groups`` / 32.
        branches: "single" sends the whole face through one ResNet18 (Table 4, "sb").
        awm: Area Weighted Module; without it X_F is [X_eyes | X_mouth].
        hidden: h of eq. 1 at width 1.
        groups: of Shuffle Attention. The paper gives none and SA-Net's 64 does not fit into
            layer 1; 4 is the code's. With own weights per group and a sigmoid it only
            decides which channels get which attention.
        gate: of Shuffle Attention: SA-Net's sigmoid, or the code's softmax across groups.
        threshold_of_mean: flow below this multiple of its mean is set to 0 (code: 1.5).
        detached: eq. 1 sees features without gradient (code).
        unit_branches: L2-normalise X_eyes and X_mouth (code).
        layer_norm: after the linear layers of module and heads (code).
        dropout: 0.2 after layers 1 to 3, 0.3 in module and heads (code).

    Raises:
        UserError: a width that leaves a layer without whole groups.
    """

    width: float = 1.0
    branches: Branches = "dual"
    awm: bool = True
    hidden: int = 1024
    groups: int = 4
    gate: Gate = "sigmoid"
    threshold_of_mean: float | None = None
    detached: bool = False
    unit_branches: bool = False
    layer_norm: bool = False
    dropout: bool = False

    def __post_init__(self) -> None:
        smallest = self.width * _CHANNELS[0] / (2 * self.groups)
        if smallest < 1 or smallest != int(smallest):
            raise UserError(
                f"width {self.width}: {self.groups} attention groups need a multiple of "
                f"{2 * self.groups / _CHANNELS[0]}"
            )

    @classmethod
    def official(cls, **changes: Any) -> MapOptions:
        """The choices of the published code where it and the paper differ."""
        code = cls(
            gate="softmax",
            threshold_of_mean=1.5,
            detached=True,
            unit_branches=True,
            layer_norm=True,
            dropout=True,
        )
        return replace(code, **changes)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of layers 1 to 4."""
        return tuple(int(each * self.width) for each in _CHANNELS)


class MapOutput(NamedTuple):
    """What the network gives for B faces; per region: eyes, mouth, or the face alone."""

    logits: tuple[Tensor, ...]  # per region (B, classes), before the softmax of section 3.6
    weighted: tuple[Tensor, ...]  # per region (B, C), X_eyes_w and X_mouth_w of eq. 3
    activations: tuple[Tensor, ...]  # per region (B, C, h, w), output A_b of layer 4

    @property
    def features(self) -> Tensor:
        """X_F of eq. 2, (B, regions * C)."""
        return torch.cat(self.weighted, 1)

    @property
    def probabilities(self) -> Tensor:
        """Softmax outputs summed over the regions (section 3.6) and divided by their number."""
        return torch.stack([logits.softmax(1) for logits in self.logits]).mean(0)


def scaled(planes: Tensor, threshold_of_mean: float | None = None) -> Tensor:
    """Each plane of each image to [0, 1] by its own minimum and maximum; constant: 0.

    Args:
        planes: (B, 3, H, W) float32: grey frame and two flow magnitudes, any units.
        threshold_of_mean: flow below this multiple of its scaled mean becomes 0.
    """
    low, high = planes.amin((2, 3), keepdim=True), planes.amax((2, 3), keepdim=True)
    unit = (planes - low) / (high - low).clamp_min(1e-6)
    if threshold_of_mean is None:
        return unit
    flow = unit[:, 1:]
    weak = flow < threshold_of_mean * flow.mean((2, 3), keepdim=True)
    return torch.cat([unit[:, :1], flow.masked_fill(weak, 0.0)], 1)


class ShuffleAttention(nn.Module):
    """Channel and spatial attention in groups (SA-Net), each group with its own weights.

    The paper's change to SA-Net (section 3.3): there, all groups share one set. Half of a
    group's channels is gated by their mean, half by their instance-normalised values; the
    halves are then shuffled over the channels.

    Args:
        channels: a multiple of twice ``groups``.
    """

    def __init__(self, channels: int, groups: int = 4, gate: Gate = "sigmoid") -> None:
        super().__init__()
        self.groups, self.gate = groups, gate
        shape = (groups, channels // (2 * groups), 1, 1)
        # as SA-Net starts: the same gate everywhere
        self.channel_weight = nn.Parameter(torch.zeros(shape))
        self.channel_bias = nn.Parameter(torch.ones(shape))
        self.spatial_weight = nn.Parameter(torch.zeros(shape))
        self.spatial_bias = nn.Parameter(torch.ones(shape))
        self.norm = nn.GroupNorm(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        first, second = torch.unflatten(x, 1, (self.groups, -1)).chunk(2, 2)
        mean = first.mean((3, 4), keepdim=True)
        first = first * self._gated(self.channel_weight * mean + self.channel_bias)
        normed = torch.unflatten(self.norm(second.flatten(1, 2)), 1, (self.groups, -1))
        second = second * self._gated(self.spatial_weight * normed + self.spatial_bias)
        merged = torch.cat([first, second], 2).flatten(1, 2)
        return torch.unflatten(merged, 1, (2, -1)).transpose(1, 2).flatten(1, 2)

    def _gated(self, x: Tensor) -> Tensor:
        return x.sigmoid() if self.gate == "sigmoid" else x.softmax(1)


class _Block(nn.Module):
    """ResNet's basic block with attention after the second batch norm."""

    def __init__(self, before: int, after: int, stride: int, options: MapOptions) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
            ShuffleAttention(after, options.groups, options.gate),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


def _layer(before: int, after: int, stride: int, options: MapOptions) -> nn.Sequential:
    return nn.Sequential(_Block(before, after, stride, options), _Block(after, after, 1, options))


def _dropout(options: MapOptions, share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if options.dropout else []


def _stem(options: MapOptions) -> nn.Sequential:
    """What both regions share: stem, layers 1 and 2."""
    first, second = options.channels[:2]
    return nn.Sequential(
        nn.Conv2d(len(PLANES), first, 7, 2, 3, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        _layer(first, first, 1, options),
        *_dropout(options, 0.2),
        _layer(first, second, 2, options),
        *_dropout(options, 0.2),
    )


def _branch(options: MapOptions) -> nn.Sequential:
    """What each region has for itself: layers 3 and 4."""
    second, third, fourth = options.channels[1:]
    return nn.Sequential(
        _layer(second, third, 2, options),
        *_dropout(options, 0.2),
        _layer(third, fourth, 2, options),
    )


def _two_layers(before: int, hidden: int, after: int, options: MapOptions) -> list[nn.Module]:
    norm: list[nn.Module] = [nn.LayerNorm(hidden)] if options.layer_norm else []
    return [
        nn.Linear(before, hidden),
        *norm,
        nn.ReLU(),
        *_dropout(options, 0.3),
        nn.Linear(hidden, after),
    ]


class AreaWeights(nn.Module):
    """Area Weighted Module (eqs 1-2): [X_eyes | X_mouth], (B, 2C), to X_F, (B, 2C)."""

    def __init__(self, features: int, options: MapOptions) -> None:
        super().__init__()
        norm: list[nn.Module] = [nn.LayerNorm(features)] if options.layer_norm else []
        hidden = int(options.hidden * options.width)
        self.detached = options.detached
        self.weights = nn.Sequential(
            *_two_layers(features, hidden, features, options), *norm, nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Eq. 2, (B, 2C) to the same shape."""
        weights: Tensor = self.weights(x.detach() if self.detached else x)
        return x * weights


class MapNet(nn.Module):
    """MAP for ``classes`` classes; any even image side from 64 px works.

    The inputs are three planes, each (B, 1, H, W) float32 of raw values: grey amplified
    frame, On-A and Off-A flow magnitude. Weights start as ResNet's (He et al.), without the
    ImageNet pre-training of the published code.
    """

    def __init__(self, classes: int, options: MapOptions | None = None) -> None:
        super().__init__()
        self.options = options or MapOptions()
        features = self.options.channels[3]
        regions = 2 if self.options.branches == "dual" else 1
        self.shared = _stem(self.options)
        self.branches = nn.ModuleList(_branch(self.options) for _ in range(regions))
        self.fusion: nn.Module = nn.Identity()
        if self.options.awm and regions == 2:
            self.fusion = AreaWeights(regions * features, self.options)
        self.heads = nn.ModuleList(
            nn.Sequential(*_two_layers(features, features, classes, self.options))
            for _ in range(regions)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def scaled(self, amplified: Tensor, on_a: Tensor, off_a: Tensor) -> Tensor:
        """The three inputs as one image in [0, 1], (B, 3, H, W)."""
        planes = torch.cat([amplified, on_a, off_a], 1)
        return scaled(planes, self.options.threshold_of_mean)

    def forward(self, image: Tensor) -> MapOutput:
        """An image of ``scaled``, (B, 3, H, W), to what the network makes of it."""
        activations = self._activations(image)
        pooled = [each.mean((2, 3)) for each in activations]
        if self.options.unit_branches:
            pooled = [functional.normalize(each, dim=1) for each in pooled]
        fused = self.fusion(torch.cat(pooled, 1))
        # eq. 3 prints X_F[:, 512:] for the eyes; the first half, X_F[:, :512], is meant
        weighted = fused.chunk(len(pooled), 1)
        logits = tuple(head(each) for head, each in zip(self.heads, weighted, strict=True))
        return MapOutput(logits, weighted, activations)

    def _activations(self, image: Tensor) -> tuple[Tensor, ...]:
        """Output of layer 4 for the upper and the lower half, or for the face."""
        if len(self.branches) == 1:
            return (self.branches[0](self.shared(image)),)
        halves = torch.cat(image.chunk(2, 2), 0)  # one pass, so one batch statistic
        parts = torch.unflatten(
            self.shared(halves), 0, (2, -1)
        )  # not chunk: B stays dynamic in ONNX
        return tuple(branch(part) for branch, part in zip(self.branches, parts, strict=True))


class ServedMap(nn.Module):
    """What is exported: the three inputs of ``PLANES`` to (B, classes) probabilities."""

    def __init__(self, network: MapNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, amplified: Tensor, on_a: Tensor, off_a: Tensor) -> Tensor:
        """Each (B, 1, H, W) float32, raw values."""
        output: MapOutput = self.network(self.network.scaled(amplified, on_a, off_a))
        return output.probabilities
