"""Objective classes and the AU knowledge graph (Zhou et al., MER-auGCN, section III.A).

Table I, first made by Davison et al. (2018), lists which action units and combinations of
them make each of the objective classes I to V. The graph has a node for each of its 17 AUs
and an edge between two AUs that stand in one combination; nodes that a training set has no
sample of are taken out (17 to 12 for the two data sets of MEGC 2018).

Where the paper is silent, or not of one mind with the label files:

* Table I prints AU23 as "A23".
* It does not say what becomes of other combinations. SAMM's official column shows: AUs that
  do not change the expression (``COMPANIONS``) may be beside one of the table's, AU9 or
  AU10 beside anything is class IV, AU20 is class VI, all else class VII, and an AU in
  ``ref(...)`` does not count. That is the rule "extended", fitted to this column, of which
  it gives 156 of 159 rows; "table" is Table I as printed, and contradicts none of the rows
  that it gives a class to.
* "AUs that do not exist in CASME II" and in SAMM are the printed ones (23, 24, 26, 40 and
  38, 40) among the samples of classes I to V only: over all rows CASME II has AUs 24 and
  26, and SAMM has AU38.
* Eq. 4 takes the graph as it is, ones on the diagonal; Kipf and Welling's GCN, which it
  cites, normalises it: ``AUGraph.matrix`` does either, by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.datasets.records import Annotation

Floats = npt.NDArray[np.float32]
Rule = Literal["table", "extended"]
Normalisation = Literal["none", "symmetric"]

CLASSES = ("I", "II", "III", "IV", "V")
OTHERS = ("VI", "VII")  # of Davison et al. (2018): fear, and what fits no class


def _sets(*texts: str) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(int(au) for au in text.split("+")) for text in texts)


TABLE: dict[str, tuple[frozenset[int], ...]] = {
    "I": _sets("6", "12", "6+12", "6+7+12", "7+12"),
    "II": _sets("1+2", "5", "25", "1+2+25", "25+26", "5+24"),
    "III": _sets("23", "4", "4+7", "4+5", "4+5+7", "17+24", "4+6+7", "4+38"),
    "IV": _sets(
        *("10", "9", "4+9", "4+40", "4+5+40", "4+7+9", "4+9+17", "4+7+10", "4+5+7+9", "7+10")
    ),
    "V": _sets("1", "15", "1+4", "6+15", "15+17"),
}
_CLASS_OF = {aus: name for name, rows in TABLE.items() for aus in rows}

# lips pressed, parted, jaw dropped; nostrils; eyes closed; head and eye positions
COMPANIONS = frozenset({24, 25, 26, 39, 43, *range(51, 67)})
_DISGUST = frozenset({9, 10})
_FEAR = frozenset({20})
_ALTERNATIVES = re.compile(r"(?<![a-z])or(?![a-z])", re.IGNORECASE)


def objective_class(aus: Iterable[int], rule: Rule = "table") -> str | None:
    """The objective class, I to V, of a set of AUs; None where it is none of them.

    Args:
        aus: the AUs of one expression; sides and intensities do not matter.
        rule: Table I as printed, or extended to combinations that are not in it (see above).
    """
    found = frozenset(aus)
    if rule == "table" or found in _CLASS_OF:
        return _CLASS_OF.get(found)
    if found & _FEAR:
        return None
    bare = found - COMPANIONS
    return "IV" if bare & _DISGUST else _CLASS_OF.get(bare)


def other_class(aus: Iterable[int]) -> str:
    """VI or VII, for AUs that make none of the classes I to V.

    VI as SAMM's official column has it: all rows with AU20 and no other. Davison et al.
    add 1+2+4, of which neither label file has a row.
    """
    found = frozenset(aus)
    return "VI" if found & _FEAR or found == {1, 2, 4} else "VII"


def class_of(annotation: Annotation, rule: Rule = "table") -> str | None:
    """The objective class, I to V, of an annotated expression, None where it is none.

    AUs without certainty are left out; of alternatives (``R12 or R14``) each is tried, and
    there is a class where all agree.
    """
    sure = annotation.sure_aus
    readings = [sure]
    if _ALTERNATIVES.search(annotation.au_text):
        readings = [sure | {au} for au in sorted(annotation.au_numbers - sure)] or [sure]
    made = {objective_class(reading, rule) for reading in readings}
    return made.pop() if len(made) == 1 else None


@dataclass(frozen=True)
class AUGraph:
    """An undirected graph of AUs; every node is also linked to itself.

    Raises:
        ValueError: an AU occurs twice, or an edge is not between two of the AUs.
    """

    aus: tuple[int, ...]  # node i is aus[i]
    edges: frozenset[frozenset[int]]  # pairs of AUs, without the links of nodes to themselves

    def __post_init__(self) -> None:
        if len(set(self.aus)) != len(self.aus):
            raise ValueError(f"an AU occurs twice among the nodes {self.aus}")
        if any(len(edge) != 2 or not edge <= set(self.aus) for edge in self.edges):
            raise ValueError("an edge is not between two of the nodes")

    def matrix(self, normalisation: Normalisation = "none") -> Floats:
        """G of eq. 4, (K, K) float32.

        Args:
            normalisation: "none", ones and zeros as printed; "symmetric", D^-1/2 G D^-1/2
                with D the row sums of G (Kipf and Welling, 2017).
        """
        position = {au: i for i, au in enumerate(self.aus)}
        made = np.eye(len(self.aus), dtype=np.float32)
        for edge in self.edges:
            i, j = (position[au] for au in edge)
            made[i, j] = made[j, i] = 1
        if normalisation == "none":
            return made
        degree = made.sum(axis=1)
        return np.asarray(made / np.sqrt(np.outer(degree, degree)), np.float32)


def original() -> AUGraph:
    """The graph of Table I: 17 nodes, 26 edges (the paper's Figure 3, left)."""
    rows = _CLASS_OF.keys()
    edges = {frozenset(pair) for row in rows for pair in combinations(sorted(row), 2)}
    return AUGraph(tuple(sorted(frozenset().union(*rows))), frozenset(edges))


def adjusted(graph: AUGraph, *training_aus: Iterable[int]) -> AUGraph:
    """``graph`` without the AUs that any of the training sets has no sample of.

    Args:
        graph: see ``original``.
        training_aus: for each training set, the AUs of its samples. The paper counts the
            samples of its classes only, see above.
    """
    sets = [set(aus) for aus in training_aus]
    return induced(graph, [au for au in graph.aus if all(au in aus for aus in sets)])


def induced(graph: AUGraph, aus: Iterable[int]) -> AUGraph:
    """The nodes ``aus``, in this order, with the edges that ``graph`` has between them.

    An AU that is no node of ``graph`` (AU14 of the paper's Table VII) is linked only to
    itself.
    """
    nodes = tuple(aus)
    return AUGraph(nodes, frozenset(edge for edge in graph.edges if edge <= set(nodes)))


def dense(aus: Iterable[int]) -> AUGraph:
    """All of ``aus`` linked with one another (DenselyG. of the paper's Table V)."""
    nodes = tuple(aus)
    return AUGraph(nodes, frozenset(frozenset(pair) for pair in combinations(nodes, 2)))
