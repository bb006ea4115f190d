"""Linear maps along an axis and halving, against OpenCV (images are synthetic)."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.farneback import Farneback, FarnebackParams
from stages.farneback_layout import Along, Expansion, Layout, Window
from tests.stages.test_farneback import _texture, _warped


def _applied(along: Along, values: np.ndarray) -> np.ndarray:
    rows = zip(along.first, along.weights, strict=True)
    return np.array([w @ values[i : i + len(w)] for i, w in rows])


@pytest.mark.parametrize(("source", "size"), [(280, 70), (260, 65), (130, 32), (35, 70), (32, 65)])
def test_resizing_is_opencvs_linear_resize(source: int, size: int) -> None:
    values = np.random.default_rng(0).normal(0, 50, (source, 3)).astype(np.float32)
    want = cv2.resize(values, (3, size), interpolation=cv2.INTER_LINEAR)
    assert np.abs(_applied(Along.resizing(source, size), values) - want).max() < 1e-4


def test_blur_comes_before_the_resize_and_reflects_at_the_border() -> None:
    values = np.random.default_rng(1).normal(0, 50, (120, 3)).astype(np.float32)
    kernel = cv2.getGaussianKernel(9, 1.5, cv2.CV_32F)
    blurred = cv2.sepFilter2D(values, -1, np.ones(1, np.float32), kernel)
    want = cv2.resize(blurred, (3, 30), interpolation=cv2.INTER_LINEAR)
    got = _applied(Along.resizing(120, 30, kernel[:, 0]), values)
    assert np.abs(got - want).max() < 1e-4


@pytest.mark.parametrize("width", [32, 130, 140, 260, 280, 1000])
@pytest.mark.parametrize(("n", "r"), [(3, 4), (5, 7), (7, 20)])
def test_rows_have_room_for_what_runs_over_their_edge(width: int, n: int, r: int) -> None:
    layout = Layout.of(width, Expansion(n, 1.2), Window(r))
    assert layout.pad >= max(n, r, 16)
    assert layout.stride >= width + max(2 * n, 2 * r, 16)
    assert len(layout.rows(3)) > 3 * layout.stride


def test_halved_images_are_opencvs_area_means() -> None:
    a = _texture((160, 260))
    b = _warped(a)
    params = FarnebackParams(levels=1)
    small = [cv2.resize(i, (130, 80), interpolation=cv2.INTER_AREA) for i in (a, b)]
    halving = Farneback((130, 80), params, halve=True)
    given = Farneback((130, 80), params)
    halving.set_reference(a)
    given.set_reference(small[0])
    assert np.array_equal(halving.flow(b), given.flow(small[1]))


def test_engines_beside_each_other_give_what_each_gives_alone() -> None:
    images = [_texture((96, 120))]
    images += [_warped(images[0], seed) for seed in (1, 2, 3)]
    params = FarnebackParams()
    first = Farneback((120, 96), params)
    second = Farneback((120, 96), params, beside=first)
    first.set_reference(images[0])
    second.set_reference(images[1])
    for image in images[2:]:
        for engine, reference in ((first, images[0]), (second, images[1])):
            alone = Farneback((120, 96), params)
            alone.set_reference(reference)
            assert np.array_equal(engine.flow(image), alone.flow(image))


def test_an_image_written_anew_is_expanded_anew() -> None:
    a = _texture((96, 120))
    image = _warped(a, 1)
    engine = Farneback((120, 96), FarnebackParams())
    engine.set_reference(a)
    before = engine.flow(image).copy()
    image[:] = _warped(a, 2)
    assert not np.array_equal(engine.flow(image), before)
