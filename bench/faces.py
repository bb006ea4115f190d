"""Several people before one camera: whose events are whose? Synthetic meetings with known truth.

Every frame goes once through FaceMesh; what it finds goes to two pipelines: faces identified as
``--faces K`` does, and by the nearest eye midpoint alone, as for one face.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import numpy as np

from bench.figures import Aim, Figure
from bench.report import Result, rounded, say
from models.errors import UserError
from models.synthesis.group import GroupVideo, Standing
from models.synthesis.meeting import kind_of, random_meeting
from models.synthesis.script import TrueExpression
from pipeline.build import build
from pipeline.config import Config
from pipeline.inline import InlineGraph
from stages.base import Stage
from stages.face import FaceStage
from stages.identity import Identify, Identities, Nearest
from stages.items import Face, FaceState, Floats, Frame, Interval, Stamp
from stages.landmarks import FaceMeshLandmarker

VARIANTS = ("nearest", "ours")
ROOM = 4  # faces looked for, more than there are
_SECONDS = 10.0
_CROSSING = ("cross", "pass", "small")  # one passes in front of the other
_THERE_D = 0.6  # a face farther than this from everybody is nobody's
_SEEN = 0.3  # share of a face in view from which on a face can be its
_TOLERANCE = 3  # frames by which an event may miss a true expression
_NEAR_D = 2.0  # whose expressions may leak into a face
_APART_D, _IN_VIEW = 1.6, 0.95  # expressions that are expected to be seen


@dataclass(frozen=True)
class Sight:
    """One face of one frame, and who it truly is; None: nobody."""

    frame: int
    face: int
    person: int | None


@dataclass
class Run:
    """What one variant made of a meeting."""

    sights: list[Sight] = field(default_factory=list)
    states: list[FaceState] = field(default_factory=list)
    events: list[Interval] = field(default_factory=list)  # final ones
    took_ms: list[float] = field(default_factory=list)  # identification, a look

    def owners(self) -> dict[int, int]:
        """Whose each face was at first."""
        owners: dict[int, int] = {}
        for sight in self.sights:
            if sight.person is not None:
                owners.setdefault(sight.face, sight.person)
        return owners

    def switches(self) -> int:
        """How often a face went over from one person to another."""
        count = 0
        for face in {sight.face for sight in self.sights}:
            people = [s.person for s in self.sights if s.face == face and s.person is not None]
            count += sum(a != b for a, b in pairwise(people))
        return count


@dataclass(frozen=True)
class Score:
    """Counts over one meeting, or over many.

    ``wrong``: events of a face while it was another person, or of another's expression nearby;
    ``false``: events without any expression; ``found`` of ``expected``: expressions in full view.
    """

    switches: int = 0
    faces: int = 0
    people: int = 0
    events: int = 0
    wrong: int = 0
    false: int = 0
    found: int = 0
    expected: int = 0

    def __add__(self, other: Score) -> Score:
        mine, others = vars(self), vars(other)
        return Score(**{name: mine[name] + others[name] for name in mine})


class _Found:
    """A landmarker that says what another one found."""

    def __init__(self) -> None:
        self.faces: list[Floats] = []

    def detect(self, image: Any, pts: float) -> list[Floats]:
        """See ``stages.landmarks.Landmarker``."""
        return self.faces

    def close(self) -> None:
        """Nothing to free."""


class _Timed:
    """Identification with a stop-watch."""

    def __init__(self, identify: Identify, took_ms: list[float]) -> None:
        self._identify = identify
        self._took_ms = took_ms
        self.tracks = identify.tracks

    def __call__(self, image: Any, eyes: Any, stamp: Stamp) -> Any:
        begun = perf_counter()
        known = self._identify(image, eyes, stamp)
        self._took_ms.append(1e3 * (perf_counter() - begun))
        self.tracks = self._identify.tracks
        return known

    def reset(self) -> None:
        """See ``Identify``."""
        self._identify.reset()


class _Overheard:
    """The face stage, and what it says."""

    def __init__(self, stage: FaceStage) -> None:
        self._stage = stage
        self.said: list[Face | FaceState] = []

    def process(self, item: Any) -> Iterable[Any]:
        self.said = list(self._stage.process(item))
        return self.said

    def flush(self) -> Iterable[Any]:
        return self._stage.flush()

    def reset(self) -> None:
        self._stage.reset()


class _Watched:
    """One variant's pipeline."""

    def __init__(self, name: str, found: _Found, config: Config) -> None:
        self.run = Run()
        identify = _Timed(Nearest() if name == "nearest" else Identities(), self.run.took_ms)
        self._face = _Overheard(FaceStage(found, config.faces, identify=identify))
        stages: dict[str, Stage] = {"face": self._face}
        stages |= {stage: build(stage, config) for stage in ("motion", "spot")}
        self._graph = InlineGraph(stages)

    def feed(self, frame: Frame, standing: Sequence[Standing]) -> None:
        self._take(self._graph.feed(frame))
        for item in self._face.said:
            if isinstance(item, FaceState):
                self.run.states.append(item)
            else:
                self.run.sights.append(Sight(frame.stamp.frame, item.face, whose(item, standing)))

    def flush(self) -> Run:
        self._take(self._graph.flush())
        return self.run

    def _take(self, items: Iterable[Any]) -> None:
        finals = (i for i in items if isinstance(i, Interval) and i.phase == "final")
        self.run.events += finals


