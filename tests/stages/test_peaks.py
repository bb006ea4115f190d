"""Peaks and fusion: the paper's equations by hand, and streaming against the whole array.

All curves here are synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.peaks import (
    Announcement,
    Expression,
    Final,
    Retraction,
    SpotParams,
    StreamingSpotter,
    Update,
    overlap_index,
    peak_mask,
    smooth,
    spot_window,
)

PLAIN = SpotParams(search_s=3.0, smooth_s=0.0, border=None)  # one sample a second: m = 3


def seconds(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float64)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def finals(updates: Iterable[Update]) -> list[Expression]:
    return [u.expression for u in updates if isinstance(u, Final)]


def stream(times, values, thetas, params, close=True) -> list[Update]:
    spotter = StreamingSpotter(thetas, params)
    updates = [u for t, row in zip(times, values, strict=True) for u in spotter.push(t, row)]
    return updates + (spotter.close() if close else [])


def check_protocol(updates: list[Update]) -> None:
    open_: set[int] = set()
    closed: set[int] = set()
    for update in updates:
        if isinstance(update, Announcement):
            assert update.number == len(open_) + len(closed)
            assert update.au in [peak.au for peak in update.aus]
            open_.add(update.number)
        else:
            assert update.number in open_
            open_.remove(update.number)
            closed.add(update.number)
            if isinstance(update, Retraction):
                assert update.merged_into in closed
    assert not open_


@st.composite
def curves(draw, least: int = 0, most: int = 80):
    """Random walks, integers with ties, bumps and plateaus over regular or ragged time."""
    n = draw(st.integers(least, most))
    width = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shape = draw(st.sampled_from(["walk", "integers", "plateaus", "bumps", "drift", "drawn"]))
    if shape == "walk":
        values = np.cumsum(rng.normal(0.0, 1.0, (n, width)), axis=0)
    elif shape == "integers":
        values = rng.integers(-1, 5, (n, width)).astype(np.float64)
    elif shape == "plateaus":
        values = np.repeat(rng.integers(0, 4, (n, width)), rng.integers(1, 6), axis=0)[:n] * 1.0
    elif shape == "bumps":
        values = np.zeros((n, width))
        for _ in range(rng.integers(0, 8) if n else 0):
            centre, wide = rng.uniform(0, n), rng.uniform(0.5, 8)
            bump = rng.uniform(0, 6) * np.exp(-(((np.arange(n) - centre) / wide) ** 2))
            values[:, rng.integers(width)] += bump
    elif shape == "drift":
        values = 0.2 * np.arange(n)[:, None] + rng.normal(0.0, 1.5, (n, width))
    else:
        cells = draw(st.lists(st.integers(0, 3), min_size=n * width, max_size=n * width))
        values = np.array(cells, dtype=np.float64).reshape(n, width)
    pace = draw(st.sampled_from(["fixed", "ragged", "gaps"]))
    steps = np.full(n, 1 / 30)
    if pace != "fixed":
        steps = rng.choice([0.001, 0.01, 0.033, 0.04, 0.1], n)
    if pace == "gaps" and n:
        steps[rng.integers(0, n, 3)] = rng.uniform(0.2, 2.0, 3)
    times = rng.uniform(0, 1000) + np.cumsum(steps)
    thetas = rng.choice([0.25, 0.5, 1.0, 2.0], width)
    if draw(st.booleans()):
        values = values.astype(np.float32)
    return times, values, thetas


PARAMS = st.builds(
    SpotParams,
    search_s=st.sampled_from([0.05, 0.1, 0.2, 0.4, 1.0]),
    overlap=st.sampled_from([0.0, 0.33, 0.7, 1.0]),
    smooth_s=st.sampled_from([0.0, 0.04, 0.1]),
    border=st.sampled_from([None, 0.0, 0.1, 0.5, 1.0]),
    micro_s=st.sampled_from([0.1, 0.5]),
)


# ------------------------------------------------------------------ streaming


@settings(max_examples=500, deadline=None)
@given(curves(), PARAMS)
def test_streaming_spotter_equals_whole_array(window, params):
    times, values, thetas = window
    updates = stream(times, values, thetas, params)
    assert finals(updates) == spot_window(times, values, thetas, params)


@settings(max_examples=300, deadline=None)
@given(curves(), PARAMS)
def test_every_announcement_is_closed_exactly_once(window, params):
    check_protocol(stream(*window, params))


@settings(max_examples=300, deadline=None)
@given(curves(least=4), PARAMS, st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_no_continuation_changes_what_was_final(window, params, cut, seed):
    times, values, thetas = window
    at = int(len(times) * cut)
    early = finals(stream(times[:at], values[:at], thetas, params, close=False))
    rng = np.random.default_rng(seed)
    for scale in (0.0, 1.0, 4.0, 50.0):
        tail = np.abs(rng.normal(0.0, 1.0, (len(times) - at, thetas.size))) * scale
        other = np.concatenate([values[:at], tail.astype(values.dtype)])
        whole = spot_window(times, other, thetas, params)
        assert early == whole[: len(early)]


@settings(max_examples=200, deadline=None)
@given(curves(), PARAMS)
def test_the_announced_point_lies_in_the_expression_that_takes_its_number(window, params):
    updates = stream(*window, params)
    announced = {u.number: u for u in updates if isinstance(u, Announcement)}
    for update in updates:
        if isinstance(update, Final):
            said = announced[update.number]
            span = next(s for s in update.expression.aus if s.au == said.au)
            assert span.onset <= said.apex <= span.offset


@settings(max_examples=200, deadline=None)
@given(curves(), PARAMS)
def test_a_broken_off_window_withdraws_what_is_open(window, params):
    times, values, thetas = window
    spotter = StreamingSpotter(thetas, params)
    updates = [u for t, row in zip(times, values, strict=True) for u in spotter.push(t, row)]
    said = {u.number for u in updates if isinstance(u, Announcement)}
    done = {u.number for u in updates if not isinstance(u, Announcement)}
    gone = spotter.abandon()
    assert sorted(r.number for r in gone) == sorted(said - done)
    assert all(r.merged_into is None for r in gone)


def bump_then_rest(fps: float = 30.0, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A bump of 10 around 1 s, 0.3 s long, then 0."""
    times = np.arange(n) / fps
    inside = np.abs(times - 1.0) < 0.15
    return times, np.where(inside, 5 * (1 + np.cos((times - 1.0) * math.pi / 0.15)), 0.0)[:, None]


