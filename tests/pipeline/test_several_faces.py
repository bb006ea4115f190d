"""Several people before one camera, whole: composed synthetic video, the real FaceMesh."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bench.faces import Run, Sight, score, watch, whose
from models.synthesis import Expression, HeadMotion, Scene, SyntheticFace
from models.synthesis.group import Group, GroupVideo, Person, Place
from pipeline.build import build
from pipeline.config import Config, ConfigError, load
from pipeline.inline import InlineGraph
from stages.base import Stage
from stages.items import Face, FaceState, Frame, Interval, Stamp

FPS = 30.0
SECONDS = 14.6
BEHIND, FRONT = 0, 1
CROSSING = (2.2, 4.4)  # the one behind goes right, the one in front left
OUT = (6.6, 8.4)  # the one behind goes out of the picture and comes back at once
LONG_OUT = (9.8, 12.9)  # the other does, for longer than is remembered


def _expressions(starts: Iterable[float], d: float) -> tuple[Expression, ...]:
    aus = ((1, 2), (12,), (4,), (6, 12))
    return tuple(
        Expression(t, t + 0.2, t + 0.45, aus[k % 4], 0.042 * d) for k, t in enumerate(starts)
    )


def _video() -> GroupVideo:
    """Every expression while its person is in full view; never two at once."""
    head = HeadMotion(0.6, 0.4, 0.002, 6.0)
    behind = Person(
        Scene(1, _expressions((0.9, 5.0, 9.2, 10.9), 66), head=head, seed=1, eye_px=66),
        (
            *(Place(CROSSING[0], 150, 165), Place(CROSSING[1], 480, 165)),
            *(Place(OUT[0], 480, 165), Place(OUT[0] + 0.6, 700, 165)),
            *(Place(OUT[1] - 0.6, 700, 165), Place(OUT[1], 480, 165)),
        ),
        "biden",
    )
    front = Person(
        Scene(1, _expressions((1.6, 5.8, 7.4, 13.6), 60), head=head, seed=2, eye_px=60),
        (
            *(Place(CROSSING[0], 490, 172), Place(CROSSING[1], 160, 172)),
            *(Place(LONG_OUT[0], 160, 172), Place(LONG_OUT[0] + 0.7, -70, 172)),
            *(Place(LONG_OUT[1] - 0.7, -70, 172), Place(LONG_OUT[1], 160, 172)),
        ),
        "obama",
    )
    camera = Scene(SECONDS, noise=1.5, light=0.01, seed=11, fps=FPS, width=640, height=360)
    return GroupVideo(Group(camera, (behind, front)))


class _Tapped:
    """A stage whose output is kept."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.said: list[Any] = []

    def process(self, item: Any) -> list[Any]:
        self.said = list(self._stage.process(item))
        return self.said

    def flush(self) -> Iterable[Any]:
        return self._stage.flush()

    def reset(self) -> None:
        self._stage.reset()


@pytest.fixture(scope="module")
def watched() -> tuple[GroupVideo, Run, list[Interval]]:
    """More faces are looked for than there are; a lost one is remembered for 1.5 s."""
    video = _video()
    config = Config(faces=4, model=[], face={"remembered_s": 1.5})
    stages: dict[str, Any] = {name: build(name, config) for name in ("face", "motion", "spot")}
    tap = stages["face"] = _Tapped(stages["face"])
    graph, run, intervals = InlineGraph(stages), Run(), []
    for i in range(video.n_frames):
        made = graph.feed(Frame(Stamp("cam", i, i / FPS, 0, 0), video.frame(i)))
        intervals += [item for item in made if isinstance(item, Interval)]
        standing = video.standing(i)
        for item in tap.said:
            if isinstance(item, FaceState):
                run.states.append(item)
            elif isinstance(item, Face):
                run.sights.append(Sight(i, item.face, whose(item, standing)))
    intervals += [item for item in graph.flush() if isinstance(item, Interval)]
    run.events = [item for item in intervals if item.phase == "final"]
    return video, run, intervals


