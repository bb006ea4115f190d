"""Losses of MAP (Ruan et al., MM 2022, eqs 4-8).

The paper's losses are sums over the batch. Here they are divided by its size: AdamW takes
the same steps, and figures of batches of any size can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Sums = Literal["paper", "code"]


def class_weights(counts: Tensor) -> Tensor:
    """w_c of eq. 6, (classes,) float32; 0 for a class without samples.

    Args:
        counts: training samples of each class, (classes,).
    """
    counts = counts.float()
    return torch.where(counts > 0, counts.max() / counts.clamp_min(1), torch.zeros_like(counts))


def classification_loss(
    logits: Sequence[Tensor], labels: Tensor, weights: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Eq. 7 divided by N: weighted cross-entropy, summed over the regions.

    Args:
        logits: per region (N, classes), before softmax.
        labels: (N,) int64.
        weights: w_c, (classes,).
        smoothing: label smoothing (the published code: 0.1).
    """
    losses = [
        functional.cross_entropy(each, labels, weights, label_smoothing=smoothing, reduction="sum")
        for each in logits
    ]
    return torch.stack(losses).sum() / len(labels)


def similarities(aus: Tensor) -> Tensor:
    """w_ij of eq. 4, (N, N): the Jaccard index of AU labels.

    For mixed labels in [0, 1] it is the sum of minima over the sum of maxima, which for 0 and
    1 is eq. 4. A sample is always like itself (1); two different samples without any AU count
    as unlike (0), for nothing coded is no evidence of equal movement.

    Args:
        aus: (N, K) float32 in [0, 1].
    """
    both = torch.minimum(aus[:, None], aus[None]).sum(2)
    total = aus.sum(1)
    either = total[:, None] + total[None] - both
    found = torch.where(either > 0, both / either.clamp_min(1e-6), torch.zeros_like(both))
    return found.masked_fill(_diagonal(found), 1.0)


def contrastive_loss(
    features: Tensor,
    weights: Tensor,
    temperature: float = 0.1,
    unit: bool = True,
    sums: Sums = "paper",
) -> Tensor:
    """Weighted supervised contrastive loss, eq. 5 divided by N.

    Args:
        features: X_F, (N, D).
        weights: w_ij, (N, N), with w_ii = 1.
        temperature: tau; the paper gives none, 0.1 is the published code's.
        unit: compare features on the unit sphere, as the loss that the paper builds on
            (Khosla et al. 2020) and the code do; False: dot products as printed.
        sums: "paper" as printed: j runs over the others, k over all. "code": j runs over
            all, k in the denominator over the others.
    """
    if len(features) < 2:
        return features.sum() * 0.0  # nothing to compare, and no gradient
    if unit:
        features = functional.normalize(features, dim=1)
    scores = features @ features.T / temperature
    self_pair = _diagonal(scores)
    if sums == "paper":
        logs = scores - scores.logsumexp(1, keepdim=True)
        pulls = weights.masked_fill(self_pair, 0.0)
    else:
        others = scores.masked_fill(self_pair, -torch.inf)
        logs = scores - others.logsumexp(1, keepdim=True)
        pulls = weights
    return -((pulls * logs).sum(1) / weights.sum(1)).mean()


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(len(square), dtype=torch.bool, device=square.device)