def test_an_isolated_bump_is_announced_before_it_ends_and_final_two_frames_after():
    times, values = bump_then_rest()
    params = SpotParams()
    (expected,) = spot_window(times, values, [1.0], params)
    spotter = StreamingSpotter([1.0], params)
    heard = {}
    for i, (time, row) in enumerate(zip(times, values, strict=True)):
        for update in spotter.push(time, row):
            heard[type(update)] = i
            if isinstance(update, Final):
                assert update.expression == expected
    lag = 3  # 0.1 s of smoothing at 30 fps
    assert heard[Announcement] < heard[Final]
    assert heard[Announcement] <= expected.offset + lag
    assert heard[Final] <= expected.offset + lag + 2


def box(n: int, low: int, high: int, height: float = 5.0) -> np.ndarray:
    """``height`` at low..high, both included, else 0."""
    index = np.arange(n)
    return np.where((low <= index) & (index <= high), height, 0.0)


def test_two_announcements_that_fuse_leave_one():
    # AU 1's plateau is judged only when it falls, after AUs 0 and 2 were announced apart
    params = SpotParams(search_s=30.0, smooth_s=0.0, border=None)
    values = np.stack([box(40, 5, 10), box(40, 7, 24, 3.0), box(40, 15, 20)], axis=1)
    updates = stream(seconds(40), values, np.ones(3), params)
    check_protocol(updates)
    assert [(type(u), u.number) for u in updates] == [
        (Announcement, 0),
        (Announcement, 1),
        (Final, 0),
        (Retraction, 1),
    ]
    (expression,) = finals(updates)
    assert (expression.onset, expression.offset) == (5, 24)
    assert updates[-1] == Retraction(1, merged_into=0)


