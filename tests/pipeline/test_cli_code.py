"""``mespot code``, ``crowd`` and ``reliability``: what is printed, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import facs
from models.labels import read
from pipeline.cli import run

ANN = (
    "video,onset,offset,kind,aus,emotion\n"
    "x,10,20,micro,4+7,disgust\n"
    "x,60,75,micro,12,happiness\n"
    "y,30,40,micro,1+2,Surprise\n"
)
BEN = (
    "video,onset,offset,kind,aus,emotion\n"
    "x,11,20,micro,4,anger\n"
    "x,61,75,macro,L12,happiness\n"
    "y,90,99,micro,14,\n"
)
CLEO = "video,onset,offset,aus\nx,10,20,4\n"


@pytest.fixture
def write(tmp_path: Path):
    def file(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return file


def printed(capsys, *arguments: str) -> str:
    assert run(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys, *arguments: str) -> str:
    assert run(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mespot: ") and err.count("\n") == 1
    return err


# --- code


def test_every_reading_is_told_with_rule_muscles_and_branches(capsys) -> None:
    out = printed(capsys, "code", "--aus", "4,7")
    first, second = out.split("readings, the primary one first:")[1].strip().split("\n\n")
    assert first.splitlines() == [
        "disgust (negative)",
        "  rule 6: AU7 lower eyelid rise",
        "  muscles         orbicularis oculi",
        "  nerve branches  temporal, zygomatic",
    ]
    assert second.splitlines()[:2] == ["negative (negative)", "  rule 3: AU4 frown"]
    assert "disgust only" in out


@pytest.mark.parametrize("text", ["4,7", "7+4", "4 7", "AU4, au7", "L4B+R7", "4;7,4"])
def test_aus_may_be_written_in_many_ways(capsys, text: str) -> None:
    report = json.loads(printed(capsys, "code", "--aus", text, "--json"))
    assert [unit["au"] for unit in report["aus"]] == [4, 7]


def test_json_has_every_reading_that_the_guide_gives(capsys) -> None:
    report = json.loads(printed(capsys, "code", "--aus", "1,4,5,25,20", "--json"))
    expected = facs.read((1, 4, 5, 20, 25))
    assert [(r["label"], r["rule"]) for r in report["readings"]] == [
        (r.label, r.rule) for r in expected
    ]
    fear = report["readings"][0]
    assert (fear["rule"], fear["aus"], fear["category"]) == (5, [1, 4, 5, 25], "negative")
    assert fear["muscles"][:2] == ["frontalis", "corrugator supercilii"]
    assert set(fear["branches"]) == {"temporal", "buccal", "marginal mandibular"}
    table = next(r for r in report["readings"] if r["rule"] is None)
    assert table["text"] == "Table 3: AU20 exclusive to fear"


def test_nothing_fires_is_a_reading_too(capsys) -> None:
    assert "others (others)\n  no coding rule fires\n" in printed(capsys, "code", "--aus", "14")


@pytest.mark.parametrize(
    ("option", "name", "aus"),
    [
        ("--muscle", "Frontalis", [1, 2]),
        ("--branch", "cervical", [20, 21]),
        ("--emotion", "fear", [1, 4, 5, 20, 25]),
    ],
)
def test_muscle_branch_and_emotion_list_their_aus(capsys, option, name, aus) -> None:
    report = json.loads(printed(capsys, "code", option, name, "--json"))
    assert [unit["au"] for unit in report["aus"]] == aus
    assert "readings" not in report
    lines = printed(capsys, "code", option, name).splitlines()
    assert [line.split()[0] for line in lines] == ["AU", *map(str, aus)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give one of --aus, --muscle"),
        (("--aus", "4", "--emotion", "fear"), "give one of --aus, --muscle"),
        (("--aus", ""), "no action unit is named"),
        (("--aus", "4,x"), "--aus: 'x' is not an action unit"),
        (("--aus", "4,3"), "FACS has no AU 3"),
        (("--branch", "optic"), "the branches are temporal, zygomatic"),
        (("--muscle", "biceps"), "the muscles are buccinator"),
        (("--emotion", "envy"), "the emotions are happiness"),
    ],
)
def test_a_mistake_in_code_is_one_line(capsys, arguments, words) -> None:
    assert words in refused(capsys, "code", *arguments)


# --- crowd

LABELS = "1.jpg 6+12\n2.jpg 12\n3.jpg L12\n4.jpg 3+4\n5.jpg null\n"
SCORES = (  # surprise, fear, disgust, happiness, sadness, anger
    "1.jpg 0 0 0 .9 0 .1\n2.jpg 0 0 0 .6 0 .4\n3.jpg 0 0 0 .5 .5 0\n"
    "4.jpg 0 0 0 0 .5 .5\n5.jpg 1 0 0 0 0 0\n6.jpg 1 0 0 0 0 0\n"
)


def test_both_tables_are_markdown_and_say_what_was_counted(capsys, write) -> None:
    lines = printed(capsys, "crowd", write("a.txt", LABELS), write("s.txt", SCORES)).splitlines()
    assert lines[0].startswith("5 samples; 1 without AUs; 2 with equal highest scores")
    assert "1 with scores but no row of AUs" in lines[0]
    assert "AUs left out, for FACS has none of the number: 3 (1)" in lines[0]
    first, second = (n for n, line in enumerate(lines) if line.startswith("| Emotion"))
    assert "method 1" in lines[first - 2] and "; 3 pairs" in lines[first - 2]
    assert "method 2" in lines[second - 2] and "; 4 samples" in lines[second - 2]
    # 12 + 6 at 0.9, 12 at 0.6: 12 has 1.5 of 2.4; 3.jpg is 12 as happiness again
    assert lines[first + 2] == "| Happiness | 12 | 0.6250 | 6 | 0.3750 |"
    # 12 has (0.9 + 0.6 + 0.5) / 3
    assert lines[second + 2].startswith("| Happiness | 6 | 0.9000 | 12 | 0.6667 |")
    # of anger and sadness, equal for AU4, anger is the first
    assert lines[first + 4] == "| Anger | 4 | 1.0000 |  |  |"


def test_the_sum_and_the_count_can_be_chosen(capsys, write) -> None:
    files = (write("a.txt", LABELS), write("s.txt", SCORES))
    out = printed(capsys, "crowd", *files, "--normalisation", "sum", "--top", "1", "--json")
    report = json.loads(out)
    assert [m["method"] for m in report["methods"]] == [1, 2]
    top = report["methods"][1]["top"]
    assert top["happiness"] == [{"au": 12, "score": pytest.approx(2.0)}]
    assert report["aus_left_out"] == {"3": 1}
    assert "one of mean, sum" in refused(capsys, "crowd", *files, "--normalisation", "max")


def test_a_mistake_in_a_crowd_file_is_one_line(capsys, write) -> None:
    bad = write("a.txt", "1.jpg 6+12\n2.jpg six\n")
    assert "a.txt line 2: " in refused(capsys, "crowd", bad, write("s.txt", SCORES))
    assert "has no scores" in refused(capsys, "crowd", bad)


# --- reliability


def agreement(capsys, *arguments: str) -> dict:
    return json.loads(printed(capsys, "reliability", *arguments, "--json"))


@pytest.fixture
def two(write) -> tuple[str, str]:
    return write("ann.csv", ANN), write("ben.csv", BEN)


def test_two_coders_by_hand(capsys, two) -> None:
    report = agreement(capsys, *two)
    assert report["formula"] == "bounded"
    assert report["expressions"] == 4
    assert report["marked_by"] == {"2": 2, "1": 2}
    # 4+7 / 4, 12 / 12, 1+2 / -, - / 14: 2 shared of 5 + 3 given; (2/3 + 1 + 0 + 0) / 4
    aus = report["aus"]
    assert (aus["R"], aus["by_all"], aus["divided_by"]) == (0.5, 2, 8)
    assert (aus["R_mean"], aus["samples"]) == (pytest.approx(5 / 12), 4)
    # disgust / anger, happiness / happiness, surprise / -, - / -
    assert report["emotions"]["R"] == pytest.approx(2 * 1 / 5)
    assert report["emotions"]["samples"] == 3
    # none/none is the fourth item's category: 2 of 4 agree, chance (1 + 2) / 16
    kappa = report["emotions"]["kappa"]
    assert (kappa["items"], kappa["cohen"]) == (4, pytest.approx((1 / 2 - 3 / 16) / (13 / 16)))
    assert report["emotions"]["kappa_marked_by_all"]["items"] == 2
    by_au = {au["au"]: au for au in report["each_au"]}
    assert list(by_au) == [1, 2, 4, 7, 12, 14]
    assert (by_au[7]["given"], by_au[7]["by_all"], by_au[7]["cohen"]) == ([1, 0], 0, 0)
    assert (by_au[12]["given"], by_au[12]["by_all"], by_au[12]["cohen"]) == ([1, 1], 1, 1)


def test_the_formulas_of_the_papers_are_there_as_printed(capsys, two, write) -> None:
    for formula, two_coders, three_coders in (
        ("bounded", 2 * 2 / 8, 3 * 1 / 9),
        ("guide", 2 * 2 / 6, 2 * 1 / 6),
        ("face", 2 * 2 / 6, 3 * 1 / 6),
    ):
        report = agreement(capsys, *two, "--formula", formula)
        assert report["aus"]["R"] == pytest.approx(two_coders)
        three = agreement(capsys, *two, write("c.csv", CLEO), "--formula", formula)
        assert three["aus"]["R"] == pytest.approx(three_coders)
        text = printed(capsys, "reliability", *two, "--formula", formula)
        assert f"formula      {formula}: R = " in text


def test_text_says_figures_counts_and_formula(capsys, two) -> None:
    out = printed(capsys, "reliability", *two)
    assert "ann.csv (csv): 3 expressions" in out
    assert "4 at IoU >= 0.5, one to one; marked 2 by 2, 2 by 1" in out
    assert "AUs: R 0.5000 pooled (2 codes of all coders; divided by 8), mean 0.4167" in out
    assert "emotions: R 0.4000" in out
    assert "Cohen's kappa 0.3846 over 4 items, every expression counted" in out
    assert "Fleiss" not in out
    row = next(line for line in out.splitlines() if line.startswith("12 "))
    assert row.split() == ["12", "1", "1", "1", "1.0000"]


def test_three_coders_and_one_without_emotions(capsys, two, write) -> None:
    out = printed(capsys, "reliability", *two, write("cleo.csv", CLEO))
    assert "mean pairwise Cohen's kappa" in out and "Fleiss' kappa" in out
    assert "emotions: none in" in out and "cleo.csv" in out.split("emotions: none in")[1]
    assert agreement(capsys, *two, write("cleo.csv", CLEO))["emotions"] is None


def test_coders_of_one_mind_agree_fully(capsys, two, write) -> None:
    report = agreement(capsys, two[0], write("again.csv", ANN))
    assert (report["aus"]["R"], report["emotions"]["R"]) == (1, 1)
    assert report["aus"]["kappa"]["cohen"] == report["emotions"]["kappa"]["cohen"] == 1


def test_coders_who_saw_nothing_in_common_get_0_not_an_error(capsys, write) -> None:
    a = write("a.csv", "video,onset,offset,aus\nx,0,9,4\n")
    b = write("b.csv", "video,onset,offset,aus\nx,50,59,4\n")
    out = printed(capsys, "reliability", a, b)
    assert "AUs: R 0.0000" in out
    assert "Cohen's kappa - over 0 items, those that all coders marked" in out


def test_the_least_iou_and_videos_can_be_chosen(capsys, two, write) -> None:
    assert agreement(capsys, *two, "--iou", "0.95")["marked_by"] == {"2": 0, "1": 6}
    cleo = write("cleo.csv", CLEO)
    everything = agreement(capsys, *two, cleo)
    assert (everything["videos"], everything["videos_in_all"]) == (2, 1)
    shared = agreement(capsys, *two, cleo, "--shared-videos")
    assert (shared["videos"], shared["expressions"]) == (1, 2)
    assert [coder["expressions"] for coder in shared["coders"]] == [2, 2, 1]


def event(onset: int, offset: int, aus: list[int], emotions: list) -> str:
    def moment(frame: int) -> dict:
        return {"frame": frame, "pts": frame / 30, "utc_ns": 0}

    return json.dumps(
        {
            "v": 1,
            "type": "event",
            "id": f"x/0/0-{onset}",
            "stream": "x",
            "phase": "final",
            "kind": "micro",
            "onset": moment(onset),
            "apex": moment(onset + 2),
            "offset": moment(offset),
            "aus": [{"au": au} for au in aus],
            "emotions": emotions,
        }
    )


def reading(label: str) -> dict:
    return {"source": "coding-guide", "label": label, "category": "negative", "rule": "rule 6"}


def test_the_tools_own_events_are_a_coder_with_its_primary_readings(capsys, write) -> None:
    lines = [
        event(10, 20, [4, 7], [reading("disgust"), reading("negative")]),
        event(60, 75, [12], [reading("happiness")]),
        event(90, 99, [14], []),
    ]
    events = write("out.jsonl", "\n".join(lines) + "\n")
    assert [item.emotion for item in read(Path(events)).truth] == ["disgust", "happiness", None]
    report = agreement(capsys, write("ann.csv", ANN), events, "--shared-videos")
    assert report["coders"][1] | {"path": ""} == {
        "path": "",
        "layout": "events",
        "notes": [],
        "expressions": 3,
    }
    assert report["emotions"]["R"] == 1
    assert report["aus"]["R"] == pytest.approx(2 * 3 / 7)


def test_an_emotion_is_read_in_small_letters_and_scoring_ignores_it(write) -> None:
    items = read(Path(write("ann.csv", ANN))).truth
    assert [item.emotion for item in items] == ["disgust", "happiness", "surprise"]
    assert read(Path(write("c.csv", CLEO))).truth[0].emotion is None


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("video,onset,offset\nother,0,9\n", "no video is in all of"),
        ("video,onset,offset\nx,5,\n", "x has an expression without onset or offset (at frame 5)"),
        ("video,onset,offset\nx,,7\n", "x has an expression without onset or offset (at frame 7)"),
        ("v,1,9,1,9,TP\n", "a predictions file holds two sides"),
        ("video,onset,offset,aus\nx,0,9,4\nx,1,y,4\n", "line 3: offset 'y' is not a frame number"),
        ("video,onset,offset,emotion\nx,0,9,sa\x07d\n", "line 2: emotion 'sa\\x07d'"),
    ],
)
def test_a_mistake_in_a_coders_file_is_one_line(capsys, two, write, second, words) -> None:
    text = refused(capsys, "reliability", two[0], write("second.csv", second))
    assert words in text and "second.csv" in text


@pytest.mark.parametrize("emotions", ["happy", [{}], [{"label": 3}], ["happy"]])
def test_malformed_readings_of_an_event_are_one_line(capsys, two, write, emotions) -> None:
    events = write("out.jsonl", event(0, 9, [4], emotions))
    text = refused(capsys, "reliability", two[0], events)
    assert "out.jsonl line 1: emotions is not a list of readings" in text


def test_mistakes_in_the_options_are_one_line(capsys, two) -> None:
    assert "two files or more" in refused(capsys, "reliability", two[0])
    assert "one of bounded, guide, face" in refused(
        capsys, "reliability", *two, "--formula", "dice"
    )
    assert "IoU: 1.5 is not above 0" in refused(capsys, "reliability", *two, "--iou", "1.5")
