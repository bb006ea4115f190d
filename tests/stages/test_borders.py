"""Borders drawn out from the flanks of a movement."""

from __future__ import annotations

import numpy as np
import pytest

from models.synthesis.script import profile
from stages.borders import drawn_out


@pytest.mark.parametrize("fps", [30, 200])
@pytest.mark.parametrize("height", [1.0, 40.0])
def test_a_minimum_jerk_movement_gets_its_2_per_cent_points(fps: int, height: float) -> None:
    times = np.arange(0.0, 2.0, 1 / fps)
    curve = height * profile(times, 0.5, 0.9, 1.6)
    apex = int(curve.argmax())
    assert drawn_out(times, curve, apex, -1) == pytest.approx(0.5, abs=0.01)
    assert drawn_out(times, curve, apex, 1) == pytest.approx(1.6, abs=0.01)


def test_a_flank_that_is_cut_off_ends_where_the_curve_does() -> None:
    times = np.arange(5) / 30
    curve = np.array([0.9, 0.95, 1.0, 0.95, 0.9])
    assert drawn_out(times, curve, 2, 1) == pytest.approx(times[-1])