def watch(video: GroupVideo, names: Sequence[str] = VARIANTS, faces: int = ROOM) -> dict[str, Run]:
    """A meeting through every variant, frame by frame."""
    landmarker, found = FaceMeshLandmarker(faces), _Found()
    config = Config(faces=faces, model=[])
    watched = {name: _Watched(name, found, config) for name in names}
    for i in range(video.n_frames):
        image, standing = video.frame(i), video.standing(i)
        found.faces = landmarker.detect(image, i / video.fps)
        for one in watched.values():
            one.feed(Frame(Stamp("group", i, i / video.fps, 0, 0), image), standing)
    landmarker.close()
    return {name: one.flush() for name, one in watched.items()}


def whose(face: Face, standing: Sequence[Standing]) -> int | None:
    """The person that a face truly is."""
    middle = (face.landmarks[33] + face.landmarks[263]) / 2
    near = [
        (float(np.hypot(*(np.array(one.middle) - middle))) / one.d, one.person)
        for one in standing
        if one.seen >= _SEEN
    ]
    off, person = min(near, default=(np.inf, None))
    return person if off <= _THERE_D else None


def score(video: GroupVideo, run: Run) -> Score:
    """Whose the events were, and whose they should be."""
    truth, owners = video.truth(), run.owners()
    wrong = false = 0
    found: set[tuple[int, int]] = set()
    for event in run.events:
        first, apex, last = _frames(event)
        people = {
            sight.person
            for sight in run.sights
            if sight.face == event.face and first <= sight.frame <= last
        } - {None}
        owner = owners.get(event.face)
        own = list(_overlapping(truth, owner, first, last))
        found.update(own)
        if people - {owner}:
            wrong += 1
        elif not own:
            others = _beside(video, owner, apex)
            if any(any(_overlapping(truth, other, first, last)) for other in others):
                wrong += 1
            else:
                false += 1
    expected = {
        (person, k)
        for person, expressions in enumerate(truth)
        for k, one in enumerate(expressions)
        if _in_view(video, person, one)
    }
    return Score(
        run.switches(),
        len({sight.face for sight in run.sights}),
        len(truth),
        len(run.events),
        wrong,
        false,
        len(found & expected),
        len(expected),
    )


def _frames(event: Interval) -> tuple[int, int, int]:
    assert event.onset is not None and event.offset is not None
    return event.onset.frame, event.apex.frame, event.offset.frame


