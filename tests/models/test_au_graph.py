"""Table I, the objective classes and the AU graph, against what is written out by hand here."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models import au_graph as ag
from models.datasets import AUCode, converted
from models.datasets.records import Annotation

# every pair that stands in one combination of Table I, collected by hand from the print
EDGES = """
6-12 6-7 7-12
1-2 1-25 2-25 25-26 5-24
4-7 4-5 5-7 17-24 4-6 4-38
4-9 4-40 5-40 7-9 9-17 4-17 4-10 7-10 5-9
1-4 6-15 15-17
"""
NODES = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 23, 24, 25, 26, 38, 40)
PAIRING = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 25)  # Figure 3, right: 12 nodes


def by_hand() -> set[frozenset[int]]:
    return {frozenset(int(au) for au in pair.split("-")) for pair in EDGES.split()}


def test_table_has_34_combinations_and_each_one_class() -> None:
    sizes = {name: len(rows) for name, rows in ag.TABLE.items()}
    assert sizes == {"I": 5, "II": 6, "III": 8, "IV": 10, "V": 5}
    rows = [row for rows in ag.TABLE.values() for row in rows]
    assert len(set(rows)) == len(rows) == 34
    for name, found in ag.TABLE.items():
        assert {ag.objective_class(row) for row in found} == {name}
        assert {ag.objective_class(row, "extended") for row in found} == {name}


@pytest.mark.parametrize(
    ("aus", "table", "extended"),
    [
        ((), None, None),
        ((7, 4, 7), "III", "III"),
        ((23,), "III", "III"),
        ((24,), None, None),
        ((12, 24), None, "I"),
        ((12, 61), None, "I"),
        ((12, 15), None, None),
        ((4, 7, 43), None, "III"),
        ((4, 10), None, "IV"),
        ((9, 12), None, "IV"),
        ((10, 20), None, None),
        ((1, 2, 4), None, None),
        ((8, 25), None, None),
        ((25, 26), "II", "II"),
    ],
)
def test_objective_class(aus: tuple[int, ...], table: str | None, extended: str | None) -> None:
    assert ag.objective_class(aus) == table
    assert ag.objective_class(aus, "extended") == extended


def test_classes_six_and_seven() -> None:
    assert [ag.other_class(aus) for aus in ((7, 20, 26), (1, 2, 4), (1, 2), (14,), ())] == [
        *("VI", "VI", "VII", "VII", "VII")
    ]


def annotation(text: str, sure: tuple[int, ...], unsure: tuple[int, ...] = ()) -> Annotation:
    codes = [AUCode(au) for au in sure] + [AUCode(au, certain=False) for au in unsure]
    return Annotation("s", "v", 1, 2, 3, tuple(codes), "micro", "", 1, text)


def test_what_is_uncertain_does_not_count_and_alternatives_must_agree() -> None:
    assert ag.class_of(annotation("12A+ref(24)", (12,), (24,))) == "I"
    assert ag.class_of(annotation("L12 or L14", (), (12, 14))) is None
    assert ag.class_of(annotation("(R6 or R12)+R15", (15,), (6, 12))) is None
    assert ag.class_of(annotation("6 or 12", (), (6, 12))) == "I"
    assert ag.class_of(annotation("4?", (), (4,))) is None


def test_original_graph_is_table_one_by_hand() -> None:
    graph = ag.original()
    assert graph.aus == NODES
    assert len(NODES) == 17
    assert graph.edges == by_hand()
    matrix = graph.matrix()
    assert matrix.dtype == np.float32
    for i, a in enumerate(NODES):
        for j, b in enumerate(NODES):
            assert matrix[i, j] == float(a == b or frozenset((a, b)) in by_hand())


def test_adjusted_graph_drops_what_any_training_set_lacks() -> None:
    casme2 = set(NODES) - {23, 24, 26, 40}
    samm = (set(NODES) - {38, 40}) | {14, 39}
    graph = ag.adjusted(ag.original(), casme2, samm)
    assert graph.aus == PAIRING
    assert graph.edges == {edge for edge in by_hand() if edge <= set(PAIRING)}
    assert len(graph.edges) == 20
    assert ag.adjusted(ag.original()) == ag.original()
    assert ag.adjusted(ag.original(), [1, 2], iter([2])).aus == (2,)


def test_induced_and_dense_graphs() -> None:
    graph = ag.induced(ag.original(), (12, 14, 6))
    assert graph.aus == (12, 14, 6)
    assert graph.matrix().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert ag.dense(PAIRING).matrix().min() == 1
    assert len(ag.dense(PAIRING).edges) == 66


def test_symmetric_normalisation_by_plain_loops() -> None:
    graph = ag.adjusted(ag.original(), PAIRING)
    plain, normal = graph.matrix(), graph.matrix("symmetric")
    degrees = [sum(row) for row in plain.tolist()]
    for i in range(12):
        for j in range(12):
            assert normal[i, j] == pytest.approx(plain[i, j] / (degrees[i] * degrees[j]) ** 0.5)
    assert np.linalg.eigvalsh(normal).max() == pytest.approx(1, abs=1e-6)


def test_a_graph_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        ag.dense((1, 1))
    with pytest.raises(ValueError, match="not between two"):
        ag.AUGraph((1, 2), frozenset({frozenset({1, 4})}))


# --- the real label files ---


def annotations(data: Path, name: converted.Name) -> tuple[Annotation, ...]:
    return converted.read(data / "labels" / f"{name}.csv", name).annotations


def official(data: Path) -> list[str]:
    with (data / "labels" / "samm.csv").open(newline="") as file:
        numbers = [int(row["Objective Classes"]) for row in csv.DictReader(file)]
    return [(*ag.CLASSES, *ag.OTHERS)[number - 1] for number in numbers]


def counts(made: list[str | None]) -> list[int]:
    found = Counter(made)
    return [found[name] for name in ag.CLASSES]


def test_samm_official_column_is_the_papers_table_two(data: Path) -> None:
    column = official(data)
    assert counts(list(column)) == [24, 13, 20, 8, 3]  # 68 samples
    rows = zip(annotations(data, "samm"), column, strict=True)
    five = [a for a, name in rows if name in ag.CLASSES]
    assert len({a.subject for a in five}) == 21
    assert set(NODES) - frozenset().union(*(a.sure_aus for a in five)) == {38, 40}


def test_samm_by_table_one_alone_lacks_rows_and_contradicts_none(data: Path) -> None:
    rows = list(zip(annotations(data, "samm"), official(data), strict=True))
    assert counts([ag.class_of(a) for a, _ in rows]) == [19, 13, 18, 6, 3]
    assert all(ag.class_of(a) in (None, name) for a, name in rows)


def test_samm_by_the_extended_rule_but_for_three_rows(data: Path) -> None:
    rows = list(zip(annotations(data, "samm"), official(data), strict=True))
    made = [ag.class_of(a, "extended") or ag.other_class(a.sure_aus) for a, _ in rows]
    assert counts(list(made)) == [23, 13, 21, 9, 3]
    odd = {a.au_text: (name, by) for (a, name), by in zip(rows, made, strict=True) if name != by}
    assert odd == {
        "L12 or L14": ("I", "VII"),  # though "R12 or R14" is VII in the column
        "4+7+43": ("VII", "III"),  # though "4B+7B+43E" is III in the column
        "4+6+7+9+43E": ("VII", "IV"),
    }


def test_casme2_by_both_rules(data: Path) -> None:
    # Table II of the paper: 25, 15, 99, 26, 20 of 185
    rows = annotations(data, "casme2")
    assert counts([ag.class_of(a) for a in rows]) == [30, 17, 93, 13, 13]
    assert counts([ag.class_of(a, "extended") for a in rows]) == [30, 17, 93, 25, 13]
    assert len({a.subject for a in rows if ag.class_of(a)}) == 26


@pytest.mark.parametrize("rule", ["table", "extended"])
def test_twelve_nodes_of_the_pairing_from_the_label_files(data: Path, rule: ag.Rule) -> None:
    found = []
    for name, absent in (("casme2", {23, 24, 26, 40}), ("samm", {38, 40})):
        rows = [a for a in annotations(data, name) if ag.class_of(a, rule)]
        aus = frozenset().union(*(a.sure_aus for a in rows))
        assert set(NODES) - aus == absent
        found.append(aus)
    assert ag.adjusted(ag.original(), *found).aus == PAIRING


def test_over_all_rows_the_graph_would_keep_fifteen_nodes(data: Path) -> None:
    sets = [
        frozenset().union(*(a.sure_aus for a in annotations(data, name)))
        for name in ("casme2", "samm")
    ]
    assert [set(NODES) - aus for aus in sets] == [{23, 40}, {40}]
    assert len(ag.adjusted(ag.original(), *sets).aus) == 15
