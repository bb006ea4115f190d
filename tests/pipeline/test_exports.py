"""Exports: nothing lost, read back by what reads them, whole or not at all. Events are made up."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import coders, labels
from models.errors import UserError
from pipeline.cli import run
from pipeline.event_columns import AU_COLUMNS, EVENT_COLUMNS
from pipeline.event_input import Told, read_events
from pipeline.event_table import Choice, event_table
from pipeline.export_rows import utc_ns, utc_text
from pipeline.exports import FORMATS, format_of, write
from pipeline.schema import EventMessage
from tests.pipeline.told import START_NS, au, final, phase, session
from tests.pipeline.told import write as write_events


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return write_events(tmp_path / "events.jsonl", session())


def export(events: Path, name: str, *options: str) -> Path:
    out = events.parent / name
    assert run(["export-events", str(events), "-o", str(out), *options]) == 0
    return out


def refused(capsys, *arguments: str) -> str:
    assert run(["export-events", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("mespot: ") and err.count("\n") == 1, err
    return err


def finals() -> list[EventMessage]:
    """What an export has to hold: final events with their last readings."""
    told = Told.of(session())
    assert [event.id for event in told.finals] == ["cam/0/0-1", "cam/0/0-4", "cam/0/0-5"]
    return told.finals


# --- joining


def test_an_update_gives_its_readings_to_its_final_and_is_no_event() -> None:
    first = finals()[0]
    assert [reading.source for reading in first.emotions] == ["coding-guide", "map"]
    assert (first.phase, first.seq) == ("final", 1)


def test_what_was_withdrawn_or_never_closed_is_no_event() -> None:
    told = Told.of(session())
    assert [(e.id, e.reason) for e in told.retracted] == [("cam/0/0-7", "too weak")]
    assert told.open == 1


def test_an_update_whose_final_is_lost_stands_for_it() -> None:
    only = phase(final(1, 3, 5, 9), "update", emotions=[])
    (event,) = Told.of([only]).finals
    assert (event.phase, event.emotions) == ("final", [])


def test_two_finals_of_one_id_are_a_mistake() -> None:
    with pytest.raises(UserError, match="second final event"):
        Told.of([final(1, 3, 5, 9), final(1, 3, 5, 9)])


# --- reading


def test_states_curves_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    state = b'{"v":1,"type":"state","stream":"cam","state":"started"}\n\n'
    file = tmp_path / "e.jsonl"
    file.write_bytes(state + msgspec.json.encode(final(1, 3, 5, 9)))
    assert [event.id for event in read_events(file)] == ["cam/0/0-1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"v": 1, "type": "ev', "line 1: not a message"),
        (b'{"v": 2, "type": "event"}', "line 1: schema version 2"),
        (b'{"v": 1, "type": "event"}', "line 1: not a message"),
        (b"\xff\xfe", "line 1: not a message"),
        (b"[" * 100_000, "line 1: not a message"),
    ],
)
def test_what_is_no_message_ends_in_one_line(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "e.jsonl"
    file.write_bytes(text)
    with pytest.raises(UserError, match=says) as error:
        list(read_events(file))
    assert "\n" not in str(error.value)


def test_an_event_log_is_read_as_its_messages(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    with sqlite3.connect(file) as log:
        log.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, run INTEGER, body BLOB)")
        rows = [(n, 1, msgspec.msgpack.encode(event)) for n, event in enumerate(session())]
        log.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
    log.close()
    assert Told.of(read_events(file)).finals == finals()
    file.write_bytes(b"SQLite format 3\x00" + b"?" * 100)
    with pytest.raises(UserError, match="not an event log"):
        list(read_events(file))


# --- there and back


def _intervals(items: Sequence[labels.Labelled]) -> list[tuple[object, ...]]:
    return sorted(
        (i.video, i.onset, i.offset, i.apex, i.kind, i.aus, i.emotion or "") for i in items
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.csv", []),
        ("a.csv", ["--by-au"]),
        ("a_events.tsv", []),
        ("a_events.tsv", ["--by-au"]),
        ("a.jsonl", []),
        ("a.eaf", []),
    ],
)
def test_what_is_exported_is_read_back_the_same(events: Path, name: str, options) -> None:
    there = labels.read(events).predictions
    back = coders.read(export(events, name, *options))
    assert len(there) == 3
    assert _intervals(back.truth) == _intervals(there)


@st.composite
def _runs(draw: st.DrawFn) -> list[EventMessage]:
    fps = draw(st.sampled_from([10.0, 25.0, 30_000 / 1001, 30.0, 60.0, 200.0]))
    made = []
    for number in range(draw(st.integers(0, 6))):
        onset = draw(st.integers(0, 2000))
        apex = draw(st.integers(onset, onset + 60))
        offset = draw(st.integers(max(apex, 1), apex + 60))
        aus = []
        for code in draw(st.sets(st.integers(1, 28), min_size=1, max_size=3)):
            begin = draw(st.integers(onset, apex))
            end = draw(st.integers(apex, offset))
            side = draw(st.sampled_from(["both", "left", "right"]))
            aus.append(au(code, side, begin, apex, end, fps))
        kind = draw(st.sampled_from(["micro", "macro"]))
        face = draw(st.integers(0, 1))
        made.append(
            final(number, onset, apex, offset, kind=kind, aus=aus, face=face, emotions=[], fps=fps)
        )
    return made


@given(_runs(), st.sampled_from(["a.eaf", "a.csv", "a.tsv"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_run_comes_back_the_same(tmp_path_factory, run_of_events, name: str) -> None:
    folder = tmp_path_factory.mktemp("run")
    events = write_events(folder / "events.jsonl", run_of_events)
    table = event_table(Told.of(run_of_events), Choice())
    out = folder / name
    write(format_of(out), table, out)
    there = labels.read(events).predictions
    assert _intervals(coders.read(out).truth) == _intervals(there)


# --- each format


def test_csv_holds_every_field_of_the_messages(events: Path) -> None:
    with export(events, "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, event in zip(rows, finals(), strict=True):
        assert event.onset is not None and event.offset is not None
        assert float(row["onset_s"]) == event.onset.pts
        assert int(row["apex_frame"]) == event.apex.frame
        assert utc_ns(row["offset_utc"]) == event.offset.utc_ns
        assert float(row["duration_s"]) == event.offset.pts - event.onset.pts
        assert float(row["height"]) == event.height
        assert float(row["processing_ms"]) == event.delays.processing_ms
        for column, field in (
            ("au_intervals", "aus"),
            ("emotions", "emotions"),
            ("vetoes", "vetoes"),
        ):
            assert json.loads(row[column]) == msgspec.to_builtins(getattr(event, field))
        assert row["models"].split() == event.models
    assert [row["aus"] for row in rows] == ["1+L2", "12+R6", "R12+4"]
    assert [row["emotion"] for row in rows] == ["surprise", "happiness", "negative"]


def test_a_row_an_action_unit_has_the_borders_of_both(events: Path) -> None:
    with export(events, "a.csv", "--by-au").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["au"], row["side"]) for row in rows][:2] == [("1", "both"), ("2", "left")]
    assert (rows[1]["onset_frame"], rows[1]["event_onset_frame"]) == ("49", "48")
    assert len(rows) == sum(len(event.aus) for event in finals())


def test_withdrawn_events_come_when_asked_for_and_are_no_intervals(events: Path) -> None:
    out = export(events, "a.csv", "--retracted")
    with out.open(encoding="utf-8", newline="") as file:
        gone = [row for row in csv.DictReader(file) if row["phase"] == "retracted"]
    assert [(row["reason"], row["onset_s"], row["kind"]) for row in gone] == [
        ("too weak", "", "unknown")
    ]
    assert len(coders.read(out).truth) == 3
    assert len(coders.read(export(events, "a.eaf", "--retracted")).truth) == 3


def test_parquet_has_types_units_and_the_same_values(events: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    import pyarrow as pa

    table = parquet.read_table(export(events, "a.parquet"))
    schema = table.schema
    assert schema.field("onset_s").type == pa.float64()
    assert schema.field("onset_frame").type == pa.int64()
    assert schema.field("onset_utc").type == pa.timestamp("us", tz="UTC")
    assert schema.field("onset_s").metadata[b"unit"] == b"s"
    assert schema.field("height").metadata[b"unit"] == b"standard deviations"
    assert all(schema.field(n).metadata[b"description"] for n in schema.names)
    assert schema.metadata[b"times"] == b"source time since the first frame"
    utc = table.column("onset_utc").cast(pa.int64()).to_pylist()
    assert utc == [e.onset.utc_ns // 1000 for e in finals() if e.onset is not None]
    rows = table.to_pylist()
    for row, event in zip(rows, finals(), strict=True):
        assert event.onset is not None
        assert row["onset_s"] == event.onset.pts
        assert row["au_intervals"] == msgspec.to_builtins(event.aus)
        assert [dict(reading["scores"]) for reading in row["emotions"]] == [
            reading.scores for reading in event.emotions
        ]
        assert row["vetoes"] == msgspec.to_builtins(event.vetoes)
    empty = events.with_name("none.jsonl")
    empty.touch()
    assert parquet.read_table(export(empty, "n.parquet")).schema == schema


def test_elan_is_read_by_pympi_and_keeps_its_rules(events: Path, tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi")
    video = tmp_path / "the clip.mp4"
    video.touch()
    out = export(events, "a.eaf", "--media", str(video))
    document = pympi.Eaf(str(out))
    tiers = document.get_tier_names()
    assert {"micro", "macro", "apex", "AU1", "AU2 L", "AU12", "AU12 R", "emotion"} <= set(tiers)
    assert "emotion: map" in tiers
    found = {name: document.get_annotation_data_for_tier(name) for name in tiers}
    assert found["micro"] == [(1600, 1967, "micro #1"), (4000, 4333, "micro #3")]
    assert found["AU2 L"] == [(1633, 1900, "AU2 left 2.50 #1")]
    assert found["emotion"][0] == (1600, 1967, "surprise #1")
    for name, marks in found.items():
        assert name and marks
        ordered = sorted(marks)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered)), name
        assert all(begin < end for begin, end, _ in ordered)
        about = document.get_parameters_for_tier(name)
        assert about["LINGUISTIC_TYPE_REF"] in document.get_linguistic_type_names()
        assert about["PARTICIPANT"] == "face 0"
    slots = list(document.timeslots.items())
    assert [name for name, _ in slots] == [f"ts{n}" for n in range(1, len(slots) + 1)]
    assert [ms for _, ms in slots] == sorted(ms for _, ms in slots)
    assert document.get_linked_files()[0]["MEDIA_URL"] == video.resolve().as_uri()
    assert document.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./the clip.mp4"
    assert document.get_linked_files()[0]["MIME_TYPE"] == "video/mp4"
    assert dict(document.get_properties())["mespot-fps"] == "30"


def test_expressions_at_once_have_a_tier_each(events: Path) -> None:
    pympi = pytest.importorskip("pympi")
    made = [final(1, 10, 20, 40), final(2, 15, 25, 50), final(3, 40, 45, 50)]
    document = pympi.Eaf(str(export(write_events(events, made), "a.eaf")))
    assert document.get_annotation_data_for_tier("micro") == [
        (333, 1333, "micro #1"),
        (1333, 1667, "micro #3"),
    ]
    assert document.get_annotation_data_for_tier("micro (2)") == [(500, 1667, "micro #2")]


def test_several_faces_have_tiers_of_their_own(events: Path) -> None:
    pympi = pytest.importorskip("pympi")
    made = [final(1, 10, 20, 40), final(2, 15, 25, 50, face=1)]
    document = pympi.Eaf(str(export(write_events(events, made), "a.eaf")))
    assert {"micro@face0", "micro@face1"} <= set(document.get_tier_names())
    assert document.get_parameters_for_tier("AU12@face1")["PARTICIPANT"] == "face 1"


def test_bids_has_onset_and_duration_first_and_every_column_described(events: Path) -> None:
    out = export(events, "sub-01_task-film_events.tsv", "--retracted")
    rows = list(csv.reader(out.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    assert rows[0][:3] == ["onset", "duration", "trial_type"]
    assert [row[2] for row in rows[1:]] == ["micro", "macro", "micro", "unknown"]
    assert rows[4][:2] == ["n/a", "n/a"]
    assert not any(cell == "" for row in rows for cell in row)
    about = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(rows[0]) <= about.keys()
    assert all(about[name]["Description"] for name in rows[0])
    assert about["onset"]["Units"] == about["duration"]["Units"] == "s"
    assert set(about["trial_type"]["Levels"]) >= {"micro", "macro"}


def test_webvtt_is_readable_long_enough_and_says_the_true_times(events: Path) -> None:
    text = export(events, "a.vtt").read_text(encoding="utf-8")
    head, note, *cues = text.strip().split("\n\n")
    assert head == "WEBVTT" and note.startswith("NOTE")
    names, times, texts = zip(*(cue.split("\n") for cue in cues), strict=True)
    assert names == ("cam/0/0-1", "cam/0/0-4", "cam/0/0-5")
    assert times == (
        "00:00:01.600 --> 00:00:03.100",
        "00:00:03.333 --> 00:00:05.333",
        "00:00:04.000 --> 00:00:05.500",
    )
    assert texts == (
        "micro 1.600–1.967 s · AU 1+L2 · surprise",
        "macro 3.333–5.333 s · AU 12+R6 · happiness",
        "micro 4.000–4.333 s · AU R12+4 · negative",
    )


def test_a_cues_text_means_nothing_to_the_player(events: Path) -> None:
    from stages.items import Reading

    odd = final(1, 3, 5, 9, emotions=[Reading("x", "a <b>\n\n--> & c")])
    text = export(write_events(events, [odd]), "a.vtt").read_text(encoding="utf-8")
    assert "a &lt;b&gt; --&gt; &amp; c" in text


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.vtt", "a.tsv", "a.eaf"])
def test_a_run_without_events_has_files_without_rows(events: Path, name: str) -> None:
    out = export(write_events(events, []), name)
    if name != "a.vtt":
        assert coders.read(out).truth == ()


def test_the_example_of_the_page_runs(events: Path, monkeypatch, capsys) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    (example,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "Counter" in b)
    export(events, "events.csv")
    monkeypatch.chdir(events.parent)
    capsys.readouterr()
    exec(compile(example, "lab.md", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert "('micro', 'surprise'): 1" in out[0]
    assert float(out[1]) == pytest.approx(2.0)


def test_every_column_and_option_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    for column in (*EVENT_COLUMNS, *AU_COLUMNS):
        if not column.name.endswith(("_s", "_frame", "_utc")) or column.name == "duration_s":
            assert f"`{column.name}`" in page, column.name
    for known in FORMATS.values():
        assert f"| `{known.suffix}` | `{known.name}` |" in page


# --- which, and on which ruler


def test_faces_and_streams_are_chosen(events: Path, capsys) -> None:
    made = [final(1, 3, 5, 9), final(2, 13, 15, 19, face=1), final(3, 3, 5, 9, stream="b")]
    write_events(events, made)
    assert len(coders.read(export(events, "a.csv", "--face", "1")).truth) == 1
    assert len(coders.read(export(events, "a.eaf", "--stream", "b")).truth) == 1
    assert "choose with --stream: cam, b" in refused_after(capsys, events, "b.eaf")
    assert "it has 0, 1" in refused_after(capsys, events, "a.csv", "--face", "7")
    assert "it has b, cam" in refused_after(capsys, events, "a.csv", "--stream", "x")


def refused_after(capsys, events: Path, name: str, *options: str) -> str:
    capsys.readouterr()
    return refused(capsys, str(events), "-o", str(events.parent / name), *options)


def test_utc_counts_from_the_first_frame_or_from_another_recording(events: Path) -> None:
    def onsets(*options: str) -> list[float]:
        with export(events, "a.csv", *options).open(encoding="utf-8", newline="") as file:
            return [float(row["onset_s"]) for row in csv.DictReader(file)]

    assert onsets("--ruler", "utc") == pytest.approx(onsets(), abs=1e-6)
    later = utc_text(START_NS + 500_000_000)
    assert onsets("--ruler", "utc", "--start", later) == pytest.approx(
        [second - 0.5 for second in onsets()], abs=1e-6
    )
    assert onsets("--ruler", "utc", "--start", "2026-05-04T11:30:00+02:00") == pytest.approx(
        [second + 0.123456789 for second in onsets()], abs=1e-6
    )


def test_a_document_on_another_recordings_clock_is_read_back_to_the_same_frames(
    events: Path,
) -> None:
    start = utc_text(START_NS - 42_500_000_000)
    out = export(events, "a.eaf", "--ruler", "utc", "--start", start)
    assert 'TIME_VALUE="44100"' in out.read_text(encoding="utf-8")  # 42.5 s before frame 48
    there = labels.read(events).predictions
    assert _intervals(coders.read(out).truth) == _intervals(there)


def test_a_document_of_another_pace_is_not_read_as_frames(events: Path) -> None:
    one = final(1, 30, 40, 50)
    late = msgspec.structs.replace(one.apex, utc_ns=one.apex.utc_ns + 2 * 10**9)
    write_events(events, [msgspec.structs.replace(one, apex=late)])
    out = export(events, "a.eaf", "--ruler", "utc")
    with pytest.raises(UserError, match="follows another clock"):
        coders.read(out)


def test_elan_and_webvtt_have_no_time_before_0(events: Path, capsys) -> None:
    late = ["--ruler", "utc", "--start", "2026-05-04T10:00:00Z"]
    assert "earlier --start" in refused_after(capsys, events, "a.eaf", *late)
    assert "earlier --start" in refused_after(capsys, events, "a.vtt", *late)


# --- mistakes


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("a.xlsx", [], "which format?"),
        ("a", [], "which format?"),
        ("a.csv", ["--format", "xlsx"], "one of csv, parquet"),
        ("a.eaf", ["--by-au"], "--by-au: elan holds events"),
        ("a.csv", ["--media", "x.mp4"], "--media"),
        ("a.csv", ["--start", "2026-05-04T09:30:00Z"], "needs --ruler utc"),
        ("a.csv", ["--ruler", "utc", "--start", "noon"], "with the time zone"),
        ("a.csv", ["--ruler", "utc", "--start", "2026-05-04T09:30:00"], "with the time zone"),
        ("a.csv", ["--ruler", "utc", "--start", "2026-15-04T09:30:00Z"], "--start"),
        ("nowhere/a.csv", [], "cannot be written"),
        (".", ["--format", "csv"], "is no file"),
    ],
)
def test_a_mistake_ends_in_one_line(events: Path, capsys, name: str, options, says: str) -> None:
    assert says in refused_after(capsys, events, name, *options)


def test_the_file_that_is_read_is_never_written(events: Path, capsys) -> None:
    before = events.read_bytes()
    assert "is the file that is read" in refused(capsys, str(events), "-o", str(events))
    assert "cannot be read" in refused(capsys, str(events) + "x", "-o", str(events))
    assert events.read_bytes() == before


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_format_is_told_by_its_suffix_or_its_name(name: str) -> None:
    known = FORMATS[name]
    assert format_of(Path("x" + known.suffix.upper())) is known
    assert format_of(Path("x.dat"), name) is known


@pytest.mark.parametrize(("name", "module"), [("a.parquet", "pyarrow"), ("a.eaf", "pympi")])
def test_a_missing_extra_is_named(events: Path, capsys, monkeypatch, name, module) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    err = refused_after(capsys, events, name)
    assert module in err and "mespot[lab]" in err


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.vtt", "a.tsv", "a.eaf"])
def test_a_write_that_fails_leaves_the_earlier_file(events, monkeypatch, capsys, name) -> None:
    out = export(events, name)
    before = {path.name: path.read_bytes() for path in events.parent.iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.exports.files.os.fsync", full)
    assert "No space left" in refused_after(capsys, events, out.name)
    assert {path.name: path.read_bytes() for path in events.parent.iterdir()} == before


def test_events_that_were_never_closed_are_told(events: Path, capsys) -> None:
    export(events, "a.csv")
    out, err = capsys.readouterr()
    assert out == f"{events.parent / 'a.csv'}: 3 events in 1 stream\n"
    assert "1 announced events were never closed" in err
