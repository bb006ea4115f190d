"""MER-auGCN as a recipe: variants, a tiny overfit on synthetic flow, ONNX."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models import au_graph as ag
from models.errors import UserError
from models.recogniser import InputSpec

torch = pytest.importorskip("torch")

from models.recognition.augcn_recipe import VARIANTS, AugcnRecipe  # noqa: E402
from models.recognition.recipe import Batch  # noqa: E402

CLASSES = ("I", "II", "III")
AUS = (1, 2, 4, 6, 12)
WITHOUT_AUS = {"resnet18", "dual-inception"}
SLOW = {"resnet18"}  # has a test of its own
ALIKE = {"w/o DA", "dense-graph"}  # the layers of "full"


def recipe(variant: str = "full", **changes: Any) -> AugcnRecipe:
    return AugcnRecipe(CLASSES, AUS, variant, **({"features": 16} | changes))


def flows(made: AugcnRecipe, count: int) -> Any:
    return torch.randn(count, *made.inputs["flow"].shape[1:])


def batch(made: AugcnRecipe, count: int = 12) -> Batch:
    """Synthetic: noise, and in each class a patch of flow of its own; AUs follow the class."""
    labels = torch.arange(count) % len(CLASSES)
    flow = 0.1 * flows(made, count)
    carried = [{12, 6}, {1, 2}, {4}]
    for i, label in enumerate(labels.tolist()):
        flow[i, label % 2, 8 * label : 8 * label + 8] += 1
    aus = torch.tensor([[float(au in carried[k]) for au in made.aus] for k in labels.tolist()])
    return Batch({"flow": flow}, labels, aus)


def test_full_is_as_printed() -> None:
    made = AugcnRecipe(CLASSES, AUS)
    assert (made.name, made.variant, made.augmented) == ("augcn", "full", True)
    assert (made.epochs, made.batch_size, made.features) == (50, 64, 1024)
    assert set(made.inputs) == {"flow"}
    spec = made.inputs["flow"]
    assert (spec.source, spec.region, spec.size) == ("flow_onset_apex", "face", (28, 28))
    assert (list(spec.channels), spec.flow, spec.at) == (["u", "v"], "tvl1", (112, 112))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=InputSpec) == spec
    network = recipe().network()
    optimiser, schedule = recipe().optimiser(network)
    assert schedule is None
    assert type(optimiser) is torch.optim.Adam
    group = optimiser.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (5e-4, (0.9, 0.999), 1e-8)
    assert len(group["params"]) == len(list(network.parameters()))


def test_repr_tells_runs_apart() -> None:
    assert repr(recipe()) == repr(recipe())
    assert len({repr(recipe(name)) for name in VARIANTS}) == len(VARIANTS) == 11
    assert repr(recipe(balance="inverse")) != repr(recipe())


def test_unknown_variant_and_missing_aus_are_the_users() -> None:
    with pytest.raises(UserError, match="no variant 'fulll'; use full, resnet18"):
        recipe("fulll")
    with pytest.raises(UserError, match="none in common"):
        AugcnRecipe(CLASSES, ())
    with pytest.raises(UserError, match="two classes"):
        AugcnRecipe(("I",), AUS)


def test_graphs_of_the_variants() -> None:
    assert recipe().graph == ag.induced(ag.original(), AUS)
    assert recipe("dense-graph").graph.matrix().min() == 1
    assert recipe("dense-graph").aus == AUS
    original = recipe("original-graph")
    assert original.graph == ag.original()
    assert original.aus == ag.original().aus
    normal = recipe(normalisation="symmetric").network().state_dict()["relations.0.graph"]
    np.testing.assert_array_equal(normal, recipe().graph.matrix("symmetric"))


def test_ablations_differ_where_the_tables_say() -> None:
    options = {name: recipe(name).network().options for name in VARIANTS}
    assert {name for name, made in options.items() if made.head == "global"} == WITHOUT_AUS
    assert options["aufeat"].head == "au"
    assert options["relfeat"].head == "relation"
    assert options["confeat"].head == "concatenation"
    assert options["softmax-attention"].attention == "softmax"
    assert [name for name in VARIANTS if not recipe(name).augmented] == ["w/o DA"]
    assert {recipe(n).inputs["flow"].size for n in VARIANTS if n != "resnet18"} == {(28, 28)}
    assert recipe("resnet18").inputs["flow"].size == (112, 112)
    same = ("full", "w/o DA", "focal-loss", "dense-graph", "original-graph")
    assert {options[name] for name in same} == {options["full"]}


def loss_of(made: AugcnRecipe, data: Batch) -> float:
    torch.manual_seed(1)
    counts = torch.bincount(data.labels)
    return float(made.loss(made.network().eval(), data, counts)[0].detach())


def test_losses_of_the_variants() -> None:
    data = batch(recipe())
    full = loss_of(recipe(), data)
    assert loss_of(recipe("w/o DA"), data) == full
    assert loss_of(recipe("focal-loss"), data) != full
    assert loss_of(recipe("focal-loss", balance="inverse"), data) == loss_of(
        recipe("focal-loss"), data
    )
    assert loss_of(recipe(balance="inverse"), data) != full
    assert loss_of(recipe(reduction="sum"), data) > 5 * full
    assert recipe().augment(data, data, torch.Generator()) is data


def trained(made: AugcnRecipe, data: Batch, steps: int) -> tuple[Any, list[float], set[str]]:
    torch.manual_seed(0)
    network = made.network().train()
    optimiser, _ = made.optimiser(network)
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss, parts = made.loss(network, data, torch.bincount(data.labels))
        loss.backward()
        optimiser.step()
        history.append(float(loss.detach()))
    return network, history, set(parts)


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - SLOW - ALIKE))
def test_variants_learn_a_tiny_set(variant: str) -> None:
    torch.manual_seed(0)
    made = recipe(variant, learning_rate=2e-3, features=64)
    data = batch(made, 6)
    network, history, parts = trained(made, data, 25)
    assert parts == ({"classes"} if variant in WITHOUT_AUS else {"classes", "aus"})
    assert history[-1] < 0.5 * history[0]
    with torch.inference_mode():
        said = made.predict(network, data.inputs)
    assert said.probabilities.argmax(dim=1).tolist() == data.labels.tolist()
    if variant == "full":
        mean = [float(said.aus[data.aus == value].mean()) for value in (0, 1)]
        assert mean[1] > mean[0] + 0.1


def test_resnet18_learns() -> None:
    torch.manual_seed(0)
    made = recipe("resnet18")
    _, history, _ = trained(made, batch(made, 6), 3)
    assert history[-1] < 0.8 * history[0]


def exported(made: AugcnRecipe, network: Any, file: Path) -> Any:
    """An ONNX Runtime session of what ``made`` serves."""
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    names = ["probabilities"] if made.variant in WITHOUT_AUS else ["probabilities", "aus"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            made.served(network).eval(),
            (flows(made, 2),),
            str(file),
            input_names=["flow"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            external_data=False,
            verbose=False,
        )
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == names
    return session


@pytest.mark.parametrize("variant", ["full", "dual-inception"])
def test_onnx_answers_like_torch_at_any_batch(variant: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    made = recipe(variant)
    network = made.network().eval()
    session = exported(made, network, tmp_path / "augcn.onnx")
    for count in (1, 2, 7):
        flow = 3 * flows(made, count)
        with torch.inference_mode():
            said = made.predict(network, {"flow": flow})
        given = session.run(None, {"flow": flow.numpy()})
        wanted = [said.probabilities] if said.aus is None else [said.probabilities, said.aus]
        assert given[0].shape == (count, len(CLASSES))
        np.testing.assert_allclose(given[0].sum(axis=1), 1, atol=1e-5)
        for answer, expected in zip(given, wanted, strict=True):
            np.testing.assert_allclose(answer, expected.numpy(), atol=1e-4)
    if variant not in WITHOUT_AUS:
        assert given[1].shape == (7, len(AUS))


def test_variants_of_samples_are_inputs_of_the_network() -> None:
    # (N, V, channels, height, width) as models.recognition.samples has them
    spec = recipe().inputs["flow"]
    field = np.random.default_rng(0).normal(size=(112, 112, 2)).astype(np.float32)
    stack = np.stack([spec.tensor(field)[0] for _ in range(4)]).reshape(2, 2, 2, 28, 28)
    network = recipe().network().eval()
    with torch.inference_mode():
        said = recipe().predict(network, {"flow": torch.from_numpy(stack[:, 1])})
    assert said.probabilities.shape == (2, 3)
    assert said.aus is not None
    assert said.aus.shape == (2, len(AUS))
