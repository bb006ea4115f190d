"""MAP's losses against plain Python loops; features and labels are synthetic."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from models.map_losses import (  # noqa: E402
    class_weights,
    classification_loss,
    contrastive_loss,
    similarities,
)

AUS = (1, 2, 4, 7, 12, 17)
SETS = [{4}, {4, 7}, {1, 2}, {12}, set(), {4, 7, 17}, set(), {12}]


def multi_hot() -> torch.Tensor:
    return torch.tensor([[float(au in found) for au in AUS] for found in SETS])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_class_weights_of_casme2() -> None:
    """Eq. 6 on the paper's Table 2."""
    counts = [64, 32, 27, 25, 99]
    found = class_weights(torch.tensor(counts)).tolist()
    assert found == pytest.approx([99 / n for n in counts])


def test_a_class_without_samples_has_no_weight() -> None:
    assert class_weights(torch.tensor([6, 0, 3])).tolist() == [1, 0, 2]


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classification_loss_is_eq_7(regions: int, smoothing: float) -> None:
    logits = [torch.randn(6, 3) for _ in range(regions)]
    labels, weights = [0, 2, 1, 1, 0, 2], [1.0, 2.5, 4.0]
    total = 0.0
    for region in logits:
        for row, label in zip(region.tolist(), labels, strict=True):
            bottom = sum(math.exp(value) for value in row)
            for c in range(3):
                wanted = (1 - smoothing) * (c == label) + smoothing / 3
                total -= weights[c] * wanted * math.log(math.exp(row[c]) / bottom)
    found = classification_loss(logits, torch.tensor(labels), torch.tensor(weights), smoothing)
    assert float(found) == pytest.approx(total / 6, rel=1e-5)


def test_similarities_are_jaccard_indices() -> None:
    found = similarities(multi_hot()).tolist()
    for i, first in enumerate(SETS):
        for j, second in enumerate(SETS):
            wanted = len(first & second) / len(first | second) if first | second else 0.0
            assert found[i][j] == pytest.approx(1.0 if i == j else wanted), (first, second)


def test_mixed_labels_compare_by_minimum_and_maximum() -> None:
    mixed = torch.tensor([[1.0, 0.5, 0.0], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]])
    found = similarities(mixed)
    assert float(found[0, 1]) == pytest.approx((0.5 + 0.5 + 0) / (1 + 0.5 + 0.5))
    assert float(found[0, 2]) == 0
    assert torch.equal(found, found.T)


def contrastive_by_loops(
    features: list[list[float]], w: list[list[float]], tau: float, unit: bool, sums: str
) -> float:
    """Eq. 5 / N; ``sums`` "code": the code's ranges."""
    if unit:
        features = [[v / math.sqrt(sum(u * u for u in row)) for v in row] for row in features]
    count, total = len(features), 0.0

    def score(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(features[i], features[j], strict=True)) / tau

    for i in range(count):
        everybody = [k for k in range(count) if sums == "paper" or k != i]
        bottom = sum(math.exp(score(i, k)) for k in everybody)
        inner = 0.0
        for j in range(count):
            if sums == "code" or j != i:
                inner += w[i][j] * math.log(math.exp(score(i, j)) / bottom)
        total -= inner / sum(w[i])
    return total / count


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("sums", ["paper", "code"])
@pytest.mark.parametrize("tau", [0.1, 0.7])
def test_contrastive_loss_is_eq_5(unit: bool, sums: str, tau: float) -> None:
    features = 0.3 * torch.randn(len(SETS), 5, dtype=torch.float64)
    weights = similarities(multi_hot().double())
    wanted = contrastive_by_loops(features.tolist(), weights.tolist(), tau, unit, sums)
    found = contrastive_loss(features, weights, tau, unit, sums)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_similar_aus_are_pulled_together() -> None:
    features = torch.randn(len(SETS), 8, requires_grad=True)
    weights = similarities(multi_hot())
    optimiser = torch.optim.Adam([features], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        contrastive_loss(features, weights).backward()
        optimiser.step()
    unit = torch.nn.functional.normalize(features.detach(), dim=1)
    near = (unit @ unit.T).tolist()
    assert near[1][5] > near[0][5] > near[2][5]  # Jaccard 2/3, 1/3, 0
    assert near[3][7] > 0.9  # the same AU


@pytest.mark.parametrize("sums", ["paper", "code"])
def test_large_features_stay_finite(sums: str) -> None:
    features = (300 * torch.randn(len(SETS), 5)).requires_grad_()
    loss = contrastive_loss(features, similarities(multi_hot()), 0.1, False, sums)  # type: ignore[arg-type]
    loss.backward()
    assert torch.isfinite(loss)
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_one_sample_has_nothing_to_compare() -> None:
    features = torch.randn(1, 4, requires_grad=True)
    loss = contrastive_loss(features, torch.ones(1, 1), sums="code")
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None and not features.grad.any()
