"""Figure 5 of paper 002: AU features in two dimensions, colours by AU label; synthetic."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from models.errors import UserError  # noqa: E402
from models.map_net import MapNet, MapOptions  # noqa: E402
from models.recognition.features import draw, features, flattened, hues  # noqa: E402

SETS = [frozenset(each) for each in ({4}, {4, 7}, {12}, {1, 2}, {12, 14}, {1, 2, 4}, {4}, set())]


def clusters() -> np.ndarray:
    """Two clouds of 20 in 8 dimensions, far apart."""
    draw = np.random.default_rng(0)
    centres = np.repeat([[1.0] + [0] * 7, [0.0] * 7 + [1]], 20, axis=0)
    return (centres + 0.05 * draw.normal(size=(40, 8))).astype(np.float32)


def test_features_are_x_f_on_the_unit_sphere() -> None:
    torch.manual_seed(0)
    network = MapNet(3, MapOptions(width=0.125))
    draw = np.random.default_rng(0)
    planes = {
        name: draw.random((70, 1, 64, 64), np.float32) for name in ("off_a", "on_a", "amplified")
    }
    found = features(network, planes)  # in two batches
    assert found.shape == (70, 128) and found.dtype == np.float32
    one = [torch.from_numpy(planes[name][66:67]) for name in ("amplified", "on_a", "off_a")]
    with torch.no_grad():
        wanted = network(network.scaled(*one)).features[0].numpy()
    np.testing.assert_allclose(found[66], wanted / np.sqrt((wanted**2).sum()), atol=1e-5)


def test_clusters_stay_apart_and_the_seed_decides() -> None:
    first = flattened(clusters(), seed=1)
    assert first.shape == (40, 2)
    one, two = first[:20], first[20:]
    gap = np.linalg.norm(one.mean(0) - two.mean(0))
    assert gap > 2 * max(one.std(), two.std())
    assert np.array_equal(first, flattened(clusters(), seed=1))


def test_few_samples_are_refused_and_a_handful_works() -> None:
    assert flattened(clusters()[:4]).shape == (4, 2)
    with pytest.raises(UserError, match="at least 4"):
        flattened(clusters()[:3])


def test_similar_sets_have_similar_hues() -> None:
    found = hues(SETS)
    assert set(found) == set(SETS)
    assert min(found.values()) == 0 and max(found.values()) == 1
    assert len(set(found.values())) == len(found)
    near = abs(found[frozenset({12})] - found[frozenset({12, 14})])
    far = abs(found[frozenset({12})] - found[frozenset({1, 2})])
    assert near < far
    assert abs(found[frozenset({4})] - found[frozenset({4, 7})]) < far
    assert hues([frozenset({1})]) == {frozenset({1}): 0.0}


def test_the_figure_is_written(tmp_path: Path) -> None:
    aus = [SETS[i % 4] for i in range(40)]
    draw(flattened(clusters()), aus, "synthetic", tmp_path / "figures" / "tsne.png")
    picture = cv2.imread(str(tmp_path / "figures" / "tsne.png"))
    assert picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # not an empty frame
    with pytest.raises(UserError, match=r"tsne\.png"):
        draw(
            flattened(clusters()), aus, "synthetic", tmp_path / "figures" / "tsne.png" / "tsne.png"
        )
