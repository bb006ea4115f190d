"""Recognisers of format v1, with tiny models made here; their weights are random, not learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import GpuError, ModelError
from models.onnx_session import CPU, CUDA, TENSORRT, Compute, OnnxSession
from models.recogniser import InputSpec, Recogniser, card_of

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

CLASSES = ["negative", "positive", "surprise"]
FLOW = {
    "source": "flow_onset_apex",
    "region": "eye",
    "size": [8, 6],
    "channels": ["u", "v"],
    "scale": 0.5,
    "mean": [0.1, -0.2],
    "std": [2.0, 3.0],
}
GREY = {"source": "apex", "region": "mouth", "size": [5, 4], "channels": ["grey"]}


def card(**changes: Any) -> dict[str, str]:
    """Metadata of a good model; a change to None leaves the key out."""
    keys: dict[str, Any] = {
        "format": "1",
        "name": "tiny",
        "version": "3",
        "training": "synthetic: random weights",
        "classes": CLASSES,
        "inputs": {"flow": FLOW},
        "output": "logits",
    }
    keys |= changes
    return {
        f"mespot.{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in keys.items()
        if value is not None
    }


def weights(channels: int, outputs: int = 3) -> npt.NDArray[np.float32]:
    return np.random.default_rng(channels).normal(size=(channels, outputs)).astype(np.float32)


def save(
    path: Path,
    metadata: dict[str, str],
    inputs: dict[str, list[Any]] | None = None,
    outputs: int = 3,
    last: str = "Identity",
    kind: int = 1,
    aus: int = 0,
    fixed: bool = False,
    au_last: str = "Sigmoid",
) -> Path:
    """A model: the mean of each plane of each input, times ``weights``, summed, then ``last``.

    ``aus``: columns of a second output, the first input's means times ``weights``, then
    ``au_last``. ``fixed``: it fails on any batch but one, whatever it declares.
    """
    helper = onnx.helper
    inputs = {"flow": [1, 2, 6, 8]} if inputs is None else inputs
    nodes, constants, terms = [], [], []
    for name, shape in inputs.items():
        channels = shape[1]
        if kind != 1:
            nodes.append(helper.make_node("Cast", [name], [f"{name}_f"], to=1))
        source = name if kind == 1 else f"{name}_f"
        nodes.append(helper.make_node("GlobalAveragePool", [source], [f"{name}_mean"]))
        nodes.append(helper.make_node("Flatten", [f"{name}_mean"], [f"{name}_row"]))
        constants.append(onnx.numpy_helper.from_array(weights(channels, outputs), f"{name}_w"))
        nodes.append(helper.make_node("MatMul", [f"{name}_row", f"{name}_w"], [f"{name}_term"]))
        terms.append(f"{name}_term")
    nodes.append(helper.make_node("Sum", terms, ["sum"]))
    nodes.append(helper.make_node(last, ["sum"], ["whole" if fixed else "out"]))
    outs = [helper.make_tensor_value_info("out", 1, None)]
    if fixed:
        constants.append(onnx.numpy_helper.from_array(np.array([1, outputs]), "one"))
        nodes.append(helper.make_node("Reshape", ["whole", "one"], ["out"]))
    if aus:
        name, shape = next(iter(inputs.items()))
        constants.append(onnx.numpy_helper.from_array(weights(shape[1], aus), "au_w"))
        nodes.append(helper.make_node("MatMul", [f"{name}_row", "au_w"], ["au_sum"]))
        nodes.append(helper.make_node(au_last, ["au_sum"], ["au_out"]))
        outs.append(helper.make_tensor_value_info("au_out", 1, None))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        outs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def tensor(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.exp(logits) / np.exp(logits).sum()


# ---------------------------------------------------------------- what it computes


def test_scores_are_the_softmax_of_numpys_own_arithmetic(path: Path) -> None:
    model = Recogniser(save(path, card()))
    x = tensor((1, 2, 6, 8))
    expected = softmax(x[0].mean(axis=(1, 2)).astype(float) @ weights(2))
    scores = model.scores({"flow": x})
    assert list(scores) == CLASSES
    np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-5)


def test_probabilities_are_used_as_they_are(path: Path) -> None:
    model = Recogniser(save(path, card(output="probabilities"), last="Sigmoid"))
    x = tensor((1, 2, 6, 8))
    expected = 1 / (1 + np.exp(-(x[0].mean(axis=(1, 2)) @ weights(2))))
    np.testing.assert_allclose(list(model.scores({"flow": x}).values()), expected, rtol=1e-5)


def test_several_inputs_and_dynamic_sizes_fit(path: Path) -> None:
    inputs = {"flow": ["batch", 2, "h", "w"], "grey": ["batch", 1, 4, 5]}
    model = Recogniser(save(path, card(inputs={"flow": FLOW, "grey": GREY}), inputs))
    x, y = tensor((1, 2, 6, 8)), tensor((1, 1, 4, 5))
    expected = softmax(x[0].mean((1, 2)) @ weights(2) + y[0].mean((1, 2)) @ weights(1))
    scores = model.scores({"flow": x, "grey": y})
    np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-5)


def test_huge_logits_do_not_overflow(path: Path) -> None:
    model = Recogniser(save(path, card()))
    values = list(model.scores({"flow": tensor((1, 2, 6, 8)) * np.float32(1e6)}).values())
    assert np.isfinite(values).all()
    assert sum(values) == pytest.approx(1)


def test_the_card_is_told(path: Path) -> None:
    model = Recogniser(save(path, card()))
    assert (model.name, model.version, model.classes) == ("tiny", "3", CLASSES)
    assert model.card.label == "tiny@3"
    assert model.card.training == "synthetic: random weights"


def test_categories_come_from_the_metadata_and_else_from_the_class_name(path: Path) -> None:
    classes = ["Happiness", "repression", "tense"]
    model = Recogniser(save(path, card(classes=classes, categories={"repression": "others"})))
    assert [model.category(name) for name in classes] == ["positive", "others", ""]


def test_the_cpu_is_named_where_there_is_no_gpu(path: Path) -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    assert Recogniser(save(path, card())).device == CPU


def test_inputs_of_other_names_or_shapes_are_refused(path: Path) -> None:
    model = Recogniser(save(path, card()))
    with pytest.raises(ValueError, match="wanted"):
        model.scores({"motion": tensor((1, 2, 6, 8))})
    with pytest.raises(ValueError, match="must be"):
        model.scores({"flow": tensor((1, 2, 8, 6))})
    with pytest.raises(ValueError, match="must be"):
        model.scores({"flow": np.zeros((1, 2, 6, 8))})  # type: ignore[dict-item]


def test_output_that_is_not_finite_is_an_error(path: Path) -> None:
    model = Recogniser(save(path, card()))
    with pytest.raises(ModelError, match="not finite"):
        model.scores({"flow": np.full((1, 2, 6, 8), np.nan, np.float32)})


# ---------------------------------------------------------------- batches, action units


DYNAMIC = {"flow": ["n", 2, 6, 8]}


def batch(size: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    rng = np.random.default_rng(3)
    return [{"flow": rng.normal(size=(1, 2, 6, 8)).astype(np.float32)} for _ in range(size)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of every inference."""
    seen: list[int] = []
    inner = OnnxSession.run

    def run(self: Any, outputs: Any, inputs: Any) -> Any:
        seen.append(len(next(iter(inputs.values()))))
        return inner(self, outputs, inputs)

    monkeypatch.setattr(OnnxSession, "run", run)
    return seen


