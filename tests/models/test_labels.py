"""Readers: every layout gives its intervals; every mistake one line that names the place."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UserError
from models.evaluate import Labelled
from models.labels import read
from pipeline.sources.base import stream_name

TABLE = "subject,video_name,start_frame,apex_frame,end_frame,type_idx,au\n"


@pytest.fixture
def write(tmp_path: Path):
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return file


def moment(frame: int) -> dict[str, float]:
    return {"frame": frame, "pts": frame / 30, "utc_ns": 0}


def event(first: int, last: int, /, **fields) -> str:
    body = {
        "v": 1,
        "type": "event",
        "id": f"cam/0/0-{first}",
        "stream": "cam",
        "phase": "final",
        "kind": "micro",
        "onset": moment(first),
        "apex": moment((first + last) // 2),
        "offset": moment(last),
        "aus": [{"au": 4, "side": "left"}, {"au": 4, "side": "right"}, {"au": 2}],
    }
    return json.dumps(body | fields) + "\n"


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    text = str(error.value)
    assert "\n" not in text
    assert path.name in text
    return text


# --- what is read


def test_a_plain_csv_needs_three_columns(write) -> None:
    labels = read(write("a.csv", "video,onset,offset\nx,3,9\n\ny,0,4\n"))
    assert labels.layout == "csv"
    assert labels.truth == labels.predictions == (Labelled("x", 3, 9), Labelled("y", 0, 4))


def test_a_plain_csv_may_say_more_in_any_order(write) -> None:
    text = "\ufeffOffset,Onset,note,video,aus,kind,apex\n9,3.0,hm,x,L4B+7;12,Micro,5\n"
    assert read(write("a.csv", text)).truth == (Labelled("x", 3, 9, 5, "micro", (4, 7, 12)),)


def test_empty_borders_in_a_plain_csv_were_not_annotated(write) -> None:
    no_onset, no_offset = read(write("a.csv", "video,onset,offset\nx,,9\nx,3,\n")).truth
    assert not no_onset.onset_known and no_onset.offset_known
    assert no_offset.onset_known and not no_offset.offset_known


@given(
    st.lists(
        st.tuples(
            st.text("abc,\"' é", min_size=1).filter(str.strip),
            st.integers(0, 10**6),
            st.integers(1, 500),
            st.sampled_from(("", "micro", "macro")),
            st.sets(st.integers(1, 99), max_size=4),
        )
    )
)
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory, rows) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "onset", "offset", "kind", "aus"])
        for video, onset, length, kind, aus in rows:
            writer.writerow([video, onset, onset + length, kind, "+".join(map(str, aus))])
    expected = [
        Labelled(v.strip(), a, a + n, kind=k or None, aus=tuple(sorted(aus)))
        for v, a, n, k, aus in rows
    ]
    assert list(read(path).truth) == expected


def test_a_predictions_file_holds_both_sides_and_repeated_predictions_once(write) -> None:
    text = "v,10,20,,,FN,0\nv,30,40,31,42,TP,1\nv,35,44,31,42,TP,2\nw,,,31,42,FP,3\n"
    labels = read(write("p.csv", text))
    assert labels.layout == "predictions"
    assert [(t.onset, t.offset) for t in labels.truth] == [(10, 20), (30, 40), (35, 44)]
    assert labels.predictions == (Labelled("v", 31, 42), Labelled("w", 31, 42))
    assert labels.videos == {"v", "w"}


def test_repeated_predictions_elsewhere_stay(write) -> None:
    assert len(read(write("a.csv", "video,onset,offset\nx,3,9\nx,3,9\n")).predictions) == 2


def test_final_events_are_read_and_other_phases_are_not(write) -> None:
    text = event(9, 0, phase="apex", onset=None, offset=None) + event(3, 12)
    text += event(20, 0, phase="retracted", offset=None)
    labels = read(write("e.jsonl", text))
    assert labels.layout == "events"
    assert labels.predictions == (Labelled("cam", 3, 12, 7, "micro", (2, 4)),)


def test_a_subscribers_state_and_curves_lines_hold_no_interval(write) -> None:
    state = json.dumps({"v": 1, "type": "state", "stream": "cam", "state": "started"}) + "\n"
    assert len(read(write("e.jsonl", state + event(3, 12))).predictions) == 1


def test_an_events_file_without_events_is_in_order(write) -> None:
    assert read(write("e.jsonl", "")).predictions == ()


def test_a_folder_is_all_its_events_files(write, tmp_path: Path) -> None:
    write("a.jsonl", event(3, 12, stream="a"))
    write("b.jsonl", event(4, 12, stream="b"))
    labels = read(tmp_path)
    assert [(p.video, p.onset) for p in labels.predictions] == [("a", 3), ("b", 4)]


def test_a_truth_json_names_its_clips_as_their_streams_are_named(write) -> None:
    clip = {"events": [{"onset": 3, "apex": 5, "offset": 9, "kind": "macro", "aus": [12, 6]}]}
    name = "my clip (1).mp4"
    labels = read(write("truth.json", json.dumps({name: clip, "calm.mp4": {"events": []}})))
    stream = stream_name(Path(name).stem)
    assert labels.layout == "truth"
    assert labels.truth == (Labelled(stream, 3, 9, 5, "macro", (6, 12)),)
    assert labels.videos == {stream, "calm"}


def test_a_video_file_in_a_plain_csv_is_named_as_its_stream(write) -> None:
    assert read(write("a.csv", "video,onset,offset\nf/x y.avi,3,9\n")).truth[0].video == "x-y"


def test_a_table_says_with_0_that_a_border_was_not_annotated(write) -> None:
    rows = "s,v,10,15,0,1,4+7\ns,v,0,15,20,1,R12 or R14\ns,v,10,0,20,2,ref(7)+12B\n"
    no_offset, no_onset, no_apex = read(write("t.csv", TABLE + rows)).truth
    assert not no_offset.offset_known and no_offset.kind == "macro"
    assert not no_onset.onset_known and no_onset.aus == (12, 14)
    assert no_apex.known and no_apex.apex is None and no_apex.kind == "micro"
    assert no_apex.aus == (7, 12)


# --- what is refused, and in which words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("nonsense\n", "line 1"),
        ("video,onset,offset\nx,3\n", "line 2: 2 cells"),
        ("video,onset,offset\nx,3,9\nx,three,9\n", "line 3: onset 'three'"),
        ("video,onset,offset\nx,3.5,9\n", "line 2: onset '3.5'"),
        ("video,onset,offset\nx,1_0,19\n", "line 2: onset '1_0'"),
        ("video,onset,offset\nx,9,3\n", "line 2: offset 3 is before onset 9"),
        ("video,onset,offset\nx,-9,3\n", "line 2: onset -9 is negative"),
        ("video,onset,offset\nx,1,99999999999999999999\n", "line 2: offset"),
        ("video,onset,offset\n,3,9\n", "line 2: no video"),
        ('video,onset,offset\n"x\ny",3,9\n', "line 3: a video's name 'x\\ny'"),
        ("video,onset,offset,kind\nx,3,9,tiny\n", "line 2: kind 'tiny'"),
        ("video,onset,offset,aus\nx,3,9,smile\n", "line 2: aus: 'smile'"),
        ("video,onset,offset,onset\nx,3,9,3\n", "twice"),
        ("video,onset,offset\na/x.avi,3,9\nb/x.avi,3,9\n", "one stream's name"),
        ('video,onset,offset\n"x,3,9\n', "not CSV"),
        (TABLE + "s,v,a,15,20,1,4\n", "line 2: start_frame 'a'"),
        (TABLE + "s,v,10,15,20,3,4\n", "line 2: type_idx '3'"),
        (TABLE + "s,v,10,,20,1,4\n", "line 2: apex_frame ''"),
        ("v,1,2,,,FN\nv,1,2,,FN\n", "line 2: 5 columns"),
        ("v,1,2,,,FN\nv,1,2,,,XX\n", "line 2: mark 'XX'"),
        ("v,1,2,,,FN\nv,1,2,,,TP\n", "line 2: marked TP"),
        ("v,1,2,,,FN\nv,1,,,,FN\n", "line 2: end ''"),
        ("v,1,2,,,FN\nv,1,0,,,FN\n", "line 2: end 0"),
    ],
)
def test_a_malformed_csv_is_refused_in_one_line(write, text: str, says: str) -> None:
    assert says in refusal(write("bad.csv", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (event(3, 12) + '{"v": 1, "type": "ev', "line 2: not a JSON object; was the file cut off?"),
        (event(3, 12) + "[1]\n", "line 2: not a message"),
        (event(3, 12, v=2), "line 1: schema version 2"),
        (event(3, 12, stream=None), "line 1: a message without its stream"),
        (event(3, 12, stream="\ud800"), "line 1: a video's name '\\ud800'"),
        (event(3, 12) + event(3, 12), "line 2: a second final event"),
        (event(3, 12, onset=None), "line 1: onset is not a frame number"),
        (event(3, 12, apex={"frame": "7"}), "line 1: apex is not a frame number"),
        (event(3, 12, offset=moment(2)), "line 1: offset 2 is before"),
        (event(3, 12, kind="tiny"), "line 1: kind 'tiny'"),
        (event(3, 12, kind=["micro"]), "line 1: kind"),
        (event(3, 12, aus=[4]), "line 1: aus"),
        ("[" * 100_000, "line 1: not a JSON object"),
    ],
)
def test_a_malformed_events_file_is_refused_in_one_line(write, text: str, says: str) -> None:
    assert says in refusal(write("bad.jsonl", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": ', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1}', "'a' has no list of events"),
        ('{"a": {"events": [1]}}', "'a' event 0: not an object"),
        ('{"a": {"events": [{"onset": 1}]}}', "'a' event 0: offset"),
        ('{"a": {"events": [{"onset": true, "offset": 4}]}}', "event 0: onset"),
        ('{"a": {"events": [{"onset": 1, "offset": 4, "aus": "4"}]}}', "event 0: aus"),
        ('{"a\\n": {"events": []}}', "a video's name 'a\\n'"),
        ('{"a": {"events": []}, "a": {"events": []}}', "'a' occurs twice"),
        ('{"x/a.mp4": {"events": []}, "y/a.mp4": {"events": []}}', "one stream's name"),
    ],
)
def test_a_malformed_truth_json_is_refused_in_one_line(write, text: str, says: str) -> None:
    assert says in refusal(write("bad.json", text))


def test_files_that_are_no_text_or_are_not_there_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "clip.csv"
    binary.write_bytes(b"\x00\xff\xfe")
    assert "not UTF-8" in refusal(binary)
    assert "cannot be read" in refusal(tmp_path / "nowhere.csv")
    assert "without events files" in refusal(tmp_path)


def test_one_stream_in_two_files_of_a_folder_is_refused(write, tmp_path: Path) -> None:
    write("a.jsonl", event(3, 12))
    write("b.jsonl", event(4, 12))
    assert "cam" in refusal(tmp_path)


@given(st.binary(max_size=80), st.sampled_from(("x.csv", "x.json", "x.jsonl", "x")))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, content: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        read(path)
    except UserError as error:
        assert "\n" not in str(error)


keys = st.sampled_from(("events", "onset", "offset", "apex", "kind", "aus", "frame", "au"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(keys, json_values, max_size=4))
def test_no_json_ends_in_a_traceback(tmp_path_factory, body) -> None:
    folder = tmp_path_factory.mktemp("any")
    line = {"v": 1, "type": "event", "stream": "s", "phase": "final", "id": "1"} | body
    texts = {
        "x.json": json.dumps({"clip": body}),
        "y.json": json.dumps({"clip": {"events": [body]}}),
        "x.jsonl": json.dumps(line),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        try:
            read(folder / name)
        except UserError as error:
            assert "\n" not in str(error)


# --- real files


def test_real_tables_are_read_whole(data: Path) -> None:
    casme = read(data / "labels" / "casme_sq_long.csv").truth
    assert Counter(t.kind for t in casme) == {"macro": 300, "micro": 57}
    assert sum(not t.offset_known for t in casme) == 44
    assert sum(t.apex is None for t in casme) == 1
    samm = read(data / "labels" / "samm_lv_25fps.csv").truth
    assert Counter(t.kind for t in samm) == {"macro": 343, "micro": 159}
    assert sum(not t.onset_known for t in samm) == 12
    assert all(t.aus for t in casme)


def test_the_published_truth_is_the_labels_with_20_frames_after_the_apex(data: Path) -> None:
    labels = read(data / "labels" / "casme_sq_long.csv").truth
    published = read(data / "predictions" / "he2024_casme_sq.csv").truth
    filled = [(t.onset, t.offset or (t.apex or 0) + 20) for t in labels]
    assert sorted(filled) == sorted((t.onset, t.offset) for t in published)


def test_the_truth_of_real_clips_is_read(data: Path) -> None:
    labels = read(data / "dev_clips" / "truth.json")
    assert {f"dev_{n:02}" for n in range(6)} == labels.videos
    assert all(t.known and t.apex and t.kind and t.aus for t in labels.truth)