def test_two_expressions_under_one_announcement_get_a_number_each():
    # the overlap of the two AUs is a fifth of the shorter: one component, two expressions
    params = SpotParams(search_s=30.0, smooth_s=0.0, border=None)
    values = np.stack([box(40, 5, 10), box(40, 9, 14)], axis=1)
    updates = stream(seconds(40), values, np.ones(2), params)
    check_protocol(updates)
    assert [(e.onset, e.offset) for e in finals(updates)] == [(5, 10), (9, 14)]


def test_peaks_are_judged_while_the_window_runs():
    # a pending point blocks finality only as long as its own search radius
    params = SpotParams(search_s=3.0, smooth_s=0.0, border=None)
    values = np.stack([box(20, 3, 4), box(20, 4, 19)], axis=1)
    spotter = StreamingSpotter([1.0, 1.0], params)
    heard = {i: spotter.push(float(i), row) for i, row in enumerate(values)}
    # AU 1's point 4 rose by more than theta; its 3 s have passed without a fall at 8
    assert [i for i, u in heard.items() if finals(u)] == [8]


def test_a_column_that_does_not_fit_is_refused_and_not_taken():
    spotter = StreamingSpotter([1.0, 1.0], SpotParams())
    spotter.push(0.0, [0.0, 0.0])
    for time, row in ((0.1, [0.0]), (0.1, [0.0, math.nan]), (0.0, [0.0, 0.0]), (math.inf, [0, 0])):
        with pytest.raises(ValueError):
            spotter.push(time, row)
    assert spotter.push(0.1, [0.0, 0.0]) == []


def test_a_closed_spotter_takes_nothing_more():
    spotter = StreamingSpotter([1.0], SpotParams())
    assert spotter.close() == []
    with pytest.raises(ValueError, match="closed"):
        spotter.push(0.0, [0.0])


# ---------------------------------------------------------------- the equations


def test_smoothing_by_hand():
    # h = 2 s: weights 1/2, 1, 1/2, cut and normalised at the ends; negative becomes 0
    got = smooth(seconds(4), column(0, 4, 0, -8), 2.0)
    assert got[:, 0] == pytest.approx([2 / 1.5, 8 / 4, 0, 0])


def test_smoothing_weighs_by_time_and_not_by_sample():
    # at 0: weights 1 and (1 + cos 45 deg) / 2; the sample at 2 s is out of reach
    got = smooth(np.array([0.0, 0.5, 2.0]), column(0, 1, 9), 2.0)
    weight = (1 + math.sqrt(0.5)) / 2
    assert got[0, 0] == pytest.approx(weight / (1 + weight))


def test_no_smoothing_only_clips():
    assert smooth(seconds(3), column(-1, 2, 3), 0.0)[:, 0].tolist() == [0, 2, 3]


def test_equation_24_by_hand():
    curve = column(0, 0, 1, 3, 4, 1, 0, 0)
    # theta 2, m 3: only 3 and 4 stand more than 2 above a minimum on both sides
    assert np.flatnonzero(peak_mask(seconds(8), curve, np.array([2.0]), 3.0)).tolist() == [3, 4]
    # m 1: 4 stands 1 above the 3 before it; 3 stands 2 above the 1, not more
    assert not peak_mask(seconds(8), curve, np.array([2.0]), 1.0).any()
    # theta just under 2: 3 stands 2 above the 1 before it, but below the 4 after it
    assert not peak_mask(seconds(8), curve, np.array([1.99]), 1.0).any()


def test_equation_24_is_strict():
    curve = column(0, 2, 0)
    assert not peak_mask(seconds(3), curve, np.array([2.0]), 1.0).any()
    assert peak_mask(seconds(3), curve, np.array([1.999]), 1.0)[:, 0].tolist() == [0, 1, 0]


