"""Scoring of spotted against annotated intervals (He et al., ECAI 2023, eqs 27-30).

Equations 27 to 30 leave open who may match whom, and published figures differ by more
than methods do because of it. Every such choice is a field of ``Protocol`` here; a
figure is nothing without its protocol (``docs/scoring.md``).

All borders are frames; offset 0 in truth says that the offset was not annotated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.errors import UserError

Kind = Literal["micro", "macro"]
Group = Literal["micro", "macro", "all"]
GROUPS: tuple[Group, ...] = ("micro", "macro", "all")
THRESHOLDS = (0.5, 0.4, 0.3)  # Table 4


@dataclass(frozen=True)
class Labelled:
    """One interval of one video, true or spotted.

    Raises:
        ValueError: a border is negative, or the offset precedes the onset.
    """

    video: str
    onset: int  # frame
    offset: int  # frame, the last of the movement; 0: not annotated
    apex: int | None = None  # frame; None: not annotated
    kind: Kind | None = None  # None: not labelled
    aus: tuple[int, ...] = ()
    onset_known: bool = True  # False: not annotated (SAMM Long Videos writes 0)
    emotion: str | None = None  # None: not labelled; scoring does not ask

    def __post_init__(self) -> None:
        if self.onset < 0 or self.offset < 0:
            raise ValueError(f"onset {self.onset} and offset {self.offset} must not be negative")
        if self.offset_known and self.offset < self.onset:
            raise ValueError(f"offset {self.offset} is before onset {self.onset}")

    @property
    def offset_known(self) -> bool:
        """Whether the offset was annotated."""
        return self.offset != 0

    @property
    def known(self) -> bool:
        """Whether both borders were annotated."""
        return self.onset_known and self.offset_known


@dataclass(frozen=True)
class MicroRule:
    """Micro by duration: offset - onset <= ``frames`` (< where ``strict``)."""

    frames: float
    strict: bool = False

    def kind(self, item: Labelled) -> Kind:
        """The kind that the duration of ``item`` gives it."""
        length = item.offset - item.onset
        short = length < self.frames if self.strict else length <= self.frames
        return "micro" if short else "macro"

    @property
    def meaning(self) -> str:
        """The rule in words."""
        return f"micro when offset - onset {'<' if self.strict else '<='} {self.frames:g} frames"


# The two limits of the public MEGC 2024 code of He; at 25 fps, half a second.
MICRO_RULES: dict[str, MicroRule] = {
    "casme-sq": MicroRule(15),
    "samm-lv": MicroRule(100),
    "samm-lv-25fps": MicroRule(12.5),
}


@dataclass(frozen=True)
class Protocol:
    """Everything that eqs 27-30 leave open."""

    name: str
    # one-to-one: the largest set of pairs, among those the one of largest total IoU;
    # greedy: best IoU first, one to one; per-truth: a truth counts once any prediction
    # fits it, and one prediction may serve many truths
    matching: Literal["one-to-one", "greedy", "per-truth"] = "one-to-one"
    types: Literal["same", "any"] = "same"  # whether micro may match macro
    # length of an interval: closed (offset - onset + 1) or not (offset - onset)
    frames: Literal["inclusive", "exclusive"] = "inclusive"
    strict: bool = False  # IoU > k instead of IoU >= k
    kinds: Literal["label", "duration"] = "label"  # duration: ``micro`` judges every row
    micro: MicroRule | None = None  # judges rows without a label
    # apex-plus-20 is what the prediction files of He's MEGC 2024 code were scored with
    missing_offset: Literal["drop", "count-as-missed", "apex-plus-20"] = "drop"
    missing_onset: Literal["drop", "count-as-missed", "keep"] = "drop"  # keep: frame 0
    missing_apex: Literal["keep", "drop"] = "keep"  # IoU needs no apex

    @property
    def parts(self) -> tuple[str, ...]:
        """The protocol in words, choice by choice."""
        return (
            _MATCHING[self.matching],
            _TYPES[self.types],
            f"IoU {'>' if self.strict else '>='} k",
            _FRAMES[self.frames],
            self._kinds,
            f"truth without offset: {_MISSING[self.missing_offset]}",
            f"truth without onset: {_MISSING[self.missing_onset]}",
            f"truth without apex: {_MISSING_APEX[self.missing_apex]}",
        )

    @property
    def meaning(self) -> str:
        """The protocol in words."""
        return "; ".join(self.parts)

    @property
    def _kinds(self) -> str:
        if self.micro is None:
            return "kinds as labelled"
        return ("" if self.kinds == "duration" else "kinds as labelled, else ") + self.micro.meaning

    def iou(self, a: Labelled, b: Labelled) -> float:
        """Intersection over union of two intervals (eq. 27); 0 where both have no length."""
        spans = _spans([b])
        return float(_ious(a.onset, a.offset, spans, self.frames == "inclusive")[0])


_MATCHING = {
    "one-to-one": "one prediction to one truth, as many pairs as possible",
    "greedy": "one prediction to one truth, best IoU first",
    "per-truth": "every truth that any prediction fits; one prediction may serve many",
}
_TYPES = {"same": "micro to micro and macro to macro", "any": "micro and macro may match"}
_FRAMES = {
    "inclusive": "closed intervals (offset - onset + 1 frames)",
    "exclusive": "lengths of offset - onset frames",
}
_MISSING = {
    "drop": "left out",
    "count-as-missed": "counted, never found",
    "apex-plus-20": "20 frames after the apex",
    "keep": "frame 0",
}
_MISSING_APEX = {"keep": "counted like any other", "drop": "left out"}

DEFAULT = Protocol("one-to-one")
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        DEFAULT,
        replace(DEFAULT, name="greedy", matching="greedy"),
        replace(DEFAULT, name="any-type", types="any"),
        replace(DEFAULT, name="per-truth", matching="per-truth"),
        replace(DEFAULT, name="exclusive", frames="exclusive"),
        replace(DEFAULT, name="strict", strict=True),
        replace(DEFAULT, name="exclusive-strict", frames="exclusive", strict=True),
        replace(
            DEFAULT,
            name="missed",
            missing_offset="count-as-missed",
            missing_onset="count-as-missed",
        ),
        replace(DEFAULT, name="filled", missing_offset="apex-plus-20", missing_onset="keep"),
        Protocol(
            "he2024",
            matching="per-truth",
            types="any",
            missing_offset="apex-plus-20",
            missing_onset="keep",
        ),
    )
}


@dataclass(frozen=True)
class Figures:
    """Totals over all videos and what follows from them (eqs 28-30).

    ``tp`` (A) counts found truths. Where several truths may share a prediction, or micro
    may match macro, that is not the number of predictions that fit a truth (``used``),
    and precision, A / N as in eq. 29, can exceed 1.
    """

    truth: int = 0  # M
    predictions: int = 0  # N
    tp: int = 0  # A: truths found
    used: int = 0  # predictions that fit a truth

    @property
    def fp(self) -> int:
        """Predictions that fit no truth."""
        return self.predictions - self.used

    @property
    def fn(self) -> int:
        """Truths not found."""
        return self.truth - self.tp

    @property
    def precision(self) -> float:
        """A / N (eq. 29); 0 without predictions."""
        return self.tp / self.predictions if self.predictions else 0.0

    @property
    def recall(self) -> float:
        """A / M (eq. 28); 0 without truth."""
        return self.tp / self.truth if self.truth else 0.0

    @property
    def f1(self) -> float:
        """2 A / (M + N), which is eq. 30; 0 with neither truth nor predictions."""
        total = self.truth + self.predictions
        return 2 * self.tp / total if total else 0.0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.truth + other.truth,
            self.predictions + other.predictions,
            self.tp + other.tp,
            self.used + other.used,
        )


@dataclass(frozen=True)
class Score:
    """Figures of one protocol at one least IoU."""

    protocol: Protocol
    least_iou: float
    micro: Figures
    macro: Figures
    left_out: int  # truths that the protocol does not count, for want of a border or apex

    @property
    def all(self) -> Figures:
        """Micro and macro together."""
        return self.micro + self.macro

    def of(self, group: Group) -> Figures:
        """The figures of one group."""
        figures = {"micro": self.micro, "macro": self.macro, "all": self.all}
        return figures[group]


@dataclass(frozen=True)
class Borders:
    """Median absolute border errors over matched pairs, frames; None without a pair."""

    pairs: int
    onset: float | None
    apex: float | None
    offset: float | None


_Ints = npt.NDArray[np.int64]
_Pair = tuple[int, int, float]  # truth, prediction, IoU
_Row = tuple[int, Labelled]  # index in the caller's list


def match(
    truth: Sequence[Labelled],
    predictions: Sequence[Labelled],
    protocol: Protocol = DEFAULT,
    least_iou: float = 0.5,
) -> list[tuple[int, int]]:
    """Pairs (index of truth, index of prediction) that count as found, ascending.

    Pairs stay within a video. The answer does not depend on the order of the lists: rows
    are put in the order of their fields first, and equal rows cannot be told apart. With
    ``per-truth``, a truth's partner is the prediction of the highest IoU.

    Raises:
        UserError: ``least_iou`` is not in (0, 1], a prediction lacks a border, or the
            kind of a row cannot be told though the protocol needs it.
    """
    if not 0 < least_iou <= 1:
        raise UserError(f"IoU: {least_iou:g} is not above 0 and at most 1")
    rows = [
        (i, _typed(item, protocol))
        for i, item in enumerate(_filled(true, protocol) for true in truth)
        if item.known and _counts(item, protocol)
    ]
    spotted = [(j, _typed(_complete(item), protocol)) for j, item in enumerate(predictions)]
    by_video = _by_video(spotted)
    pairs: list[tuple[int, int]] = []
    for video, of_video in _by_video(rows).items():
        pairs += _match_video(of_video, by_video.get(video, []), protocol, least_iou)
    return sorted(pairs)


def score(
    truth: Sequence[Labelled],
    predictions: Sequence[Labelled],
    protocol: Protocol = DEFAULT,
    least_iou: float = 0.5,
) -> Score:
    """Totals over all videos, then precision, recall and F1 (eqs 28-30).

    Raises:
        UserError: as ``match``, and a kind cannot be told.
    """
    pairs = match(truth, predictions, protocol, least_iou)
    counted = [_filled(item, protocol) for item in truth if _counts(item, protocol)]
    found = [_filled(truth[i], protocol) for i in {i for i, _ in pairs}]
    used = [predictions[j] for j in {j for _, j in pairs}]

    def figures(kind: Kind) -> Figures:
        groups = (counted, predictions, found, used)
        totals = (sum(_kind(item, protocol) == kind for item in group) for group in groups)
        return Figures(*totals)

    left_out = len(truth) - len(counted)
    return Score(protocol, least_iou, figures("micro"), figures("macro"), left_out)


def table(
    truth: Sequence[Labelled],
    predictions: Sequence[Labelled],
    protocol: Protocol = DEFAULT,
    thresholds: Iterable[float] = THRESHOLDS,
) -> list[Score]:
    """One score per least IoU, as in the paper's Table 4."""
    return [score(truth, predictions, protocol, least) for least in thresholds]


