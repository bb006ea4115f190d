"""MAP's network against NumPy and plain loops; the weights are random, the images synthetic."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from models.errors import UserError  # noqa: E402
from models.map_net import (  # noqa: E402
    AreaWeights,
    MapNet,
    MapOptions,
    MapOutput,
    ServedMap,
    ShuffleAttention,
    scaled,
)

TINY = MapOptions(width=0.125)
Doubles = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def shaken(network: nn.Module) -> nn.Module:
    """Random values where training starts from constants, which hide much: gates, biases."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-x)), np.float64)


# ------------------------------------------------------------ input


def test_planes_are_scaled_one_by_one() -> None:
    planes = torch.rand(2, 3, 6, 8) * torch.tensor([255.0, 3.0, 0.2])[:, None, None] + 1
    found = scaled(planes).numpy()
    for image in range(2):
        for channel in range(3):
            plane = planes[image, channel].numpy()
            wanted = (plane - plane.min()) / (plane.max() - plane.min())
            np.testing.assert_allclose(found[image, channel], wanted, atol=1e-5)


def test_a_plane_without_contrast_is_zero() -> None:
    assert torch.equal(scaled(torch.full((1, 3, 4, 4), 7.0)), torch.zeros(1, 3, 4, 4))


def test_the_threshold_takes_weak_flow_and_leaves_grey() -> None:
    planes = torch.rand(2, 3, 6, 8)
    unit, found = scaled(planes).numpy(), scaled(planes, 1.5).numpy()
    assert np.array_equal(found[:, 0], unit[:, 0])
    for image in range(2):
        for channel in (1, 2):
            plane = unit[image, channel]
            wanted = np.where(plane < 1.5 * plane.mean(), 0, plane)
            np.testing.assert_allclose(found[image, channel], wanted, atol=1e-6)
    assert 0 < (found == 0).mean() < 1


# ------------------------------------------------------------ attention


