"""``python -m bench flow`` and ``floors`` on a few frames (synthetic)."""

from __future__ import annotations

import numpy as np
import pytest

from bench import agreement, clip, floors, flow
from bench.agreement import Pair
from bench.report import document
from models.errors import UserError
from models.prototypes import load_default


def test_speed_and_parity_of_three_frames() -> None:
    speed, parity = flow.measure(count=3, repeat=2, windows=0)
    assert [row[0] for row in speed.rows] == ["OpenCV", "exact", "fast"]
    made = {figure.key: figure for figure in (*speed.figures, *parity.figures)}
    assert made["flow.fast.x_opencv"].aim is not None
    assert made["flow.fast.x_opencv"].portable
    assert made["flow.fast.x_opencv"].value > 1
    assert made["flow.exact.parity_px"].reached
    document("flow", [speed, parity])


def test_wrong_numbers_are_one_line() -> None:
    for wrong in ({"count": 1}, {"repeat": 0}, {"windows": -1}):
        with pytest.raises(UserError, match="flow:"):
            flow.measure(**wrong)


def test_windows_hold_their_expression_and_vary() -> None:
    made = agreement.windows(48)
    assert len({window.name for window in made if "demo" not in window.name}) == 48
    assert len(made) == 6 + 48
    assert {au for window in made for au in window.aus} >= {1, 2, 4, 7, 12, 14, 15, 17}
    assert len({window.portrait for window in made}) >= 3
    assert len({window.scene.identity for window in made}) > 10
    for window in made:
        times = window.first / 30, (window.last - 1) / 30
        inside = [e for e in window.scene.expressions if times[0] < e.apex_s < times[1]]
        assert [e.aus for e in inside] == [window.aus]
        assert all(times[0] < e.onset_s and e.offset_s < times[1] for e in inside)


def test_pearson_is_the_textbooks() -> None:
    a, b = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    da, db = a - a.mean(), b - b.mean()
    want = sum(x * y for x, y in zip(da, db, strict=True)) / np.sqrt((da**2).sum() * (db**2).sum())
    assert agreement.pearson(a, b) == pytest.approx(want)
    assert agreement.pearson(a, np.zeros(3)) == 0


def test_the_worst_curve_that_moves_decides() -> None:
    good = [Pair("w", 4, 0.999, 2.0)] * 19
    still = Pair("still", 7, 0.5, 0.3)
    bad = Pair("bad", 12, 0.99, 1.1)
    result = agreement.table({"paper": [*good, bad, still], "joint": [*good, still]}, 20)
    made = {figure.key: figure for figure in result.figures}
    assert made["flow.agreement.paper.worst"].value == 0.99
    assert made["flow.agreement.paper.worst"].reached is False
    assert made["flow.agreement.joint.worst"].reached
    assert made["flow.agreement.joint.scripted.worst"].value == 0.5
    assert made["flow.agreement.joint.scripted.worst"].aim is None
    assert made["flow.agreement.paper.median"].value == pytest.approx(0.999)
    assert [row[4] for row in result.rows] == [1, 2, 0, 1]
    assert "AU 12 in bad: 0.9900" in result.notes[0]
    agreement.table({"paper": [still]}, 1)


def test_a_curve_rises_from_the_reference() -> None:
    exact = np.array([1.0, 0.0, 7.0, 2.0])
    pair = agreement._pair("w", 4, 2 * exact, exact, theta=3.0)
    assert (pair.r, pair.rise) == (pytest.approx(1.0), pytest.approx(2.0))


@pytest.mark.slow
def test_both_flows_follow_a_brow() -> None:
    window = next(w for w in agreement.windows(4) if w.aus == (4,) and "demo" not in w.name)
    made = agreement.pairs(load_default(), window)
    assert {name: [pair.au for pair in some] for name, some in made.items()} == {
        "paper": [4],
        "joint": [4],
    }
    assert all(pair.r > 0.97 for some in made.values() for pair in some)


def test_floors_grow_with_what_is_counted() -> None:
    few, many = ({n.stage: n for n in floors.needs(size)} for size in (50, 100))
    assert many["matching"].operations > few["matching"].operations
    assert few["crops"].bytes == 5 * (280 * 240 + 260 * 160)
    assert few["messages"].bytes == 640 * 480 * 3
    assert all(need.bytes > 0 and need.operations >= 0 for need in few.values())


def test_every_other_frame_counts_half() -> None:
    assert floors.typical([100.0] * 10 + [0.0, 4.0] * 50) == pytest.approx(196 / 99)
    assert floors.typical([3.0]) == 3.0


@pytest.mark.slow
def test_floor_and_reached_of_a_short_clip() -> None:
    count, gaps = floors.measure(clip.rendered(clip.scene(1.0)))
    assert [row[0] for row in gaps.rows] == ["decode", "face", "motion", "spot", "messages", "all"]
    assert all(float(row[2]) > 0 for row in gaps.rows)
    document("floors", [count, gaps])