def disagreement(
    truth: Sequence[Labelled],
    predictions: Sequence[Labelled],
    least_iou: float = 0.5,
    like: Protocol = DEFAULT,
) -> dict[str, Score]:
    """The same predictions under every protocol, by name; kinds are told as in ``like``."""
    protocols = [
        replace(protocol, kinds=like.kinds, micro=like.micro) for protocol in PROTOCOLS.values()
    ]
    if like.micro:
        other = replace(like.micro, strict=not like.micro.strict)
        name = "micro-below-limit" if other.strict else "micro-at-limit"
        protocols.append(replace(DEFAULT, name=name, kinds=like.kinds, micro=other))
    return {p.name: score(truth, predictions, p, least_iou) for p in protocols}


def matched(
    truth: Sequence[Labelled],
    predictions: Sequence[Labelled],
    protocol: Protocol = DEFAULT,
    least_iou: float = 0.5,
) -> list[tuple[Labelled, Labelled]]:
    """The matched pairs themselves (truth, prediction), as annotated."""
    pairs = match(truth, predictions, protocol, least_iou)
    return [(truth[i], predictions[j]) for i, j in pairs]


def aus_f1(pairs: Iterable[tuple[Labelled, Labelled]]) -> Figures:
    """Figures of the AU sets over matched pairs, micro-averaged: totals over all AUs.

    A pair whose truth names no AU was not coded, and is left out.
    """
    total = Figures()
    for true, spotted in pairs:
        if true.aus:
            right, found = set(true.aus), set(spotted.aus)
            both = len(right & found)
            total += Figures(len(right), len(found), both, both)
    return total


