from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.map_net import MapOptions
from models.recognition import final
from models.recognition.augcn_recipe import AugcnRecipe
from models.recognition.build import Plan, recipe, rows, vocabulary
from models.recognition.map_recipe import MapRecipe
from models.recognition.samples import Samples, joined, load, save
from models.recognition.training import Split
from tests.models.recognition.toy import toy_samples

CLASSES = ("I", "II")


def test_a_bare_plan_is_the_papers_method() -> None:
    first, second = recipe(Plan("map", CLASSES, (1, 4))), recipe(Plan("augcn", CLASSES, (1, 4)))
    assert first == MapRecipe(CLASSES, (1, 4))
    assert second == AugcnRecipe(CLASSES, (1, 4))
    assert (first.epochs, first.batch_size, second.epochs, second.batch_size) == (100, 128, 50, 64)


def test_options_reach_their_network() -> None:
    made = recipe(Plan("map", CLASSES, (1,), width=0.5, size=112, target="magnified", epochs=3))
    assert isinstance(made, MapRecipe)
    assert (made.options, made.size, made.epochs) == (MapOptions(width=0.5), 112, 3)
    assert made.inputs["on_a"].source == "flow_onset_magnified"
    code = recipe(Plan("map", CLASSES, (1,), style="code", width=0.5))
    assert isinstance(code, MapRecipe)
    assert code.options == MapOptions.official(width=0.5)
    assert code.flow == "tvl1"
    other = recipe(Plan("augcn", CLASSES, (1,), features=32, at=56, flow="farneback", steady=False))
    assert isinstance(other, AugcnRecipe)
    spec = other.inputs["flow"]
    assert (spec.at, spec.flow, spec.steady, other.features) == ((56, 56), "farneback", False, 32)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan("map", CLASSES, (1,), features=8), "--features: not of map"),
        (Plan("augcn", CLASSES, (1,), size=64), "--size: not of augcn"),
        (Plan("map", CLASSES, (1,), variant="x"), "variant 'x'"),
        (Plan("map", CLASSES, (1,), width=0.3), "width 0.3"),
        (Plan("augcn", CLASSES, ()), "needs action units"),
    ],
)
def test_what_does_not_fit_is_named(plan: Plan, words: str) -> None:
    with pytest.raises(UserError, match=words):
        recipe(plan)


def test_rows_are_those_of_the_papers_tables() -> None:
    assert len(rows("map")) == 7
    assert len(rows("augcn")) == 11
    assert all("full" in rows(name) for name in ("map", "augcn"))  # type: ignore[arg-type]


def test_the_vocabulary_is_all_aus_or_the_graphs_that_every_set_has() -> None:
    sets = {
        "casme2": [frozenset({4, 7}), frozenset({14}), frozenset({1, 2})],
        "samm": [frozenset({4}), frozenset({1, 2, 14})],
    }
    assert vocabulary("map", sets) == (1, 2, 4, 7, 14)
    assert vocabulary("augcn", sets) == (1, 2, 4)  # 14 is not in Table I, 7 not in both


def test_samples_survive_their_file_and_join(tmp_path: Path) -> None:
    first = toy_samples(subjects=3)
    save(first, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.inputs["x"], first.inputs["x"])
    for name in ("classes", "aus", "subjects", "datasets", "names"):
        assert getattr(again, name) == getattr(first, name)
    both = joined([first, again])
    assert len(both) == 2 * len(first)
    assert both.labels.tolist() == [*first.labels, *first.labels]
    with pytest.raises(ValueError, match="other classes"):
        joined([first, replace(first, classes=("a", "b"))])
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"b\.npz: not samples"):
        load(tmp_path / "b.npz")


def _flows() -> Samples:
    """Two classes that MER-auGCN can tell: flow to the right, flow down."""
    rng = np.random.default_rng(1)
    count = 24
    x = 0.1 * rng.standard_normal((count, 1, 2, 28, 28)).astype(np.float32)
    labels = np.arange(count) % 2
    for i, label in enumerate(labels):
        x[i, :, label, 8:20, 8:20] += 1
    return Samples(
        {"flow": x},
        labels.astype(np.int64),
        CLASSES,
        tuple(frozenset({12}) if label == 0 else frozenset({4}) for label in labels),
        tuple(f"s{i // 6}" for i in range(count)),
        ("s",) * count,
        tuple(f"n{i}" for i in range(count)),
    )


def test_a_finished_training_is_read_back_as_it_was(tmp_path: Path) -> None:
    plan = Plan("augcn", CLASSES, (4, 12), variant="w/o DA", features=8, epochs=2, batch_size=8)
    run = final.train(plan, _flows(), "synthetic blobs", tmp_path, seed=1)
    assert len(run.validation_subjects) == 1
    back, made, network, examples = final.load(tmp_path)
    assert back == run
    assert made == recipe(plan)
    assert examples["flow"].shape == (3, 2, 28, 28)
    assert not network.training
    assert not (tmp_path / "training.pt").exists()
    with pytest.raises(UserError, match="holds another run"):
        final.train(plan, _flows(), "synthetic blobs", tmp_path, seed=2)


def test_who_chooses_the_epoch_is_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[Split] = []

    class Recording(final.Training):
        def __init__(self, recipe, samples, split, *given, **named) -> None:  # type: ignore[no-untyped-def]
            splits.append(split)
            super().__init__(recipe, samples, split, *given, **named)

    monkeypatch.setattr(final, "Training", Recording)
    plan = Plan("augcn", CLASSES, (4, 12), variant="w/o DA", features=8, epochs=1, batch_size=8)
    samples = _flows()
    run = final.train(plan, samples, "synthetic blobs", tmp_path)
    (split,) = splits
    trained = {samples.subjects[i] for i in split.train}
    assert {samples.subjects[i] for i in split.validation} == set(run.validation_subjects)
    assert trained and not trained & set(run.validation_subjects)


def test_a_finished_training_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan("augcn", CLASSES, (4, 12), variant="w/o DA", features=8, epochs=1, batch_size=8)
    run = final.train(plan, _flows(), "synthetic blobs", tmp_path)
    monkeypatch.setattr(final, "Training", None)
    assert final.train(plan, _flows(), "synthetic blobs", tmp_path) == run


def test_a_damaged_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished training"):
        final.load(tmp_path)
    plan = Plan("augcn", CLASSES, (4, 12), variant="w/o DA", features=8, epochs=1, batch_size=8)
    final.train(plan, _flows(), "synthetic blobs", tmp_path)
    (tmp_path / "network.pt").write_bytes(b"")
    with pytest.raises(UserError, match="a damaged training"):
        final.load(tmp_path)
