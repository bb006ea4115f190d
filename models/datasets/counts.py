"""What can be said about a data set from its labels alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.datasets.records import Annotation, Dataset
from models.facs import ACTION_UNITS
from models.prototypes import PAPER_AUS


@dataclass(frozen=True)
class Facts:
    """Counts of annotations, unless said otherwise."""

    name: str
    annotations: int
    subjects: int  # annotated ones
    videos: int  # annotated ones
    kinds: Mapping[str, int]
    emotions: Mapping[str, int]
    aus: Mapping[int, int]  # annotations that surely carry the AU, by number
    unsure_aus: Mapping[int, int]  # annotations that name the AU without certainty
    without: Mapping[str, Mapping[str, int]]  # moment -> kind -> not annotated
    odd: tuple[str, ...]  # rows that are read as they stand, but look like mistakes

    def frequent(self, more_than: int = 10) -> tuple[int, ...]:
        """AUs that occur more than ``more_than`` times, sorted."""
        return tuple(sorted(au for au, count in self.aus.items() if count > more_than))

    def beyond_paper(self, more_than: int = 10) -> tuple[int, ...]:
        """AUs as frequent as the paper's own that it does not take.

        He et al. (2023) say that they take the AUs that occur more than ten times in
        CASME II, and name eight; the label table has AU 10 as a ninth.
        """
        return tuple(au for au in self.frequent(more_than) if au not in PAPER_AUS)

    def lines(self) -> list[str]:
        """The facts, one a line, for a terminal."""
        aus = [f"AU {au}: {self.aus[au]}" for au in sorted(self.aus, key=self._rank)]
        lines = [
            f"{self.name}: {self.annotations} annotations, {self.subjects} subjects, "
            f"{self.videos} videos",
            f"kinds: {_listed(self.kinds)}",
            f"emotions: {_listed(self.emotions)}",
            f"action units: {', '.join(aus)}",
        ]
        if self.unsure_aus:
            unsure = (f"AU {au}: {count}" for au, count in self.unsure_aus.items())
            lines.append(f"named without certainty: {', '.join(unsure)}")
        given = self.without.items()
        lines += [f"without {moment}: {_listed(kinds)}" for moment, kinds in given if kinds]
        if self.name == "casme2" and self.beyond_paper():
            lines += [
                f"AU {au} occurs {self.aus[au]} times, more than ten, though the paper leaves it "
                f"out; --aus {','.join(map(str, sorted((*PAPER_AUS, au))))} takes it"
                for au in self.beyond_paper()
            ]
        return lines + list(self.odd)

    def _rank(self, au: int) -> tuple[int, int]:
        return -self.aus[au], au


def facts(dataset: Dataset) -> Facts:
    """Count the annotations of ``dataset`` by everything that they say."""
    items = dataset.annotations
    sure = Counter(au for a in items for au in a.sure_aus)
    unsure = Counter(au for a in items for au in a.au_numbers - a.sure_aus)
    return Facts(
        dataset.name,
        len(items),
        len(dataset.subjects),
        len(dataset.videos),
        Counter(a.kind or "unknown" for a in items),
        Counter(a.emotion for a in items if a.emotion),
        dict(sorted(sure.items())),
        dict(sorted(unsure.items())),
        {moment: _without(items, moment) for moment in ("onset", "apex", "offset")},
        tuple(words for a in items for words in _odd(a)),
    )


def _without(items: tuple[Annotation, ...], moment: str) -> Mapping[str, int]:
    return Counter(a.kind or "unknown" for a in items if getattr(a, moment) is None)


def _odd(item: Annotation) -> Iterator[str]:
    where = f"row {item.row} ({item.video})"
    onset, apex, offset = item.onset, item.apex, item.offset
    if onset is not None and offset is not None and offset < onset:
        yield f"{where}: offset {offset} before onset {onset}"
    if apex is not None and onset is not None and apex < onset:
        yield f"{where}: apex {apex} before onset {onset}"
    if apex is not None and offset is not None and apex > offset:
        yield f"{where}: apex {apex} after offset {offset}"
    if not item.aus:
        yield f"{where}: no action unit in {item.au_text!r}"
    for au in sorted(item.au_numbers - ACTION_UNITS.keys() - _OTHER_CODES):
        yield f"{where}: {item.au_text!r}: FACS has no AU {au}"


# FACS's gross behaviours, which models.facs does not list: sniff, speech, swallow, chewing,
# shoulder shrug, head shake back and forth, head nod
_OTHER_CODES = frozenset({40, 50, 80, 81, 82, 84, 85})


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