def border_errors(pairs: Iterable[tuple[Labelled, Labelled]]) -> Borders:
    """Median \\|onset\\|, \\|apex\\| and \\|offset\\| error over matched pairs, frames.

    A border that either side lacks is left out of its own median alone.
    """
    both = list(pairs)
    return Borders(
        len(both),
        _median(abs(t.onset - p.onset) for t, p in both if t.onset_known),
        _median(abs(t.apex - p.apex) for t, p in both if t.apex is not None and p.apex is not None),
        _median(abs(t.offset - p.offset) for t, p in both if t.offset_known),
    )


def _median(values: Iterable[int]) -> float | None:
    numbers = list(values)
    return float(median(numbers)) if numbers else None


def _counts(item: Labelled, protocol: Protocol) -> bool:
    """Whether a truth is among M."""
    if item.apex is None and protocol.missing_apex == "drop":
        return False
    if not item.onset_known and protocol.missing_onset == "drop":
        return False
    return item.offset_known or protocol.missing_offset != "drop"


def _filled(item: Labelled, protocol: Protocol) -> Labelled:
    """A truth with the borders that the protocol supplies."""
    if not item.offset_known and protocol.missing_offset == "apex-plus-20" and item.apex:
        item = replace(item, offset=max(item.apex, item.onset) + 20)
    if not item.onset_known and protocol.missing_onset == "keep":
        item = replace(item, onset_known=True)
    return item


