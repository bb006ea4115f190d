"""The coding guide: Table 3, the exclusive AUs and the seven rules, against hand-made cases."""

from __future__ import annotations

from itertools import combinations

import pytest

from models import facs

# what survives of Table 3's bold print in the papers' texts, typed from there
BOLD = {
    "happiness": {6, 12},
    "surprise": {2},
    "anger": {16, 22},
    "fear": {20},
    "disgust": {7, 24},
    "sadness": set[int](),
}


def primary(*aus: int) -> tuple[int | None, str, str]:
    reading = facs.read(aus)[0]
    return reading.rule, reading.label, reading.category


def fired(*aus: int) -> set[tuple[int | None, str]]:
    return {(reading.rule, reading.label) for reading in facs.read(aus)}


def test_exclusive_aus_are_those_with_one_emotion_by_brute_force() -> None:
    for emotion, exclusive in facs.exclusive_aus().items():
        for au in range(100):
            rows = [name for name, row in facs.EMOTION_AUS.items() if au in row]
            assert (au in exclusive) == (rows == [emotion])


def test_exclusive_aus_hold_all_bold_ones_and_add_only_the_ends_of_rows() -> None:
    added: set[int] = set()
    for emotion, exclusive in facs.exclusive_aus().items():
        assert exclusive >= BOLD[emotion]
        added |= exclusive - BOLD[emotion]
    assert added == {28, 23, 43}


def test_table_3_has_the_papers_rows() -> None:
    assert {name: len(row) for name, row in facs.EMOTION_AUS.items()} == {
        "happiness": 7,
        "surprise": 6,
        "anger": 7,
        "fear": 5,
        "disgust": 10,
        "sadness": 6,
    }
    negative = [name for name, row in facs.EMOTION_AUS.items() if 4 in row]
    assert negative == ["anger", "fear", "disgust", "sadness"]  # "present in all negative emotions"


@pytest.mark.parametrize(
    ("aus", "expected"),
    [
        ((12,), (1, "happiness", "positive")),
        ((6,), (1, "happiness", "positive")),
        ((28,), (1, "happiness", "positive")),
        ((2,), (2, "surprise", "surprise")),
        ((4,), (3, "negative", "negative")),
        ((16,), (4, "anger", "negative")),
        ((22,), (4, "anger", "negative")),
        ((23,), (4, "anger", "negative")),
        ((1, 4, 5, 25), (5, "fear", "negative")),
        ((7,), (6, "disgust", "negative")),
        ((24,), (6, "disgust", "negative")),
        ((4, 5), (7, "sadness", "negative")),
        ((43,), (7, "sadness", "negative")),
        ((20,), (None, "fear", "negative")),
        ((14,), (None, "others", "others")),
        ((1, 15, 17), (None, "others", "others")),
        ((), (None, "others", "others")),
    ],
)
def test_each_rule_fires_on_its_own_aus(
    aus: tuple[int, ...], expected: tuple[int | None, str, str]
) -> None:
    assert primary(*aus) == expected


def test_fear_needs_all_four_aus_at_once() -> None:
    for aus in combinations((1, 4, 5, 25), 3):
        assert (5, "fear") not in fired(*aus)
    assert fired(1, 4, 5, 25) == {(5, "fear"), (7, "sadness"), (3, "negative")}


def test_fear_comes_first_whatever_else_fires() -> None:
    assert primary(1, 4, 5, 25, 7, 9, 10, 14)[:2] == (5, "fear")


def test_an_emotion_comes_before_the_bare_frown() -> None:
    assert [r.label for r in facs.read((4, 7))] == ["disgust", "negative"]
    assert [r.label for r in facs.read((4, 2))] == ["surprise", "negative"]


def test_the_emotion_whose_row_explains_more_aus_comes_first() -> None:
    assert [r.label for r in facs.read((6, 7, 12))] == ["happiness", "disgust"]
    assert [r.label for r in facs.read((7, 12, 15, 17))] == ["disgust", "happiness"]
    # rule 7 fires on 4 + 5, but anger's row holds all three
    assert [r.label for r in facs.read((4, 5, 16))] == ["anger", "sadness", "negative"]


