"""Which face is which from frame to frame.

One face: the nearest one is it. Several cross, hide each other and come back, and a landmarker
that follows one may slide over to another. They are told apart by where they should be, by size
and by what they look like, all faces at once; an answer that is not clear is none: a face of
which it is not known whose it is belongs to nobody, and is lost if that lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stages.items import Floats, Stamp
from stages.likeness import likeness
from stages.region import Similarity
from stages.tracks import Point, Track

_NEAR_D = 1.5  # one face: "near" is within so many eye distances
# several faces: costs are squared standard deviations
_PLACE_D = (0.1, 1.5)  # sd of a place, d: at once, and per second unseen
_SIZE = (0.08, 0.4)  # sd of log d, likewise
_LIKE, _LIKE_SD = 0.95, 0.055  # likeness of a face to itself
_UNKNOWN = 6.0  # what unlikeness costs at most while a face is young and alone
_WORST = 16.0  # a pair that costs more is none
_ELSEWHERE = 14.0  # what any place costs at most, once a face was lost
_MARGIN = 8.0  # another answer that costs so little more leaves it open
_ITSELF = 0.8  # least likeness of a face that others have come near to
_LEARNT = 0.9  # from this likeness on a look is learnt even while others are near
_CLOSE_D = 2.2  # faces within so many mean eye distances of each other are near
_MIXED_D = (1.3, 1.5)  # nearer, they overlap; apart again from the second on
_SAME_D = 0.4  # two finds this near are one face
_RECENT_S = 1.0  # a find beside a face seen so recently may be that face, badly seen
_STEADY_S = 0.4  # so may any while a face is missed, unless it looks alike for so long
_STEADY = 0.9  # from look to look
_NEVER = 1e6

Costs = npt.NDArray[np.float64]


class Identify(Protocol):
    """Gives faces their numbers."""

    tracks: list[Track]

    def __call__(
        self, image: npt.NDArray[np.uint8], eyes: Sequence[Similarity], stamp: Stamp
    ) -> dict[int, Track]:
        """The track of each face found, by its index; faces that are nobody's are left out."""
        ...

    def reset(self) -> None:
        """Forget every face, and the numbers given."""
        ...


class Nearest:
    """The track whose eye midpoint is nearest, nearest pair first; new ones for the rest.

    Args:
        remembered_s: a face that returns near its place within this time is the same.
        first: number of the first face.
    """

    def __init__(self, remembered_s: float = 2.0, first: int = 0) -> None:
        self._remembered_s = remembered_s
        self._first = self._next = first
        self.tracks: list[Track] = []

    def __call__(
        self, image: npt.NDArray[np.uint8], eyes: Sequence[Similarity], stamp: Stamp
    ) -> dict[int, Track]:
        """See ``Identify``."""
        self.tracks = _remembered(self.tracks, stamp, self._remembered_s)
        distances = sorted(
            (float(np.hypot(*(np.array(s.origin) - t.middle))) / t.d, i, k)
            for i, s in enumerate(eyes)
            for k, t in enumerate(self.tracks)
        )
        pairs: dict[int, Track] = {}
        taken: set[int] = set()
        for distance, i, k in distances:
            alone = len(eyes) == 1 and len(self.tracks) == 1
            if i not in pairs and k not in taken and (distance <= _NEAR_D or alone):
                pairs[i] = self.tracks[k]
                taken.add(k)
        for i, eye in enumerate(eyes):
            if i not in pairs:
                pairs[i] = Track.new(self._next, eye, stamp)
                self._next += 1
                self.tracks.append(pairs[i])
        return pairs

    def reset(self) -> None:
        """See ``Identify``."""
        self.tracks.clear()
        self._next = self._first


