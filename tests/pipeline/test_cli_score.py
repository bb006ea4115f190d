"""``mespot score``: the protocol is always named, totals come first, mistakes are one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.evaluate import PROTOCOLS
from pipeline.cli import run

TRUTH = (
    "video,onset,offset,apex,kind,aus\na,0,9,4,micro,1+2\na,50,89,60,macro,12\nb,5,0,9,macro,4\n"
)
SPOTTED = (
    "video,onset,offset,apex,kind,aus\na,1,9,5,micro,1\na,50,80,62,micro,12\nb,90,99,95,micro,4\n"
)
BOTH = "v,10,20,11,22,TP\nv,40,80,,,FN\nv,,,90,130,FP\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "spotted.csv").write_text(SPOTTED)
    return str(tmp_path / "truth.csv"), str(tmp_path / "spotted.csv")


@pytest.fixture
def both(tmp_path: Path) -> str:
    (tmp_path / "both.csv").write_text(BOTH)
    return str(tmp_path / "both.csv")


def printed(capsys, *arguments: str) -> str:
    assert run(["score", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys, *arguments: str) -> str:
    assert run(["score", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mespot: ") and err.count("\n") == 1
    return err


def test_the_protocol_is_named_and_said_in_words(capsys, files) -> None:
    for name, protocol in PROTOCOLS.items():
        first = printed(capsys, *files, "--protocol", name).splitlines()[0]
        assert first.startswith("protocol ")
        assert f"{name}: {protocol.meaning}" in first


def test_totals_stand_before_quotients_for_each_kind_and_threshold(capsys, files) -> None:
    lines = printed(capsys, *files).splitlines()
    header = next(n for n, line in enumerate(lines) if line.startswith("IoU"))
    columns = ["IoU", "kind", "truth", "spotted", "TP", "FP", "FN", "precision", "recall", "F1"]
    assert lines[header].split() == columns
    rows = [line.split() for line in lines[header + 1 : header + 10]]
    assert [row[:2] for row in rows] == [
        [k, kind] for k in ("0.5", "0.4", "0.3") for kind in ("micro", "macro", "all")
    ]
    assert rows[0][2:] == ["1", "3", "1", "2", "0", "0.3333", "1.0000", "0.5000"]
    assert rows[2][2:] == ["2", "3", "1", "2", "1", "0.3333", "0.5000", "0.4000"]


def test_rows_that_the_protocol_leaves_out_are_told(capsys, files) -> None:
    assert "1 truth rows left out" in printed(capsys, *files)
    assert "0 truth rows left out" in printed(capsys, *files, "--protocol", "missed")


def test_the_disagreement_lists_every_protocol_and_the_spread(capsys, files) -> None:
    out = printed(capsys, *files)
    listed = out.partition("under every protocol, at IoU 0.5")[2].splitlines()
    assert [line.split()[0] for line in listed[2 : 2 + len(PROTOCOLS)]] == list(PROTOCOLS)
    assert "micro and macro may match" in out
    assert "F1 from lowest to highest: micro" in out


def test_json_says_the_same(capsys, files) -> None:
    report = json.loads(printed(capsys, *files, "--json"))
    assert report["protocol"] == "one-to-one"
    assert report["meaning"] == PROTOCOLS["one-to-one"].meaning
    assert report["left_out"] == 1
    assert [s["iou"] for s in report["scores"]] == [0.5, 0.4, 0.3]
    everything = report["scores"][0]["all"]
    assert list(everything)[:5] == ["truth", "spotted", "TP", "FP", "FN"]
    assert everything["F1"] == 0.4
    assert report["matched"]["pairs"] == 1
    assert report["matched"]["median_error_frames"] == {"onset": 1, "apex": 1, "offset": 0}
    assert report["matched"]["aus"]["F1"] == pytest.approx(2 / 3)
    names = [row["protocol"] for row in report["disagreement"]["protocols"]]
    assert names == list(PROTOCOLS)


def test_thresholds_can_be_chosen(capsys, files) -> None:
    report = json.loads(printed(capsys, *files, "--json", "--iou", "0.7", "--iou", "0.2"))
    assert [s["iou"] for s in report["scores"]] == [0.7, 0.2]
    assert report["disagreement"]["iou"] == 0.7


def test_one_predictions_file_is_both_sides(capsys, both) -> None:
    report = json.loads(printed(capsys, both, both, "--micro", "15", "--json"))
    s = report["scores"][0]
    assert (s["micro"]["TP"], s["macro"]["FN"], s["macro"]["FP"]) == (1, 1, 1)
    assert "micro when offset - onset <= 15 frames" in report["meaning"]


def test_the_limit_may_be_strict_or_named(capsys, both) -> None:
    for limit, words in (("<15", "< 15 frames"), ("samm-lv", "<= 100 frames")):
        assert words in printed(capsys, both, both, "--micro", limit)


def test_durations_can_overrule_labels(capsys, files) -> None:
    out = printed(capsys, *files, "--micro", "20", "--by-duration", "--json")
    macro = json.loads(out)["scores"][0]["macro"]
    assert (macro["truth"], macro["spotted"], macro["TP"]) == (1, 1, 1)


def test_the_events_of_a_run_are_scored_against_their_truth(capsys, tmp_path: Path) -> None:
    moments = {name: {"frame": n} for name, n in (("onset", 3), ("apex", 6), ("offset", 12))}
    line = {"v": 1, "type": "event", "stream": "clip", "id": "1", "phase": "final"}
    events = tmp_path / "events.jsonl"
    events.write_text(json.dumps(line | moments | {"kind": "micro", "aus": [{"au": 4}]}))
    true = {"onset": 4, "apex": 6, "offset": 12, "kind": "micro", "aus": [4]}
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"clip.mp4": {"events": [true]}}))
    report = json.loads(printed(capsys, str(truth), str(events), "--json"))
    assert report["scores"][0]["all"]["F1"] == 1


def test_nothing_spotted_scores_0(capsys, files, tmp_path: Path) -> None:
    empty = tmp_path / "events.jsonl"
    empty.touch()
    report = json.loads(printed(capsys, files[0], str(empty), "--json"))
    assert report["scores"][0]["all"] == {
        **{"truth": 2, "spotted": 0, "TP": 0, "FP": 0, "FN": 2},
        **{"precision": 0, "recall": 0, "F1": 0},
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--protocol", "mine"], "one of one-to-one, greedy"),
        (["--iou", "0"], "--iou 0"),
        (["--iou", "1.5"], "--iou 1.5"),
        (["--iou", "half"], "--iou"),
        (["--micro", "short"], "--micro short"),
        (["--by-duration"], "--by-duration needs --micro"),
    ],
)
def test_a_mistaken_option_ends_in_one_line(capsys, files, options, says: str) -> None:
    assert says in refused(capsys, *files, *options)


def test_rows_without_a_kind_ask_for_the_limit(capsys, both) -> None:
    assert "--micro (casme-sq" in refused(capsys, both, both)


def test_files_without_a_common_video_are_a_mistake(capsys, files, both) -> None:
    assert "no video is in both files" in refused(capsys, files[0], both)


def test_a_missing_or_malformed_file_ends_in_one_line(capsys, files, tmp_path: Path) -> None:
    assert "nowhere.csv" in refused(capsys, files[0], str(tmp_path / "nowhere.csv"))
    (tmp_path / "bad.csv").write_text("video,onset,offset\nx,a,b\n")
    assert "bad.csv line 2" in refused(capsys, str(tmp_path / "bad.csv"), files[1])


def test_a_prediction_without_an_offset_ends_in_one_line(capsys, files) -> None:
    assert "only truth may lack borders" in refused(capsys, files[1], files[0])


def test_published_predictions_print_their_published_figure(capsys, data: Path) -> None:
    file = str(data / "predictions" / "he2024_samm_lv.csv")
    out = printed(capsys, file, file, "--micro", "samm-lv", "--protocol", "he2024", "--iou", "0.5")
    row = next(line.split() for line in out.splitlines() if line.startswith("0.5  all"))
    assert row == ["0.5", "all", "502", "492", "186", "319", "316", "0.3780", "0.3705", "0.3742"]
