"""``python -m bench``: a user's mistake is one line."""

from __future__ import annotations

import numpy as np
import pytest

from bench.__main__ import app
from bench.directions import Answers, _summary
from pipeline.cli import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spotting", "--nope"], "--nope"),
        (["directions", "--degrees", "40"], "at most 15"),
        (["spotting", "--minutes", "-1"], "minutes"),
        (["nothing"], "nothing"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments, app, "bench") == 2
    err = capsys.readouterr().err
    assert err.startswith("bench: ")
    assert said in err
    assert err.count("\n") == 1


def test_the_head_shake_is_summed_up_over_the_aus_that_both_methods_know() -> None:
    paper = Answers((1, 4), np.array([[2.0, 0.0]] * 8))
    ours = Answers((1, 4, 26), np.array([[0.0, 0.5, 9.0]] * 8))
    table = _summary({"paper": paper, "ours": ours})
    assert table.rows == [["paper", 1.0, 2.0, "8 of 16"], ["ours", 0.25, 0.5, "8 of 16"]]
