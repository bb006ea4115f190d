"""MAP as an ONNX file, briefly trained on synthetic planes."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from models.map_net import MapOptions  # noqa: E402
from models.recogniser import Recogniser  # noqa: E402
from models.recognition.export import About, export  # noqa: E402
from models.recognition.map_recipe import MapRecipe  # noqa: E402
from tests.models.recognition.map_toy import blobs, trained  # noqa: E402

CLASSES = ("negative", "positive", "surprise")
AUS = (1, 12, 17)
SIDE = 64


@pytest.mark.slow
def test_onnx_answers_like_torch_at_any_batch(tmp_path: Path) -> None:
    made = MapRecipe(CLASSES, AUS, size=SIDE, options=MapOptions(width=0.125))
    network, _ = trained(made, blobs(24, AUS, SIDE), 40)
    unseen = blobs(3, AUS, SIDE, seed=4)
    samples = {name: plane.numpy() for name, plane in unseen.inputs.items()}
    about = About("map", "1", "synthetic blobs", "none", {}, "none")
    difference = export(made, network, about, tmp_path / "map.onnx", samples)
    assert difference <= 1e-4  # over batches of 1 and 3, noise and blobs

    recogniser = Recogniser(tmp_path / "map.onnx")
    assert recogniser.inputs == made.inputs
    with torch.no_grad():
        wanted = made.predict(network, unseen.inputs).probabilities
    assert wanted.argmax(1).tolist() == [0, 1, 2]  # not the same answer for everything
    for row in range(3):
        said = recogniser.scores({name: plane[row : row + 1] for name, plane in samples.items()})
        assert list(said.values()) == pytest.approx(wanted[row].tolist(), abs=1e-4)
