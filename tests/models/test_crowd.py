"""Algorithms 1 and 2 against plain loops and hand arithmetic; readers of RAF-AU's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.crowd import EMOTIONS, RAF_ORDER, Sample, method_1, method_2, read
from models.errors import UserError

# Table 2 of both papers, typed from there (the extension's text breaks off after eight columns)
TABLE_2 = {
    "happiness": "12 .2312 35 .2059 19 .2015 2 .1746 6 .1635 28 .1598 30 .1543 27 .1513 26 .1470 "
    "14 .1470",
    "surprise": "2 .3742 5 .3625 35 .3186 1 .3051 26 .2859 27 .2832 21 .2783 34 .2721 28 .2588 "
    "25 .2398",
    "anger": "9 .3387 33 .3333 16 .2726 23 .2662 7 .2604 10 .2549 30 .2521 24 .2346 29 .2332 "
    "32 .2328",
    "fear": "20 .2500 27 .2054 33 .1944 5 .1854 16 .1813 2 .1674 1 .1631 12 .1444 30 .1398 "
    "21 .1307",
    "disgust": "24 .3112 32 .3026 17 .2942 15 .2789 19 .2642 14 .2622 7 .2484 4 .2387 18 .2377 "
    "9 .2325",
    "sadness": "39 .4294 15 .2810 43 .2543 17 .2355 4 .1957 14 .1686 6 .1621 28 .1598 7 .1490 "
    "24 .1467",
}


def printed(emotion: str) -> dict[int, float]:
    words = TABLE_2[emotion].split()
    return {int(au): float(score) for au, score in zip(words[::2], words[1::2], strict=True)}


def rated(image: str, aus: set[int], **scores: float) -> Sample:
    return Sample(image, frozenset(aus), tuple(scores.get(name, 0.0) for name in EMOTIONS))


@st.composite
def tables(draw: st.DrawFn) -> list[Sample]:
    """Few AUs and coarse scores, so that combinations and ties occur often."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        aus = draw(st.frozensets(st.sampled_from([1, 4, 12, 25]), max_size=3))
        votes = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
        whole = sum(votes) or 1
        made.append(Sample(str(number), aus, tuple(vote / whole for vote in votes)))
    return made


# --- the algorithms


def test_method_1_by_hand() -> None:
    samples = [
        rated("a", {6, 12, 25}, happiness=0.9, surprise=0.1),
        rated("b", {12, 25}, happiness=0.8, disgust=0.2),
        rated("c", {25, 12}, happiness=0.6, sadness=0.4),  # 12+25 as happiness again: nothing
        rated("d", {12, 25}, happiness=0.3, disgust=0.7),  # but as disgust for the first time
        rated("e", set(), anger=1.0),  # no AU to give it to
        rated("f", {4}),  # all six are 0: no emotion
    ]
    result = method_1(samples)
    assert result.counted == 3
    happiness = dict(result.of["happiness"])  # 6: 0.9; 12 and 25: 0.9 + 0.8; all: 4.3
    assert happiness == pytest.approx({6: 0.9 / 4.3, 12: 1.7 / 4.3, 25: 1.7 / 4.3})
    assert [au for au, _ in result.of["happiness"]] == [12, 25, 6]
    assert dict(result.of["disgust"]) == pytest.approx({12: 0.5, 25: 0.5})
    assert result.of["anger"] == result.of["fear"] == result.of["sadness"] == ()


def test_method_1_takes_the_score_of_the_first_and_so_depends_on_the_order() -> None:
    high, low = rated("a", {1, 2}, fear=0.9), rated("b", {1, 2}, fear=0.3)
    other = rated("c", {1}, fear=0.6)
    first = dict(method_1([high, low, other]).of["fear"])
    second = dict(method_1([low, high, other]).of["fear"])
    assert first == pytest.approx({1: 1.5 / 2.4, 2: 0.9 / 2.4})
    assert second == pytest.approx({1: 0.9 / 1.2, 2: 0.3 / 1.2})


def test_of_equal_highest_scores_the_first_of_the_tables_emotions_counts() -> None:
    result = method_1([rated("a", {1}, sadness=0.4, surprise=0.4, fear=0.2)])
    assert [emotion for emotion, ranked in result.of.items() if ranked] == ["surprise"]


@given(tables())
def test_method_1_is_the_pseudocode(samples: list[Sample]) -> None:
    c = {emotion: [0.0] * 100 for emotion in EMOTIONS}
    first = []
    for sample in samples:
        best = 0
        for place in range(6):
            if sample.scores[place] > sample.scores[best]:
                best = place
        if sample.scores[best] == 0 or not sample.aus:
            continue
        if (sorted(sample.aus), best) not in first:
            first.append((sorted(sample.aus), best))
            for au in sample.aus:
                c[EMOTIONS[best]][au] += sample.scores[best]
    result = method_1(samples)
    for emotion in EMOTIONS:
        row = {au: score / sum(c[emotion]) for au, score in enumerate(c[emotion]) if score}
        assert dict(result.of[emotion]) == pytest.approx(row)
        ranked = [round(score, 12) for _, score in result.of[emotion]]
        assert ranked == sorted(ranked, reverse=True)


