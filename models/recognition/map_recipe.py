"""How MAP is trained (Ruan et al., MM 2022, sections 3.2, 3.5, 3.6, 4.3; rows of Table 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from models import map_losses
from models.errors import UserError
from models.map_net import PLANES, Branches, MapNet, MapOptions, MapOutput, ServedMap, scaled
from models.prototypes import AU_REGIONS
from models.recogniser import Channel, FlowMethod, InputSpec, Source
from models.recognition.recipe import Batch, Prediction

Target = Literal["apex", "magnified"]
Mix = Literal["regions", "union", "average"]

_FLOWS: dict[Target, tuple[Source, Source]] = {
    "apex": ("flow_onset_apex", "flow_offset_apex"),
    "magnified": ("flow_onset_magnified", "flow_offset_magnified"),
}
IMAGE = "image"  # the one input of an augmented batch: planes in [0, 1], (B, 3, H, W)


class _Row(NamedTuple):
    branches: Branches
    awm: bool
    alignment: bool
    replacing: bool


# The paper takes Region Replacing away in one row only, so the others have it.
_ROWS = {
    "sb": _Row("single", False, False, True),
    "sb + AU": _Row("single", False, True, True),
    "db": _Row("dual", False, False, True),
    "db + AU": _Row("dual", False, True, True),
    "db + AWM": _Row("dual", True, False, True),
    "db + all w/o RR": _Row("dual", True, True, False),
    "full": _Row("dual", True, True, True),
}


def variants() -> tuple[str, ...]:
    """Rows of Table 4, in its order; "full" is its "db + all"."""
    return tuple(_ROWS)


@dataclass
class MapRecipe:
    """MAP as a ``Recipe``; the defaults are the paper's, ``official`` the published code's.

    Args:
        classes: names, in the order of the labels.
        aus: AUs of the multi-hot labels.
        variant: a row of Table 4. Its branches and module override those of ``options``.
        target: what On-A and Off-A lead to. The paper found the apex better on CASME II and
            the magnified frame on SAMM.
        size: image side, px; even, at least 64.
        flow: the paper names no method; the code's is TV-L1.
        steady: the motion of the whole face is taken out of the flow; papers are silent.
        factor: of magnification.
        options: of the network.
        share: lambda of eq. 8.
        replace_rate: probability of Region Replacing (section 3.2).
        mix: AU labels of a replaced sample. "regions": what it shows, eye AUs of the first
            and mouth AUs of the second face (AUs of neither region: of either); "union" of
            both (code); "average".
        flip_rate: probability of RandomHorizontalFlip.
        erase_rate: probability of RandomErasing.
        temperature: tau of eq. 5; the paper gives none.
        unit_features: eq. 5 on the unit sphere. As printed (False) X_F is compared as it is,
            with which training at tau = 0.1 fell to chance (docs/recognition.md).
        sums: the ranges of eq. 5's sums, as printed or as in the code.
        smoothing: label smoothing; the code's is 0.1.
        weight_decay: AdamW's, torch's default; the code's is 1e-5.

    Raises:
        UserError: an unknown variant, or a side that does not fit.
    """

    classes: tuple[str, ...]
    aus: tuple[int, ...]
    variant: str = "full"
    target: Target = "apex"
    size: int = 224
    flow: FlowMethod = "farneback"
    steady: bool = True
    factor: float = 6.0
    options: MapOptions = field(default_factory=MapOptions)
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    share: float = 0.3
    replace_rate: float = 0.5
    mix: Mix = "regions"
    flip_rate: float = 0.5
    erase_rate: float = 0.5
    temperature: float = 0.1
    unit_features: bool = True
    sums: map_losses.Sums = "paper"
    smoothing: float = 0.0
    name: str = "map"
    augmented: bool = False

    def __post_init__(self) -> None:
        if self.variant not in _ROWS:
            raise UserError(f"variant {self.variant!r}: MAP has {', '.join(_ROWS)}")
        if self.size % 2 or self.size < 64:
            raise UserError(f"size {self.size}: MAP needs an even image side of at least 64 px")

    @classmethod
    def official(cls, classes: tuple[str, ...], aus: tuple[int, ...], **changes: Any) -> MapRecipe:
        """The published code's choices where it and the paper differ.

        Not copied: ImageNet weights, JPEG storage, and the choice of the epoch by the test.
        """
        code: dict[str, Any] = {
            "options": MapOptions.official(),
            "flow": "tvl1",
            "mix": "union",
            "sums": "code",
            "smoothing": 0.1,
            "weight_decay": 1e-5,
        }
        return cls(classes, aus, **{**code, **changes})

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """Grey magnified apex, On-A and Off-A magnitudes of the face crop, raw values."""
        on_a, off_a = _FLOWS[self.target]
        specs = (
            self._spec("magnified", "grey"),
            self._spec(on_a, "magnitude"),
            self._spec(off_a, "magnitude"),
        )
        return dict(zip(PLANES, specs, strict=True))

    def _spec(self, source: Source, channel: Channel) -> InputSpec:
        return InputSpec(
            source=source,
            region="face",
            size=(self.size, self.size),
            channels=[channel],
            flow=self.flow,
            factor=self.factor,
            steady=self.steady and source.startswith("flow_"),
        )

    def network(self) -> MapNet:
        """A new network of the variant."""
        row = _ROWS[self.variant]
        return MapNet(len(self.classes), replace(self.options, branches=row.branches, awm=row.awm))

    def optimiser(
        self, network: nn.Module
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW; cosine annealing with restarts after 10, 30, 70 epochs (section 4.3)."""
        adam = torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(adam, T_0=10, T_mult=2)
        return adam, restarts

    def augment(self, batch: Batch, pool: Batch, generator: torch.Generator) -> Batch:
        """Region Replacing, flip and erasing, on planes scaled image by image.

        Returns:
            A batch whose only input is ``IMAGE``, (B, 3, H, W) in [0, 1]: what is joined of
            two faces must not be scaled once more.
        """
        threshold = self.options.threshold_of_mean
        image, aus = scaled(_stacked(batch.inputs), threshold), batch.aus
        if _ROWS[self.variant].replacing:
            chosen, partners = _partners(batch.labels, pool.labels, self.replace_rate, generator)
            others = {name: plane[partners] for name, plane in pool.inputs.items()}
            mouths = scaled(_stacked(others), threshold)
            image[chosen] = replaced(image[chosen], mouths[chosen])
            mixed = mixed_aus(aus, pool.aus[partners], self.aus, self.mix)
            aus = torch.where(chosen[:, None], mixed, aus)
        image = flipped(image, self.flip_rate, generator)
        return Batch({IMAGE: erased(image, self.erase_rate, generator)}, batch.labels, aus)

    def loss(
        self, network: nn.Module, batch: Batch, counts: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Eq. 8, or eq. 7 alone without AU alignment."""
        output = self._output(network, batch.inputs)
        total = map_losses.classification_loss(
            output.logits, batch.labels, map_losses.class_weights(counts), self.smoothing
        )
        parts = {"loss/classification": float(total.detach())}
        if _ROWS[self.variant].alignment:
            aligned = map_losses.contrastive_loss(
                output.features,
                map_losses.similarities(batch.aus),
                self.temperature,
                self.unit_features,
                self.sums,
            )
            parts["loss/alignment"] = float(aligned.detach())
            total = (1 - self.share) * total + self.share * aligned
        return total, parts

    def predict(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Prediction:
        """Half the sum of the regions' softmax outputs (section 3.6)."""
        return Prediction(self._output(network, inputs).probabilities)

    def served(self, network: nn.Module) -> ServedMap:
        """Raw planes in the order of ``inputs`` to (B, classes) probabilities."""
        return ServedMap(cast(MapNet, network))

    def _output(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> MapOutput:
        image = inputs.get(IMAGE)
        if image is None:
            image = scaled(_stacked(inputs), self.options.threshold_of_mean)
        output: MapOutput = network(image)
        return output


def _stacked(inputs: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([inputs[name] for name in PLANES], 1)


# ------------------------------------------------------------ augmentation


def _chance(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, each true with probability ``rate``."""
    return torch.rand(count, generator=generator, device=generator.device) < rate


def _partners(
    labels: Tensor, pool: Tensor, rate: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Who is replaced, (B,) bool, and a random sample of the same class for each, (B,).

    A sample can draw itself, as in the published code: with n in its class, one time in n.
    """
    same = (labels[:, None] == pool[None]).float().to(generator.device)
    found = same.sum(1) > 0
    same[~found] = 1.0  # nobody of that class: never chosen below
    partners = torch.multinomial(same, 1, generator=generator)[:, 0]
    chosen = _chance(len(labels), rate, generator) & found
    return chosen.to(labels.device), partners.to(labels.device)


def replaced(eyes: Tensor, mouths: Tensor) -> Tensor:
    """Upper half of one image over the lower half of another, (B, C, H, W) (section 3.2)."""
    half = eyes.shape[2] // 2
    return torch.cat([eyes[:, :, :half], mouths[:, :, half:]], 2)


def mixed_aus(first: Tensor, second: Tensor, aus: tuple[int, ...], mix: Mix = "regions") -> Tensor:
    """AU labels of faces with the eyes of the first and the mouth of the second, (B, K).

    Args:
        first: (B, K) labels in [0, 1] over ``aus``.
        second: likewise.
        aus: number of each column.
        mix: see ``MapRecipe``.
    """
    if mix == "average":
        return (first + second) / 2
    union = torch.maximum(first, second)
    if mix == "union":
        return union
    eye = torch.tensor([AU_REGIONS.get(au) == "eye" for au in aus], device=first.device)
    mouth = torch.tensor([AU_REGIONS.get(au) == "mouth" for au in aus], device=first.device)
    return torch.where(eye, first, torch.where(mouth, second, union))


def flipped(image: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """RandomHorizontalFlip: each image of (B, C, H, W) mirrored with probability ``rate``."""
    chosen = _chance(len(image), rate, generator).to(image.device)
    return torch.where(chosen[:, None, None, None], image.flip(3), image)


def erased(image: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """RandomErasing (Zhong et al. 2020): a rectangle of 0 in all channels.

    Area 0.02 to 0.33 of the image, side ratio 0.3 to 3.3, the usual values; a rectangle
    higher or wider than the image is cut.
    """
    count, _, height, width = image.shape
    draw = torch.rand(4, count, generator=generator, device=generator.device)
    area = (0.02 + 0.31 * draw[0]) * height * width
    ratio = torch.exp(torch.log(torch.tensor(0.3)) + draw[1] * torch.log(torch.tensor(11.0)))
    rows = _span((area * ratio).sqrt(), draw[2], height)
    columns = _span((area / ratio).sqrt(), draw[3], width)
    chosen = _chance(count, rate, generator)
    box = (rows[:, :, None] & columns[:, None] & chosen[:, None, None]).to(image.device)
    return image.masked_fill(box[:, None], 0.0)


def _span(length: Tensor, place: Tensor, side: int) -> Tensor:
    """(B, side) bool: ``length`` px (at least 1) at random ``place`` in [0, 1)."""
    length = length.round().clamp(1, side)
    begin = (place * (side - length + 1)).floor()
    at = torch.arange(side, device=length.device)
    return (at >= begin[:, None]) & (at < (begin + length)[:, None])
