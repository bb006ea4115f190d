"""Shut eyes, told against the face's own running median."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from stages.lids import Lids

FPS = 30
BLINK = (0.2, 0.1, 0.05, 0.12, 0.22)  # five frames


def _shut(openness: Iterable[float], fps: float = FPS, lids: Lids | None = None) -> list[int]:
    lids = Lids() if lids is None else lids
    return [i for i, value in enumerate(openness) if lids(value, i / fps)]


@pytest.mark.parametrize("level", [0.12, 0.3, 0.5])
def test_a_blink_is_marked_whether_eyes_are_narrow_or_wide(level: float) -> None:
    openness = np.full(120, level)
    openness[60:65] = np.array(BLINK) * level / 0.3
    assert _shut(openness) == [60, 61, 62, 63, 64]


def test_open_eyes_that_tremble_are_not_shut() -> None:
    rng = np.random.default_rng(0)
    assert _shut(0.3 + rng.uniform(-0.012, 0.012, 900)) == []


def test_slow_drift_is_not_a_blink_but_a_blink_within_it_is() -> None:
    openness = np.linspace(0.3, 0.15, 20 * FPS)  # half as open after 20 s
    assert _shut(openness) == []
    openness[400:405] *= 0.5
    assert _shut(openness) == [400, 401, 402, 403, 404]


def test_eyes_narrowed_for_long_are_this_faces_rest() -> None:
    shut = _shut([0.3] * 90 + [0.2] * 120)
    assert shut[0] == 90
    assert 90 + FPS < shut[-1] + 1 < 90 + 1.5 * FPS  # half of the memory of 2.5 s
    assert shut == list(range(90, shut[-1] + 1))


def test_eyes_closed_outright_stay_closed_until_they_open() -> None:
    shut = _shut([0.3] * 90 + [0.1] * 120 + [0.3] * 90)
    assert shut == list(range(90, 210))


def test_eyes_closed_for_very_long_are_how_this_face_looks() -> None:
    shut = _shut([0.3] * 90 + [0.1] * 15 * FPS)
    assert shut[0] == 90
    assert 10 * FPS <= len(shut) < 13 * FPS


def test_the_reference_is_the_running_median_of_the_memory() -> None:
    rng = np.random.default_rng(1)
    openness = rng.uniform(0.27, 0.4, 300)  # none closed outright
    times = np.cumsum(rng.uniform(0.01, 0.06, 300))
    lids = Lids(share=0.8, memory_s=1.0)
    for i, (value, time) in enumerate(zip(openness, times, strict=True)):
        inside = sorted(openness[: i + 1][times[: i + 1] > time - 1.0])
        assert lids(value, time) == (value < 0.8 * inside[len(inside) // 2])


def test_what_is_as_old_as_the_memory_is_forgotten() -> None:
    lids = Lids(memory_s=1.0)
    lids(0.4, 0.0)
    lids(0.4, 0.25)
    assert lids(0.3, 0.999)
    lids = Lids(memory_s=1.0)
    lids(0.4, 0.0)
    lids(0.4, 0.0)
    assert not lids(0.3, 1.0)


def test_the_first_frame_is_open() -> None:
    assert not Lids()(0.01, 5.0)
    assert not Lids()(0.0, 5.0)


def test_time_that_runs_back_begins_anew() -> None:
    lids = Lids()
    assert _shut([0.5] * 90, lids=lids) == []
    assert not lids(0.2, -1.0)


def test_the_past_alone_decides() -> None:
    openness = np.full(120, 0.3)
    openness[60:65] = BLINK
    whole = _shut(openness)
    assert [i for i in whole if i < 63] == _shut(openness[:63])