@given(tables())
def test_method_2_is_the_pseudocode_and_its_mean_the_sum_over_the_carriers(
    samples: list[Sample],
) -> None:
    sums, means = method_2(samples, "sum"), method_2(samples)
    for place, emotion in enumerate(EMOTIONS):
        total, count = [0.0] * 100, [0] * 100
        for sample in samples:
            for au in sample.aus:
                total[au] += sample.scores[place]
                count[au] += 1
        expected = {au: score for au, score in enumerate(total) if score}
        assert dict(sums.of[emotion]) == pytest.approx(expected)
        mean = {au: score / count[au] for au, score in expected.items()}
        assert dict(means.of[emotion]) == pytest.approx(mean)


@given(tables())
def test_method_2_does_not_depend_on_the_order(samples: list[Sample]) -> None:
    assert method_2(samples) == method_2(samples[::-1])


def test_equal_scores_go_by_the_number_of_the_au_whatever_the_rounding() -> None:
    # AU12 gets (0.1 + 0.2) / 2, which is above 0.15 by rounding alone
    samples = [
        rated("a", {12}, fear=0.1),
        rated("b", {12}, fear=0.2),
        rated("c", {4}, fear=0.15),
    ]
    assert [au for au, _ in method_2(samples).of["fear"]] == [4, 12]


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        method_2([], "median")  # type: ignore[arg-type]


# --- what the printed Table 2 says about its normalisation


def test_the_printed_table_2_holds_neither_proportions_nor_shares_of_the_highest() -> None:
    for emotion in EMOTIONS:
        assert sum(printed(emotion).values()) > 1.7
        assert max(printed(emotion).values()) < 0.5


def test_the_printed_table_2_fits_means_of_six_scores_that_sum_to_1() -> None:
    rows = {emotion: printed(emotion) for emotion in EMOTIONS}
    for au in {au for row in rows.values() for au in row}:
        assert sum(row.get(au, 0.0) for row in rows.values()) <= 1
    # AU22 is in no row: its six means, each at most a row's tenth, still sum to 1
    assert all(22 not in row for row in rows.values())
    assert sum(min(row.values()) for row in rows.values()) >= 1


# --- the tables as text


def test_markdown_has_the_form_of_the_papers_tables() -> None:
    samples = [rated("a", {6, 12}, happiness=0.75), rated("b", {12}, happiness=0.25)]
    lines = method_2(samples).markdown().splitlines()
    assert lines[0] == "| Emotion | AU | score | AU | score |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| Happiness | 6 | 0.7500 | 12 | 0.5000 |"
    assert lines[3] == "| Surprise |  |  |  |  |"
    assert [line.split()[1] for line in lines[2:]] == [e.capitalize() for e in EMOTIONS]
    assert {line.count("|") for line in lines} == {6}


def test_the_top_ten_are_ten() -> None:
    samples = [rated(str(au), {au}, fear=au / 100) for au in range(1, 21) if au != 3]
    result = method_2(samples)
    assert [au for au, _ in result.top()["fear"]] == list(range(20, 10, -1))
    assert len(result.of["fear"]) == 19
    assert result.markdown(3).splitlines()[5] == (
        "| Fear | 20 | 0.2000 | 19 | 0.1900 | 18 | 0.1800 |"
    )


# --- files


@pytest.fixture
def write(tmp_path: Path):
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return file


SCORES = "0001.jpg 0.1 0.2 0.3 0.15 0.05 0.2\n0002.jpg 1 0 0 0 0 0\n0003.jpg 0 0 .5 0 .5 0\n"


def refusal(aus: Path, scores: Path | None = None) -> str:
    with pytest.raises(UserError) as error:
        read(aus, scores)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_rafs_two_files_are_read_in_its_order(write) -> None:
    labels = write("RAFAU_label.txt", "0001.jpg 1+L12+25 \n0002.jpg null\n")
    table = read(labels, write("distribution.txt", SCORES))
    by_name = dict(zip(EMOTIONS, table.samples[0].scores, strict=True))
    assert by_name == dict(zip(RAF_ORDER[:6], (0.1, 0.2, 0.3, 0.15, 0.05, 0.2), strict=True))
    assert [sample.aus for sample in table.samples] == [{1, 12, 25}, frozenset()]
    assert (table.without_aus, table.unlabelled, table.unknown) == (1, 1, {})


