"""Coders' files, made up, against the tool's events: ELAN, its text, tables in seconds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import coders, elan
from models.elan import Annotation, Document
from models.errors import UserError
from models.evaluate import Labelled
from models.frame_ruler import FrameRuler, Times
from models.tiers import OVERLAP, labelled, meaning
from pipeline.cli import run
from pipeline.coders_files import read_together
from stages.peaks import overlap_index
from tests.pipeline.told import au, final
from tests.pipeline.told import write as write_events

AT_30 = Times(fps=30.0)
Write = Callable[..., Path]

HEAD = '<ANNOTATION_DOCUMENT AUTHOR="" DATE="" FORMAT="3.0" VERSION="3.0"><HEADER>{header}</HEADER>'
SLOT = '<TIME_SLOT TIME_SLOT_ID="{0}" TIME_VALUE="{1}"/>'
ALIGNED = (
    '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{0}" TIME_SLOT_REF1="{1}" '
    'TIME_SLOT_REF2="{2}"><ANNOTATION_VALUE>{3}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
    "</ANNOTATION>"
)
REFERRING = (
    '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{0}" ANNOTATION_REF="{1}">'
    "<ANNOTATION_VALUE>{2}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
)


def eaf(tiers: dict[str, list[tuple[Any, ...]]], header: str = "", more: str = "") -> str:
    """A document: tier -> (begin ms, end ms, text), or (annotation referred to, text)."""
    slots, body, n = [], [], 0
    for tier, marks in tiers.items():
        body.append(f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="{tier}">')
        for mark in marks:
            n += 1
            if len(mark) == 2:
                body.append(REFERRING.format(f"a{n}", *mark))
                continue
            slots += [SLOT.format(f"b{n}", mark[0]), SLOT.format(f"e{n}", mark[1])]
            body.append(ALIGNED.format(f"a{n}", f"b{n}", f"e{n}", mark[2]))
        body.append("</TIER>")
    order = f"<TIME_ORDER>{''.join(slots)}</TIME_ORDER>"
    return HEAD.format(header=header) + order + "".join(body) + more + "</ANNOTATION_DOCUMENT>"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return file


def refusal(path: Path, times: Times = AT_30) -> str:
    with pytest.raises(UserError) as error:
        coders.read(path, times)
    text = str(error.value)
    assert "\n" not in text and path.name in text
    return text


CODER = {
    "micro": [(1600, 1967, "")],
    "macro": [(4800, 5667, "")],
    "AU1": [(1600, 1967, "B")],
    "AU 2 L": [(1633, 1900, "")],
    "AU12": [(4800, 5600, "C")],
    "AUs": [(4850, 5600, "6")],
    "apex": [(1767, 1800, "")],
    "emotion": [("a2", "Happiness"), ("a1", "surprise")],
}


# --- one command each


@pytest.fixture
def events(tmp_path: Path) -> Path:
    brows = [au(1, "both", 48, 53, 59), au(2, "both", 48, 53, 59)]
    smile = [au(12, "both", 144, 156, 170)]
    made = [
        final(0, 48, 53, 59, aus=brows, stream="clip"),
        final(1, 144, 156, 170, aus=smile, kind="macro", stream="clip"),
        final(2, 300, 305, 310, stream="clip"),
    ]
    return write_events(tmp_path / "events.jsonl", made)


def test_a_coder_is_scored_against_the_events_in_one_command(
    write: Write, events: Path, capsys
) -> None:
    file = write("anna.eaf", eaf(CODER))
    assert run(["score", str(file), str(events), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["truth"]["layout"] == "eaf"
    assert report["truth"]["notes"] == ["30 frames a second", "names no video: taken for clip"]
    assert {k: report["scores"][0]["all"][k] for k in ("TP", "FP", "FN")} == {
        "TP": 2,
        "FP": 1,
        "FN": 0,
    }
    assert report["matched"]["median_error_frames"] == {"onset": 0, "apex": 0, "offset": 0}
    assert {k: report["matched"]["aus"][k] for k in ("TP", "FP", "FN")} == {
        "TP": 3,
        "FP": 0,
        "FN": 1,
    }
    assert run(["score", str(file), str(events)]) == 0
    assert "anna.eaf (eaf; 30 frames a second; names no video" in capsys.readouterr().out


def test_a_coder_and_the_events_agree_in_one_command(write: Write, events: Path, capsys) -> None:
    file = write("anna.eaf", eaf(CODER))
    assert run(["reliability", str(file), str(events), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["marked_by"] == {"2": 2, "1": 1}
    assert report["coders"][0]["notes"][0] == "30 frames a second"
    by_au = {entry["au"]: (entry["given"], entry["by_all"]) for entry in report["each_au"]}
    assert by_au == {1: ([1, 1], 1), 2: ([1, 1], 1), 6: ([1, 0], 0), 12: ([1, 2], 1)}
    assert run(["reliability", str(file), str(events)]) == 0
    assert "anna.eaf (eaf; 30 frames a second" in capsys.readouterr().out


def test_two_coders_who_name_no_video_are_about_one(write: Write, capsys) -> None:
    own = '<PROPERTY NAME="mespot-fps">30</PROPERTY>'
    files = [write(name, eaf(CODER, own)) for name in ("anna.eaf", "ben.eaf")]
    assert run(["reliability", *map(str, files)]) == 0
    out = capsys.readouterr().out
    assert "ben.eaf (eaf; 30 frames a second; names no video: taken for anna)" in out
    assert "marked 2 by 2, 0 by 1" in out


def test_a_file_without_a_video_is_not_guessed_among_several(write: Write, capsys) -> None:
    two = write("t.csv", "video,onset,offset,kind\nx,3,9,micro\ny,3,9,micro\n")
    file = write("anna.eaf", eaf(CODER, '<PROPERTY NAME="mespot-fps">30</PROPERTY>'))
    assert run(["score", str(file), str(two)]) == 2
    assert "no video is in both files" in capsys.readouterr().err


def test_three_coders_of_three_layouts_meet(write: Write, events: Path, capsys) -> None:
    seconds = write("ben.csv", "onset_s;offset_s;aus;kind\n1,6;1,97;1+2;micro\n")
    assert run(["reliability", str(write("a.eaf", eaf(CODER))), str(seconds), str(events)]) == 0
    out = capsys.readouterr().out
    assert "ben.csv (seconds; names no video: taken for clip): 1 expressions" in out
    assert "marked 1 by 3, 1 by 2, 1 by 1" in out


# --- what the tiers say


def test_expressions_take_what_shares_time_with_them(write: Write) -> None:
    found = coders.read(write("clip.eaf", eaf(CODER)), AT_30)
    assert found.truth == (
        Labelled("clip", 48, 59, 53, "micro", (1, 2), emotion="surprise"),
        Labelled("clip", 144, 170, None, "macro", (6, 12), emotion="happiness"),
    )
    assert found.videos == {"clip"} and not found.named


@pytest.mark.parametrize(
    ("tier", "role"),
    [
        *((name, ("au", 12)) for name in ("AU12", "au 12", "AU_12", "12", "FACS 12", "AU12@face1")),
        *((name, ("au", 12)) for name in ("AU12 L", "AU12_R", "L12", "AUR12", "AU12-left")),
        *((name, ("au", 4)) for name in ("AU04", "AU4 (2)", "AU 4 both")),
        *((name, ("aus", 0)) for name in ("AU", "AUs", "FACS", "Action Units", "action_unit")),
        *((name, ("micro", 0)) for name in ("micro", "Micro-expression", "micro expressions")),
        *((name, ("micro", 0)) for name in ("ME", "MEs", "micro@face0 (2)")),
        *((name, ("macro", 0)) for name in ("macro", "MaE", "macro-expressions")),
        *((name, ("expression", 0)) for name in ("expression", "Expressions", "kind")),
        *((name, ("emotion", 0)) for name in ("emotion", "Emotions@anna")),
        *((name, ("apex", 0)) for name in ("apex", "Apexes")),
        *((name, None) for name in ("AU123", "microphone", "memo", "", "default", "speech")),
    ],
)
def test_a_tiers_name_says_what_stands_in_it(tier: str, role: tuple[str, int] | None) -> None:
    said = meaning(tier)
    if role is None:
        assert said is None
    else:
        assert said is not None
        assert (said.kind or said.role, said.au) == role


def test_a_tier_of_expressions_says_the_kind_in_its_values(write: Write) -> None:
    text = eaf({"expression": [(100, 400, "Micro?"), (500, 900, ""), (1000, 1900, "macro, sure")]})
    kinds = [item.kind for item in coders.read(write("a.eaf", text), AT_30).truth]
    assert kinds == ["micro", None, "macro"]


def test_without_expressions_overlapping_aus_are_fused(write: Write) -> None:
    text = eaf(
        {
            "AU1": [(1000, 2000, ""), (5000, 6000, "")],
            "AU2": [(1500, 2500, "")],  # half of it
            "AU12": [(5700, 6700, "")],  # 0.3 of it: an expression of its own
            "AU4": [(8000, 8000 + 33, "")],
        }
    )
    assert coders.read(write("a.eaf", text), AT_30).truth == (
        Labelled("a", 30, 75, aus=(1, 2)),
        Labelled("a", 150, 180, aus=(1,)),
        Labelled("a", 171, 201, aus=(12,)),
        Labelled("a", 240, 241, aus=(4,)),
    )


spans = st.tuples(st.integers(0, 200), st.integers(1, 60), st.integers(1, 28))


@given(st.lists(spans, max_size=8))
@settings(deadline=None)
def test_fusion_is_that_of_the_method(marks: list[tuple[int, int, int]]) -> None:
    notes = tuple(
        Annotation(f"AU{code}", "", f"annotation a{n}", begin / 10, (begin + length) / 10, "")
        for n, (begin, length, code) in enumerate(marks)
    )
    document = Document(Path("x.eaf"), (), None, "", tuple(note.tier for note in notes), notes)
    found, said = labelled(document, "x", FrameRuler(10))
    assert said == []
    for one, other in itertools.combinations(found, 2):
        mu = overlap_index((one.onset, one.offset), (other.onset, other.offset))
        assert mu <= OVERLAP
    for begin, length, code in marks:
        assert any(
            item.onset <= begin and begin + length <= item.offset and code in item.aus
            for item in found
        )
    assert {border for item in found for border in (item.onset, item.offset)} <= {
        border for begin, length, _ in marks for border in (begin, begin + length)
    }


def test_people_are_kept_apart(write: Write) -> None:
    text = eaf({"AU1@anna": [(1000, 2000, "")], "AU2@ben": [(1000, 2000, "")]})
    assert [item.aus for item in coders.read(write("a.eaf", text), AT_30).truth] == [(1,), (2,)]


def test_marks_outside_and_tiers_of_other_things_are_told(write: Write) -> None:
    tiers = {
        "micro": [(1000, 1300, "")],
        "AU45": [(5000, 5200, ""), (6000, 6100, "")],
        "speech": [(0, 9000, "hello")],
    }
    assert coders.read(write("a.eaf", eaf(tiers)), AT_30).notes == (
        "30 frames a second",
        "tiers not read: 'speech'",
        "2 annotations outside every expression left out, the first: tier 'AU45' annotation a2",
    )


def test_a_coder_who_found_nothing_is_a_coder(write: Write) -> None:
    found = coders.read(write("a.eaf", eaf({"micro": [], "AU12": []})), Times())
    assert (found.truth, found.videos) == ((), {"a"})


# --- names and rates

MEDIA = '<MEDIA_DESCRIPTOR MEDIA_URL="{0}" MIME_TYPE="video/mp4" {1}/>'
ONE = {"micro": [(1000, 1300, "")]}


@pytest.mark.parametrize(
    "address", ["file:///D:/my%20films/my%20clip.mp4", "file:///home/x/my clip.mp4", "my clip.mp4"]
)
def test_the_linked_video_names_the_stream(write: Write, address: str) -> None:
    found = coders.read(write("anna.eaf", eaf(ONE, MEDIA.format(address, ""))), AT_30)
    assert found.videos == {"my-clip"} and found.named


def test_the_rate_is_the_one_said_then_the_events_then_the_files_own(
    write: Write, tmp_path: Path
) -> None:
    own = '<PROPERTY NAME="mespot-fps">50</PROPERTY>'
    file = write("a.eaf", eaf(ONE, own))
    events = write_events(tmp_path / "e.jsonl", [final(0, 10, 20, 30, fps=100.0)])
    assert [labels.truth[0].onset for labels in read_together([file, events], 25.0)] == [25, 10]
    assert [labels.truth[0].onset for labels in read_together([file, events], None)] == [50, 10]
    assert coders.read(file).truth[0].onset == 50
    bare = write("b.eaf", eaf(ONE))
    assert read_together([bare, events], None)[0].truth[0].onset == 100
    assert read_together([bare, events], None)[0].videos == {"cam"}
    assert "give the video's frame rate with --fps" in refusal(bare, Times())


def test_the_rate_of_a_video_beside_the_file_is_read(write: Write, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width = stream.height = 32
        import numpy as np

        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file = write("anna.eaf", eaf(ONE, MEDIA.format("file:///elsewhere/clip.mp4", "")))
    table = write("t.csv", "video,onset,offset,kind\nclip.mp4,20,26,micro\n")
    anna, other = read_together([file, table], None)
    assert anna.truth == other.truth


def test_a_camera_whose_rate_changes_is_followed(write: Write, tmp_path: Path) -> None:
    moments = [(0, 0.0), (30, 1.0), (40, 2.0), (70, 3.0)]  # 30, then 10, then 30 frames a second
    ruler = FrameRuler.measured(moments)
    assert ruler is not None
    assert [ruler.frame(second) for second in (0.5, 1.0, 1.5, 2.0, 2.5)] == [15, 30, 35, 40, 55]
    assert ruler.frame(6.0) == 70 + 70
    assert FrameRuler.measured([]) is None
    assert FrameRuler.measured([(3, 0.1), (3, 0.2)]) is None


def test_a_film_that_begins_later_shifts_the_times(write: Write) -> None:
    file = write("a.eaf", eaf(ONE, MEDIA.format("clip.mp4", 'TIME_ORIGIN="2000"')))
    assert coders.read(file, AT_30).truth[0].onset == 90


@pytest.mark.parametrize("fps", ["0", "-1", "nan", "1e9"])
def test_an_impossible_rate_is_refused(write: Write, events: Path, capsys, fps: str) -> None:
    assert run(["score", str(write("a.eaf", eaf(CODER))), str(events), "--fps", fps]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mespot: --fps {fps.replace('1e9', '1e+09')}: ") and err.count("\n") == 1


# --- ELAN's tab-delimited text


@pytest.mark.parametrize(
    "text",
    [
        "micro\t\t00:00:01.600\t1.6\t1600\t00:00:01.967\t1.967\t1967\t00:00:00.367\t0.367\t367\t\n"
        "AU12\t\t00:00:01.600\t1.6\t1600\t00:00:01.967\t1.967\t1967\t00:00:00.367\t0.367\t367\tC\n",
        "micro\t1.6\t1.967\t0.367\t\nAU12\t1.6\t1.967\t0.367\tC\n",
        "Tier\tParticipant\tBegin Time - msec\tEnd Time - msec\tDuration - msec\tAnnotation\n"
        "micro\tanna\t1600\t1967\t367\t\nAU12\tanna\t1600\t1967\t367\tC\n",
    ],
    ids=["three forms", "seconds alone", "header"],
)
def test_the_tab_delimited_export_is_read_as_the_document(write: Write, text: str) -> None:
    found = coders.read(write("clip.txt", text), AT_30)
    assert found.layout == "elan-text"
    assert found.truth == (Labelled("clip", 48, 59, kind="micro", aus=(12,)),)


# --- tables in seconds


def test_bids_events_of_expressions_are_read_and_others_told(write: Write) -> None:
    text = (
        "onset\tduration\ttrial_type\taus\n1.6\t0.367\tmicro\tL1+2\n0.5\t1\tface\tn/a\n"
        "4.8\t0.867\tAU12_L\tn/a\n"
    )
    found = coders.read(write("sub-01_events.tsv", text), AT_30)
    assert found.truth == (
        Labelled("sub-01_events", 48, 59, kind="micro", aus=(1, 2)),
        Labelled("sub-01_events", 144, 170, aus=(12,)),
    )
    assert found.notes == ("rows of other trial types not read: face",)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_in_seconds_may_be_separated_as_spreadsheets_do(write: Write, mark: str) -> None:
    rows = [
        ["video", "onset_s", "offset_s", "apex_s", "aus", "emotion"],
        ["my clip.mp4", "1.6", "1.967", "1.767", "4+L7", "Disgust"],
    ]
    file = write("t.csv", "".join(mark.join(row) + "\n" for row in rows))
    assert coders.read(file, AT_30).truth == (
        Labelled("my-clip", 48, 59, 53, None, (4, 7), emotion="disgust"),
    )


def test_tables_in_frames_are_read_as_before(write: Write) -> None:
    found = coders.read(write("a.csv", "video,onset,offset,duration\nx,3,9,6\n"))
    assert (found.layout, found.truth) == ("csv", (Labelled("x", 3, 9),))


# --- what comes from outside


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<ANNOTATION_DOCUMENT>", "not XML that can be read"),
        ("<html></html>", "not an ELAN document"),
        ('<!DOCTYPE x [<!ENTITY a "aa">]><x>&a;</x>', "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
        ('<?xml version="1.0" encoding="no-such"?><x/>', "a.eaf"),
        (eaf({"notes": [(0, 900, "")]}), "no tier is called AU12"),
        (eaf({"micro": [(900, 300, "")]}), "tier 'micro' annotation a1: ends before it begins"),
        (eaf({"micro": [(0, 3, "")]}), "tier 'micro' annotation a1: ends with the first frame"),
        (eaf({"micro": [("a9", "x")]}), "tier 'micro' annotation a1: refers to annotation a9"),
        (eaf({"micro": [("a1", "x")]}), "tier 'micro' annotation a1: refers to annotation a1"),
        (eaf({"AUs": [(100, 400, "smile")]}), "tier 'AUs' annotation a1: aus: 'smile'"),
        (eaf({"expression": [(1, 400, "micro/macro")]}), "annotation a1: 'micro/macro' names both"),
        (eaf({"micro": [("x", 400, "")]}), "time slot 'b1': 'x' is not a time"),
        (eaf(ONE).replace('TIME_VALUE="1000"', ""), "tier 'micro' annotation a1: its TIME_SLOT"),
        (eaf(ONE, '<PROPERTY NAME="mespot-fps">x</PROPERTY>'), "mespot-fps 'x' is no frame rate"),
        (eaf(ONE, MEDIA.format("a.mp4", 'TIME_ORIGIN="x"')), "TIME_ORIGIN 'x'"),
        (eaf({"": [(0, 900, "")]}), "a tier without a name"),
        (eaf(ONE | {"emotion": [(1000, 1300, "joy"), (1000, 1300, "fear")]}), "second emotion"),
        (eaf(ONE | {"apex": [(1100, 1130, ""), (1200, 1230, "")]}), "a second apex"),
    ],
)
def test_a_malformed_document_is_refused_in_one_line(write: Write, text: str, says: str) -> None:
    assert says in refusal(write("a.eaf", text))


def test_entities_never_grow_and_files_are_never_opened(write: Write, tmp_path: Path) -> None:
    secret = write("secret.txt", "12")
    outside = f'<!DOCTYPE x [<!ENTITY s SYSTEM "{secret.as_uri()}">]>'
    assert "document type" in refusal(write("a.eaf", outside + eaf({"AUs": [(0, 900, "&s;")]})))
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>' + eaf({"AUs": [(0, 900, "&l11;")]})
    for name, encoding in (("b.eaf", "utf-8"), ("c.eaf", "utf-16")):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert "document type" in refusal(tmp_path / name)


def test_a_document_without_end_is_not_read_whole(write: Write, monkeypatch) -> None:
    monkeypatch.setattr(elan, "LARGEST", 100_000)
    file = write("a.eaf", eaf(ONE, "<A/>" * 50_000))
    assert "larger than" in refusal(file)
    monkeypatch.setattr("models.labels.text_of", None)  # which would read all of it
    assert coders.rulers(file) == {}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "micro\t1.6\t1.967\t0.367\t\nAU1\tx\t2\t1\t\n", "line 2: begin 'x'"),
        ("a.txt", "micro\t1.6\t1.967\t0.367\t\n\t1.6\t2\t1\t\n", "line 2: no tier"),
        ("a.txt", "micro\t2.6\t1.967\t0.367\t\n", "line 1: ends before"),
        ("a.tsv", "onset\tduration\n1.6\t\n", "line 2: duration ''"),
        ("a.tsv", "onset\tduration\n1.6\n", "line 2: 1 cells"),
        ("a.tsv", "onset\tduration\tonset\n1\t2\t3\n", "line 1: a column name"),
        ("a.tsv", "who\twhen\n1\t2\n", "line 1: a table of no layout"),
        ("a.csv", "onset_s,offset_s\n3,1\n", "line 2: offset 30 is before onset 90"),
        ("a.csv", "video,onset_s,offset_s\n,1,3\n", "line 2: '' is not a video's name"),
        ("a.csv", "onset_s,offset_s,kind\n1,3,tiny\n", "line 2: kind 'tiny'"),
        ("a.csv", "stream,onset_frame,offset_frame\nx,1,b\n", "line 2: offset 'b'"),
        ("a.csv", "stream,onset_frame,offset_frame,id\nx,1,5,a\nx,2,5,a\n", "line 3: a second"),
        ("a.csv", "video,onset_s,offset_s\na b.mp4,1,3\na-b.mp4,1,3\n", "line 3: 'a b.mp4' and"),
    ],
)
def test_a_malformed_table_is_refused_in_one_line(
    write: Write, name: str, text: str, says: str
) -> None:
    assert says in refusal(write(name, text))


@given(st.binary(max_size=120), st.sampled_from(("x.eaf", "x.csv", "x.tsv", "x.txt")))
@settings(deadline=None)
def test_no_bytes_end_in_a_traceback(tmp_path_factory, content: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        read_together([path, path], 30.0)
    except UserError as error:
        assert "\n" not in str(error)


words = st.sampled_from(
    (
        *("onset", "duration", "onset_s", "offset_s", "trial_type", "stream", "onset_frame"),
        *("offset_frame", "id", "micro", "AU4", "1", "1.5", "n/a", "00:00:01.5", ""),
        *("\t", ",", ";", "\n", '"'),
    )
)


@given(st.lists(words, max_size=40), st.sampled_from(("x.csv", "x.tsv")))
@settings(deadline=None)
def test_no_table_ends_in_a_traceback(tmp_path_factory, pieces: list[str], name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_text("".join(pieces), encoding="utf-8")
    try:
        read_together([path, path], 30.0)
    except UserError as error:
        assert "\n" not in str(error)


cuts = st.tuples(st.integers(0, 2000), st.integers(0, 60), st.text("<>\"a1=/ &;'", max_size=4))


@given(st.lists(cuts, min_size=1, max_size=4))
@settings(deadline=None)
def test_no_damaged_document_ends_in_a_traceback(tmp_path_factory, damages) -> None:
    text = eaf(CODER, MEDIA.format("clip.mp4", ""))
    for place, length, instead in damages:
        text = text[:place] + instead + text[place + length :]
    path = tmp_path_factory.mktemp("any") / "x.eaf"
    path.write_text(text, encoding="utf-8")
    try:
        read_together([path], 30.0)
    except UserError as error:
        assert "\n" not in str(error)