def _face_of(run: Run, person: int, before: float = SECONDS) -> int:
    """The last number that a person had before a time."""
    return [s.face for s in run.sights if s.person == person and s.frame < before * FPS][-1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_face_is_one_person_and_a_new_one_after_a_long_absence(
    watched: tuple[GroupVideo, Run, list[Interval]],
) -> None:
    _, run, _ = watched
    behind, front = (_face_of(run, person, 2.0) for person in (BEHIND, FRONT))
    assert run.switches() == 0
    assert all(sight.person is not None for sight in run.sights)
    assert _face_of(run, BEHIND) == behind  # through the crossing and the short absence
    assert _face_of(run, FRONT, LONG_OUT[0]) == front
    again = _face_of(run, FRONT)
    assert run.owners() == {behind: BEHIND, front: FRONT, again: FRONT}
    assert again == 2
    still = [s for s in run.sights if s.frame < 2 * FPS]
    assert len(still) == 2 * round(2 * FPS)  # FaceMesh sees both, and no third


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_faces_are_told_lost_and_found_when_they_are(
    watched: tuple[GroupVideo, Run, list[Interval]],
) -> None:
    video, run, _ = watched
    behind, front = (_face_of(run, person, 2.0) for person in (BEHIND, FRONT))
    visible: set[int] = set()
    for state in run.states:
        assert (state.face in visible) != state.visible
        (visible.add if state.visible else visible.discard)(state.face)
    told = {
        face: [(s.stamp.pts, s.visible) for s in run.states if s.face == face]
        for face in (behind, front, 2)
    }
    hidden = [i / FPS for i in range(video.n_frames) if video.standing(i)[BEHIND].seen < 0.1]
    losses = [t for t, is_found in told[behind] if not is_found]
    assert any(CROSSING[0] < t <= hidden[0] + 0.3 for t in losses)
    assert any(OUT[0] < t < OUT[1] for t in losses)
    assert told[behind][-1][1]
    assert LONG_OUT[0] < told[front][-1][0] < LONG_OUT[0] + 1.0
    assert not told[front][-1][1]
    assert LONG_OUT[1] - 0.6 < told[2][0][0] < LONG_OUT[1] + 0.7
    assert told[2] == [(told[2][0][0], True)]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_event_is_given_to_the_wrong_face(
    watched: tuple[GroupVideo, Run, list[Interval]],
) -> None:
    video, run, intervals = watched
    counts = score(video, run)
    assert counts.wrong == 0
    assert counts.found == counts.expected == 8
    for event in run.events:
        assert event.onset is not None and event.offset is not None
        frames = [
            s.frame
            for s in run.sights
            if s.face == event.face and event.onset.frame <= s.frame <= event.offset.frame
        ]
        # no event reaches across an absence, such as the crossing
        assert all(b - a <= 0.25 * FPS for a, b in pairwise(frames))
    closed: dict[str, list[str]] = {}
    for interval in intervals:
        closed.setdefault(interval.id, []).append(interval.phase)
        assert interval.id.split("/")[1] == str(interval.face)
    assert all(p[0] == "apex" and len(p) == 2 for p in closed.values())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_who_cross_in_front_of_a_third_leave_everybody_who_they_are() -> None:
    head = HeadMotion(0.6, 0.4, 0.002, 6.0)
    paths = (
        ("astronaut", (0.9, 5.8, 8.0), 56, (Place(0.0, 330, 150),)),
        ("biden", (1.5, 6.5), 66, (Place(2.4, 130, 170), Place(4.8, 520, 170))),
        ("obama", (2.1, 7.3), 63, (Place(2.6, 530, 165), Place(5.0, 135, 165))),
    )
    people = tuple(
        Person(Scene(1, _expressions(starts, d), head=head, seed=k, eye_px=d), path, name)
        for k, (name, starts, d, path) in enumerate(paths, 1)
    )
    video = GroupVideo(
        Group(Scene(9.5, noise=1.5, seed=51, fps=FPS, width=640, height=360), people)
    )
    run = watch(video, ["ours"])["ours"]
    assert sorted(run.owners().values()) == [0, 1, 2]
    counts = score(video, run)
    assert (counts.switches, counts.wrong) == (0, 0)
    assert counts.found == counts.expected == 7


def test_a_rebuilt_face_node_gives_no_number_again_where_there_are_several() -> None:
    face = SyntheticFace(Scene(0.2, width=320, height=240, eye_px=60))
    frame = Frame(Stamp("cam", 0, 0.0, 0, 0), face.frame(0))
    for faces, first in ((1, 0), (2, 3000)):
        stage = build("face", Config(faces=faces, model=[]), epoch=3)
        assert [item.face for item in stage.process(frame)] == [first, first]  # type: ignore[union-attr]


def test_how_long_a_face_is_remembered_has_bounds() -> None:
    with pytest.raises(ConfigError, match="remembered_s"):
        load(None, face={"remembered_s": 61})
    assert np.isclose(Config().face.remembered_s, 2.0)