def _complete(item: Labelled) -> Labelled:
    if not item.known:
        raise UserError(
            f"{item.video}: a prediction at frame {item.onset} has no onset or offset; "
            "only truth may lack borders"
        )
    return item


def _kind(item: Labelled, protocol: Protocol) -> Kind:
    """Micro or macro, by label or by duration as the protocol says."""
    if item.kind and (protocol.kinds == "label" or not item.known):
        return item.kind
    if protocol.micro and item.known:
        return protocol.micro.kind(item)
    if item.known:
        raise UserError(
            f"{item.video}: the interval {item.onset} to {item.offset} is neither labelled micro "
            f"nor macro, and no limit was given; name one ({', '.join(MICRO_RULES)} or frames)"
        )
    raise UserError(
        f"{item.video}: the interval at frame {item.onset} has neither both borders nor a kind; "
        "label it, or choose a protocol that leaves it out"
    )


def _typed(item: Labelled, protocol: Protocol) -> Labelled:
    """``item`` with the kind it counts as, where kinds matter."""
    return item if protocol.types == "any" else replace(item, kind=_kind(item, protocol))


def _order(row: _Row) -> tuple[object, ...]:
    item = row[1]
    apex = -1 if item.apex is None else item.apex
    kind, emotion = item.kind or "", item.emotion or ""
    return item.video, item.onset, item.offset, kind, apex, item.aus, emotion


