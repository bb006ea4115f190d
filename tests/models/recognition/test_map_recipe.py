"""How MAP is trained: replacing, labels, losses, rows of Table 4, export. Data is synthetic."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from models import map_losses  # noqa: E402
from models.errors import UserError  # noqa: E402
from models.map_net import MapOptions  # noqa: E402
from models.recognition.map_recipe import (  # noqa: E402
    IMAGE,
    MapRecipe,
    erased,
    flipped,
    mixed_aus,
    replaced,
    variants,
)
from models.recognition.recipe import Batch, Recipe  # noqa: E402
from tests.models.recognition.map_toy import blobs, trained  # noqa: E402

CLASSES = ("negative", "positive", "surprise")
AUS = (1, 4, 12, 17, 51)  # 51 is a head movement, of neither region
TINY = MapOptions(width=0.125)
SIDE = 64


def recipe(**changes: object) -> MapRecipe:
    return MapRecipe(CLASSES, AUS, size=SIDE, options=TINY, **changes)  # type: ignore[arg-type]


def still(**changes: object) -> MapRecipe:
    """Without flip and erasing."""
    return recipe(flip_rate=0.0, erase_rate=0.0, **changes)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(count: int) -> Batch:
    """Planes whose halves tell whose they are: value (i + 1) / 100, between a 0 and a 1."""
    plane = torch.zeros(count, 1, SIDE, SIDE)
    plane += (torch.arange(count) + 1.0)[:, None, None, None] / 100
    plane[:, :, 0, 0], plane[:, :, 0, 1] = 0.0, 1.0
    aus = (torch.rand(count, len(AUS), generator=draws(5)) < 0.5).float()
    inputs = {"amplified": 255 * plane, "on_a": 3 * plane, "off_a": plane}
    return Batch(inputs, torch.arange(count) % 3, aus)


def owners(image: Tensor) -> tuple[list[int], list[int]]:
    """Whose eyes and whose mouth each image of marked samples shows."""
    rows = (SIDE // 4, -1)
    eyes, mouths = (((100 * image[:, 2, row, 5]).round() - 1).long().tolist() for row in rows)
    return eyes, mouths


# ------------------------------------------------------------ the recipe


def test_it_is_a_recipe() -> None:
    wanted: Recipe = recipe()
    assert (wanted.name, wanted.variant, wanted.augmented) == ("map", "full", False)


def test_defaults_are_the_paper_s() -> None:
    made = MapRecipe(CLASSES, AUS)
    assert (made.epochs, made.batch_size, made.learning_rate) == (100, 128, 3e-3)
    assert (made.share, made.replace_rate, made.factor, made.size) == (0.3, 0.5, 6.0, 224)
    assert made.options == MapOptions() and made.options.threshold_of_mean is None


@pytest.mark.parametrize("target", ["apex", "magnified"])
def test_inputs_follow_the_target(target: str) -> None:
    made = recipe(target=target, flow="tvl1", factor=4.0).inputs
    assert list(made) == ["amplified", "on_a", "off_a"]
    assert [spec.source for spec in made.values()] == [
        "magnified",
        f"flow_onset_{target}",
        f"flow_offset_{target}",
    ]
    assert [spec.channels for spec in made.values()] == [["grey"], ["magnitude"], ["magnitude"]]
    for spec in made.values():
        assert spec.shape == (1, 1, SIDE, SIDE)
        assert (spec.region, spec.flow, spec.factor) == ("face", "tvl1", 4.0)


def test_rows_of_table_4() -> None:
    """Branches, area module, alignment, replacing: 002, section 4.5."""
    wanted = {
        "sb": (1, False, False, True),
        "sb + AU": (1, False, True, True),
        "db": (2, False, False, True),
        "db + AU": (2, False, True, True),
        "db + AWM": (2, True, False, True),
        "db + all w/o RR": (2, True, True, False),
        "full": (2, True, True, True),
    }
    assert variants() == tuple(wanted)
    batch = marked(12)
    counts = torch.bincount(batch.labels)
    for name, row in wanted.items():
        made = still(variant=name, replace_rate=1.0)
        network = made.network()
        _, parts = made.loss(network, batch, counts)
        eyes, mouths = owners(made.augment(batch, batch, draws()).inputs[IMAGE])
        weighs = not isinstance(network.fusion, torch.nn.Identity)
        found = (len(network.branches), weighs, "loss/alignment" in parts, eyes != mouths)
        assert found == row, name


def test_the_rate_follows_cosine_restarts() -> None:
    """SGDR with T0 = 10 and T_mult = 2: restarts after 10 and 30 epochs."""
    made = recipe()
    optimiser, schedule = made.optimiser(made.network())
    seen = []
    for _ in range(35):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    at = [(e, 10) if e < 10 else (e - 10, 20) if e < 30 else (e - 30, 40) for e in range(35)]
    wanted = [3e-3 * (1 + math.cos(math.pi * e / period)) / 2 for e, period in at]
    assert seen == pytest.approx(wanted)
    assert isinstance(optimiser, torch.optim.AdamW)


def test_mistakes_are_the_user_s() -> None:
    with pytest.raises(UserError, match=r"db \+ AWM"):
        recipe(variant="tb")
    with pytest.raises(UserError, match="even"):
        MapRecipe(CLASSES, AUS, size=65)


def test_the_code_s_choices_have_names() -> None:
    code = MapRecipe.official(CLASSES, AUS, size=SIDE, options=MapOptions.official(width=0.125))
    assert (code.flow, code.mix, code.sums, code.smoothing) == ("tvl1", "union", "code", 0.1)
    assert code.network().options.gate == "softmax"
    loss, _ = code.loss(code.network(), marked(6), torch.tensor([2, 2, 2]))
    assert torch.isfinite(loss)


# ------------------------------------------------------------ augmentation


def test_replacing_keeps_the_eyes_and_takes_a_mouth_of_the_same_class() -> None:
    pool, made = marked(30), still(replace_rate=1.0)
    rows = torch.tensor([4, 7, 2, 11, 29])
    batch = Batch({k: v[rows] for k, v in pool.inputs.items()}, pool.labels[rows], pool.aus[rows])
    drawn: set[int] = set()
    for seed in range(20):
        new = made.augment(batch, pool, draws(seed))
        eyes, mouths = owners(new.inputs[IMAGE])
        assert eyes == rows.tolist()
        assert [pool.labels[i] for i in mouths] == batch.labels.tolist()
        for at, mouth in enumerate(mouths):
            wanted = mixed_aus(batch.aus[at], pool.aus[mouth], AUS)
            assert torch.equal(new.aus[at], wanted)
        drawn |= set(mouths)
        assert torch.equal(new.labels, batch.labels)
    assert len(drawn) == 20  # everybody of the two classes


def test_replacing_happens_half_the_time() -> None:
    batch, made = marked(60), still()
    changed = 0
    for seed in range(20):
        eyes, mouths = owners(made.augment(batch, batch, draws(seed)).inputs[IMAGE])
        changed += sum(a != b for a, b in zip(eyes, mouths, strict=True))
    # a class has 20 samples, so one draw in 20 gives the sample itself
    assert changed / 1200 == pytest.approx(0.5 * 19 / 20, abs=0.05)


def test_a_class_that_the_pool_lacks_keeps_its_mouths() -> None:
    batch = marked(6)
    pool = Batch(batch.inputs, torch.zeros(6, dtype=torch.int64), batch.aus)
    eyes, mouths = owners(still(replace_rate=1.0).augment(batch, pool, draws()).inputs[IMAGE])
    kept = [label != 0 for label in batch.labels.tolist()]
    assert all(eye == mouth for eye, mouth, k in zip(eyes, mouths, kept, strict=True) if k)


def test_halves_are_scaled_before_they_are_joined() -> None:
    """As in training, so in use: nobody's flow is measured by another's."""
    batch = marked(9)
    loud = {name: plane * 50 for name, plane in batch.inputs.items()}
    pool = Batch(loud, batch.labels, batch.aus)
    made = still(replace_rate=1.0)
    first, second = (made.augment(batch, p, draws()).inputs[IMAGE] for p in (batch, pool))
    assert torch.allclose(first, second, atol=1e-5)


def test_the_batch_itself_is_left_alone() -> None:
    batch = marked(9)
    before = {name: plane.clone() for name, plane in batch.inputs.items()}
    recipe(replace_rate=1.0).augment(batch, batch, draws())
    assert all(torch.equal(before[name], plane) for name, plane in batch.inputs.items())


def test_the_same_draws_give_the_same_batch() -> None:
    batch = marked(9)
    first, second, other = (
        recipe().augment(batch, batch, draws(s)).inputs[IMAGE] for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_au_labels_are_mixed_by_region() -> None:
    first = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])  # AU1, AU12
    second = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0]])  # AU4, AU17, AU51
    assert mixed_aus(first, second, AUS).tolist() == [[1, 0, 0, 1, 1]]
    assert mixed_aus(first, second, AUS, "union").tolist() == [[1, 1, 1, 1, 1]]
    assert mixed_aus(first, second, AUS, "average").tolist() == [[0.5] * 5]


def test_halves_are_cut_at_half_height() -> None:
    whole = replaced(torch.zeros(1, 3, 6, 4), torch.ones(1, 3, 6, 4))
    assert whole[0, 0, :, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_flips_mirror_about_half_of_the_images() -> None:
    image = torch.rand(400, 1, 2, 5, generator=draws())
    found = flipped(image, 0.5, draws(1))
    mirrored = (found == image.flip(3)).flatten(1).all(1)
    same = (found == image).flatten(1).all(1)
    assert torch.equal(mirrored, ~same)
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_erasing_blackens_one_rectangle_in_half_of_the_images() -> None:
    image = torch.ones(300, 3, 40, 60)
    found = erased(image, 0.5, draws(2))
    hit = (found == 0).flatten(1).any(1)
    assert float(hit.float().mean()) == pytest.approx(0.5, abs=0.1)
    shares = []
    for black in (found[hit] == 0).unbind(0):
        assert torch.equal(black[0], black[1]) and torch.equal(black[0], black[2])
        rows, columns = black[0].any(1), black[0].any(0)
        assert torch.equal(black[0], rows[:, None] & columns)  # one box
        assert int(rows.long().diff().abs().sum()) <= 2  # without gaps
        shares.append(float(black[0].float().mean()))
    assert 0.01 < min(shares) < 0.06
    assert 0.28 < max(shares) < 0.36


# ------------------------------------------------------------ losses and training


def test_the_loss_is_eq_8() -> None:
    made, batch = still(), marked(12)
    network = made.network().eval()
    counts = torch.tensor([4, 4, 4])
    loss, parts = made.loss(network, batch, counts)
    output = network(network.scaled(*batch.inputs.values()))
    classification = map_losses.classification_loss(
        output.logits, batch.labels, map_losses.class_weights(counts)
    )
    alignment = map_losses.contrastive_loss(output.features, map_losses.similarities(batch.aus))
    assert parts["loss/classification"] == pytest.approx(classification.item(), rel=1e-5)
    assert parts["loss/alignment"] == pytest.approx(alignment.item(), rel=1e-5)
    assert loss.item() == pytest.approx(0.7 * classification.item() + 0.3 * alignment.item())


def test_prediction_and_augmented_batches_take_the_same_network() -> None:
    made, batch = still(variant="db + all w/o RR"), marked(6)
    network = made.network().eval()
    raw = made.predict(network, batch.inputs).probabilities
    joined = made.predict(network, made.augment(batch, batch, draws()).inputs).probabilities
    assert torch.allclose(raw, joined, atol=1e-6)
    assert torch.allclose(raw.sum(1), torch.ones(6), atol=1e-6)


def test_it_learns_and_says_so_on_unseen_noise() -> None:
    made = recipe()
    network, losses = trained(made, blobs(24, AUS, SIDE), 40)
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    unseen = blobs(30, AUS, SIDE, seed=9)
    with torch.no_grad():
        said = made.predict(network, unseen.inputs).probabilities.argmax(1)
    assert float((said == unseen.labels).float().mean()) > 0.9
