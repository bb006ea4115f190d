"""Which face is which: crossings, absence, order, jitter, lookalikes. Scripted data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import identity
from stages.face import FaceStage
from stages.identity import Identities, Nearest
from stages.items import FaceState, Frame, Stamp
from tests.stages.crowd import FPS, Actor, Finds, Play, away, landmarks, stays, walks


def _crossing(looks: tuple[int, int] = (1, 2), seconds: float = 1.5) -> list[Actor]:
    """Two change places; the second passes in front."""
    end = 1.0 + seconds
    return [
        Actor(walks(130, 510, 1.0, end), looks[0]),
        Actor(walks(510, 130, 1.0, end, 165.0), looks[1]),
    ]


@pytest.mark.parametrize("seconds", [0.8, 2.0])
def test_faces_that_cross_keep_their_numbers_and_the_hidden_one_is_lost_meanwhile(
    seconds: float,
) -> None:
    play = Play(_crossing(seconds=seconds)).run(seconds + 2.5)
    assert sorted(play.people().values(), key=min) == [{0}, {1}]
    for face in (0, 1):
        told = [visible for _, which, visible in play.states if which == face]
        assert told == [k % 2 == 0 for k in range(len(told))]
        assert told[-1] and len(told) > 1
        assert len(play.seen[face]) > 0.6 * FPS * (seconds + 2.5)
    middle = 1.0 + seconds / 2  # one behind the other
    apart = 380 / seconds  # px/s, each
    both = {round(t, 3) for t, _ in play.seen[0]} & {round(t, 3) for t, _ in play.seen[1]}
    assert not any(2 * apart * abs(t - middle) < 60 for t in both)


def test_the_nearest_midpoint_alone_would_take_one_for_the_other() -> None:
    """The landmarker follows the face behind and slides over to the one in front."""
    actors = _crossing()

    def slides(t: float, found: Finds) -> Finds:
        # at first, behind the front: it is taken for the one that was followed
        return found if len(found) == 2 else found[:1]

    plain = Play(actors, identify=Nearest()).run(4.0, slides)
    assert any(len(who) > 1 for who in plain.people().values())
    ours = Play(actors).run(4.0, slides)
    assert all(len(who) == 1 for who in ours.people().values())


def test_a_find_between_two_faces_is_nobodys() -> None:
    """While they overlap, the landmarker lays one mesh over both."""
    actors = _crossing()

    def both(t: float, found: Finds) -> Finds:
        (xa, ya), (xb, yb) = (actor.at(t) for actor in actors)  # type: ignore[misc]
        if abs(xa - xb) > 90:
            return found
        return [((xa + xb) / 2 + 12, (ya + yb) / 2, 85.0)]

    play = Play(actors).run(4.0, both)
    assert all(len(who) == 1 for who in play.people().values())
    assert len(play.people()) == 2
    overlapping = [t for seen in play.seen.values() for t, _ in seen if 1.62 < t < 1.86]
    assert not overlapping


def test_lookalikes_that_cross_become_new_faces_rather_than_each_other() -> None:
    """They stop one behind the other: nobody can know who comes out on which side."""
    actors = [
        Actor(lambda t: (130 + 190 * min(t, 1.0) + 190 * max(t - 2.0, 0.0), 160), 1),
        Actor(lambda t: (510 - 190 * min(t, 1.0) - 190 * max(t - 2.0, 0.0), 160), 1),
    ]
    play = Play(actors).run(3.0)
    assert all(len(who) == 1 for who in play.people().values())
    assert len(play.people()) >= 4
    other = Play([actors[0], Actor(actors[1].at, 2)]).run(3.0)
    assert sorted(other.people().values(), key=min) == [{0}, {1}]


def test_lookalikes_side_by_side_stay_who_they_are() -> None:
    actors = [Actor(walks(100, 270, 0.5, 2.0), 1), Actor(walks(540, 370, 0.5, 2.0), 1)]
    play = Play(actors).run(3.0)
    assert sorted(play.people().values(), key=min) == [{0}, {1}]
    assert [state[1:] for state in play.states] == [(0, True), (1, True)]


def test_a_face_that_returns_within_the_time_keeps_its_number_wherever_it_returns() -> None:
    there = walks(130, 330, 1.2, 1.3)
    actors = [Actor(away(there, 1.0, 2.5), 1), Actor(stays(540), 2)]
    play = Play(actors).run(4.0)
    assert sorted(play.people().values(), key=min) == [{0}, {1}]
    mine = next(face for face, who in play.people().items() if who == {0})
    assert [(face, visible) for t, face, visible in play.states if t > 0] == [
        (mine, False),
        (mine, True),
    ]


@pytest.mark.parametrize(("remembered_s", "faces"), [(2.0, 3), (5.0, 2)])
def test_a_face_that_returns_later_is_new(remembered_s: float, faces: int) -> None:
    actors = [Actor(away(stays(130), 1.0, 4.0), 1), Actor(stays(540), 2)]
    play = Play(actors, identify=Identities(remembered_s)).run(5.0)
    assert len(play.people()) == faces
    assert all(len(who) == 1 for who in play.people().values())


def test_a_stranger_in_the_same_seat_is_new() -> None:
    actors = [Actor(away(stays(200), 1.0, 9.0), 1), Actor(away(stays(204), 0.0, 1.4), 2)]
    play = Play(actors).run(3.5)
    assert play.people() == {0: {0}, 1: {1}}


def test_a_stranger_who_steps_in_front_does_not_inherit_the_number() -> None:
    """The landmarker goes on without a gap: same place, same size, another face."""
    actors = [Actor(away(stays(200), 1.0, 9.0), 1), Actor(away(stays(202), 0.0, 1.0), 2)]
    play = Play(actors).run(3.0)
    assert play.people() == {0: {0}, 1: {1}}
    assert [state[1:] for state in play.states] == [(0, True), (0, False), (1, True)]


def test_light_and_a_slow_change_of_looks_make_nobody_new() -> None:
    play = Play([Actor(stays(200), 1), Actor(stays(300), 2)])
    play.run(3.0, gain=lambda t: 1.0 if t < 1 else 0.5 + 0.1 * np.sin(9 * t))
    assert play.people() == {0: {0}, 1: {1}} or play.people() == {0: {1}, 1: {0}}
    assert len(play.states) == 2


def test_one_much_smaller_face_is_followed_beside_a_large_one() -> None:
    actors = [Actor(walks(520, 120, 0.5, 2.5, 140.0), 1, 30.0), Actor(stays(320), 2, 90.0)]
    play = Play(actors).run(3.5)
    assert sorted(play.people().values(), key=min) == [{0}, {1}]


def test_two_finds_of_one_face_are_one_face() -> None:
    play = Play([Actor(stays(200), 1), Actor(stays(450), 2)], max_faces=4)
    play.run(2.0, lambda t, found: [*found, (found[0][0] + 8, found[0][1], 78.0)])
    assert len(play.people()) == 2


def test_numbers_are_never_given_twice() -> None:
    actors = [Actor(away(stays(100 + 130 * k), 0.0, 0.5 * k), k) for k in range(4)]
    gone = [Actor(away(actor.at, 0.5 * k + 0.5, 9), actor.looks) for k, actor in enumerate(actors)]
    identify = Identities(remembered_s=0.0, first=7)
    play = Play(gone, identify=identify).run(3.0)
    assert list(play.people()) == [7, 8, 9, 10]
    identify.reset()
    assert not identify.tracks


def test_a_face_that_was_not_looked_for_is_lost_even_when_little_is_remembered() -> None:
    play = Play([Actor(away(stays(200), 1.0, 2.0), 1)], identify=Identities(0.1)).run(3.0)
    assert [state[1:] for state in play.states] == [(0, True), (0, False), (1, True)]


def test_a_jump_in_source_time_loses_every_face_before_it_finds_new_ones() -> None:
    class Still:
        def detect(self, image: np.ndarray, pts: float) -> list[np.ndarray]:
            return [landmarks(200, 200, 60)]

        def close(self) -> None:
            return None

    image = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8)
    for faces in (1, 2):
        stage = FaceStage(Still(), max_faces=faces)
        out = [
            item
            for i, pts in enumerate((0.0, 0.1, 9.0))
            for item in stage.process(Frame(Stamp("cam", i, pts, 0, 0), image))
        ]
        states = [(o.face, o.visible) for o in out if isinstance(o, FaceState)]
        assert states == [(0, True), (0, False), (1, True)]


def test_one_face_costs_no_look_at_its_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("one face is not compared")

    monkeypatch.setattr(identity, "likeness", never)
    play = Play([Actor(stays(200), 1)], max_faces=1).run(0.5)
    assert play.people() == {0: {0}}


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    people=st.integers(2, 4),
    alike=st.booleans(),
    jitter=st.floats(0, 0.04),
    missed=st.floats(0, 0.2),
)
def test_faces_far_from_each_other_never_change_numbers(
    seed: int, people: int, alike: bool, jitter: float, missed: float
) -> None:
    """Whatever the order, with jitter (of d) and misses; even where all look alike."""
    rng = np.random.default_rng(seed)
    d = 34.0
    columns = rng.permutation(4)[:people]
    phases, speeds = rng.uniform(0, 6, (2, people))

    def path(k: int) -> Actor:
        x, swing = 80 + 160 * float(columns[k]), 0.6 * d
        return Actor(
            lambda t: (
                x + swing * float(np.sin(speeds[k] * 0.4 * t + phases[k])),
                160 + swing * float(np.cos(speeds[k] * 0.5 * t)),
            ),
            0 if alike else k,
            d,
        )

    def shaken(t: float, found: Finds) -> Finds:
        kept = [find for find in found if t == 0 or rng.random() >= missed]
        return [
            (x + d * rng.normal(0, jitter), y + d * rng.normal(0, jitter), size)
            for x, y, size in kept
        ]

    play = Play([path(k) for k in range(people)], seed, max_faces=4).run(1.0, shaken)
    assert all(len(who) == 1 for who in play.people().values())
    assert len(play.people()) == people
