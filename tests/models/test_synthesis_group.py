"""Several synthetic people: frames by index alone, truth of each."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest

from models.synthesis import Expression, Scene
from models.synthesis.group import Group, GroupVideo, Person, Place
from models.synthesis.meeting import Kind, kind_of, random_meeting


def _person(path: tuple[Place, ...], portrait: str = "biden", **scene: object) -> Person:
    return Person(Scene(1.0, eye_px=40.0, **scene), path, portrait)  # type: ignore[arg-type]


def _pair() -> Group:
    """The second passes in front of the first, who stays and leaves at the end."""
    first = _person(
        (Place(1.0, 100, 80), Place(1.2, -90, 80)),
        expressions=(Expression(0.2, 0.4, 0.6, (4,), 2),),
    )
    second = _person((Place(0.0, 220, 80), Place(0.8, 100, 80)), "obama")
    return Group(Scene(1.4, noise=1.0, seed=3, fps=20, width=320, height=180), (first, second))


@pytest.fixture(scope="module")
def video() -> GroupVideo:
    return GroupVideo(_pair())


def test_frames_depend_on_the_index_alone(video: GroupVideo) -> None:
    frames = [video.frame(i) for i in (0, 9, 20)]
    again = GroupVideo(_pair())
    for i, frame in zip((20, 9, 0), reversed(frames), strict=True):
        assert frame.shape == (180, 320, 3)
        assert np.array_equal(again.frame(i), frame)
    other = replace(_pair(), camera=replace(_pair().camera, seed=4))
    assert not np.array_equal(GroupVideo(other).frame(0), frames[0])


def test_everybody_stands_where_the_path_says_and_the_front_covers(video: GroupVideo) -> None:
    first, second = video.standing(0)
    assert first.middle == pytest.approx((100, 80), abs=1)
    assert second.middle == pytest.approx((220, 80), abs=1)
    assert first.d == pytest.approx(40, abs=1)
    assert (first.seen, second.seen) == pytest.approx((1, 1), abs=0.03)
    first, second = video.standing(18)
    assert first.seen < 0.05
    assert second.seen > 0.95
    assert video.standing(27)[0].seen == 0  # out of the picture


def test_a_person_in_front_is_what_the_picture_shows(video: GroupVideo) -> None:
    alone = GroupVideo(replace(_pair(), people=_pair().people[1:]))
    face = np.s_[60:110, 85:115]
    assert np.array_equal(alone.frame(18)[face], video.frame(18)[face])
    assert not np.array_equal(alone.frame(2)[face], video.frame(2)[face])


def test_truth_is_everybodys_own(video: GroupVideo) -> None:
    first, second = video.truth()
    assert [(e.onset, e.apex, e.offset) for e in first] == [(4, 8, 12)]
    assert second == []
    still = GroupVideo(
        replace(_pair(), people=(replace(_pair().people[0], scene=Scene(1, eye_px=40)),))
    )
    moved = GroupVideo(replace(_pair(), people=_pair().people[:1]))
    assert np.array_equal(still.frame(0), moved.frame(0))
    assert not np.array_equal(still.frame(8), moved.frame(8))


def test_a_path_or_a_scene_that_says_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="path"):
        _person(())
    with pytest.raises(ValueError, match="path"):
        _person((Place(1, 0, 0), Place(1, 5, 5)))
    with pytest.raises(ValueError, match="eye_px"):
        Person(Scene(1.0), (Place(0, 0, 0),))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_random_meetings_are_drawn_from_the_seed_and_do_what_they_say(kind: Kind) -> None:
    group = random_meeting(5, kind)
    assert group == random_meeting(5, kind)
    assert group != random_meeting(6, kind)
    assert random_meeting(5) == random_meeting(5, kind_of(5))
    times = np.arange(0, 10, 0.05)
    a, b = (np.array([(p.x, p.y) for p in map(person.at, times)]) for person in group.people[:2])
    d = np.mean([person.scene.eye_px for person in group.people])
    nearest = np.hypot(*(a - b).T).min() / d
    changed = np.sign(a[0, 0] - b[0, 0]) != np.sign(a[-1, 0] - b[-1, 0])
    assert changed == (kind in ("cross", "small", "pass"))
    if changed:
        assert nearest < 0.7
    if kind == "close":
        assert 1.6 < nearest < 2.1
    if kind in ("away", "long_away"):
        out = 0.05 * float((a[:, 0] < 0).sum())
        assert (out > 2.4) == (kind == "long_away")
    spans = sorted(
        (e.onset_s, e.offset_s) for person in group.people for e in person.scene.expressions
    )
    assert all(x[1] < y[0] for x, y in pairwise(spans))


def test_an_unknown_or_too_short_meeting_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        random_meeting(1, "fight")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least"):
        random_meeting(1, duration_s=3)