@pytest.mark.parametrize("shape", [DYNAMIC, {"flow": [1, 2, 6, 8]}], ids=["dynamic", "one"])
def test_a_batch_is_scored_as_its_members_are(path: Path, shape: Any) -> None:
    model = Recogniser(save(path, card(), shape))
    given = batch(5)
    for one, scores in zip(given, model.score_batch(given), strict=True):
        expected = softmax(one["flow"][0].mean(axis=(1, 2)).astype(float) @ weights(2))
        np.testing.assert_allclose(list(scores.classes.values()), expected, rtol=1e-5)
        assert scores.aus == {}


def test_a_dynamic_batch_is_one_inference_and_a_fixed_one_is_several(
    path: Path, tmp_path: Path, runs: list[int]
) -> None:
    dynamic = Recogniser(save(path, card(), DYNAMIC))
    fixed = Recogniser(save(tmp_path / "fixed.onnx", card()))
    assert (dynamic.batched, fixed.batched) == (True, False)
    runs.clear()
    dynamic.score_batch(batch(5))
    fixed.score_batch(batch(3))
    assert runs == [5, 1, 1, 1]
    assert dynamic.score_batch([]) == fixed.score_batch([]) == []


def test_a_batch_that_is_dynamic_in_word_only_is_scored_one_by_one(path: Path) -> None:
    model = Recogniser(save(path, card(), DYNAMIC, fixed=True))
    assert not model.batched
    assert len(model.score_batch(batch(3))) == 3


