"""Magnifiers against known motion; textures and networks are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.errors import ModelError
from stages.items import Grey
from stages.magnify import FlowWarpMagnifier, OnnxMagnifier
from stages.variational import tvl1

Array = npt.NDArray[np.float32]
SIZE = 224
BUMPS = ((80, 70, 1.0, -0.5), (140, 150, -0.6, 0.8))  # row, column, u, v


def field(px: float, sigma: float) -> Array:
    """Two smooth bumps of displacement (h, w, 2), ``px`` high."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    made = np.zeros((SIZE, SIZE, 2))
    for row, column, u, v in BUMPS:
        bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
        made += px * bump[..., None] * np.array([u, v])
    return made.astype(np.float32)


def texture(seed: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    rough = sum(cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)), (0, 0), s) * s for s in (2, 6))
    return np.asarray(128 + 110 * rough / np.abs(rough).max())


def moved(image: npt.NDArray[np.float64], by: Array) -> npt.NDArray[np.float64]:
    """``image`` with the content of x at x + by(x), solved pixel by pixel to the end."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    u, v = np.ascontiguousarray(by[..., 0]), np.ascontiguousarray(by[..., 1])
    x, y = columns.copy(), rows.copy()
    for _ in range(200):
        x, y = (
            columns - cv2.remap(u, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
            rows - cv2.remap(v, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        )
    made = cv2.remap(image, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(made, np.float64)


def grey(image: npt.NDArray[np.float64], noise: float = 0.0, seed: int = 0) -> Grey:
    noisy = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def shift_at(onset: Grey, image: Grey, row: int, column: int, reach: int = 16) -> Array:
    """How far the patch of ``onset`` around a point lies off in ``image``, to a part of a px.

    Normalised cross-correlation with a parabola through its peak: no optical flow.
    """
    half = 7
    patch = onset[row - half : row + half + 1, column - half : column + half + 1]
    low, high = half + reach, half + reach + 1
    window = image[row - low : row + high, column - low : column + high]
    score = cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED).astype(np.float64)
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    part = []
    for a, b, c in (
        (score[y, x - 1], score[y, x], score[y, x + 1]),
        (score[y - 1, x], score[y, x], score[y + 1, x]),
    ):
        part.append((a - c) / (2 * (a - 2 * b + c)))
    return np.array([x + part[0] - reach, y + part[1] - reach], np.float32)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize(("px", "sigma"), [(0.5, 20), (1.0, 25), (1.5, 25), (2.0, 35)])
def test_displacement_is_multiplied_within_a_tenth(px: float, sigma: float, noise: float) -> None:
    image, known = texture(1), field(px, sigma)
    onset, apex = grey(image, noise, 1), grey(moved(image, known), noise, 2)
    made = FlowWarpMagnifier().magnify(onset, apex, 6.0)
    assert made.shape == apex.shape
    assert made.dtype == np.uint8
    for row, column, u, v in BUMPS:
        wanted = 6 * px * np.array([u, v])
        found = shift_at(onset, made, row, column)
        assert np.hypot(*(found - wanted)) < 0.1 * np.hypot(*wanted) + 0.1


def test_the_measure_itself_is_right() -> None:
    """The same patches in an image that really moved six times as far."""
    image, known = texture(1), field(1.0, 25)
    for row, column, u, v in BUMPS:
        found = shift_at(grey(image), grey(moved(image, 6 * known)), row, column)
        assert found == pytest.approx(6 * np.array([u, v]), abs=0.3)


def test_the_magnified_image_is_what_really_moving_so_far_would_show() -> None:
    image, known = texture(2), field(1.0, 25)
    made = FlowWarpMagnifier().magnify(grey(image), grey(moved(image, known)), 6.0)
    wanted = moved(image, 6 * known)
    inner = (slice(20, -20), slice(20, -20))
    error = np.abs(made.astype(float) - wanted)[inner].mean()
    unmagnified = np.abs(moved(image, known) - wanted)[inner].mean()
    assert error < 0.2 * unmagnified


def test_a_factor_of_one_gives_the_apex() -> None:
    image, known = texture(3), field(1.5, 25)
    apex = grey(moved(image, known))
    made = FlowWarpMagnifier().magnify(grey(image), apex, 1.0)
    assert np.abs(made.astype(int) - apex)[20:-20, 20:-20].mean() < 1.0


def test_what_is_new_at_the_apex_keeps_its_looks() -> None:
    """A wrinkle that the onset lacks is still there: appearance comes from the apex."""
    image = texture(4)
    apex = image.copy()
    apex[110:113, 90:130] -= 60
    made = FlowWarpMagnifier(lambda a, b: np.zeros((*a.shape, 2), np.float32))
    out = made.magnify(grey(image), grey(apex), 6.0)
    np.testing.assert_array_equal(out, grey(apex))


def test_without_movement_nothing_is_magnified() -> None:
    still = grey(texture(5))
    made = FlowWarpMagnifier().magnify(still, still, 6.0)
    assert np.abs(made.astype(int) - still).mean() < 0.05


def test_any_flow_will_do() -> None:
    image, known = texture(6), field(1.0, 30)
    onset, apex = grey(image), grey(moved(image, known))
    made = FlowWarpMagnifier(tvl1).magnify(onset, apex, 4.0)
    row, column, u, v = BUMPS[0]
    found = shift_at(onset, made, row, column)
    assert np.hypot(*(found - 4 * np.array([u, v]))) < 0.5


@pytest.mark.parametrize("shape", [(240, 280), (160, 260), (224, 224)])
def test_every_region_is_magnified(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    a = cv2.GaussianBlur(rng.integers(0, 255, shape, np.uint8), (0, 0), 2)
    b = np.roll(a, 1, axis=1)
    assert FlowWarpMagnifier().magnify(a, b, 6.0).shape == shape


# ---------------------------------------------------------------- a network of the user's


def network(path: Path, frame: list[Any], metadata: dict[str, str], **names: str) -> Path:
    """A stand-in that magnifies differences: onset + factor * (apex - onset)."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    a, b, f = (names.get(name, name) for name in ("onset", "apex", "factor"))
    graph = helper.make_graph(
        [
            helper.make_node("Sub", [b, a], ["gap"]),
            helper.make_node("Mul", ["gap", f], ["more"]),
            helper.make_node("Add", [a, "more"], ["out"]),
        ],
        "magnifier",
        [
            helper.make_tensor_value_info(a, 1, frame),
            helper.make_tensor_value_info(b, 1, frame),
            helper.make_tensor_value_info(f, 1, [1]),
        ],
        [helper.make_tensor_value_info("out", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


CONTRACTS: list[tuple[list[Any], dict[str, str]]] = [
    ([1, 3, "h", "w"], {}),
    (["n", 1, None, None], {"mespot.range": "[0, 1]"}),
    ([1, 3, "h", "w"], {"mespot.range": "[0, 255]", "mespot.factor": "multiple"}),
]


@pytest.mark.parametrize(("frame", "metadata"), CONTRACTS)
def test_a_network_is_given_what_its_metadata_say(
    tmp_path: Path, frame: list[Any], metadata: dict[str, str]
) -> None:
    magnifier = OnnxMagnifier(network(tmp_path / "m.onnx", frame, metadata))
    onset = np.full((160, 260), 100, np.uint8)
    apex = np.full((160, 260), 110, np.uint8)
    np.testing.assert_array_equal(magnifier.magnify(onset, apex, 3.0), 130)
    np.testing.assert_array_equal(magnifier.magnify(onset, apex, 40.0), 255)


def test_a_network_that_counts_from_the_apex_is_given_one_less(tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", [1, 3, "h", "w"], {"mespot.factor": "gain"})
    onset, apex = np.full((8, 8), 100, np.uint8), np.full((8, 8), 110, np.uint8)
    np.testing.assert_array_equal(OnnxMagnifier(path).magnify(onset, apex, 3.0), 120)


def test_a_network_of_fixed_size_sees_resized_crops(tmp_path: Path) -> None:
    magnifier = OnnxMagnifier(network(tmp_path / "m.onnx", [1, 3, 64, 96], {}))
    rows = np.repeat(np.linspace(50, 200, 160)[:, None], 260, axis=1)
    made = magnifier.magnify(rows.astype(np.uint8), rows.astype(np.uint8), 6.0)
    assert made.shape == (160, 260)
    assert np.abs(made[5:-5].astype(float) - rows[5:-5]).max() < 3


@pytest.mark.parametrize(
    ("frame", "metadata", "names", "match"),
    [
        ([1, 3, "h", "w"], {}, {"onset": "frame_a"}, r"inputs are \['apex', 'factor', 'frame_a'\]"),
        ([1, 2, "h", "w"], {}, {}, r"must be \(1, 3, h, w\)"),
        ([1, 3, "h"], {}, {}, r"must be \(1, 3, h, w\)"),
        ([1, 3, "h", "w"], {"mespot.range": "0..1"}, {}, "mespot.range"),
        ([1, 3, "h", "w"], {"mespot.range": "[1, -1]"}, {}, "lowest value comes first"),
        ([1, 3, "h", "w"], {"mespot.factor": "alpha"}, {}, "mespot.factor is 'alpha'"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, frame: list[Any], metadata: dict[str, str], names: dict[str, str], match: str
) -> None:
    path = network(tmp_path / "m.onnx", frame, metadata, **names)
    with pytest.raises(ModelError, match=match) as caught:
        OnnxMagnifier(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        OnnxMagnifier(tmp_path / "none.onnx")
