"""A closure of the lids is a blink, or eyes that stay shut."""

from __future__ import annotations

import pytest

from stages.blinks import Blinks
from stages.items import Blink, Stamp


def _closures(openings: list[float], fps: float = 30.0) -> list[Blink]:
    blinks = Blinks()
    made = []
    for i, opening in enumerate(openings):
        stamp = Stamp("cam", i, i / fps, 0, 0)
        found = blinks(stamp, opening < 0.9, opening, face=2)
        if found is not None:
            made.append(found)
    return made


def test_a_blink_is_au_45_from_the_last_open_frame_to_the_first() -> None:
    (blink,) = _closures([1.0, 1.0, 0.8, 0.3, 0.6, 1.0, 1.0])
    assert (blink.au, blink.face) == (45, 2)
    assert [s.frame for s in (blink.onset, blink.apex, blink.offset)] == [1, 3, 5]
    assert blink.depth == pytest.approx(0.7)


@pytest.mark.parametrize(("shut_frames", "au"), [(13, 45), (16, 43)])
def test_eyes_that_stay_shut_for_more_than_half_a_second_are_au_43(
    shut_frames: int, au: int
) -> None:
    (closure,) = _closures([1.0] + [0.2] * shut_frames + [1.0])
    assert closure.au == au


def test_two_blinks_are_two_and_a_closure_that_has_not_ended_is_none_yet() -> None:
    assert len(_closures([1.0, 0.5, 1.0, 0.5, 1.0])) == 2
    assert not _closures([1.0, 1.0, 0.4, 0.2])


def test_eyes_shut_from_the_first_frame_count_from_there() -> None:
    (closure,) = _closures([0.2, 0.2, 1.0])
    assert closure.onset.frame == 0
