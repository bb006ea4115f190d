from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.farneback import farneback
from stages.flow import WindowFlow
from tests.stages.test_farneback import _texture, _warped


def _moved(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    matrix = np.float32([[1, 0, dx], [0, 1, dy]])
    size = image.shape[::-1]
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _flow(preset: str, reference: np.ndarray) -> WindowFlow:
    flow = WindowFlow((280, 240), preset)  # type: ignore[arg-type]
    flow.set_reference(reference)
    return flow


def test_exact_is_the_plain_function() -> None:
    a = _texture((240, 280))
    b = _warped(a)
    assert np.array_equal(_flow("exact", a).flow(b), farneback(a, b))


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -1.0), (2.5, 1.5), (-8.0, 6.0), (12.0, -8.0)])
def test_fast_finds_shifts_in_px_of_the_crop(shift: tuple[float, float]) -> None:
    a = _texture((240, 280))
    flow = _flow("fast", a)
    found = flow.flow(_moved(a, *shift))
    assert found.shape == flow.shape == (120, 140, 2)
    inner = found[25:-25, 25:-25].reshape(-1, 2)
    assert np.median(inner, axis=0) == pytest.approx(shift, abs=0.05 + 0.03 * np.hypot(*shift))


def test_fast_follows_exact_on_smooth_motion() -> None:
    a = _texture((240, 280), 8)
    exact, fast = _flow("exact", a), _flow("fast", a)
    weights = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((240, 280, 2)), (0, 0), 15)
    small = cv2.resize(weights, (140, 120), interpolation=cv2.INTER_AREA)
    curves = []
    for i in range(16):
        b = _warped(a, 9, px=6 * np.sin(np.pi * i / 15) + 1e-3)
        curves.append(((exact.flow(b) * weights).sum(), 4 * (fast.flow(b) * small).sum()))
    assert np.corrcoef(np.transpose(curves))[0, 1] > 0.99


def test_fast_returns_to_rest_after_a_large_motion() -> None:
    a = _texture((240, 280))
    flow = _flow("fast", a)
    flow.flow(_moved(a, 30, 20))
    # the last row and column disagree with themselves, in OpenCV as here
    assert np.abs(flow.flow(a)[15:-15, 15:-15]).max() < 0.02


def test_flow_depends_on_reference_and_frame_alone() -> None:
    a = _texture((240, 280))
    b = _warped(a)
    used = _flow("fast", _texture((240, 280), 3))
    used.flow(b)
    used.set_reference(a)
    assert np.array_equal(used.flow(b), _flow("fast", a).flow(b))


def test_the_result_is_reused() -> None:
    a = _texture((240, 280))
    flow = _flow("fast", a)
    assert flow.flow(a) is flow.flow(_warped(a))


def test_wrong_use_is_refused() -> None:
    flow = WindowFlow((280, 240), "fast")
    with pytest.raises(ValueError, match="set_reference comes before"):
        flow.flow(_texture((240, 280)))
    with pytest.raises(ValueError, match="shape"):
        flow.set_reference(_texture((160, 260)))
    with pytest.raises(ValueError, match="exact or fast"):
        WindowFlow((280, 240), "quick")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="even size"):
        WindowFlow((281, 240), "fast")


def test_the_last_flow_is_of_this_reference() -> None:
    a = _texture((240, 280))
    flow = _flow("fast", a)
    assert flow.last is None
    found = flow.flow(_moved(a, 2.0, 0.0))
    assert flow.last is found
    flow.set_reference(a)
    assert flow.last is None