def _overlapping(
    truth: Sequence[Sequence[TrueExpression]], person: int | None, first: int, last: int
) -> Iterator[tuple[int, int]]:
    """The person's expressions between two frames."""
    if person is None:
        return
    for k, one in enumerate(truth[person]):
        if one.onset - _TOLERANCE <= last and first <= one.offset + _TOLERANCE:
            yield person, k


def _beside(video: GroupVideo, person: int | None, frame: int) -> list[int]:
    """Who is near a person."""
    standing = video.standing(frame)
    if person is None:
        return [one.person for one in standing]
    return [
        one.person
        for one in standing
        if one.person != person and _distance(standing[person], one) <= _NEAR_D
    ]


def _distance(one: Standing, other: Standing) -> float:
    """In mean eye distances."""
    apart = np.hypot(*(np.array(one.middle) - np.array(other.middle)))
    return float(apart) * 2 / (one.d + other.d)


def _in_view(video: GroupVideo, person: int, one: TrueExpression) -> bool:
    for frame in (one.onset, one.apex, one.offset):
        standing = video.standing(frame)
        own = standing[person]
        others = (other for other in standing if other.person != person)
        if own.seen < _IN_VIEW or any(_distance(own, other) < _APART_D for other in others):
            return False
    return True


def _one(seed: int) -> tuple[dict[str, Score], dict[str, list[float]]]:
    video = GroupVideo(random_meeting(seed, duration_s=_SECONDS))
    runs = watch(video)
    scores = {name: score(video, run) for name, run in runs.items()}
    return scores, {name: run.took_ms for name, run in runs.items()}


def measure(count: int, seed: int = 1, jobs: int | None = None) -> list[Result]:
    """``count`` random meetings, both variants on the same frames.

    Raises:
        UserError: a number is out of range.
    """
    from bench.machine import cores

    if not (1 <= count <= 10_000 and seed >= 0 and (jobs is None or jobs >= 1)):
        raise UserError("faces: --meetings 1 to 10000, --seed 0 or more, --jobs 1 or more")
    totals = dict.fromkeys(VARIANTS, Score())
    took: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with ProcessPoolExecutor(min(count, jobs or cores()), get_context("spawn")) as pool:
        for k, (scores, times) in enumerate(pool.map(_one, range(seed, seed + count))):
            say(f"faces: meeting {k + 1} of {count}: {scores['ours']}")
            for name in VARIANTS:
                totals[name] += scores[name]
                took[name] += times[name]
    crossed = sum(kind_of(k) in _CROSSING for k in range(seed, seed + count))
    return [
        _table(totals, took, f"{count} synthetic meetings of {_SECONDS:g} s, {crossed} crossings")
    ]


def _table(totals: dict[str, Score], took: dict[str, list[float]], what: str) -> Result:
    columns = ["", "identity switches", "events to the wrong face", "events", "without expression",
               "expressions found", "faces for people", "ms a look"]  # fmt: skip
    table = Result(f"several people: {what}", columns)
    for name, total in totals.items():
        none = Aim("==", 0) if name == "ours" else None
        figures = [
            Figure(f"faces.{name}.switches", total.switches, portable=True, aim=none),
            Figure(f"faces.{name}.wrong", total.wrong, portable=True, aim=none),
            Figure(
                f"faces.{name}.found",
                total.found / max(total.expected, 1),
                portable=True,
                larger_is_better=True,
            ),
            Figure(f"faces.{name}.look_ms", float(np.median(took[name])), "ms"),
        ]
        table.add(
            [
                name,
                total.switches,
                total.wrong,
                total.events,
                total.false,
                f"{total.found} of {total.expected}",
                f"{total.faces} for {total.people}",
                rounded(figures[-1].value),
            ],
            *figures,
        )
    table.notes.append(
        "nearest: the eye midpoint alone, as for one face; ours: --faces 4. Same FaceMesh, same "
        "frames, same spotting. Expressions found: of those in full view with nobody nearer than "
        f"{_APART_D:g} eye distances. ms a look: identification of all faces of a frame, median."
    )
    return table