def test_one_member_that_is_wrong_is_refused(path: Path) -> None:
    model = Recogniser(save(path, card(), DYNAMIC))
    with pytest.raises(ValueError, match="must be"):
        model.score_batch([*batch(1), {"flow": tensor((1, 2, 8, 6))}])


def test_action_units_come_from_the_second_output(path: Path) -> None:
    model = Recogniser(save(path, card(aus=[4, 12, 17, 1]), DYNAMIC, aus=4))
    given = batch(2)
    for one, scores in zip(given, model.score_batch(given), strict=True):
        logits = one["flow"][0].mean(axis=(1, 2)) @ weights(2, 4)
        assert list(scores.aus) == [4, 12, 17, 1]
        np.testing.assert_allclose(list(scores.aus.values()), 1 / (1 + np.exp(-logits)), rtol=1e-4)
        assert sum(scores.classes.values()) == pytest.approx(1)


def test_a_second_output_without_its_key_is_ignored(path: Path) -> None:
    model = Recogniser(save(path, card(), DYNAMIC, aus=4))
    assert model.score_batch(batch(1))[0].aus == {}


def test_where_it_comes_from_is_on_the_card(path: Path) -> None:
    given = {"protocol": "LOSO", "figures": {"UF1": 0.9, "by": [1]}, "licence": "CC0"}
    save(path, card(aus=[4, 12], **given), DYNAMIC, aus=2)
    for told in (Recogniser(path).card, card_of(path)):
        assert (told.protocol, told.figures, told.licence) == tuple(given.values())
        assert told.aus == [4, 12]
    plain = card_of(save(path, card()))
    assert (plain.protocol, plain.figures, plain.licence, plain.aus) == ("", {}, "", [])


def test_a_card_is_read_without_trying_the_model(path: Path) -> None:
    save(path, card(classes=[*CLASSES, "others"]))  # the output is too short
    assert card_of(path).classes[-1] == "others"
    with pytest.raises(ModelError, match=r"model\.onnx: metadata mespot.name is missing"):
        card_of(save(path, card(name=None)))
    with pytest.raises(ModelError, match="no such model file"):
        card_of(path.with_name("none.onnx"))


# ---------------------------------------------------------------- what it refuses


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        Recogniser(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_a_missing_file_is_refused(path: Path) -> None:
    refused(path, "no such model file")


def test_a_file_that_is_not_onnx_is_refused(path: Path) -> None:
    path.write_bytes(b"not a model at all")
    refused(path, "not a usable ONNX model")


def test_an_empty_file_is_refused(path: Path) -> None:
    path.write_bytes(b"")
    refused(path, "not a usable ONNX model")


@pytest.mark.parametrize(
    "key", ["format", "name", "version", "training", "classes", "inputs", "output"]
)
def test_each_missing_key_is_named(path: Path, key: str) -> None:
    refused(save(path, card(**{key: None})), f"mespot.{key} is missing")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": "2"}, "mespot.format is '2'"),
        ({"output": "softmax"}, "mespot.output is 'softmax'"),
        ({"classes": "negative, positive"}, "mespot.classes: JSON is malformed"),
        ({"classes": {"0": "negative"}}, "mespot.classes: Expected `array`"),
        ({"classes": ["negative"]}, "at least two"),
        ({"classes": ["a", "a", "b"]}, "distinct"),
        ({"categories": {"joy": "positive"}}, "'joy' is not among the classes"),
        ({"categories": {"positive": "good"}}, "mespot.categories: Invalid enum value 'good'"),
        ({"inputs": {}}, "no input is described"),
        ({"inputs": {"flow": FLOW | {"source": "flow"}}}, "Invalid enum value 'flow'"),
        ({"inputs": {"flow": FLOW | {"size": [8]}}}, "mespot.inputs: .*size"),
        ({"inputs": {"flow": FLOW | {"size": [8, 0]}}}, "mespot.inputs: .*>= 1"),
        ({"inputs": {"flow": FLOW | {"channels": []}}}, "channels is empty"),
        ({"inputs": {"flow": FLOW | {"channels": ["u", "grey"]}}}, "u, v or magnitude"),
        ({"inputs": {"flow": GREY | {"channels": ["u"]}}}, "channels of apex are grey"),
        ({"inputs": {"flow": FLOW | {"mean": [1.0]}}}, "mean has 1 values for 2"),
        ({"inputs": {"flow": FLOW | {"std": [1.0, 0.0]}}}, "std must be above 0"),
        ({"inputs": {"flow": FLOW | {"sclae": 2.0}}}, "unknown field `sclae`"),
        ({"inputs": {"motion": FLOW}}, r"describes \['motion'\], the model has \['flow'\]"),
        ({"inputs": {"flow": FLOW, "grey": GREY}}, "the model has"),
        ({"inputs": {"flow": FLOW | {"size": [6, 8]}}}, r"shape \[1, 2, 6, 8\]"),
        ({"classes": [*CLASSES, "others"]}, r"4 classes need \(1, 4\)"),
        ({"inputs": {"flow": FLOW | {"factor": 0}}}, "factor must be above 0"),
        ({"inputs": {"flow": FLOW | {"flow": "tv-l1"}}}, "Invalid enum value 'tv-l1'"),
        ({"inputs": {"flow": FLOW | {"at": [56]}}}, "mespot.inputs: .*at"),
        ({"inputs": {"flow": FLOW | {"region": "nose"}}}, "Invalid enum value 'nose'"),
        ({"aus": [4, 4]}, "mespot.aus: distinct"),
        ({"aus": ["AU4"]}, "mespot.aus: Expected `int`"),
        ({"aus": [4]}, "mespot.aus: the model has no second output"),
        ({"figures": "0.9 UF1"}, "mespot.figures: Expected `object`"),
    ],
)
def test_wrong_metadata_is_refused_and_named(
    path: Path, changes: dict[str, Any], match: str
) -> None:
    refused(save(path, card(**changes)), match)