def test_the_search_radius_is_in_seconds_across_a_gap():
    times = np.array([0.0, 1.0, 1.5, 4.0])
    # 1.5 s has a past within 1 s, and no future
    assert not peak_mask(times, column(0, 0, 5, 0), np.array([1.0]), 1.0).any()
    assert peak_mask(times, column(0, 0, 5, 0), np.array([1.0]), 2.5)[:, 0].tolist() == [0, 0, 1, 0]


def test_a_radius_of_a_second_reaches_30_frames_whatever_the_rounding():
    times = 1e4 + np.arange(62) / 30
    values = np.full((62, 1), 5.0)
    values[[0, 60]] = 0.0
    assert (
        peak_mask(times, values, np.array([1.0]), 1.0)[:, 0].tolist()
        == [False] * 30 + [True] + [False] * 31
    )


@pytest.mark.parametrize(
    ("first", "second", "mu"),
    [
        ((0, 2), (1, 5), 0.5),  # 1 / min(2, 4)
        ((0, 4), (1, 2), 1.0),
        ((0, 4), (3, 9), 0.25),
        ((0, 1), (1, 2), 0.0),
        ((0, 1), (3, 4), 0.0),
        ((2, 2), (1, 3), 1.0),
        ((2, 2), (2, 2), 1.0),
        ((4, 4), (1, 3), 0.0),
    ],
)
def test_equation_25_by_hand(first, second, mu):
    assert overlap_index(first, second) == mu
    assert overlap_index(second, first) == mu


def spot_boxes(*boxes: tuple[int, int], overlap: float = 0.33) -> list[tuple[int, int, list[int]]]:
    """One AU a box, one sample a second."""
    values = np.stack([box(30, low, high) for low, high in boxes], axis=1)
    params = SpotParams(search_s=25.0, smooth_s=0.0, border=None, overlap=overlap)
    found = spot_window(seconds(30), values, np.ones(len(boxes)), params)
    return [(e.onset, e.offset, [a.au for a in e.aus]) for e in found]


def test_equation_26_unites_two_intervals():
    assert spot_boxes((2, 6), (5, 8)) == [(2, 8, [0, 1])]  # mu = 1/3 > 0.33
    assert spot_boxes((2, 6), (5, 8), overlap=0.34) == [(2, 6, [0]), (5, 8, [1])]


def test_fusion_goes_on_until_nothing_fuses():
    # mu of the first two is 1/4; each overlaps the third enough
    assert spot_boxes((2, 6), (5, 11)) == [(2, 6, [0]), (5, 11, [1])]
    assert spot_boxes((2, 6), (5, 11), (5, 7)) == [(2, 11, [0, 1, 2])]


def test_two_peaks_of_one_au_in_an_expression_become_one_span():
    values = np.stack([box(20, 3, 5) + box(20, 9, 11, 7.0), box(20, 3, 11)], axis=1)
    params = SpotParams(search_s=15.0, smooth_s=0.0, border=None)
    (found,) = spot_window(seconds(20), values, np.ones(2), params)
    twice, once = found.aus
    assert (twice.onset, twice.apex, twice.offset, twice.value) == (3, 9, 11, 7.0)
    assert (once.onset, once.offset) == (3, 11)


def test_the_apex_weighs_each_au_by_its_threshold():
    values = np.stack([column(0, 9, 6, 3, 0)[:, 0], column(0, 2, 4, 9, 0)[:, 0]], axis=1)
    params = SpotParams(search_s=4.0, smooth_s=0.0, border=None)
    # sums over theta (1, 1): 11, 10, 12; over (1, 1.9): 10.1, 8.1, 7.7
    assert spot_window(seconds(5), values, [1.0, 1.0], params)[0].apex == 3
    assert spot_window(seconds(5), values, [1.0, 1.9], params)[0].apex == 1


def test_half_a_second_is_macro_and_less_is_micro():
    params = SpotParams(search_s=1.0, smooth_s=0.0, border=None)
    for frames, kind in ((14, "micro"), (15, "macro")):
        values = box(80, 20, 20 + frames)[:, None]
        (found,) = spot_window(np.arange(80) / 30, values, [1.0], params)
        assert (found.offset - found.onset, found.kind) == (frames, kind)


