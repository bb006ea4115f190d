from __future__ import annotations

import numpy as np
import pytest

from stages.items import Floats
from stages.rigid import rigid_motion, without_rigid

HEIGHT, WIDTH = 120, 160


def _similarity(shift: tuple[float, float], turn: float, growth: float) -> Floats:
    """Flow of points turned by ``turn`` radians and grown about the middle, then shifted."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    x, y = columns - (WIDTH - 1) / 2, rows - (HEIGHT - 1) / 2
    cos, sin = (1 + growth) * np.cos(turn), (1 + growth) * np.sin(turn)
    across = cos * x - sin * y + shift[0] - x
    down = sin * x + cos * y + shift[1] - y
    return np.stack([across, down], axis=-1).astype(np.float32)


@pytest.mark.parametrize(
    ("shift", "turn", "growth"),
    [((0.4, -0.3), 0.0, 0.0), ((0, 0), 0.01, 0.0), ((0, 0), 0, 0.01), ((1.5, 0.2), -0.02, 0.005)],
)
def test_a_rigid_flow_leaves_nothing(
    shift: tuple[float, float], turn: float, growth: float
) -> None:
    flow = _similarity(shift, turn, growth)
    np.testing.assert_allclose(rigid_motion(flow), flow, atol=1e-4)
    assert np.abs(without_rigid(flow)).max() < 1e-4


def test_what_moves_on_its_own_stays() -> None:
    """A fifth of the picture moves by 2 px beside a head motion of 0.5 px and noise."""
    rng = np.random.default_rng(0)
    own = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    own[80:110, 30:130, 1] = -2
    flow = own + _similarity((0.5, 0.1), 0.004, 0.0)
    flow += 0.05 * rng.standard_normal(flow.shape).astype(np.float32)
    left = without_rigid(flow) - own
    assert np.hypot(*left.mean(axis=(0, 1))) < 0.02
    assert np.sqrt((left**2).mean()) < 0.06  # the noise, and hardly more


def test_no_flow_is_no_motion() -> None:
    still = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    assert not without_rigid(still).any()


def test_small_fields_are_fitted_as_well() -> None:
    flow = np.full((16, 16, 2), 0.3, np.float32)
    assert np.abs(without_rigid(flow)).max() < 1e-5
