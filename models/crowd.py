"""Which action units a crowd's emotion scores speak for: Algorithms 1 and 2, Tables 1 and 2.

Sources: *guide* is Dong et al., FME '21, section 3.1; *face* its extension of 2022, section
2.1. Both algorithms and both tables are the same in the two. They were made from RAF-AU (Yan
et al. 2020), which mespot does not ship; any table of its form will do.

**Files.** RAF-AU gives the AUs (``RAFAU_label.txt``: image, a space, ``1+2+L12`` or ``null``),
RAF-ML the scores of the same images (``EmoLabel/distribution.txt``: image, then six shares of
the votes that sum to 1). Neither has a header; the scores are then taken in the order that
RAF documents: ``RAF_ORDER``, with a seventh column for neutral where there is one. Where a
header names the columns, the header is followed and no order assumed. One file with a header
``image,aus`` and the six emotions holds both. Commas or blanks separate cells; the first line
decides.

**What the papers leave open.**

* Sides (``L12``) and intensities (``12B``) are dropped: the printed tables know bare AUs.
  ``2+1`` and ``L1+2`` are the combination ``1+2``.
* A well-formed code that ``models.facs`` does not have is left out of its combination, and
  counted by ``Crowd.unknown``; a malformed one ends in an error.
* A sample without AUs (``null``, or nothing left) has nobody to give its score to: it is
  counted by ``Crowd.without_aus`` and enters neither algorithm.
* The emotion of a sample is the largest of the six scores, neutral or not; of equal ones the
  first in the tables' order (``Crowd.tied`` counts them). If all six are 0 there is none, and
  the sample does not enter Algorithm 1.
* Algorithm 1 takes the score of the *first* sample of each (combination, emotion), and so
  depends on the order of the file.
* Algorithm 2 is printed as a plain sum, which Table 2 cannot be: see ``method_2``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import UserError
from models.facs import ACTION_UNITS, EMOTION_AUS
from models.files import read_text
from models.labels import plain_aus

EMOTIONS = tuple(EMOTION_AUS)  # the order of Tables 1 and 2
RAF_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
Normalisation = Literal["mean", "sum"]
NORMALISATIONS: tuple[Normalisation, ...] = ("mean", "sum")

_IMAGE = ("image", "img", "name", "file", "filename", "sample")
_AUS = ("aus", "au", "label")
_NO_AUS = {"", "null", "0"}  # 0 is FACS's code of the neutral face
_SHARE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]{1,3})?", re.IGNORECASE)
_MOST = 1.05  # shares of the votes sum to 1, but for rounding

_Spot = Callable[[str], UserError]
_Row = tuple[int, list[str]]  # line number, cells


@dataclass(frozen=True)
class Sample:
    """One image: its AUs as coded, and the crowd's score of each of ``EMOTIONS``."""

    image: str
    aus: frozenset[int]
    scores: tuple[float, ...]

    @property
    def emotion(self) -> str | None:
        """The emotion of the largest of the six scores; None when all are 0."""
        most = max(self.scores)
        return EMOTIONS[self.scores.index(most)] if most > 0 else None


@dataclass(frozen=True)
class Crowd:
    """A table of samples, in the order of the AU file."""

    samples: tuple[Sample, ...]
    unknown: Mapping[int, int]  # AU that FACS does not have: samples it was left out of
    unlabelled: int = 0  # images with scores but without a row of AUs

    @property
    def without_aus(self) -> int:
        """Samples that no AU was coded for."""
        return sum(not sample.aus for sample in self.samples)

    @property
    def tied(self) -> int:
        """Samples with AUs whose largest score two or more emotions share."""
        rated = [s.scores for s in self.samples if s.aus and s.emotion]
        return sum(scores.count(max(scores)) > 1 for scores in rated)


@dataclass(frozen=True)
class Contributions:
    """Contribution array C: for each emotion its AUs with their scores, highest first."""

    method: Literal[1, 2]
    normalisation: str
    counted: int  # samples that entered
    of: Mapping[str, tuple[tuple[int, float], ...]]

    def top(self, count: int = 10) -> dict[str, tuple[tuple[int, float], ...]]:
        """The ``count`` AUs that contribute most to each emotion."""
        return {emotion: ranked[:count] for emotion, ranked in self.of.items()}

    def markdown(self, count: int = 10) -> str:
        """A Markdown table in the form of Tables 1 and 2, scores with four decimals."""
        rows = self.top(count)
        width = max((len(ranked) for ranked in rows.values()), default=0)
        lines = ["| Emotion |" + " AU | score |" * width, "| --- |" + " ---: | ---: |" * width]
        for emotion, ranked in rows.items():
            cells = [f" {au} | {score:.4f} |" for au, score in ranked]
            cells += ["  |  |"] * (width - len(ranked))
            lines.append(f"| {emotion.capitalize()} |" + "".join(cells))
        return "\n".join(lines)