def test_a_seventh_score_is_neutral_and_never_the_emotion(write) -> None:
    labels = write("a.txt", "x.jpg 4\n")
    table = read(labels, write("s.txt", "x.jpg 0 0 0.1 0 0.2 0 0.7\n"))
    assert table.samples[0].emotion == "sadness"


def test_a_header_is_followed_and_no_order_assumed(write) -> None:
    scores = write(
        "s.csv", "anger,sadness,Happiness,file,fear,surprise,disgust\n.5,.1,.2,x,0,.1,.1\n"
    )
    sample = read(write("a.csv", "image,AUs\nx,4+5\n"), scores).samples[0]
    assert dict(zip(EMOTIONS, sample.scores, strict=True)) == {
        "anger": 0.5,
        "sadness": 0.1,
        "happiness": 0.2,
        "fear": 0.0,
        "surprise": 0.1,
        "disgust": 0.1,
    }


def test_one_table_may_hold_aus_and_scores(write) -> None:
    path = write(
        "t.csv",
        "image,aus,happiness,surprise,anger,fear,disgust,sadness,remark\n"
        'x,"6+12",0.9,0,0,0,0,0.1,"clear, but dark"\n'
        "y,,0,0,0,0,0.5,0.5,\n",
    )
    table = read(path)
    assert [sample.aus for sample in table.samples] == [{6, 12}, frozenset()]
    assert table.samples[0].emotion == "happiness"
    assert (table.tied, table.without_aus) == (0, 1)  # y's tie has no AU to matter to


def test_aus_that_facs_does_not_have_are_left_out_and_counted(write) -> None:
    labels = write("a.txt", "0001.jpg 3+12\n0002.jpg 3+99\n0003.jpg 4\n")
    table = read(labels, write("s.txt", SCORES))
    assert table.unknown == {3: 2, 99: 1}
    assert [sample.aus for sample in table.samples] == [{12}, frozenset(), {4}]
    assert (table.without_aus, table.tied) == (1, 1)
    assert method_1(table.samples).counted == 2


@pytest.mark.parametrize(
    ("labels", "line", "words"),
    [
        ("0001.jpg 1+2\n0002.jpg 1+x\n", 2, "'x' is not an action unit"),
        ("0001.jpg 1+2\n\n0009.jpg 4\n", 3, "'0009.jpg' has no scores in"),
        ("0001.jpg 1\n0001.jpg 2\n", 2, "'0001.jpg' occurs a second time"),
        ("0001.jpg 1\n0002.jpg 2 4\n", 2, "3 cells; the first row has 2"),
        ("0001.jpg 1 2\n", 1, "3 cells; give image and AU combination"),
        ("image,emotion\n0001.jpg,fear\n", 1, "names no column of AUs"),
        ("image,aus,au\n0001.jpg,1,2\n", 1, "two columns of the name aus"),
        ('0001.jpg,1\n0002.jpg,"4\n', 2, "not CSV"),
    ],
)
def test_a_mistake_in_the_labels_is_one_line_with_its_place(write, labels, line, words) -> None:
    text = refusal(write("a.txt", labels), write("s.txt", SCORES))
    assert f"a.txt line {line}: " in text
    assert words in text


@pytest.mark.parametrize(
    ("scores", "line", "words"),
    [
        ("x 0 0 0 0 0\n", 1, "5 scores; give surprise, fear, disgust, happiness, sadness, anger"),
        ("x 0 0 0 0 0 1\ny 0 0 0 0 1\n", 2, "6 cells; the first row has 7"),
        ("x 0 0 0 0 0 1\ny 0 0 -1 0 0 0\n", 2, "disgust '-1' is not a share"),
        ("x 0 0 0 0 0 nan\n", 1, "anger 'nan' is not a share"),
        ("x 12 0 3 4 0 21\n", 1, "the scores sum to 40; give shares of the votes"),
        ("x 0 0 0 0 0 1\nx 0 0 0 0 0 1\n", 2, "occurs a second time"),
        ("image,fear,anger\nx,0,1\n", 1, "does not name happiness, surprise, disgust, sadness"),
    ],
)
def test_a_mistake_in_the_scores_is_one_line_with_its_place(write, scores, line, words) -> None:
    text = refusal(write("a.txt", "x 1\n"), write("s.txt", scores))
    assert f"s.txt line {line}: " in text
    assert words in text


def test_files_that_cannot_be_read_are_named(write, tmp_path: Path) -> None:
    assert "has no scores; name a second file" in refusal(write("a.txt", "x 1\n"))
    assert "e.txt: empty" in refusal(write("e.txt", "\n \n"))
    assert "no.txt: cannot be read" in refusal(tmp_path / "no.txt")
    (tmp_path / "b.bin").write_bytes(b"x 1\xff")
    assert "b.bin: not UTF-8 text (byte 3)" in refusal(tmp_path / "b.bin")
