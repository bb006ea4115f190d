"""Curves that rise and fall, followed frame by frame (synthetic)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.candidates import Candidates
from stages.frames import Frames
from stages.noise import Filters
from tests.stages.scripted import SIZE, memory

CURVES = 7
THETA, SEARCH_S, HOLD_S, FALL = 3.0, 0.5, 0.8, 0.25


def _filters(seed: int) -> Filters:
    detect = np.random.default_rng(seed).normal(0, 0.3, (CURVES, SIZE))
    return replace(memory().noise.filters, detect=detect)


def _frames(x: np.ndarray, fps: float = 60.0) -> Frames:
    """Frames that are as they are given but for the first one."""
    frames = Frames(x.shape[1], 0.0, 0.0, 0.0)
    for i, row in enumerate(x):
        frames.push(i / fps, np.stack([row, 0 * row]), False)
    frames.advance(closing=True)
    return frames


def _candidates(frames: Frames, count: int = CURVES) -> Candidates:
    return Candidates(frames, count, theta=THETA, search_s=SEARCH_S, hold_s=HOLD_S, fall=FALL)


class _Plain:
    """Eq. 24 for every frame anew, from the projections themselves."""

    def __init__(self, frames: Frames) -> None:
        self._t, self._x = frames.times, frames.x
        self.risen = np.zeros(CURVES, bool)
        self.height = np.zeros(CURVES)
        self.peak, self.base = np.zeros(CURVES, int), np.zeros(CURVES, int)

    def follow(self, i: int, detect: np.ndarray, after: int) -> None:
        low = max(int(np.searchsorted(self._t[:i], self._t[i] - SEARCH_S - 1e-6)), after)
        if low >= i:
            return
        curves = self._x[low : i + 1] @ detect.T
        rise = curves[-1] - curves[:-1].min(axis=0)
        height = np.einsum("vk,vk->v", detect, self._x[i] - self._x[self.base])
        higher = self.risen & (height > self.height)
        self.height[higher], self.peak[higher] = height[higher], i
        new = ~self.risen & (rise > THETA)
        self.height[new], self.peak[new] = rise[new], i
        self.base[new] = low + curves[:-1].argmin(axis=0)[new]
        self.risen |= new
        self.risen &= self._t[i] - self._t[self.peak] <= HOLD_S + 1e-6

    def fallen(self, i: int, detect: np.ndarray, share: float) -> np.ndarray:
        drop = np.einsum("vk,vk->v", detect, self._x[self.peak] - self._x[i])
        return self.risen & (drop > share * np.maximum(THETA, FALL * self.height))


@pytest.mark.parametrize("seed", range(6))
def test_kept_curves_tell_what_curves_drawn_anew_tell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = _frames(rng.normal(0, 0.6, (300, SIZE)).cumsum(axis=0))
    found, plain = _candidates(frames), _Plain(frames)
    after, some = 1, 0
    for i in range(300):
        filters = _filters(seed + i // 40)  # as the noise is learned
        done = found.follow(i, filters, after, looking=True, over=0.0)
        plain.follow(i, filters.detect, after)
        assert found.risen.tolist() == plain.risen.tolist()
        risen = found.risen
        assert found.height[risen] == pytest.approx(plain.height[risen])
        assert found.peak[risen].tolist() == plain.peak[risen].tolist()
        assert found.base[risen].tolist() == plain.base[risen].tolist()
        for share in (0.35, 1.0):
            fallen = found.fallen(i, share)
            assert fallen.tolist() == plain.fallen(i, filters.detect, share).tolist()
            assert fallen.any() == (done > share)
            some += int(fallen.any())
        if i == 150:  # an expression ends here
            after = i
            for kept in (found, plain):
                kept.risen &= kept.base >= after
    assert some > 20


def test_only_curves_higher_than_asked_count_as_fallen() -> None:
    x = np.concatenate([np.zeros(10), np.full(10, 8.0), np.zeros(10)])
    frames = _frames(x[:, None])
    filters = replace(memory().noise.filters, detect=np.ones((1, 1)))
    for over, counts in ((0.0, True), (7.9, True), (8.1, False)):
        found = _candidates(frames, 1)
        most = [found.follow(i, filters, 1, True, over) for i in range(25)]
        assert (max(most) > 1) == counts


def test_nothing_rises_while_nobody_looks() -> None:
    frames = _frames(np.arange(40.0)[:, None] * np.ones(SIZE))
    filters, found = _filters(1), _candidates(frames)
    for i in range(40):
        assert found.follow(i, filters, 1, looking=False, over=0.0) == 0
    assert not found.risen.any()


def test_where_a_curve_stands_still_but_for_rounding_its_first_frame_counts() -> None:
    x = np.zeros(40)
    x[5:12] = -4.0 - 1e-14 * np.arange(7)
    x[12:20] = 5.0 + 1e-14 * np.arange(8)
    filters = replace(memory().noise.filters, detect=np.ones((1, 1)))
    found = _candidates(_frames(x[:, None]), 1)
    for i in range(20):
        found.follow(i, filters, 1, looking=True, over=0.0)
    assert (found.base[0], found.peak[0]) == (5, 12)


def test_a_rise_since_a_frame_is_that_of_the_curves_asked_for() -> None:
    rng = np.random.default_rng(4)
    frames = _frames(rng.normal(0, 1, (200, SIZE)).cumsum(axis=0))
    found, of = _candidates(frames), np.arange(CURVES) % 2 == 0
    for i in range(190):
        filters = _filters(i // 50)
        found.follow(i, filters, 1, looking=True, over=0.0)
        start = max(i - 90, 0)  # longer ago than the search looks
        if start < i:
            curves = frames.x[start : i + 1] @ filters.detect[of].T
            rise = (curves[-1] - curves[:-1].min(axis=0)).max()
            assert found.rise_since(start, i, of) == pytest.approx(rise)