def method_1(samples: Iterable[Sample]) -> Contributions:
    """Algorithm 1: each (AU combination, emotion) counts once, with its first score.

    A sample's emotion E is that of its largest score; that score goes to E of each AU of the
    combination. Each emotion's row is then divided by its sum, so that it is a proportion.
    """
    totals: dict[str, dict[int, float]] = {emotion: {} for emotion in EMOTIONS}
    seen: set[tuple[frozenset[int], str]] = set()
    for sample in samples:
        emotion = sample.emotion
        if not sample.aus or emotion is None or (sample.aus, emotion) in seen:
            continue
        seen.add((sample.aus, emotion))
        for au in sample.aus:
            totals[emotion][au] = totals[emotion].get(au, 0.0) + max(sample.scores)
    of = {}
    for emotion, scores in totals.items():
        whole = sum(scores.values())
        of[emotion] = _ranked({au: score / whole for au, score in scores.items()})
    return Contributions(1, "proportion within the emotion", len(seen), of)


def method_2(samples: Iterable[Sample], normalisation: Normalisation = "mean") -> Contributions:
    """Algorithm 2: every sample gives each of its six scores to each of its AUs.

    ``sum`` is the pseudocode to the letter. ``mean`` divides by the number of samples that
    carry the AU, which the pseudocode does not say and the printed Table 2 shows: its values
    are below 1 for nearly 5,000 images; its rows sum to 1.74 and more, so they are no
    proportions within an emotion; and over the emotions no AU exceeds 1 (at most 0.72, AU2), as
    means of scores that sum to 1 cannot. AU33, with 1/3 and 7/36, looks like one image of 36
    votes.

    Raises:
        ValueError: an unknown normalisation.
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation {normalisation!r} is none of {', '.join(NORMALISATIONS)}")
    carried = [sample for sample in samples if sample.aus]
    columns: dict[int, list[tuple[float, ...]]] = {}
    for sample in carried:
        for au in sample.aus:
            columns.setdefault(au, []).append(sample.scores)
    of = {}
    for place, emotion in enumerate(EMOTIONS):
        sums = {au: math.fsum(row[place] for row in rows) for au, rows in columns.items()}
        if normalisation == "mean":
            sums = {au: total / len(columns[au]) for au, total in sums.items()}
        of[emotion] = _ranked(sums)
    words = {"mean": "mean over the samples that carry the AU", "sum": "sum over all samples"}
    return Contributions(2, words[normalisation], len(carried), of)


def _ranked(scores: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    """AUs that got a score, highest first; of equals (but for rounding) the smaller number."""
    given = [(au, score) for au, score in scores.items() if score > 0]
    return tuple(sorted(given, key=lambda pair: (-round(pair[1], 12), pair[0])))


def read(aus: Path, scores: Path | None = None) -> Crowd:
    """A table of AU combinations and crowd scores, from one file or two.

    Args:
        aus: image and AU combination a line; with a header it may hold the scores, too.
        scores: image and six or seven scores a line; goes before scores in the first file.
            Images that have no AU row are counted by ``Crowd.unlabelled``.

    Raises:
        UserError: a file cannot be read; a row is malformed or an image occurs twice; an image
            with AUs has no scores, or scores that are no shares of the votes.
    """
    columns, rows = _table(aus, _label_columns)
    rated = _scores(scores) if scores else None
    if rated is None and not set(EMOTIONS) <= columns.keys():
        raise UserError(
            f"{aus}: has no scores; name a second file that has (image and six emotions a "
            f"line), or give this one a header with image, aus, {', '.join(EMOTIONS)}"
        )
    unknown: Counter[int] = Counter()
    samples: dict[str, Sample] = {}
    for line, cells in rows:
        spot = _spot(aus, line)
        image = _image(cells, columns, samples, spot)
        found = _aus(cells[columns["aus"]], spot)
        unknown.update(found.difference(ACTION_UNITS))
        if rated is None:
            row = _row_scores(cells, columns, spot)
        elif image in rated:
            row = rated[image]
        else:
            raise spot(f"{image!r} has no scores in {scores}")
        samples[image] = Sample(image, found.intersection(ACTION_UNITS), row)
    unlabelled = len(rated.keys() - samples.keys()) if rated else 0
    return Crowd(tuple(samples.values()), dict(sorted(unknown.items())), unlabelled)


def _scores(path: Path) -> dict[str, tuple[float, ...]]:
    columns, rows = _table(path, _score_columns)
    found: dict[str, tuple[float, ...]] = {}
    for line, cells in rows:
        spot = _spot(path, line)
        found[_image(cells, columns, found, spot)] = _row_scores(cells, columns, spot)
    return found


def _spot(path: Path, line: int) -> _Spot:
    return lambda text: UserError(f"{path} line {line}: {text}")


def _table(
    path: Path, columns: Callable[[list[str], _Spot], dict[str, int]]
) -> tuple[dict[str, int], list[_Row]]:
    """Where each column stands, and the rows below the header, if there is one."""
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path}: empty")
    line, first = rows[0]
    where = columns(first, _spot(path, line))
    for line, cells in rows[1:]:
        if len(cells) != len(first):
            raise _spot(path, line)(f"{len(cells)} cells; the first row has {len(first)}")
    return where, rows[1:] if _is_header(first) else rows


def _rows(path: Path) -> Iterator[_Row]:
    """Rows that are not blank, split at commas (CSV) or blanks as the first one is."""
    text = read_text(path, "a table")
    first = text.lstrip().partition("\n")[0]
    if "," not in first:
        lines = enumerate(text.split("\n"), start=1)
        yield from ((n, line.split()) for n, line in lines if line.strip())
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV: {error}") from None


def _named(cells: Sequence[str], spot: _Spot) -> dict[str, int] | None:
    """Columns by the names of a header; None where the row is no header."""
    if not _is_header(cells):
        return None
    found: dict[str, int] = {}
    for place, cell in enumerate(cells):
        name = cell.lower()
        name = "image" if name in _IMAGE else "aus" if name in _AUS else name
        if found.setdefault(name, place) != place:
            raise spot(f"two columns of the name {name}")
    return found


def _is_header(cells: Sequence[str]) -> bool:
    return any(cell.lower() in _IMAGE for cell in cells)


def _label_columns(cells: list[str], spot: _Spot) -> dict[str, int]:
    named = _named(cells, spot)
    if named is None:
        if len(cells) != 2:
            raise spot(f"{len(cells)} cells; give image and AU combination (1+2, or null)")
        return {"image": 0, "aus": 1}
    if "aus" not in named:
        raise spot(f"the header names no column of AUs (call it {_AUS[0]})")
    return named


def _score_columns(cells: list[str], spot: _Spot) -> dict[str, int]:
    named = _named(cells, spot)
    if named is not None:
        missing = [emotion for emotion in EMOTIONS if emotion not in named]
        if missing:
            raise spot(f"the header does not name {', '.join(missing)}")
        return named
    if len(cells) not in (7, 8):
        order = ", ".join(RAF_ORDER[:6])
        raise spot(f"{len(cells) - 1} scores; give {order} and, if rated, neutral, or a header")
    return {"image": 0} | {name: n for n, name in enumerate(RAF_ORDER[: len(cells) - 1], 1)}


def _image(
    cells: Sequence[str], columns: Mapping[str, int], taken: Mapping[str, object], spot: _Spot
) -> str:
    image = cells[columns["image"]]
    if not image or not image.isprintable():
        raise spot("no image is named")
    if image in taken:
        raise spot(f"{image!r} occurs a second time")
    return image


def _aus(text: str, spot: _Spot) -> frozenset[int]:
    """A combination such as ``1+2+L12``, without sides; none for ``null``."""
    return frozenset() if text.lower() in _NO_AUS else frozenset(plain_aus(text, spot))


def _row_scores(cells: Sequence[str], columns: Mapping[str, int], spot: _Spot) -> tuple[float, ...]:
    """The six scores in the order of ``EMOTIONS``; neutral is read for its sum alone."""
    shares = {}
    for name in RAF_ORDER:
        if name in columns:
            text = cells[columns[name]]
            if not _SHARE.fullmatch(text):
                raise spot(f"{name} {text!r} is not a share of the votes (0 to 1)")
            shares[name] = float(text)
    if sum(shares.values()) > _MOST:
        raise spot(f"the scores sum to {sum(shares.values()):g}; give shares of the votes")
    return tuple(shares[emotion] for emotion in EMOTIONS)