# --------------------------------------------------------------------- borders


def spans(curve: np.ndarray, theta: float, search_s: float, border: float) -> list[tuple[int, int]]:
    params = SpotParams(search_s=search_s, smooth_s=0.0, border=border)
    found = spot_window(seconds(len(curve)), curve, [theta], params)
    return [(e.onset, e.offset) for e in found]


def test_borders_lie_at_a_share_of_the_height():
    curve = column(0, 0, 1, 3, 4, 1, 0, 0)  # run 3..4, base 0, P 4
    assert spans(curve, 2.0, 3.0, 0.3) == [(2, 5)]  # level 1.2
    assert spans(curve, 2.0, 3.0, 0.1) == [(1, 6)]  # level 0.4
    assert spans(curve, 2.0, 3.0, 0.0) == [(1, 6)]


def test_borders_stop_at_the_next_peak_of_the_same_au():
    # runs 3..3 and 5..7; the valley of 3 at 4 is above both levels of 0.5
    assert spans(column(0, 0, 0, 5, 3, 5, 5, 5, 0, 0), 1.0, 3.0, 0.1) == [(2, 4), (4, 8)]


def test_where_the_level_is_never_reached_the_lowest_point_is_the_offset():
    # run 1..1; within 2 s come 3 and 2, both above the level of 0.5
    assert spans(column(0, 5, 3, 2, 4, 4, 4), 1.0, 2.0, 0.1) == [(0, 3)]


@settings(max_examples=200, deadline=None)
@given(curves(), PARAMS)
def test_no_border_lies_further_than_the_search_radius_from_its_run(window, params):
    times, values, thetas = window
    curve = smooth(times, values.astype(np.float64), params.smooth_s)
    mask = peak_mask(times, curve, thetas, params.search_s)
    for found in spot_window(times, values, thetas, params):
        for span in found.aus:
            peaks = times[np.flatnonzero(mask[:, span.au])]
            assert min(abs(peaks - times[span.onset])) <= params.search_s + 1e-6
            assert min(abs(peaks - times[span.offset])) <= params.search_s + 1e-6
            assert found.onset <= span.onset <= span.apex <= span.offset <= found.offset
            assert mask[span.apex, span.au]


# ------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "wrong",
    [
        {"search_s": 0},
        {"overlap": 1.5},
        {"smooth_s": -1},
        {"border": 2},
        {"micro_s": 0},
        {"search_s": math.nan},
    ],
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpotParams(**wrong)


@pytest.mark.parametrize("thetas", [[], [0.0], [-1.0], [math.nan], [[1.0]]])
def test_thresholds_that_are_not_above_0_are_refused(thetas):
    with pytest.raises(ValueError, match="theta"):
        StreamingSpotter(thetas, SpotParams())


def test_a_window_that_does_not_fit_is_refused():
    good = column(0, 1, 0)
    with pytest.raises(ValueError, match="increase"):
        spot_window([0.0, 1.0, 1.0], good, [1.0], SpotParams())
    with pytest.raises(ValueError, match="fit"):
        spot_window(seconds(2), good, [1.0], SpotParams())
    with pytest.raises(ValueError, match="finite"):
        spot_window(seconds(3), column(0, math.nan, 0), [1.0], SpotParams())


def test_how_far_a_curve_has_risen_above_the_lowest_of_the_search_before():
    it = StreamingSpotter([2.0], PLAIN)  # m = 3 samples
    found = []
    for time, value in enumerate([4.0, 1.0, 3.0, 6.0, 5.0, 5.0, 5.0]):
        it.push(time, [value])
        found.append(it.rises)
    assert found[0] is None
    assert [rise[0] for rise in found[1:]] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [float(rise[1][0]) for rise in found[1:]] == [0.0, 1.0, 2.5, 2.0, 1.0, 0.0]
