from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import UserError
from models.recognition.samples import Samples
from models.recognition.training import Split, Training
from tests.models.recognition.toy import SIDE, ToyRecipe, toy_samples

SAMPLES = toy_samples()
SPLIT = Split(np.arange(0, 32), np.arange(32, 40), np.arange(40, 48))


def test_it_learns_and_takes_the_epoch_that_validates_best() -> None:
    trained = Training(ToyRecipe(), SAMPLES, SPLIT, seed=1).run()
    ranks = [(e.validation_uf1, -e.validation_loss) for e in trained.history]
    assert len(ranks) == 6
    assert trained.epoch == ranks.index(max(ranks)) + 1
    assert max(ranks)[0] > 0.9


def test_the_kept_state_is_the_chosen_epochs_own() -> None:
    """A noisy, fast training: its last epoch is not its best."""
    recipe = ToyRecipe(epochs=12, rate=0.8)
    samples = toy_samples(noise=2.5)
    trained = Training(recipe, samples, SPLIT, seed=4).run()
    assert trained.epoch < 12
    short = Training(replace(recipe, epochs=trained.epoch), samples, SPLIT, seed=4).run()
    for name, value in short.state.items():
        assert torch.equal(value, trained.state[name])


def test_the_same_seed_gives_the_same_network() -> None:
    first, again = (Training(ToyRecipe(), SAMPLES, SPLIT, seed=2).run() for _ in range(2))
    other = Training(ToyRecipe(), SAMPLES, SPLIT, seed=3).run()
    for name, value in first.state.items():
        assert torch.equal(value, again.state[name])
    assert not torch.equal(first.state["told.weight"], other.state["told.weight"])


def test_the_test_samples_change_nothing_that_is_chosen() -> None:
    """Other test subjects, watched or not: the same network at the same epoch."""
    x = SAMPLES.inputs["x"].copy()
    x[SPLIT.test] = -x[SPLIT.test]
    labels = SAMPLES.labels.copy()
    labels[SPLIT.test] = 1 - labels[SPLIT.test]
    other = replace(SAMPLES, inputs={"x": x}, labels=labels)
    first = Training(ToyRecipe(), SAMPLES, SPLIT, seed=5).run()
    second = Training(ToyRecipe(), other, SPLIT, seed=5, watch_test=True).run()
    assert first.epoch == second.epoch
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name])
    assert len(second.tests) == 6
    assert not first.tests


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = Training(ToyRecipe(), SAMPLES, SPLIT, seed=6, watch_test=True).run()
    file = tmp_path / "fold.pt"

    class Stop(Exception):
        pass

    def stop(epoch: int, values: object) -> None:
        if epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        Training(ToyRecipe(), SAMPLES, SPLIT, 6, file, watch_test=True).run(stop)
    torch.manual_seed(99)  # whatever happened in between
    resumed = Training(ToyRecipe(), SAMPLES, SPLIT, 6, file, watch_test=True)
    assert resumed.epochs_done == 2
    done = resumed.run()
    assert done.epoch == whole.epoch
    assert done.history == whole.history
    for name, value in whole.state.items():
        assert torch.equal(value, done.state[name])
    for one, other in zip(whole.tests, done.tests, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fold.pt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"fold\.pt: not a checkpoint"):
        Training(ToyRecipe(), SAMPLES, SPLIT, 6, file)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fold.pt"
    Training(ToyRecipe(epochs=1), SAMPLES, SPLIT, 6, file).run()
    with pytest.raises(UserError, match="another --out"):
        Training(ToyRecipe(aus=(1, 2, 12)), SAMPLES, SPLIT, 6, file)


def test_only_an_augmented_recipe_sees_the_variants() -> None:
    """Variant 1 holds nothing but NaN: whoever sees it fails."""
    x = np.concatenate([SAMPLES.inputs["x"], np.full((48, 1, 1, SIDE, SIDE), np.nan)], axis=1)
    samples = replace(SAMPLES, inputs={"x": x.astype(np.float32)})
    Training(ToyRecipe(), samples, SPLIT).run()
    with pytest.raises(UserError, match="not finite"):
        Training(ToyRecipe(augmented=True), samples, SPLIT).run()


def test_every_variant_is_seen_once_an_epoch() -> None:
    seen: list[float] = []

    class Counting(ToyRecipe):
        def augment(self, batch, pool, generator):  # type: ignore[no-untyped-def]
            seen.extend(batch.inputs["x"][:, 0, 0, 0].tolist())
            return batch

    values = np.arange(48 * 3, dtype=np.float32).reshape(48, 3, 1, 1, 1)
    samples: Samples = replace(
        SAMPLES, inputs={"x": np.broadcast_to(values, (48, 3, 1, SIDE, SIDE)) / 144}
    )
    Training(Counting(augmented=True, epochs=1), samples, SPLIT).run()
    assert sorted(np.round(np.array(seen) * 144)) == list(range(32 * 3))