def _by_video(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    ordered = sorted(rows, key=_order)
    return {video: list(group) for video, group in groupby(ordered, lambda row: row[1].video)}


def _spans(items: Sequence[Labelled]) -> _Ints:
    return np.array([(item.onset, item.offset) for item in items], dtype=np.int64).reshape(-1, 2)


def _ious(onset: int, offset: int, spans: _Ints, inclusive: bool) -> npt.NDArray[np.float64]:
    """IoU of one interval with many.

    Each is one correctly rounded division, so that 3 / 10 equals a threshold of 0.3.
    """
    one = int(inclusive)
    shared = np.minimum(spans[:, 1], offset) - np.maximum(spans[:, 0], onset) + one
    shared = np.maximum(shared, 0)
    union = (spans[:, 1] - spans[:, 0] + one) + (offset - onset + one) - shared
    ratio: npt.NDArray[np.float64] = shared / np.maximum(union, 1)
    return ratio


def _match_video(
    truth: Sequence[_Row], predictions: Sequence[_Row], protocol: Protocol, least: float
) -> list[tuple[int, int]]:
    pairs = _candidates([t for _, t in truth], [p for _, p in predictions], protocol, least)
    choose = {"one-to-one": _largest, "greedy": _greedy, "per-truth": _best_each}
    chosen = choose[protocol.matching](pairs)
    return [(truth[i][0], predictions[j][0]) for i, j in chosen]


def _candidates(
    truth: Sequence[Labelled], predictions: Sequence[Labelled], protocol: Protocol, least: float
) -> list[_Pair]:
    """All pairs of one video that overlap enough and may match."""
    if not predictions:
        return []
    spans = _spans(predictions)
    kinds = np.array([item.kind or "" for item in predictions])
    pairs: list[_Pair] = []
    for i, item in enumerate(truth):
        values = _ious(item.onset, item.offset, spans, protocol.frames == "inclusive")
        fits = values > least if protocol.strict else values >= least
        if protocol.types == "same":
            fits &= kinds == item.kind
        pairs += [(i, int(j), float(values[j])) for j in np.flatnonzero(fits)]
    return pairs


def _best_each(pairs: Sequence[_Pair]) -> list[tuple[int, int]]:
    """For each truth its best prediction, the first of equals."""
    best: dict[int, tuple[float, int]] = {}
    for i, j, value in pairs:
        if i not in best or value > best[i][0]:
            best[i] = (value, j)
    return [(i, j) for i, (_, j) in best.items()]


def _greedy(pairs: Sequence[_Pair]) -> list[tuple[int, int]]:
    """One to one, best IoU first, the earliest of equals."""
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for i, j, _ in sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1])):
        if i not in chosen and j not in taken:
            chosen[i] = j
            taken.add(j)
    return list(chosen.items())


def _largest(pairs: Sequence[_Pair]) -> list[tuple[int, int]]:
    """The most pairs one to one; among those, the largest sum of IoU.

    Intervals that share candidates form small groups, which are solved one by one.
    """
    if not pairs:
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.array([pair[0] for pair in pairs])
    columns = np.array([pair[1] for pair in pairs])
    count = int(rows.max()) + 1
    size = count + int(columns.max()) + 1
    links = coo_array((np.ones(len(pairs)), (rows, columns + count)), shape=(size, size))
    _, group = connected_components(links, directed=False)
    chosen: list[tuple[int, int]] = []
    ordered = sorted(pairs, key=lambda pair: int(group[pair[0]]))
    for _, members in groupby(ordered, lambda pair: int(group[pair[0]])):
        chosen += _assign(list(members))
    return chosen


def _assign(pairs: Sequence[_Pair]) -> list[tuple[int, int]]:
    """Solve one group: a further pair outweighs any sum of IoU."""
    from scipy.optimize import linear_sum_assignment

    truth = sorted({pair[0] for pair in pairs})
    predictions = sorted({pair[1] for pair in pairs})
    at_truth = {i: n for n, i in enumerate(truth)}
    at_prediction = {j: n for n, j in enumerate(predictions)}
    weights = np.zeros((len(truth), len(predictions)))
    for i, j, value in pairs:
        weights[at_truth[i], at_prediction[j]] = min(weights.shape) + 1 + value
    rows, columns = linear_sum_assignment(weights, maximize=True)
    chosen = zip(rows, columns, strict=True)
    return [(truth[r], predictions[c]) for r, c in chosen if weights[r, c] > 0]
