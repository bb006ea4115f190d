"""R and the kappas against numbers worked by hand or published, and plain loops."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UserError
from models.evaluate import Labelled
from models.reliability import (
    au_counts,
    au_kappas,
    au_sets,
    cohen_kappa,
    emotion_kappas,
    emotion_sets,
    expressions,
    fleiss_kappa,
    mean_pairwise_kappa,
    pooled_au_kappas,
    reliability,
)

sets = st.frozensets(st.sampled_from([1, 2, 4, 7, 12]), max_size=4)


def labelled(
    video: str, onset: int, offset: int, *aus: int, emotion: str | None = None
) -> Labelled:
    return Labelled(video, onset, offset, aus=aus, emotion=emotion)


# --- R


def test_two_coders_by_hand() -> None:
    one = [({1, 2, 4}, {1, 2, 5})]  # 2 shared, 4 different, 6 given
    assert reliability(one, 2).pooled == pytest.approx(2 * 2 / 6)
    assert reliability(one, 2, "guide").pooled == pytest.approx(2 * 2 / 4)
    assert reliability(one, 2, "face").pooled == pytest.approx(2 * 2 / 4)


def test_three_coders_by_hand() -> None:
    one = [({4, 7}, {4, 7, 9}, {4})]  # 1 shared, 3 different, 6 given
    assert reliability(one, 3).pooled == pytest.approx(3 * 1 / 6)
    assert reliability(one, 3, "guide").pooled == pytest.approx(2 * 1 / 3)
    assert reliability(one, 3, "face").pooled == pytest.approx(3 * 1 / 3)


@given(sets.filter(bool), st.integers(2, 5))
def test_coders_of_one_mind_get_1_but_2_and_n_as_printed(codes: frozenset[int], n: int) -> None:
    same = [(codes,) * n]
    assert reliability(same, n).pooled == 1
    assert reliability(same, n, "guide").pooled == 2
    assert reliability(same, n, "face").pooled == n


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.tuples(*[sets] * n), min_size=1)))
def test_r_by_plain_loops_and_its_bounds(samples: list[tuple[frozenset[int], ...]]) -> None:
    n = len(samples[0])
    shared = sizes = different = 0
    each = []
    for row in samples:
        every = {code for codes in row for code in codes}
        agreed = sum(all(code in codes for codes in row) for code in every)
        given_ = sum(1 for codes in row for _ in codes)
        shared, sizes, different = shared + agreed, sizes + given_, different + len(every)
        each.append(n * agreed / given_ if given_ else None)
    r = reliability(samples, n)
    assert r.values == pytest.approx(each)
    known = [value for value in each if value is not None]
    assert r.counted == len(known)
    if not known:
        assert r.pooled is r.mean is None
        return
    assert r.pooled == pytest.approx(n * shared / sizes)
    assert r.mean == pytest.approx(sum(known) / len(known))
    assert 0 <= r.pooled <= 1 and all(0 <= value <= 1 for value in known)
    assert reliability(samples, n, "face").pooled == pytest.approx(n * shared / different)
    assert reliability(samples, n, "guide").pooled == pytest.approx(2 * shared / different)


@given(st.tuples(sets, sets))
def test_for_two_coders_it_is_the_dice_index_of_the_jaccard_index(row) -> None:
    jaccard = reliability([row], 2, "guide").pooled
    if jaccard is not None:
        jaccard /= 2
        assert reliability([row], 2).pooled == pytest.approx(2 * jaccard / (1 + jaccard))


def test_pooled_weighs_codes_and_mean_weighs_samples() -> None:
    samples = [({1}, {2}), ({1, 2, 4, 7}, {1, 2, 4, 7}), (set(), set())]
    r = reliability(samples, 2)
    assert r.values == (0, 1, None)
    assert (r.shared, r.whole, r.counted) == (4, 10, 2)
    assert (r.pooled, r.mean) == (0.8, 0.5)


@pytest.mark.parametrize(
    ("samples", "coders", "formula"),
    [([], 1, "bounded"), ([({1}, {1})], 3, "bounded"), ([], 2, "dice")],
)
def test_what_makes_no_sense_is_refused(samples, coders, formula) -> None:
    with pytest.raises(ValueError, match=r"coders"):
        reliability(samples, coders, formula)


# --- kappa


def test_cohens_kappa_of_a_two_by_two_table() -> None:
    # yes/yes 20, yes/no 5, no/yes 10, no/no 15: observed 0.7, by chance 0.5 0.6 + 0.5 0.4 = 0.5
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    first, second = zip(*pairs, strict=True)
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_cohens_kappa_at_its_ends() -> None:
    assert cohen_kappa("abc", "abc") == 1
    assert cohen_kappa("ab", "ba") == -1
    assert cohen_kappa("aaab", "aaaa") == 0  # agreement of 3 in 4 is what chance gives
    assert cohen_kappa("aaa", "aaa") is None  # 0 / 0
    assert cohen_kappa("", "") is None
    with pytest.raises(ValueError, match="shorter"):
        cohen_kappa("ab", "a")


def test_fleiss_kappa_of_his_form_of_table() -> None:
    # Fleiss' 14 raters, 10 subjects, 5 categories, as in the common worked example: 0.210
    votes = [
        (0, 0, 0, 0, 14),
        (0, 2, 6, 4, 2),
        (0, 0, 3, 5, 6),
        (0, 3, 9, 2, 0),
        (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0),
        (2, 5, 3, 2, 2),
        (6, 5, 2, 1, 0),
        (0, 2, 2, 3, 7),
    ]
    items = [[c for c, count in enumerate(row) for _ in range(count)] for row in votes]
    assert fleiss_kappa(list(zip(*items, strict=True))) == pytest.approx(0.20993, abs=5e-6)


def test_fleiss_kappa_by_hand() -> None:
    # items aaa, aab, bbb: agreement (1 + 1/3 + 1) / 3 = 7/9; a 5/9, b 4/9: chance 41/81
    assert fleiss_kappa(["aab", "aab", "abb"]) == pytest.approx((7 / 9 - 41 / 81) / (1 - 41 / 81))
    assert fleiss_kappa(["aa", "aa", "aa"]) is None
    assert fleiss_kappa(["", ""]) is None
    with pytest.raises(ValueError, match="two coders"):
        fleiss_kappa(["ab"])


def test_the_pairwise_mean_leaves_out_pairs_without_a_kappa() -> None:
    # a with b: 0 / 0; a with c and b with c: 0 each
    assert mean_pairwise_kappa(["xx", "xx", "xy"]) == 0
    assert mean_pairwise_kappa(["xx", "xx"]) is None
    assert mean_pairwise_kappa(["xyz", "xyz", "xyx"]) == pytest.approx((1 + 0.5 + 0.5) / 3)


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.tuples(*[st.sampled_from("abc")] * n))))
def test_kappas_by_plain_loops(items: list[tuple[str, ...]]) -> None:
    if not items:
        return
    n, coders = len(items), list(zip(*items, strict=True))
    for a, b in combinations(coders, 2):
        observed = sum(x == y for x, y in zip(a, b, strict=True)) / n
        chance = sum((a.count(c) / n) * (b.count(c) / n) for c in "abc")
        one = None if len({*a, *b}) == 1 else (observed - chance) / (1 - chance)
        assert cohen_kappa(a, b) == pytest.approx(one)
    every = "".join(map("".join, items))
    shares = [every.count(c) / len(every) for c in "abc"]
    raters = len(coders)
    pairs = [
        sum(x == y for x, y in permutations(item, 2)) / (raters * (raters - 1)) for item in items
    ]
    chance = sum(share**2 for share in shares)
    expected = None if len(set(every)) == 1 else (sum(pairs) / n - chance) / (1 - chance)
    assert fleiss_kappa(coders) == pytest.approx(expected)


# --- which intervals are one expression


def test_two_coders_are_matched_in_time_and_what_is_left_stands_alone() -> None:
    a = [labelled("x", 10, 19), labelled("x", 50, 59), labelled("y", 10, 19)]
    b = [labelled("x", 12, 21), labelled("x", 57, 66), labelled("z", 10, 19)]
    assert expressions([a, b]) == [
        (a[0], b[0]),  # 8 of 12 frames
        (a[1], None),  # 3 of 17 frames
        (None, b[1]),
        (a[2], None),
        (None, b[2]),
    ]


def test_the_least_iou_counts_in() -> None:
    a, b = [labelled("x", 0, 9)], [labelled("x", 5, 9)]  # 5 of 10 frames
    assert expressions([a, b], 0.5) == [(a[0], b[0])]
    assert len(expressions([a, b], 0.51)) == 2


def test_a_kind_need_not_be_the_same() -> None:
    a, b = [Labelled("x", 0, 9, kind="micro")], [Labelled("x", 0, 9, kind="macro")]
    assert len(expressions([a, b])) == 1


def test_an_interval_takes_part_in_one_expression_alone() -> None:
    a = [labelled("x", 0, 19)]
    b = [labelled("x", 0, 11), labelled("x", 2, 19)]
    assert expressions([a, b]) == [(None, b[0]), (a[0], b[1])]


def test_three_coders_meet_through_the_one_between_them() -> None:
    a, b, c = [labelled("x", 0, 9)], [labelled("x", 3, 12)], [labelled("x", 6, 15)]
    assert expressions([a, c]) == [(a[0], None), (None, c[0])]  # 4 of 16 frames
    assert expressions([a, b, c]) == [(a[0], b[0], c[0])]


def test_an_expression_keeps_to_one_interval_a_coder_and_the_best_pair_goes_first() -> None:
    a = [labelled("x", 1, 10), labelled("x", 7, 16)]
    b, c = [labelled("x", 3, 12)], [labelled("x", 6, 15)]
    # a chain from a[0] to a[1]: a[0] b[0] 8 of 12, b[0] c[0] 7 of 13, c[0] a[1] 9 of 11; no other
    assert expressions([a, b, c]) == [(a[0], b[0], None), (a[1], None, c[0])]
    assert expressions([c, b, a]) == [(None, b[0], a[0]), (c[0], None, a[1])]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=4),
        min_size=2,
        max_size=4,
    )
)
def test_every_interval_stands_in_exactly_one_expression(drawn) -> None:
    coders = [
        [
            labelled("x", onset, onset + length + 1, number)
            for number, (onset, length) in enumerate(c)
        ]
        for c in drawn
    ]
    found = expressions(coders)
    for place, items in enumerate(coders):
        column = [expression[place] for expression in found if expression[place]]
        key = lambda item: (item.onset, item.offset, item.aus)  # noqa: E731
        assert sorted(column, key=key) == sorted(items, key=key)
    assert all(any(expression) for expression in found)


def test_an_interval_without_a_border_is_refused_whoever_gave_it() -> None:
    whole, broken = [labelled("x", 0, 9)], [Labelled("v", 5, 0)]
    for coders in ([whole, broken], [broken, whole]):
        with pytest.raises(UserError, match="v: an interval at frame 5 lacks"):
            expressions(coders)


# --- codes of expressions

FOUND = [
    (labelled("x", 0, 9, 4, 7, emotion="disgust"), labelled("x", 0, 9, 4, emotion="anger")),
    (
        labelled("x", 20, 29, 12, emotion="happiness"),
        labelled("x", 20, 29, 12, emotion="happiness"),
    ),
    (labelled("x", 40, 49, 4), None),
]


def test_who_did_not_mark_an_expression_gave_it_no_code() -> None:
    assert au_sets(FOUND) == [({4, 7}, {4}), ({12}, {12}), ({4}, set())]
    assert emotion_sets(FOUND) == [
        ({"disgust"}, {"anger"}),
        ({"happiness"}, {"happiness"}),
        (set(), set()),
    ]
    assert reliability(au_sets(FOUND), 2).pooled == pytest.approx(2 * 2 / 6)
    assert reliability(emotion_sets(FOUND), 2).pooled == pytest.approx(2 * 1 / 4)


def test_kappa_of_each_au_and_of_all() -> None:
    each = au_kappas(FOUND)
    assert list(each) == [4, 7, 12]
    # AU4: yes no yes against yes no no: observed 2/3, chance 2/9 + 2/9
    assert each[4].cohen == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))
    assert each[7].cohen == 0
    assert each[12].cohen == each[12].fleiss == 1
    # all nine: 2 both, 2 the first alone, 5 neither; chance (4 2 + 5 7) / 81
    pooled = pooled_au_kappas(FOUND)
    assert pooled.items == 9
    assert pooled.cohen == pytest.approx((7 / 9 - 43 / 81) / (38 / 81))
    assert au_counts(FOUND) == {4: (2, 1), 7: (1, 0), 12: (1, 1)}


def test_no_emotion_is_a_category_of_its_own() -> None:
    # disgust/anger, happiness/happiness, none/none: observed 2/3, chance 1/9 + 1/9
    assert emotion_kappas(FOUND).cohen == pytest.approx((2 / 3 - 2 / 9) / (7 / 9))


def test_without_expressions_there_is_nothing_to_tell() -> None:
    assert expressions([[], []]) == []
    assert emotion_kappas([]).cohen is None
    assert pooled_au_kappas([]).items == 0
    assert au_kappas([]) == au_counts([]) == {}