def test_a_second_output_of_another_size_is_refused(path: Path) -> None:
    refused(save(path, card(aus=[1, 2, 4]), aus=2), r"3 action units need \(1, 3\)")


def test_a_fixed_batch_other_than_one_is_refused(path: Path) -> None:
    refused(save(path, card(), {"flow": [4, 2, 6, 8]}), r"shape \[4, 2, 6, 8\]")


def test_an_input_that_is_not_float32_is_refused(path: Path) -> None:
    refused(save(path, card(), kind=onnx.TensorProto.DOUBLE), "float32 is needed")


def test_probabilities_outside_0_to_1_are_refused(path: Path) -> None:
    model = Recogniser(save(path, card(output="probabilities")))  # zeros give zeros
    with pytest.raises(ModelError, match="says probabilities"):
        model.scores({"flow": np.full((1, 2, 6, 8), 100, np.float32)})


def test_action_units_outside_0_to_1_are_refused(path: Path) -> None:
    model = Recogniser(save(path, card(aus=[4, 12]), aus=2, au_last="Identity"))
    with pytest.raises(ModelError, match=r"mespot\.aus promises probabilities"):
        model.scores({"flow": np.full((1, 2, 6, 8), 100, np.float32)})


# ---------------------------------------------------------------- the GPU