@dataclass(frozen=True, eq=False)
class _Find:
    """A face that the landmarker found."""

    index: int
    eye: Similarity
    likeness: Floats


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A find beside another face that is no track yet."""

    find: _Find
    since: float  # source time, s


class Identities:
    """Several faces: place, speed, size and looks; the best assignment of all, if it is clear.

    Args:
        remembered_s: a face that returns within this time is the same, if it looks the same.
        first: number of the first face; numbers are given once.
    """

    def __init__(self, remembered_s: float = 2.0, first: int = 0) -> None:
        self._remembered_s = remembered_s
        self._first = self._next = first
        self.tracks: list[Track] = []
        self._waiting: list[_Waiting] = []

    def __call__(
        self, image: npt.NDArray[np.uint8], eyes: Sequence[Similarity], stamp: Stamp
    ) -> dict[int, Track]:
        """See ``Identify``."""
        self.tracks = _remembered(self.tracks, stamp, self._remembered_s)
        finds = [_Find(i, eye, likeness(image, eye)) for i, eye in enumerate(eyes)]
        self._doubt(finds, stamp.pts)
        costs = self._costs(finds, stamp.pts)
        kept = _single(finds, costs)
        finds, costs = [finds[i] for i in kept], costs[kept]
        known: dict[int, Track] = {}
        for i, k in _clear(costs):
            find, track = finds[i], self.tracks[k]
            if track.sure or _alike(find, track) >= _ITSELF:
                known[find.index] = track
                self._follow(track, find, finds, stamp)
        born = self._new(finds, known, stamp)
        self._give_up([i for i, find in enumerate(finds) if find.index in born], costs)
        self.tracks += born.values()
        return {i: track for i, track in (known | born).items() if not track.mixed}

    def reset(self) -> None:
        """See ``Identify``."""
        self.tracks.clear()
        self._waiting.clear()
        self._next = self._first

    def _doubt(self, finds: Sequence[_Find], pts: float) -> None:
        """Faces that others come near to must look like themselves from now on."""
        for track in self.tracks:
            place = track.expected(pts)
            beside = sum(_apart(place, track.d, find.eye) <= _CLOSE_D for find in finds) > 1
            if beside or not track.visible or self._beside(track, pts):
                track.sure = False

    def _beside(self, track: Track, pts: float) -> bool:
        """Whether another visible face should be near."""
        place = track.expected(pts)
        others = (t for t in self.tracks if t.visible and t is not track)
        return any(
            float(np.hypot(*(place - t.expected(pts)))) <= _CLOSE_D * (t.d + track.d) / 2
            for t in others
        )

    def _costs(self, finds: Sequence[_Find], pts: float) -> Costs:
        """What it costs to take a find for a track, (finds, tracks)."""
        costs = np.full((len(finds), len(self.tracks)), _NEVER)
        for k, track in enumerate(self.tracks):
            expected, unseen = track.expected(pts), pts - track.at
            for i, find in enumerate(finds):
                off = _apart(expected, track.d, find.eye)
                place = (off / (_PLACE_D[0] + _PLACE_D[1] * unseen)) ** 2
                grown = np.log(find.eye.d / track.d)
                place += (grown / (_SIZE[0] + _SIZE[1] * unseen)) ** 2
                if not track.visible:
                    place = min(place, _ELSEWHERE)
                unlike = (max(0.0, _LIKE - _alike(find, track)) / _LIKE_SD) ** 2
                if track.sure and track.young(pts):
                    unlike = min(unlike, _UNKNOWN)
                costs[i, k] = place + unlike
        return costs

    def _overlaps(
        self, find: _Find, track: Track | None, finds: Sequence[_Find], pts: float
    ) -> bool:
        """Whether another face, found or expected, lies over this one."""
        middle, d = np.array(find.eye.origin), find.eye.d
        nearest = _MIXED_D[0] if track is not None and track.visible else _MIXED_D[1]
        if any(_apart(middle, d, f.eye) < nearest for f in finds if f is not find):
            return True
        return any(
            _apart(other.expected(pts), other.d, find.eye) < nearest
            for other in self.tracks
            if other.visible and other is not track
        )

    def _follow(self, track: Track, find: _Find, finds: Sequence[_Find], stamp: Stamp) -> None:
        """``track`` is seen as ``find``; where it is alone, it is sure again."""
        middle, d = np.array(find.eye.origin), find.eye.d
        near = any(_apart(middle, d, f.eye) <= _CLOSE_D for f in finds if f is not find)
        alone = not near and not self._beside(track, stamp.pts)
        if alone or _alike(find, track) >= _LEARNT:
            track.learn(find.likeness, stamp.pts)
        track.sure = track.sure or alone
        track.mixed = self._overlaps(find, track, finds, stamp.pts)
        track.newest = find.likeness
        track.place(find.eye, stamp.pts)

    def _new(
        self, finds: Sequence[_Find], known: dict[int, Track], stamp: Stamp
    ) -> dict[int, Track]:
        """New faces among the rest: those that cannot be a known one, badly seen."""
        born: dict[int, Track] = {}
        waiting: list[_Waiting] = []
        missed = any(not track.visible for track in self.tracks if track not in known.values())
        for find in finds:
            if find.index in known:
                continue
            since = self._waits_since(find, stamp.pts)
            may_be_known = missed or self._beside_a_recent(find, stamp.pts)
            mixed = bool(self.tracks) and self._overlaps(find, None, finds, stamp.pts)
            if mixed or (may_be_known and stamp.pts - since < _STEADY_S):
                waiting.append(_Waiting(find, since))
                continue
            track = Track.new(self._next, find.eye, stamp)
            track.learn(find.likeness, stamp.pts)
            track.newest = find.likeness
            born[find.index] = track
            self._next += 1
        self._waiting = waiting
        return born

    def _give_up(self, born: Sequence[int], costs: Costs) -> None:
        """Forget whom a new face could have been as well: it will not be known any more."""
        self.tracks = [
            track
            for k, track in enumerate(self.tracks)
            if track.visible or all(costs[i, k] > _WORST for i in born)
        ]

    def _beside_a_recent(self, find: _Find, pts: float) -> bool:
        return any(
            pts - track.at <= _RECENT_S
            and _apart(track.expected(pts), track.d, find.eye) <= _CLOSE_D
            for track in self.tracks
        )

    def _waits_since(self, find: _Find, pts: float) -> float:
        """Since when this find is there and looks alike."""
        return min(
            (
                known.since
                for known in self._waiting
                if _apart(np.array(known.find.eye.origin), known.find.eye.d, find.eye) <= _SAME_D
                and float(known.find.likeness @ find.likeness) >= _STEADY
            ),
            default=pts,
        )


def _remembered(tracks: Sequence[Track], stamp: Stamp, remembered_s: float) -> list[Track]:
    return [t for t in tracks if t.visible or stamp.pts - t.at <= remembered_s]


def _apart(middle: Point, d: float, eye: Similarity) -> float:
    """Between a place and a find, in their mean eye distance."""
    return float(np.hypot(*(middle - np.array(eye.origin)))) * 2 / (d + eye.d)


def _alike(find: _Find, track: Track) -> float:
    """Likeness to the face of ``track``; as long as it is sure, its newest look counts as well."""
    assert track.likeness is not None and track.newest is not None
    like = float(find.likeness @ track.likeness)
    return max(like, float(find.likeness @ track.newest)) if track.sure else like


def _single(finds: Sequence[_Find], costs: Costs) -> list[int]:
    """Which finds to keep: of two of one face the one that is more like a face known."""
    kept: list[int] = []
    best = costs.min(axis=1, initial=_NEVER)
    for i in sorted(range(len(finds)), key=lambda i: best[i]):
        eye = finds[i].eye
        if all(_apart(np.array(finds[j].eye.origin), finds[j].eye.d, eye) > _SAME_D for j in kept):
            kept.append(i)
    return sorted(kept)


def _clear(costs: Costs) -> list[tuple[int, int]]:
    """The cheapest pairs (find, track), without those that another answer would change."""
    finds, tracks = costs.shape
    as_new = np.full((finds, finds), _WORST)
    rows, columns = _cheapest(np.hstack([costs, as_new]))
    pairs = [(int(i), int(k)) for i, k in zip(rows, columns, strict=True) if k < tracks]
    return [pair for pair in pairs if not _open(costs, pairs, pair)]


def _open(costs: Costs, pairs: Sequence[tuple[int, int]], pair: tuple[int, int]) -> bool:
    """Whether the same finds, or the same tracks, can be paired otherwise for little more."""
    finds, tracks = (list(some) for some in zip(*pairs, strict=True))
    other = costs.copy()
    other[pair] = _NEVER
    for part in (other[finds], other[:, tracks]):
        if part[_cheapest(part)].sum() - costs[finds, tracks].sum() < _MARGIN:
            return True
    return False


def _cheapest(costs: Costs) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    from scipy.optimize import linear_sum_assignment  # not at import: one face does without it

    rows, columns = linear_sum_assignment(costs)
    return rows, columns
