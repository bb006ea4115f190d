"""MER-auGCN layer by layer against plain loops; weights are random, inputs are noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from models import au_graph as ag

torch = pytest.importorskip("torch")

from models import augcn  # noqa: E402
from models.augcn import AugcnNet, AugcnOptions, AugcnOutput  # noqa: E402

AUS = (1, 2, 4, 6, 12, 15)
GRAPH = ag.induced(ag.original(), AUS).matrix()
SMALL: dict[str, Any] = {"features": 8, "relations": 5, "hidden_relations": 7, "hidden_detector": 3}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def net(**changes: Any) -> AugcnNet:
    return AugcnNet(AugcnOptions(classes=4, **(SMALL | changes)), GRAPH).eval()


def noise(count: int = 3, side: int = 28) -> Any:
    return torch.randn(count, 2, side, side)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def array(tensor: Any) -> Any:
    return tensor.detach().numpy().astype(np.float64)


# --- backbone ---


def conv(x: Any, layer: Any) -> Any:
    """A convolution with zero padding that keeps the size, by loops; x is (channels, h, w)."""
    weight, bias = array(layer.weight), array(layer.bias)
    reach = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    made = np.zeros((len(weight), *x.shape[1:]))
    for o in range(len(weight)):
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                patch = padded[:, row : row + 2 * reach + 1, column : column + 2 * reach + 1]
                made[o, row, column] = (patch * weight[o]).sum() + bias[o]
    return made


def test_inception_block_by_loops() -> None:
    block = augcn.InceptionBlock(2, 3)
    x = np.random.default_rng(0).normal(size=(2, 6, 5))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    pooled = np.array(
        [[[p[r : r + 3, c : c + 3].max() for c in range(5)] for r in range(6)] for p in padded]
    )
    branches = [
        conv(x, block.one),
        conv(np.maximum(conv(x, block.before_three), 0), block.three),
        conv(np.maximum(conv(x, block.before_five), 0), block.five),
        conv(pooled, block.pooled),
    ]
    wanted = np.maximum(np.concatenate(branches), 0)
    given = array(block(torch.tensor(x[None], dtype=torch.float32)))[0]
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_dual_inception_has_two_paths_of_their_own() -> None:
    paths = augcn.TwoPaths("dual-inception", 8)
    assert paths.joined.in_features == 2 * 64 * 7 * 7
    ours, theirs = dict(paths.u.named_parameters()), dict(paths.v.named_parameters())
    assert {n: p.shape for n, p in ours.items()} == {n: p.shape for n, p in theirs.items()}
    assert not any(p is q for p in ours.values() for q in theirs.values())
    flow = noise(1)
    seen = torch.cat([paths.u(flow[:, :1]), paths.v(flow[:, 1:])], dim=1)
    np.testing.assert_allclose(array(paths(flow)), array(paths.joined(seen).relu()))


def test_resnet18_paths_have_its_four_widths_at_112_px() -> None:
    paths = augcn.TwoPaths("resnet18", 8).eval()
    sizes = []
    for module in paths.u:
        module.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape)))
    assert paths(noise(2, 112)).shape == (2, 8)
    blocks = [size for m, size in zip(paths.u, sizes, strict=True) if type(m) is augcn.BasicBlock]
    assert blocks == [(2, 64, 28, 28), (2, 128, 14, 14), (2, 256, 7, 7), (2, 512, 4, 4)]


def test_parameter_counts_by_hand() -> None:
    def dual_inception(d: int) -> int:
        def block(inputs: int, channels: int) -> int:
            ones = 4 * (inputs * channels + channels)
            return ones + 9 * channels**2 + channels + 25 * channels**2 + channels

        return 2 * (block(1, 6) + block(24, 16)) + 6272 * d + d

    def full(d: int, k: int) -> int:
        attention = k * (d * d + d)
        detectors = k * (d * 64 + 64 + 64 + 1)
        relations = d * 256 + 256 * 64
        return attention + detectors + relations + (d * 64 + 64) + (64 * 5 + 5)

    graph = ag.dense(range(12)).matrix()
    for d in (1024, 128):
        made = AugcnNet(AugcnOptions(features=d), graph)
        assert sum(p.numel() for p in made.parameters()) == dual_inception(d) + full(d, 12)
    assert sum(p.numel() for p in made.parameters()) < 2_000_000  # the small model


# --- eq. 1, the detectors, eq. 4 ---


@pytest.mark.parametrize("attention", ["sigmoid", "softmax"])
def test_attention_by_loops(attention: augcn.Attention) -> None:
    layer = augcn.AUAttention(3, 4, attention)
    z = torch.randn(2, 4)
    weight = array(layer.scores.weight).reshape(3, 4, 4)  # of K layers of their own
    bias = array(layer.scores.bias).reshape(3, 4)
    given = array(layer(z))
    for b in range(2):
        for k in range(3):
            scores = weight[k] @ array(z[b]) + bias[k]
            if attention == "sigmoid":
                weights = [sigmoid(value) for value in scores]
            else:
                weights = [math.exp(v) / sum(math.exp(w) for w in scores) for v in scores]
                assert sum(weights) == pytest.approx(1)
            for i in range(4):
                assert given[b, k, i] == pytest.approx(weights[i] * float(z[b, i]), abs=1e-6)


def test_each_au_has_a_layer_of_its_own() -> None:
    layer = augcn.PerAU(3, 4, 2)
    x = torch.randn(5, 3, 4)
    given = array(layer(x))
    for k in range(3):
        wanted = array(x)[:, k] @ array(layer.weight)[k] + array(layer.bias)[k, 0]
        np.testing.assert_allclose(given[:, k], wanted, atol=1e-6)


def test_graph_convolution_by_loops() -> None:
    layer = augcn.GraphConvolution(torch.as_tensor(GRAPH), 4, 3)
    x = torch.randn(2, len(AUS), 4)
    given, weight = array(layer(x)), array(layer.weight)
    for b in range(2):
        projected = array(x[b]) @ weight
        for i in range(len(AUS)):
            summed = np.zeros(3)
            for j in range(len(AUS)):
                if GRAPH[i, j]:
                    summed += projected[j]
            np.testing.assert_allclose(given[b, i], np.maximum(summed, 0), atol=1e-5)
    assert (given == 0).any()


# --- the whole ---


def by_hand(made: AugcnNet, flow: Any) -> tuple[Any, Any]:
    """Logits and AU logits from the features on, in numpy."""
    features = array(made.attention(made.backbone(flow)))
    hidden, _, last = made.detectors
    aus = np.zeros(features.shape[:2])
    for k in range(features.shape[1]):
        h = features[:, k] @ array(hidden.weight)[k] + array(hidden.bias)[k, 0]
        aus[:, k] = np.maximum(h, 0) @ array(last.weight)[k, :, 0] + array(last.bias)[k, 0, 0]
    summed = features.sum(axis=1)
    head = made.options.head
    if head == "au":
        vector = summed
    else:
        z = features
        for layer in made.relations:
            z = np.maximum(GRAPH @ (z @ array(layer.weight)), 0)
        vector = z.sum(axis=1)
    if head in ("sum", "concatenation"):
        own = summed @ array(made.adjust.weight).T + array(made.adjust.bias)
        vector = own + vector if head == "sum" else np.concatenate([own, vector], axis=1)
    return vector @ array(made.classifier.weight).T + array(made.classifier.bias), aus


@pytest.mark.parametrize("head", ["au", "relation", "sum", "concatenation"])
def test_heads_by_hand(head: augcn.Head) -> None:
    made, flow = net(head=head), noise()
    logits, aus = by_hand(made, flow)
    output = made(flow)
    np.testing.assert_allclose(array(output.logits), logits, atol=1e-4)
    np.testing.assert_allclose(array(output.au_logits), aus, atol=1e-4)


def test_without_aus_the_backbone_is_classified() -> None:
    made, flow = net(head="global"), noise()
    output = made(flow)
    assert output.au_logits is None
    np.testing.assert_allclose(
        array(output.logits), array(made.classifier(made.backbone(flow))), atol=1e-6
    )
    assert not any(
        hasattr(made, name) for name in ("attention", "detectors", "relations", "adjust")
    )


def test_every_parameter_learns_and_the_graph_does_not() -> None:
    made = net().train()
    output = made(noise(8))
    loss, _ = augcn.joint_loss(output, torch.arange(8) % 4, (torch.rand(8, 6) > 0.5).float())
    loss.backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert not any("graph" in name for name, _ in made.named_parameters())
    np.testing.assert_array_equal(made.state_dict()["relations.0.graph"], GRAPH)


def test_options_that_make_no_network_are_refused() -> None:
    for changes in ({"classes": 1}, {"features": 0}, {"hidden_detector": 0}):
        with pytest.raises(ValueError, match="at least"):
            AugcnOptions(**changes)


# --- eqs 2, 3, 5, 6 ---


def detection_by_loops(logits: Any, aus: Any, balance: str) -> float:
    m, k = aus.shape
    total = 0.0
    for i in range(k):
        share = sum(aus[j, i] == 1 for j in range(m)) / m  # eq. 2
        alpha = {"printed": share, "inverse": 1 - share, "focal": 0.25}[balance]
        offset = 0.0 if balance == "focal" else 0.05
        for j in range(m):
            p = sigmoid(logits[j, i])
            if aus[j, i] == 1:
                log = math.log((p + offset) / (1 + offset))
                total += alpha * (1 - p) ** 2 * log
            else:
                log = math.log((1 + offset - p) / (1 + offset))
                total += (1 - alpha) * p**2 * log
    return -total / (k * m)


def example() -> tuple[Any, Any]:
    draw = np.random.default_rng(3)
    aus = (draw.random((7, 4)) < [0.1, 0.4, 0.9, 0.0]).astype(np.float32)
    return draw.normal(scale=2, size=(7, 4)).astype(np.float32), aus


@pytest.mark.parametrize("balance", ["printed", "inverse", "focal"])
def test_detection_loss_by_loops(balance: augcn.Balance) -> None:
    logits, aus = example()
    given = augcn.detection_loss(torch.from_numpy(logits), torch.from_numpy(aus), balance)
    assert float(given) == pytest.approx(detection_by_loops(logits, aus, balance), rel=1e-5)


def test_offset_bounds_the_loss_that_the_focal_loss_does_not() -> None:
    logits, aus = torch.full((4, 1), -200.0), torch.ones(4, 1)  # sure, and wrong
    assert float(augcn.detection_loss(logits, aus)) == pytest.approx(-math.log(0.05 / 1.05))
    assert float(augcn.detection_loss(logits, aus, "focal")) == pytest.approx(0.25 * 200)


def test_as_printed_a_rare_positive_weighs_less_than_a_common_one() -> None:
    def gradient(positives: int, balance: augcn.Balance) -> float:
        aus = torch.zeros(10, 1)
        aus[:positives] = 1
        logits = torch.zeros(10, 1, requires_grad=True)
        augcn.detection_loss(logits, aus, balance).backward()
        return abs(float(logits.grad[0]))

    assert gradient(9, "printed") == pytest.approx(9 * gradient(1, "printed"), rel=1e-4)
    assert gradient(1, "inverse") == pytest.approx(9 * gradient(9, "inverse"), rel=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_joint_loss_by_loops(reduction: augcn.Reduction) -> None:
    au_logits, aus = example()
    logits = np.random.default_rng(4).normal(size=(7, 3)).astype(np.float32)
    labels = [0, 1, 2, 2, 1, 0, 0]
    parts = [
        math.log(sum(map(math.exp, row))) - row[label]
        for row, label in zip(logits, labels, strict=True)
    ]
    classes = sum(parts) / (7 if reduction == "mean" else 1)
    detected = detection_by_loops(au_logits, aus, "printed")
    output = AugcnOutput(torch.from_numpy(logits), torch.from_numpy(au_logits))
    loss, said = augcn.joint_loss(
        output, torch.tensor(labels), torch.from_numpy(aus), reduction=reduction
    )
    assert float(loss) == pytest.approx(classes + 0.75 * detected, rel=1e-5)
    assert said == {
        "classes": pytest.approx(classes, rel=1e-5),
        "aus": pytest.approx(detected, rel=1e-5),
    }
    without, said = augcn.joint_loss(
        AugcnOutput(output.logits, None), torch.tensor(labels), torch.from_numpy(aus)
    )
    assert float(without) == pytest.approx(sum(parts) / 7, rel=1e-5)
    assert set(said) == {"classes"}
