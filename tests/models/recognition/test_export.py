from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from models.errors import UserError
from models.recogniser import Recogniser
from models.recognition.export import About, categories, export
from tests.models.recognition.toy import SIDE, ToyRecipe, toy_samples

ABOUT = About(
    "toy", "3", "synthetic: two made-up classes", "leak-free", {"loso": {"uf1": 0.9}}, "Apache-2.0"
)


def _samples() -> dict[str, np.ndarray]:
    return {"x": toy_samples().inputs["x"][:4, 0]}


def test_the_file_says_what_it_is_and_answers_like_torch(tmp_path: Path) -> None:
    torch.manual_seed(1)
    recipe = ToyRecipe()
    network = recipe.network()
    file = tmp_path / "new" / "toy.onnx"
    assert export(recipe, network, ABOUT, file, _samples()) <= 1e-4
    model = Recogniser(file)
    card = model.card
    assert (card.label, card.training) == ("toy@3", ABOUT.training)
    assert card.classes == ["happiness", "surprise"]
    assert card.categories == {"happiness": "positive", "surprise": "surprise"}
    x = _samples()["x"][:1]
    wanted = torch.softmax(network(torch.from_numpy(x))[0], 1)[0].tolist()
    assert list(model.scores({"x": x}).values()) == pytest.approx(wanted, abs=1e-5)
    held = {p.key: p.value for p in onnx.load(str(file)).metadata_props}
    assert json.loads(held["mespot.aus"]) == [1, 12]
    assert json.loads(held["mespot.figures"]) == {"loso": {"uf1": 0.9}}
    assert held["mespot.protocol"] == "leak-free"


def test_any_batch_is_answered_row_by_row(tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(1)
    recipe = ToyRecipe()
    file = tmp_path / "toy.onnx"
    export(recipe, recipe.network(), ABOUT, file, _samples())
    session = onnxruntime.InferenceSession(str(file))
    x = toy_samples().inputs["x"][:5, 0]
    together = session.run(None, {"x": x})[0]
    alone = np.concatenate([session.run(None, {"x": x[i : i + 1]})[0] for i in range(5)])
    assert together.shape == (5, 2)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_network_that_answers_otherwise_in_onnx_is_not_written(tmp_path: Path) -> None:
    class Drifting(nn.Module):
        """Answers differently every time it is asked."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += 1
            return (x.flatten(1)[:, :2] + 0.1 * self.asked).softmax(1) * (0.9**self.asked)

    class Recipe(ToyRecipe):
        def served(self, network: nn.Module) -> nn.Module:
            return Drifting()

    file = tmp_path / "toy.onnx"
    with pytest.raises(UserError, match="not written: ONNX Runtime answers"):
        export(Recipe(), nn.Linear(SIDE, 2), ABOUT, file, _samples())
    assert not file.exists()


def test_categories_follow_the_papers() -> None:
    assert categories(("I", "II", "III", "IV", "V")) == {
        "I": "positive",
        "II": "surprise",
        "III": "negative",
        "IV": "negative",
        "V": "negative",
    }
    assert categories(("repression", "contempt", "strange")) == {
        "repression": "negative",
        "contempt": "negative",
    }