def test_a_tie_goes_in_the_papers_order() -> None:
    assert [r.label for r in facs.read((43, 24, 2, 12))] == [
        "happiness",
        "surprise",
        "disgust",
        "sadness",
    ]


def test_positive_and_negative_at_once_are_both_told() -> None:
    assert {r.category for r in facs.read((4, 12))} == {"positive", "negative"}


def test_a_reading_names_the_aus_that_fired_it_and_no_others() -> None:
    reading = facs.read((6, 12, 14))[0]
    assert reading.aus == {6, 12}
    assert reading.text == "rule 1: AU6 cheek rise + AU12 corners of lips pulled up"


def test_order_and_repetition_of_aus_change_nothing() -> None:
    assert facs.read([12, 4, 12, 6]) == facs.read([4, 6, 12])


def test_every_pair_of_aus_reads_as_the_union_of_what_fires_alone_but_for_4_with_5() -> None:
    alone = {au: fired(au) - {(None, "others")} for au in facs.ACTION_UNITS}
    for a, b in combinations(facs.ACTION_UNITS, 2):
        extra = {(7, "sadness")} if {a, b} == {4, 5} else set()
        expected = alone[a] | alone[b] | extra
        assert fired(a, b) == (expected or {(None, "others")})


@pytest.mark.parametrize("au", [0, -1, 3, 40, 59, 1000])
def test_an_au_that_facs_does_not_have_is_refused(au: int) -> None:
    with pytest.raises(ValueError, match=f"no AU {au}"):
        facs.read([12, au])


def test_all_aus_of_table_and_rules_are_in_facs() -> None:
    used = set().union(*facs.EMOTION_AUS.values(), *(r.words for r in facs.CODING_RULES))
    assert used <= facs.ACTION_UNITS.keys()
    for rule in facs.CODING_RULES:
        assert set().union(*rule.any_of) == rule.words.keys()


def test_branches_are_the_papers() -> None:
    branches = {au: facs.ACTION_UNITS[au].branches for au in (1, 4, 5, 12, 15)}
    assert branches == {
        1: ("temporal",),
        4: ("temporal",),
        5: (),  # not moved by the facial nerve; the papers name no branch
        12: ("zygomatic",),
        15: ("buccal", "marginal mandibular"),
    }


# --- the other way: from muscle, branch and emotion to AUs


def test_every_au_is_found_again_from_its_muscles_branches_and_emotions() -> None:
    for au, unit in facs.ACTION_UNITS.items():
        for muscle in unit.muscles:
            assert au in facs.aus_of_muscle(muscle)
        for branch in facs.NERVE_BRANCHES:
            assert (au in facs.aus_of_branch(branch)) == (branch in unit.branches)
        for emotion in facs.EMOTION_AUS:
            assert (au in facs.aus_of_emotion(emotion)) == (emotion in facs.emotions_of(au))


def test_look_ups_by_hand() -> None:
    assert facs.aus_of_muscle("frontalis") == (1, 2)
    assert facs.aus_of_muscle("zygomaticus major") == (12,)
    assert facs.aus_of_branch("cervical") == (20, 21)
    assert facs.aus_of_branch("marginal mandibular") == (15, 16, 17, 25)
    assert facs.aus_of_emotion("fear") == (1, 4, 5, 20, 25)
    assert facs.emotions_of(1) == ("happiness", "surprise", "fear", "disgust", "sadness")
    assert facs.emotions_of(20) == ("fear",)
    assert facs.emotions_of(18) == ()


def test_the_branches_are_those_that_muscles_have() -> None:
    used = {branch for branches in facs.BRANCHES.values() for branch in branches}
    assert used == set(facs.NERVE_BRANCHES)


def test_aus_with_one_emotion_are_the_exclusive_ones() -> None:
    alone = {au for au in facs.ACTION_UNITS if len(facs.emotions_of(au)) == 1}
    assert alone == set().union(*facs.exclusive_aus().values())


@pytest.mark.parametrize(
    ("look_up", "name", "known"),
    [
        (facs.aus_of_muscle, "biceps", "frontalis"),
        (facs.aus_of_branch, "ophthalmic", "cervical"),
        (facs.aus_of_emotion, "envy", "sadness"),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(look_up, name: str, known: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*{known}"):
        look_up(name)
