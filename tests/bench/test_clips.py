from __future__ import annotations

import pytest

from bench.clips import iou, matches
from bench.report import Result, percentile_cells, show


def test_iou_counts_closed_frame_intervals() -> None:
    assert iou((10, 19), (15, 24)) == pytest.approx(5 / 15)
    assert iou((10, 19), (20, 24)) == 0
    assert iou((3, 3), (3, 3)) == 1


def test_one_prediction_matches_one_truth() -> None:
    truth = [(0, 10), (0, 10)]
    assert matches(truth, [(0, 10)], 0.5) == 1
    assert matches([(0, 10)], [(0, 10), (1, 10)], 0.5) == 1
    assert matches(truth, [(0, 10), (2, 10)], 0.5) == 2
    assert matches([(0, 10)], [(0, 4)], 0.5) == 0


def test_tables_print_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("t", ["a", "b"], [["x", 1.5]], ["note"])
    for form in ((False, False), (True, False), (False, True)):
        show([result], *form)
        printed = capsys.readouterr().out
        assert "1.5" in printed
        assert "note" in printed
    assert percentile_cells([]) == ["-", "-", "-", 0]
    assert percentile_cells(range(101)) == [50, 95, 99, 101]