def test_require_gpu_fails_where_onnx_runtime_has_no_cuda(path: Path) -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(GpuError, match="install the gpu extra") as caught:
        Recogniser(save(path, card()), Compute(require_gpu=True))
    assert caught.value.exit_code == 5


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_silent_fall_back_to_the_cpu_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA is listed, as on a machine whose CUDA libraries do not load; the session has none."""
    if CUDA in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    save(path, card())
    with pytest.raises(GpuError, match="fell back to the CPU"):
        Recogniser(path, Compute(require_gpu=True))
    assert Recogniser(path).device == CPU


def test_a_cuda_that_raises_is_replaced_by_the_cpu(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ort.InferenceSession

    def broken(*args: Any, providers: list[str], **options: Any) -> Any:
        if CUDA in providers:
            raise RuntimeError("CUDA failure 100:\n no CUDA-capable device")
        return session(*args, providers=providers, **options)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", broken)
    save(path, card())
    assert Recogniser(path).device == CPU
    with pytest.raises(GpuError, match="CUDA failure 100: no CUDA-capable device"):
        Recogniser(path, Compute(require_gpu=True))


def test_a_bad_model_is_not_blamed_on_the_gpu(path: Path) -> None:
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        Recogniser(path, Compute(require_gpu=True))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_tensorrt_that_is_asked_for_is_never_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(path, card())
    if TENSORRT in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has TensorRT")
    with pytest.raises(GpuError, match=r"classify\.tensorrt asks for .* install the gpu extra"):
        Recogniser(path, Compute(tensorrt=True))
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    with pytest.raises(GpuError, match="fell back to the CPU"):
        Recogniser(path, Compute(tensorrt=True))


def test_bound_tensors_give_what_the_session_gives(path: Path) -> None:
    """The way of the GPU, walked on the CPU."""
    session = OnnxSession(save(path, card(aus=[4, 12]), DYNAMIC, aus=2), Compute())
    given = {"flow": tensor((3, 2, 6, 8))}
    plain = session.run(["out", "au_out"], given)
    bound = session.run_bound(["out", "au_out"], given, "cpu")
    for a, b in zip(plain, bound, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    session = ort.InferenceSession

    def spy(file: str, options: Any, **more: Any) -> Any:
        seen.append((options.intra_op_num_threads, options.inter_op_num_threads))
        return session(file, options, **more)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    Recogniser(save(path, card()), Compute(threads=2))
    assert seen == [(2, 1)]


def test_a_missing_onnx_runtime_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, card())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="install the cpu or gpu extra"):
        Recogniser(path)


def test_on_a_gpu_the_scores_equal_numpys(path: Path) -> None:
    save(path, card())
    try:
        model = Recogniser(path, Compute(require_gpu=True))
    except GpuError as error:
        pytest.skip(f"no GPU: {error}")
    x = tensor((1, 2, 6, 8))
    expected = softmax(x[0].mean(axis=(1, 2)) @ weights(2))
    assert model.device == CUDA
    np.testing.assert_allclose(list(model.scores({"flow": x}).values()), expected, rtol=1e-3)


# ---------------------------------------------------------------- making a tensor


def spec(**changes: Any) -> InputSpec:
    keys: dict[str, Any] = {
        "source": "flow_onset_apex",
        "region": "eye",
        "size": (4, 3),
        "channels": ["u", "v", "magnitude"],
    }
    return InputSpec(**(keys | changes))


def test_channels_are_scaled_then_normalised_one_by_one() -> None:
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, -4
    made = spec(scale=2.0, mean=[1.0, 2.0, 3.0], std=[1.0, 2.0, 7.0]).tensor(flow)
    assert made.shape == (1, 3, 3, 4)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0, :, 0, 0], [5, -5, 1])


def test_shrinking_averages_areas_and_keeps_displacements_in_px_of_the_crop() -> None:
    flow = np.random.default_rng(1).normal(size=(6, 8, 2)).astype(np.float32)
    made = spec(channels=["v", "u"]).tensor(flow)
    blocks = flow.reshape(3, 2, 4, 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(made[0, 0], blocks[..., 1], atol=1e-6)
    np.testing.assert_allclose(made[0, 1], blocks[..., 0], atol=1e-6)


def test_magnitude_is_taken_before_resizing() -> None:
    flow = np.zeros((6, 8, 2), np.float32)
    flow[:, ::2, 0], flow[:, 1::2, 0] = 1, -1  # the mean of u is 0, of the magnitude 1
    made = spec(channels=["u", "magnitude"]).tensor(flow)
    np.testing.assert_allclose(made[0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(made[0, 1], 1, atol=1e-6)


def test_growing_interpolates_between_the_crops_values() -> None:
    crop = np.array([[0, 100]], np.uint8)
    made = spec(source="apex", channels=["grey"], size=(4, 1)).tensor(crop)
    np.testing.assert_allclose(made[0, 0, 0], [0, 25, 75, 100])


def test_a_field_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="needs another array"):
        spec().tensor(np.zeros((6, 8), np.uint8))


def test_what_was_a_valid_input_before_means_the_same() -> None:
    old = spec()
    assert (old.flow, old.at, old.is_magnified) == ("farneback", None, False)


@pytest.mark.parametrize(
    ("source", "is_flow", "is_magnified"),
    [
        ("magnified", False, True),
        ("flow_onset_magnified", True, True),
        ("flow_offset_magnified", True, True),
        ("flow_offset_apex", True, False),
        ("offset", False, False),
    ],
)
def test_sources_say_what_they_are(source: Any, is_flow: bool, is_magnified: bool) -> None:
    made = spec(source=source, region="face", channels=["u"] if is_flow else ["grey"])
    assert (made.is_flow, made.is_magnified) == (is_flow, is_magnified)


# ---------------------------------------------------------------- the documentation


def test_the_documented_recipe_makes_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "recogniser-format.md"
    recipe = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "model.onnx", {}, {"flow": ["n", 3, 24, 28]})
    exec(compile(recipe, str(page), "exec"), {})
    model = Recogniser("model.onnx")
    assert model.card.label == "my-recogniser@1"
    assert model.inputs["flow"].shape == (1, 3, 24, 28)
