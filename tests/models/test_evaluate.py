"""Scoring: eqs 27-30 by hand, properties of the matching, and published figures."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UserError
from models.evaluate import (
    DEFAULT,
    MICRO_RULES,
    PROTOCOLS,
    Figures,
    Labelled,
    MicroRule,
    Protocol,
    aus_f1,
    border_errors,
    disagreement,
    match,
    matched,
    score,
    table,
)
from models.labels import read


def one(onset: int, offset: int, kind="micro", video="a", **more) -> Labelled:
    return Labelled(video, onset, offset, kind=kind, **more)


def protocol(**fields) -> Protocol:
    return replace(DEFAULT, **fields)


@st.composite
def intervals(draw, videos="ab", most=6):
    onset = st.integers(0, 25)
    parts = st.tuples(
        st.sampled_from(videos), onset, st.integers(1, 12), st.sampled_from(("micro", "macro"))
    )
    rows = draw(st.lists(parts, max_size=most))
    return [Labelled(v, start, start + length, kind=kind) for v, start, length, kind in rows]


levels = st.sampled_from((0.3, 0.4, 0.5, 0.75))
protocols = st.sampled_from(sorted(PROTOCOLS)).map(PROTOCOLS.__getitem__)


def fits(t: Labelled, p: Labelled, rule: Protocol, least: float) -> bool:
    """Written anew: frames as sets."""
    add = 1 if rule.frames == "inclusive" else 0
    a, b = set(range(t.onset, t.offset + add)), set(range(p.onset, p.offset + add))
    value = len(a & b) / len(a | b)
    same = t.video == p.video and (rule.types == "any" or t.kind == p.kind)
    return same and (value > least if rule.strict else value >= least)


def largest_by_trying(truth, predictions, least: float) -> int:
    edges = [
        (i, j)
        for i, t in enumerate(truth)
        for j, p in enumerate(predictions)
        if fits(t, p, DEFAULT, least)
    ]
    for size in range(min(len(truth), len(predictions)), 0, -1):
        for chosen in itertools.combinations(edges, size):
            if len({i for i, _ in chosen}) == len({j for _, j in chosen}) == size:
                return size
    return 0


# --- IoU


def test_closed_intervals_count_both_borders() -> None:
    assert DEFAULT.iou(one(0, 9), one(5, 14)) == 5 / 15
    assert PROTOCOLS["exclusive"].iou(one(0, 9), one(5, 14)) == 4 / 14


def test_one_frame_has_a_length_only_when_closed() -> None:
    assert DEFAULT.iou(one(7, 7), one(7, 7)) == 1
    assert PROTOCOLS["exclusive"].iou(one(7, 7), one(7, 7)) == 0


@pytest.mark.parametrize(("least", "offset"), [(0.5, 4), (0.4, 3), (0.3, 2)])
def test_an_iou_of_exactly_k_counts_unless_strict(least: float, offset: int) -> None:
    pair = [one(1, 10)], [one(1, offset + 1)]  # (offset + 1) / 10
    assert match(*pair, least_iou=least) == [(0, 0)]
    assert match(*pair, PROTOCOLS["strict"], least) == []


@given(intervals(videos="a"), intervals(videos="a"))
def test_iou_is_symmetric_and_within_0_and_1(truth, predictions) -> None:
    for rule in PROTOCOLS.values():
        for t, p in zip(truth, predictions, strict=False):
            assert rule.iou(t, p) == rule.iou(p, t)
            assert 0 <= rule.iou(t, p) <= 1


# --- matching


def test_videos_never_mix() -> None:
    assert match([one(0, 9, video="a")], [one(0, 9, video="b")]) == []


def test_micro_does_not_match_macro_unless_types_are_any() -> None:
    pair = [one(0, 9, "micro")], [one(0, 9, "macro")]
    assert match(*pair) == []
    assert match(*pair, PROTOCOLS["any-type"]) == [(0, 0)]


def test_a_prediction_serves_one_truth_or_many_as_the_protocol_says() -> None:
    truth, predictions = [one(0, 9), one(0, 11)], [one(0, 10)]
    assert len(match(truth, predictions)) == 1
    assert match(truth, predictions, PROTOCOLS["per-truth"]) == [(0, 0), (1, 0)]


def test_the_largest_matching_finds_a_pair_that_greedy_loses() -> None:
    predictions = [one(1, 10), one(0, 5)]
    truth = [one(0, 9), one(6, 11)]
    # best pair (0, 0) 9/11; alone in fitting truth 1 at 0.4 is prediction 0: 5/11
    assert match(truth, predictions, PROTOCOLS["greedy"], 0.4) == [(0, 0)]
    assert match(truth, predictions, DEFAULT, 0.4) == [(0, 1), (1, 0)]


def test_among_equally_many_pairs_the_best_iou_is_taken() -> None:
    assert match([one(0, 9)], [one(0, 7), one(0, 8)]) == [(0, 1)]


@given(intervals(), intervals(), levels)
def test_one_to_one_is_as_large_as_any_matching(truth, predictions, least) -> None:
    pairs = match(truth, predictions, DEFAULT, least)
    assert len(pairs) == largest_by_trying(truth[:6], predictions[:6], least)


@given(intervals(), intervals(), protocols, levels)
def test_every_pair_fits_and_no_row_is_used_too_often(truth, predictions, rule, least) -> None:
    pairs = match(truth, predictions, rule, least)
    assert all(fits(truth[i], predictions[j], rule, least) for i, j in pairs)
    assert len({i for i, _ in pairs}) == len(pairs)
    if rule.matching != "per-truth":
        assert len({j for _, j in pairs}) == len(pairs)


@given(intervals(), intervals(), levels)
def test_per_truth_finds_exactly_the_truths_that_something_fits(truth, predictions, least) -> None:
    rule = PROTOCOLS["per-truth"]
    found = {i for i, _ in match(truth, predictions, rule, least)}
    expected = {i for i, t in enumerate(truth) if any(fits(t, p, rule, least) for p in predictions)}
    assert found == expected


@given(intervals(), intervals(), protocols, levels, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_figure(truth, predictions, rule, least, random) -> None:
    before = score(truth, predictions, rule, least)
    random.shuffle(truth)
    random.shuffle(predictions)
    assert score(truth, predictions, rule, least) == before


@given(intervals(), intervals())
def test_a_lower_k_never_finds_less(truth, predictions) -> None:
    for rule in PROTOCOLS.values():
        tps = [s.all.tp for s in table(truth, predictions, rule)]
        assert tps == sorted(tps)


@given(intervals(), intervals(), intervals(most=1), levels)
def test_a_further_prediction_never_costs_a_pair(truth, predictions, more, least) -> None:
    before = len(match(truth, predictions, DEFAULT, least))
    assert len(match(truth, predictions + more, DEFAULT, least)) >= before


@given(intervals(), protocols)
def test_truth_against_itself_is_perfect(truth, rule) -> None:
    figures = score(truth, truth, rule).all
    assert figures.tp == len(truth)
    assert figures.f1 == (1 if truth else 0)


# --- figures


def test_totals_come_before_quotients() -> None:
    truth = [one(0, 9, video="a"), *(one(20 * n, 20 * n + 9, video="b") for n in range(3))]
    predictions = [one(0, 9, video="a"), one(0, 9, video="b"), one(500, 509, "macro", video="b")]
    s = score(truth, predictions)
    assert s.micro == Figures(truth=4, predictions=2, tp=2, used=2)
    assert s.macro == Figures(truth=0, predictions=1, tp=0, used=0)
    assert (s.all.tp, s.all.fp, s.all.fn) == (2, 1, 2)
    assert s.all.precision == 2 / 3
    assert s.all.recall == 2 / 4
    assert s.all.f1 == 4 / 7
    assert s.of("all") == s.all


def test_f1_is_eq_30() -> None:
    figures = Figures(truth=300, predictions=221, tp=113, used=113)
    p, r = figures.precision, figures.recall
    assert figures.f1 == pytest.approx(2 * p * r / (p + r))
    assert figures.f1 == pytest.approx(0.4337, abs=1e-4)  # the paper's Table 3


def test_an_empty_side_scores_zero_not_an_error() -> None:
    nothing = score([], []).all
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    assert score([one(0, 9)], []).all == Figures(1, 0, 0, 0)
    assert score([], [one(0, 9)]).all.fp == 1


@given(intervals(), intervals(), protocols, levels)
def test_all_is_micro_plus_macro_and_counts_every_row(truth, predictions, rule, least) -> None:
    s = score(truth, predictions, rule, least)
    assert s.all == s.micro + s.macro
    assert (s.all.truth, s.all.predictions) == (len(truth), len(predictions))
    assert s.all.tp + s.all.fn == len(truth)
    if rule.matching != "per-truth":
        assert s.all.tp + s.all.fp == len(predictions)


def test_false_positives_are_predictions_that_fit_nothing_also_when_shared() -> None:
    figures = score([one(0, 9), one(0, 11)], [one(0, 10)], PROTOCOLS["per-truth"]).all
    assert (figures.tp, figures.fp, figures.precision) == (2, 0, 2.0)


def test_any_type_counts_a_hit_for_the_kind_of_the_truth() -> None:
    s = score([one(0, 9, "micro")], [one(0, 9, "macro")], PROTOCOLS["any-type"])
    assert (s.micro.tp, s.macro.tp, s.macro.fp) == (1, 0, 0)


@pytest.mark.parametrize("least", [0, -0.1, 1.01, float("nan")])
def test_a_senseless_threshold_is_refused(least: float) -> None:
    with pytest.raises(UserError, match="IoU"):
        match([one(0, 9)], [one(0, 9)], least_iou=least)


# --- kinds


def test_the_limit_judges_rows_without_a_label_and_by_duration_all() -> None:
    truth = [one(0, 15, kind="macro"), one(100, 116, kind=None)]
    rule = MicroRule(15)
    by_label = score(truth, [], protocol(micro=rule))
    by_duration = score(truth, [], protocol(micro=rule, kinds="duration"))
    assert (by_label.micro.truth, by_label.macro.truth) == (0, 2)
    assert (by_duration.micro.truth, by_duration.macro.truth) == (1, 1)


def test_the_limit_itself_is_micro_unless_strict() -> None:
    assert MicroRule(15).kind(one(0, 15)) == "micro"
    assert MicroRule(15, strict=True).kind(one(0, 15)) == "macro"


def test_a_row_whose_kind_cannot_be_told_is_an_error_in_one_line() -> None:
    with pytest.raises(UserError, match="a: the interval 0 to 9") as error:
        score([one(0, 9, kind=None)], [])
    assert "\n" not in str(error.value)
    unknown = [one(5, 0, kind=None)]
    with pytest.raises(UserError, match="neither both borders nor a kind"):
        score(unknown, [], replace(PROTOCOLS["missed"], micro=MicroRule(15)))


# --- missing borders

NO_OFFSET = one(40, 0, "macro", apex=50)
NO_ONSET = one(0, 99, "macro", apex=90, onset_known=False)


@pytest.mark.parametrize(
    ("name", "counted", "left_out"), [("one-to-one", 1, 2), ("missed", 3, 0), ("filled", 3, 0)]
)
def test_what_becomes_of_rows_without_a_border(name: str, counted: int, left_out: int) -> None:
    s = score([one(0, 9), NO_OFFSET, NO_ONSET], [one(0, 9)], PROTOCOLS[name])
    assert (s.all.truth, s.left_out, s.all.tp) == (counted, left_out, 1)


def test_a_missed_row_is_never_found_and_a_filled_one_ends_20_frames_after_its_apex() -> None:
    predictions = [one(40, 70, "macro")]
    assert match([NO_OFFSET], predictions, PROTOCOLS["missed"]) == []
    assert match([NO_OFFSET], predictions, PROTOCOLS["filled"], 1.0) == [(0, 0)]


def test_a_kept_onset_is_frame_0() -> None:
    predictions = [one(0, 99, "macro")]
    assert match([NO_ONSET], predictions, PROTOCOLS["filled"], 1.0) == [(0, 0)]
    assert match([NO_ONSET], predictions) == []


def test_an_offset_that_cannot_be_filled_counts_as_missed() -> None:
    s = score([one(40, 0, "macro")], [one(40, 60, "macro")], PROTOCOLS["filled"])
    assert (s.all.truth, s.all.tp) == (1, 0)


def test_onset_0_of_a_recording_counted_from_0_is_a_frame_like_any_other() -> None:
    assert match([one(0, 9)], [one(0, 9)]) == [(0, 0)]


def test_rows_without_an_apex_are_left_out_only_on_demand() -> None:
    truth = [one(0, 9), one(20, 29, apex=25)]
    assert score(truth, truth).all.truth == 2
    assert score(truth, truth, protocol(missing_apex="drop")).all.truth == 1


def test_a_prediction_without_borders_is_an_error() -> None:
    with pytest.raises(UserError, match="frame 40 has no onset or offset"):
        match([], [NO_OFFSET])


@pytest.mark.parametrize(("onset", "offset"), [(9, 5), (-1, 5), (3, -2)])
def test_impossible_borders_are_refused(onset: int, offset: int) -> None:
    with pytest.raises(ValueError, match="offset"):
        Labelled("a", onset, offset)


# --- disagreement, AUs, borders


@given(intervals(), intervals())
def test_disagreement_holds_every_protocol_and_agrees_with_each(truth, predictions) -> None:
    scores = disagreement(truth, predictions)
    assert list(scores) == list(PROTOCOLS)
    for name, s in scores.items():
        assert s == score(truth, predictions, PROTOCOLS[name])


def test_disagreement_also_moves_the_limit_of_micro() -> None:
    like = protocol(micro=MicroRule(9))
    scores = disagreement([one(0, 9, None)], [one(0, 9, None)], like=like)
    assert scores["one-to-one"].micro.tp == 1
    assert scores["micro-below-limit"].macro.tp == 1


def test_every_protocol_says_in_words_what_sets_it_apart() -> None:
    meanings = [p.meaning for p in PROTOCOLS.values()]
    assert len(set(meanings)) == len(meanings)
    assert "< 15 frames" in protocol(micro=MicroRule(15, strict=True)).meaning


def test_au_f1_adds_up_over_pairs_and_leaves_uncoded_truth_out() -> None:
    pairs = [
        (one(0, 9, aus=(1, 2)), one(0, 9, aus=(1, 2, 4))),
        (one(0, 9, aus=(12,)), one(0, 9, aus=(14,))),
        (one(0, 9), one(0, 9, aus=(7,))),
    ]
    figures = aus_f1(pairs)
    assert figures == Figures(truth=3, predictions=4, tp=2, used=2)
    assert figures.f1 == pytest.approx(4 / 7)
    assert aus_f1([]).f1 == 0


def test_border_errors_are_medians_over_matched_pairs() -> None:
    truth = [one(0, 10, apex=5), one(100, 110), one(200, 210, apex=205)]
    predictions = [one(1, 10, apex=7), one(100, 112, apex=105), one(203, 210, apex=205)]
    borders = border_errors(matched(truth, predictions))
    assert (borders.pairs, borders.onset, borders.apex, borders.offset) == (3, 1.0, 1.0, 0.0)


def test_borders_that_were_never_annotated_have_no_error() -> None:
    pairs = matched([NO_OFFSET], [one(40, 70, "macro")], PROTOCOLS["filled"])
    borders = border_errors(pairs)
    assert (borders.pairs, borders.onset, borders.apex, borders.offset) == (1, 0.0, None, None)
    assert border_errors([]).onset is None


# --- published figures

HE = {"matching": "per-truth", "types": "any"}
PUBLISHED = [
    ("he2024_casme_sq", "casme-sq", HE, (0.3742, 0.4065, 0.2159)),
    ("he2024_casme_sq", "casme-sq", {"types": "any"}, (0.3664, 0.3972, 0.2159)),
    ("he2024_casme_sq", "casme-sq", {}, (0.3394, 0.3949, 0.0682)),
    ("he2024_samm_lv", "samm-lv", HE, (0.3742, 0.4276, 0.2196)),
    ("he2024_samm_lv", "samm-lv", {}, (0.3078, 0.3789, 0.1020)),
]


@pytest.mark.parametrize(("file", "rule", "fields", "expected"), PUBLISHED)
@pytest.mark.parametrize("matching", ["one-to-one", "greedy"])
def test_published_predictions_score_as_published(
    data: Path, file: str, rule: str, fields: dict[str, str], expected, matching: str
) -> None:
    labels = read(data / "predictions" / f"{file}.csv")
    chosen = protocol(**{"matching": matching, **fields}, micro=MICRO_RULES[rule])
    s = score(labels.truth, labels.predictions, chosen)
    assert tuple(round(f.f1, 4) for f in (s.all, s.macro, s.micro)) == expected


@pytest.mark.parametrize(
    ("name", "truth", "tp", "expected"),
    [
        ("one-to-one", 313, 155, (0.3122, 0.3647, 0.0682)),
        ("missed", 357, 155, (0.2989, 0.3461, 0.0682)),
        ("filled", 357, 176, (0.3394, 0.3949, 0.0682)),
        ("he2024", 357, 194, (0.3742, 0.4065, 0.2159)),
    ],
)
def test_missing_offsets_move_a_real_score_as_documented(
    data: Path, name: str, truth: int, tp: int, expected
) -> None:
    labels = read(data / "labels" / "casme_sq_long.csv").truth
    spotted = read(data / "predictions" / "he2024_casme_sq.csv").predictions
    renamed = [
        replace(p, video=re.sub(r"^s(\d\d)/\d+_(\d{4}).*", r"casme_0\1_\2", p.video))
        for p in spotted
    ]
    s = score(labels, renamed, replace(PROTOCOLS[name], micro=MICRO_RULES["casme-sq"]))
    assert (s.all.truth, s.all.tp) == (truth, tp)
    assert tuple(round(f.f1, 4) for f in (s.all, s.macro, s.micro)) == expected
