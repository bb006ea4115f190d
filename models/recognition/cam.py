"""Where MAP looks: AU-CAM (Ruan et al., MM 2022, eqs 12-13) beside Grad-CAM, over the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from models.errors import UserError
from models.map_net import MapNet
from models.recognition.samples import Floats

Picture = npt.NDArray[np.uint8]

_SHARE = 0.45  # of the heat in the overlay
_TILE = 224  # px
_BAR = 22  # px, for the words above a row
_PAPER = 255
_INK = (40, 40, 40)


def au_cam(network: MapNet, image: Tensor) -> Floats:
    """AU-CAM: what drives the strongest AU feature of each region (eqs 12-13).

    The derivative of max(X_b_w) by a channel of layer 4 is averaged over its positions, as
    in Grad-CAM, from which eq. 13 takes its weights. Each region is scaled by its own
    maximum, for each explains another feature.

    Args:
        network: in eval mode.
        image: (B, 3, H, W) in [0, 1], of ``MapNet.scaled``.

    Returns:
        (B, H, W) float32 in [0, 1]; 0 where nothing speaks for the feature.
    """
    with torch.enable_grad():
        output = network(_watched(image))
        targets = [each.amax(1).sum() for each in output.weighted]
        maps = [
            _weighted(activation, target)
            for activation, target in zip(output.activations, targets, strict=True)
        ]
    return _joined([_unit(each) for each in maps], image)


def grad_cam(network: MapNet, image: Tensor) -> Floats:
    """Grad-CAM (Selvaraju et al. 2017) of the predicted class, in both regions.

    The score is the sum of the regions' logits for the class that the network answers.
    Both regions explain that one score, so they are scaled by their common maximum.

    Args:
        network: in eval mode.
        image: (B, 3, H, W) in [0, 1], of ``MapNet.scaled``.

    Returns:
        (B, H, W) float32 in [0, 1].
    """
    with torch.enable_grad():
        output = network(_watched(image))
        predicted = output.probabilities.argmax(1, keepdim=True)
        score = torch.stack(output.logits).sum(0).gather(1, predicted).sum()
        maps = [_weighted(activation, score) for activation in output.activations]
    return _joined(list(_unit(torch.stack(maps, 1)).unbind(1)), image)


def _watched(image: Tensor) -> Tensor:
    """With a gradient of its own, so that frozen networks have one too."""
    return image.detach().clone().requires_grad_()


def _weighted(activation: Tensor, target: Tensor) -> Tensor:
    """C_b of eq. 13, (B, h, w); samples do not mix, so one gradient serves the batch."""
    (gradient,) = torch.autograd.grad(target, activation, retain_graph=True)
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * activation).sum(1).relu().detach()


def _unit(maps: Tensor) -> Tensor:
    """Each sample, (B, ...), by its own maximum."""
    most = maps.flatten(1).amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return torch.where(most > 0, maps / most.clamp_min(1e-12), torch.zeros_like(maps))


def _joined(maps: Sequence[Tensor], image: Tensor) -> Floats:
    """Regions one below the other (eq. 12), enlarged to the image, (B, H, W)."""
    size = (image.shape[2] // len(maps), image.shape[3])
    large = [functional.interpolate(each[:, None], size, mode="bilinear")[:, 0] for each in maps]
    whole: Floats = torch.cat(large, 1).clamp(0, 1).cpu().numpy()
    return whole


@dataclass(frozen=True)
class Looked:
    """One row of the picture."""

    caption: str  # ASCII, such as "sub01 EP02_01f: AU4+7, disgust"
    face: npt.NDArray[Any]  # (h, w) grey or (h, w, 3) BGR, uint8
    au_cam: Floats  # (H, W) in [0, 1]
    grad_cam: Floats  # (H, W) in [0, 1]


def overlay(face: npt.NDArray[Any], heat: Floats) -> Picture:
    """A map over the face, (h, w, 3) BGR uint8.

    Args:
        face: (h, w) grey or (h, w, 3) BGR, uint8.
        heat: (H, W) in [0, 1], stretched over the face.
    """
    colour = face if face.ndim == 3 else cv2.cvtColor(face, cv2.COLOR_GRAY2BGR)
    stretched = cv2.resize(heat, (face.shape[1], face.shape[0]), interpolation=cv2.INTER_LINEAR)
    levels = np.clip(np.rint(stretched * 255), 0, 255).astype(np.uint8)
    hot = cv2.applyColorMap(levels, cv2.COLORMAP_JET)
    return np.asarray(cv2.addWeighted(colour, 1 - _SHARE, hot, _SHARE, 0), np.uint8)


def draw(rows: Sequence[Looked], file: Path) -> None:
    """Write a PNG: a row per sample with the face, AU-CAM and Grad-CAM (Figure 6).

    Raises:
        UserError: the file cannot be written.
    """
    head = _words(("face", "AU-CAM", "Grad-CAM"))
    picture = np.vstack([head, *(part for row in rows for part in _row(row))])
    _, encoded = cv2.imencode(".png", picture)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded.tobytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None


def _row(row: Looked) -> tuple[Picture, Picture]:
    face = row.face if row.face.ndim == 3 else cv2.cvtColor(row.face, cv2.COLOR_GRAY2BGR)
    tiles = (face, overlay(row.face, row.au_cam), overlay(row.face, row.grad_cam))
    sized = [cv2.resize(tile, (_TILE, _TILE), interpolation=cv2.INTER_AREA) for tile in tiles]
    return _words((row.caption,)), np.asarray(np.hstack(sized), np.uint8)


def _words(words: Sequence[str]) -> Picture:
    """A bar as wide as a row with words from left to right."""
    bar = np.full((_BAR, 3 * _TILE, 3), _PAPER, np.uint8)
    for index, word in enumerate(words):
        at = (6 + index * _TILE, _BAR - 7)
        cv2.putText(bar, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return bar
