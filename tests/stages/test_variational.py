"""Our TV-L1 against OpenCV's and against known motion (textures are synthetic)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stages.variational import DEFAULT, FAST, VariationalParams, tvl1
from tests.stages.test_farneback import _texture, _warped

Array = npt.NDArray[np.float32]


def opencv(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], params: VariationalParams) -> Array:
    made = cv2.optflow.DualTVL1OpticalFlow_create(
        tau=params.tau,
        theta=params.tightness,
        nscales=params.scales,
        warps=params.warps,
        epsilon=params.epsilon,
        innnerIterations=params.inner,  # sic
        outerIterations=params.outer,
        scaleStep=params.scale_step,
        medianFiltering=params.median,
    )
    made.setLambda(params.smoothness)
    return np.asarray(made.calc(a, b, None), np.float32)


def distance(a: Array, b: Array) -> Array:
    return np.hypot(*np.moveaxis(a - b, 2, 0))


@pytest.mark.parametrize(
    "params",
    [
        FAST,
        replace(FAST, warps=4, outer=1, inner=7, median=1),
        replace(FAST, scales=4, scale_step=0.7, median=5),
        replace(FAST, smoothness=0.4, tightness=0.2, tau=0.2),
        replace(FAST, epsilon=0.1),  # ends early
    ],
)
def test_equals_opencv(params: VariationalParams) -> None:
    a = _texture((90, 112))
    error = distance(tvl1(a, _warped(a), params), opencv(a, _warped(a), params))
    assert error.mean() <= 0.002
    assert np.percentile(error, 99) <= 0.02


def test_the_defaults_are_opencvs() -> None:
    a = _texture((80, 96), 2)
    b = _warped(a, 3, 2.0)
    want = np.asarray(cv2.optflow.DualTVL1OpticalFlow_create().calc(a, b, None), np.float32)
    error = distance(tvl1(a, b, DEFAULT), want)
    assert error.mean() <= 0.01
    assert np.percentile(error, 99) <= 0.1


@pytest.mark.parametrize("size", [224, 112])
def test_fast_is_close_to_the_defaults(size: int) -> None:
    a = _texture((size, size), 4)
    b = _warped(a, 5, size / 75)
    inner = (slice(12, -12), slice(12, -12))  # what enters over the border has no partner
    fast, full = tvl1(a, b)[inner], tvl1(a, b, DEFAULT)[inner]
    assert np.corrcoef(fast.ravel(), full.ravel())[0, 1] > 0.995
    assert distance(fast, full).mean() < 0.05 * np.hypot(*np.moveaxis(full, 2, 0)).mean()


@pytest.mark.parametrize("shift", [(1.5, 0.0), (0.0, -0.75), (-3.0, 2.0)])
def test_a_shift_is_found_in_its_direction(shift: tuple[float, float]) -> None:
    a = _texture((112, 112), 6)
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    b = cv2.warpAffine(a, move, (112, 112), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    inner = tvl1(a, b)[15:-15, 15:-15]
    assert np.median(inner.reshape(-1, 2), axis=0) == pytest.approx(shift, abs=0.1)


def test_nothing_moves_in_equal_images() -> None:
    a = _texture((56, 56), 7)
    assert np.abs(tvl1(a, a)).max() < 1e-6


@pytest.mark.parametrize("shape", [(16, 16), (20, 300), (15, 15), (2, 3)])
def test_small_and_narrow_images_have_fewer_scales(shape: tuple[int, int]) -> None:
    a = _texture(shape, 8)
    made = tvl1(a, np.roll(a, 1, axis=1))
    assert made.shape == (*shape, 2)
    assert np.isfinite(made).all()


def test_the_images_are_left_alone_and_may_be_read_only() -> None:
    a = _texture((56, 56), 9)
    b = _warped(a, 10, 1.0)
    before = a.copy(), b.copy()
    want = tvl1(a, b)
    a.flags.writeable = b.flags.writeable = False
    np.testing.assert_array_equal(tvl1(a, b), want)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_what_is_no_pair_of_grey_images_is_refused() -> None:
    a = _texture((56, 56), 11)
    with pytest.raises(ValueError, match="shape"):
        tvl1(a, a[:-1])
    with pytest.raises(ValueError, match="grey"):
        tvl1(np.zeros((8, 8, 3), np.uint8), a)