def attention_by_loops(module: ShuffleAttention, x: Doubles) -> Doubles:
    """Section 3.3 on (B, C, h, w), one channel at a time."""
    batch, channels, _, _ = x.shape
    groups, each = module.groups, channels // (2 * module.groups)
    par = {name: p.detach().numpy().astype(float) for name, p in module.named_parameters()}
    out = np.zeros_like(x)
    for b in range(batch):
        logits = np.zeros((groups, 2 * each, *x.shape[2:]))
        for g in range(groups):
            for c in range(each):
                plane = x[b, g * 2 * each + c]
                scale, shift = (par[f"channel_{n}"][g, c, 0, 0] for n in ("weight", "bias"))
                logits[g, c] = scale * plane.mean() + shift
                plane = x[b, g * 2 * each + each + c]
                normed = (plane - plane.mean()) / math.sqrt(plane.var() + 1e-5)
                at = g * each + c
                normed = par["norm.weight"][at] * normed + par["norm.bias"][at]
                scale, shift = (par[f"spatial_{n}"][g, c, 0, 0] for n in ("weight", "bias"))
                logits[g, each + c] = scale * normed + shift
        if module.gate == "softmax":
            gates = np.exp(logits) / np.exp(logits).sum(axis=0)
        else:
            gates = sigmoid(logits)
        gated = x[b] * gates.reshape(x[b].shape)
        for c in range(channels // 2):  # shuffle: first and second half take turns
            out[b, 2 * c], out[b, 2 * c + 1] = gated[c], gated[channels // 2 + c]
    return out


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_attention_is_that_of_plain_loops(gate: str) -> None:
    module = shaken(ShuffleAttention(24, 4, gate))  # type: ignore[arg-type]
    x = torch.randn(2, 24, 3, 5)
    wanted = attention_by_loops(module, x.double().numpy())  # type: ignore[arg-type]
    np.testing.assert_allclose(module(x).detach().numpy(), wanted, atol=1e-5)


def test_each_group_has_weights_of_its_own() -> None:
    module = ShuffleAttention(16, 4)
    x = torch.randn(1, 16, 4, 4)
    before = module(x)
    with torch.no_grad():
        module.channel_weight[2] += 1.0
        module.spatial_weight[2] += 1.0
    after = module(x)
    changed = (before != after).flatten(2).any(2)[0]
    # channels 8 to 11 are group 2; the shuffle sends c to 2c, and 8 + c to 2c + 1
    assert [c for c in range(16) if changed[c]] == [1, 3, 5, 7]
    assert module.channel_weight.shape == (4, 2, 1, 1)


# ------------------------------------------------------------ area weights


def area_module(options: MapOptions) -> AreaWeights:
    module = shaken(AreaWeights(options.channels[3] * 2, options))
    assert isinstance(module, AreaWeights)
    return module


def test_area_weights_are_eqs_1_and_2() -> None:
    module = area_module(TINY)
    first, second = (m for m in module.weights if isinstance(m, nn.Linear))
    w1, b1, w2, b2 = (
        p.detach().numpy() for p in (first.weight, first.bias, second.weight, second.bias)
    )
    assert w1.shape == (1024 // 8, 1024 // 8)
    x = torch.randn(3, 128)
    hidden = np.maximum(x.numpy() @ w1.T + b1, 0)
    wanted = x.numpy() * sigmoid(hidden @ w2.T + b2)
    np.testing.assert_allclose(module(x).detach().numpy(), wanted, atol=1e-5)


def test_the_hidden_size_of_the_paper_is_1024() -> None:
    first = next(m for m in AreaWeights(1024, MapOptions()).weights if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features) == (1024, 1024)


@pytest.mark.parametrize("detached", [False, True])
def test_a_detached_gate_gives_its_weights_as_gradient(detached: bool) -> None:
    module = area_module(MapOptions(width=0.125, detached=detached))
    x = torch.randn(2, 128, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    alone = module.weights(x.detach())
    assert torch.allclose(x.grad, alone, atol=1e-6) == detached


# ------------------------------------------------------------ the network


def run(network: nn.Module, image: Tensor) -> MapOutput:
    output: MapOutput = network(image)
    return output


def test_shapes_at_the_paper_s_size() -> None:
    """As the module's docstring lists them, which differ from the paper's Table 1."""
    network = MapNet(5).eval()
    seen: list[tuple[int, ...]] = []
    watched = [network.shared[i] for i in (0, 3, 4, 5)] + list(network.branches[0])
    for module in watched:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape)))
    with torch.no_grad():
        output = run(network, torch.rand(1, 3, 224, 224))
    halves = [(2, 64, 56, 112), (2, 64, 28, 56), (2, 64, 28, 56), (2, 128, 14, 28)]
    assert seen == [*halves, (1, 256, 7, 14), (1, 512, 4, 7)]
    assert [a.shape for a in output.activations] == [(1, 512, 4, 7)] * 2
    assert output.features.shape == (1, 1024)
    assert [w.shape for w in output.weighted] == [(1, 512)] * 2


def test_parameters_are_those_of_resnet18_and_what_was_added() -> None:
    """ResNet18 without its last layer has 11,176,512 (He et al., Table 1)."""
    attention = {c: 2 * 6 * (c // 2) for c in (64, 128, 256, 512)}  # 6 vectors in 2 blocks
    head = 512 * 512 + 512 + 512 * 5 + 5
    single = 11_176_512 + sum(attention.values()) + head
    assert count(MapNet(5, MapOptions(branches="single"))) == single
    branch = (
        (128 * 256 + 256 * 256 * 3) * 9
        + 128 * 256
        + 5 * 2 * 256
        + (256 * 512 + 512 * 512 * 3) * 9
        + 256 * 512
        + 5 * 2 * 512
        + attention[256]
        + attention[512]
    )
    module = 2 * (1024 * 1024 + 1024)
    assert count(MapNet(5)) == single + branch + head + module == 24_309_962


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("side", [64, 96, 112])
def test_other_sides_work(side: int) -> None:
    output = run(MapNet(3, TINY).eval(), torch.rand(2, 3, side, side))
    assert output.probabilities.shape == (2, 3)
    assert torch.isfinite(output.probabilities).all()


def test_eyes_and_mouth_go_their_own_ways() -> None:
    network = shaken(MapNet(3, MapOptions(width=0.125, awm=False)))
    image = torch.rand(1, 3, 64, 64)
    changed = image.clone()
    changed[:, :, 32:] = torch.rand(1, 3, 32, 64)
    first, second = run(network, image), run(network, changed)
    assert torch.allclose(first.logits[0], second.logits[0], atol=1e-6)
    assert not torch.allclose(first.logits[1], second.logits[1], atol=1e-3)
    twice = run(network, torch.cat([image[:, :, :32]] * 2, 2))
    assert not torch.allclose(twice.weighted[0], twice.weighted[1], atol=1e-3)


def test_layers_1_and_2_are_shared_and_3_and_4_are_not() -> None:
    network = MapNet(3, MapOptions(width=0.125, awm=False))
    run(network, torch.rand(2, 3, 64, 64)).logits[0].sum().backward()
    assert all(p.grad is not None for p in network.shared.parameters())
    assert all(p.grad is not None for p in network.branches[0].parameters())
    other = [p.grad for p in network.branches[1].parameters()]
    assert all(grad is None or not grad.any() for grad in other)


def test_the_first_half_of_the_fused_features_is_of_the_eyes() -> None:
    """Eq. 3, whose first slice is misprinted."""
    network = shaken(MapNet(3, TINY))
    assert isinstance(network, MapNet)
    output = run(network, torch.rand(2, 3, 64, 64))
    means = torch.cat([a.mean((2, 3)) for a in output.activations], 1)
    fused = network.fusion(means)
    assert torch.allclose(output.weighted[0], fused[:, :64], atol=1e-6)
    assert torch.allclose(output.weighted[1], fused[:, 64:], atol=1e-6)
    assert torch.equal(output.features, torch.cat(output.weighted, 1))
    assert torch.allclose(output.logits[0], network.heads[0](fused[:, :64]), atol=1e-6)


def test_the_single_branch_sees_the_whole_face() -> None:
    network = MapNet(3, MapOptions(width=0.125, branches="single")).eval()
    output = run(network, torch.rand(2, 3, 64, 64))
    assert [a.shape for a in output.activations] == [(2, 64, 2, 2)]
    assert output.features.shape == (2, 64)
    assert isinstance(network.fusion, nn.Identity)


def test_probabilities_are_the_mean_of_both_softmax_outputs() -> None:
    output = run(shaken(MapNet(4, TINY)), torch.rand(3, 3, 64, 64))
    eyes, mouth = (np.exp(each.detach().numpy().astype(float)) for each in output.logits)
    wanted = (eyes / eyes.sum(1, keepdims=True) + mouth / mouth.sum(1, keepdims=True)) / 2
    np.testing.assert_allclose(output.probabilities.detach().numpy(), wanted, atol=1e-6)


def test_units_of_the_inputs_do_not_matter() -> None:
    served = ServedMap(shaken(MapNet(3, TINY)))  # type: ignore[arg-type]
    grey, on_a, off_a = torch.rand(3, 2, 1, 64, 64).unbind(0)
    with torch.no_grad():
        first, second = served(grey, on_a, off_a), served(255 * grey, 7 * on_a, 0.1 * off_a)
    assert torch.allclose(first, second, atol=1e-4)


def test_the_code_s_choices_have_names() -> None:
    network = MapNet(3, MapOptions.official(width=0.125))
    with torch.no_grad():
        pooled = [a.mean((2, 3)) for a in run(network.eval(), torch.rand(2, 3, 64, 64)).activations]
    norms: list[Tensor] = []
    network.fusion.register_forward_pre_hook(lambda m, args: norms.append(args[0]))
    run(network, torch.rand(2, 3, 64, 64))
    assert torch.allclose(norms[0][:, :64].norm(dim=1), torch.ones(2), atol=1e-5)
    assert not torch.allclose(pooled[0].norm(dim=1), torch.ones(2), atol=1e-2)
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(nn.LayerNorm) == 4
    assert kinds.count(nn.Dropout) == 2 + 2 + 1 + 2  # layers 1-2, layer 3 twice, module, heads
    assert MapOptions.official(awm=False).gate == "softmax"


def test_a_width_without_whole_groups_is_refused() -> None:
    with pytest.raises(UserError, match=r"multiple of 0\.125"):
        MapOptions(width=0.3)
