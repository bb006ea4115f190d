"""``python -m bench spotting``: plans, accounts and tables (clips are synthetic)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import spotting
from bench.report import Result, percentile_cells, show
from bench.spotting import Clip, Rendered, Retracted, Run, Spotted, Truth
from models.errors import UserError
from models.evaluate import DEFAULT, PROTOCOLS
from stages.items import AUInterval, Interval, Stamp

FPS = 30.0


def true(onset: int, offset: int, kind: Any = "micro", **more: Any) -> Truth:
    apex = (onset + offset) // 2
    times = {"onset_s": onset / FPS, "apex_s": apex / FPS, "offset_s": offset / FPS}
    given = {"aus": (4,), "amplitude_px": 1.2} | more
    return Truth(onset=onset, apex=apex, offset=offset, kind=kind, **given, **times)


def found(onset: int, offset: int, kind: Any = "micro", later: float = 0.5) -> Spotted:
    apex = (onset + offset) // 2
    return Spotted(
        id=f"c/0/0-{onset}",
        kind=kind,
        onset=onset,
        apex=apex,
        offset=offset,
        aus=(4, 7),
        indices={"4 both": 3.0},
        onset_s=onset / FPS,
        apex_s=apex / FPS,
        offset_s=offset / FPS,
        announced_s=apex / FPS + 0.2,
        decided_s=offset / FPS + later,
        reference=0,
    )


def clip(name: str, data: str, truth: list[Truth], ours: list[Spotted], **about: Any) -> Clip:
    runs = {"paper": Run(), "ours": Run(ours, announced={s.id: s.announced_s for s in ours})}
    return Clip(name, data, FPS, 1800, 60.0, 1.0, about, truth, runs)


def rows(result: Result, variant: str = "ours") -> dict[str, dict[str, Any]]:
    """By data set, the cells by column."""
    return {
        str(row[0]): dict(zip(result.columns, row, strict=True))
        for row in result.rows
        if row[1] == variant
    }


def stamp(frame: int) -> Stamp:
    return Stamp("c", frame, frame / FPS, 0, 0)


def interval(phase: Any, at: int, reason: str = "") -> Interval:
    final = phase == "final"
    return Interval(
        id="c/0/0-1",
        face=0,
        phase=phase,
        kind="micro" if final else "unknown",
        onset=stamp(10) if final else None,
        apex=stamp(13),
        offset=stamp(18) if final else None,
        aus=[AUInterval(4, "both", 2.0, None, stamp(13), None)],
        decided=stamp(at),
        reference=0,
        reason=reason,
    )


# ---------------------------------------------------------------- what is measured


def test_minutes_are_shared_by_the_levels_and_every_fifth_clip_is_empty() -> None:
    jobs = spotting.planned(30.0, 500_000, FPS, ["astronaut", "obama"])
    rendered = [job for job in jobs if isinstance(job, Rendered)]
    assert len(rendered) == len(jobs) == 30
    assert {job.level for job in rendered} == {"easy", "medium", "hard"}
    assert sum(job.seconds for job in rendered) == pytest.approx(30 * 60)
    assert [job.empty for job in rendered[:10]] == 2 * [False, False, False, False, True]
    assert {job.portrait for job in rendered} == {"astronaut", "obama"}
    assert {job.portrait for job in rendered if job.empty} == {"astronaut", "obama"}
    assert len({job.seed for job in rendered}) == 30
    assert min(job.seed for job in rendered) == 500_000


def test_more_minutes_keep_the_first_clips() -> None:
    few = spotting.planned(3.0, 7, FPS, ["obama"])
    more = spotting.planned(9.0, 7, FPS, ["obama"])
    assert len(few) == 3
    assert set(few) < set(more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": 0.1}, "--minutes 0.1"),
        ({"minutes": -1.0}, "--minutes -1"),
        ({"seed": -1}, "--seed -1"),
        ({"fps": 5.0}, "--fps 5"),
        ({"portraits": " , "}, "--portraits"),
        ({"portraits": "nobody"}, "'nobody': not shipped"),
        ({"jobs": 0}, "--jobs 0"),
        ({"protocol": "mine"}, "--protocol mine"),
        ({"minutes": 0.0}, "nothing to measure"),
        ({"variants": "ours,mine"}, "--variants ours,mine"),
        ({"variants": " ,"}, "--variants"),
    ],
)
def test_bad_options_are_one_line(given: dict[str, Any], said: str) -> None:
    options: dict[str, Any] = {"folder": None, "minutes": 3.0} | given
    with pytest.raises(UserError, match=said):
        spotting.measure(**options)


def test_frames_and_truth_of_a_rendered_clip_count_alike() -> None:
    job = Rendered("hard", 500_003, "obama", 8.0, FPS, empty=False)
    material = job.open()
    assert material.truth
    events = material.entry["events"]
    assert [t.onset for t in material.truth] == [event["onset"] for event in events]
    assert [t.onset for t in material.truth] == [round(e["onset_s"] * FPS) for e in events]
    frames = list(material.frames)
    numbers = [frame.stamp.frame for frame in frames]
    assert numbers == sorted(set(numbers))
    assert material.entry["dropped"] == 240 - len(numbers)
    late = [abs(frame.stamp.pts - frame.stamp.frame / FPS) for frame in frames]
    assert max(late) < 0.5 / FPS
    again = next(iter(job.open().frames))
    assert np.array_equal(again.image, frames[0].image)


def test_a_folder_needs_its_truth_and_its_clips(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no truth\.json"):
        spotting.recorded(tmp_path)
    event = {"onset": 3, "apex": 5, "offset": 9, "kind": "micro", "aus": [4], "peak_px": 1.5}
    truth = {"a.mp4": {"events": []}, "b.mp4": {"events": [event]}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.mp4, which is not there"):
        spotting.recorded(tmp_path)
    (tmp_path / "b.mp4").write_bytes(b"")
    assert [len(job.truth) for job in spotting.recorded(tmp_path)] == [0, 1]  # type: ignore[union-attr]
    (tmp_path / "truth.json").write_text(json.dumps({"a.mp4": {"events": [], "blinks": [1.5]}}))
    with pytest.raises(UserError, match="blinks is not a list of spans"):
        spotting.recorded(tmp_path)


# ---------------------------------------------------------------- what is heard


def test_an_event_is_followed_from_announcement_to_final() -> None:
    run = Run()
    run.hear(interval("apex", 15))
    run.hear(interval("final", 24))
    (spotted,) = run.spotted
    assert (spotted.onset, spotted.apex, spotted.offset, spotted.kind) == (10, 13, 18, "micro")
    assert spotted.aus == (4,)
    assert spotted.announced_s == pytest.approx(15 / FPS)
    assert spotted.decided_s == pytest.approx(24 / FPS)
    assert not run.retracted


def test_a_withdrawn_announcement_is_no_expression() -> None:
    run = Run()
    run.hear(interval("apex", 15))
    run.hear(interval("retracted", 20, "merged into c/0/0-0"))
    assert not run.spotted
    assert run.retracted == [
        Retracted("c/0/0-1", "merged into c/0/0-0", 13, 13 / FPS, 20 / FPS),
    ]


# ---------------------------------------------------------------- what it amounts to


@pytest.fixture
def clips() -> list[Clip]:
    easy = clip(
        "a",
        "easy",
        [true(100, 110), true(300, 340, "macro", amplitude_px=6.0), true(600, 610)],
        [found(101, 111), found(300, 340, "micro"), found(606, 640), found(900, 906)],
        blinks=[{"start_s": 30.1, "end_s": 30.3}],
        gaze=[{"start_s": 29.5, "end_s": 30.6}],
        speech=[],
    )
    hard = clip("b", "hard", [], [found(30, 36)], gaze=[{"start_s": 1.1, "end_s": 3.0}])
    folder = clip("c.mp4", "folder", [true(50, 60, aus=(12,))], [found(200, 210)])
    easy.runs["ours"].retracted.append(Retracted("x", "merged into y", 5, 0.2, 0.4))
    return [easy, hard, folder]


def test_totals_come_first_then_figures(clips: list[Clip]) -> None:
    table = rows(spotting.accuracy(clips, DEFAULT))
    assert list(table) == ["easy", "hard", "all synth", "folder"]
    easy = table["easy"]
    assert (easy["true"], easy["spotted"]) == (3, 4)
    assert easy["F1"] == round(2 / 7, 3)
    assert easy["F1 micro"] == round(2 / 6, 3)
    assert easy["F1 macro"] == 0
    assert (easy["false/min"], easy["false/min empty"]) == (3.0, "-")
    assert (easy["onset"], easy["apex"], easy["offset"]) == (1.0, 1.0, 1.0)
    assert easy["AU F1"] == round(2 / 3, 3)
    both = table["all synth"]
    assert (both["minutes"], both["spotted"], both["F1"]) == (2.0, 5, 0.25)
    assert (both["false/min"], both["false/min empty"]) == (2.0, 1.0)
    assert rows(spotting.accuracy(clips, DEFAULT), "paper")["easy"]["F1"] == 0


def test_any_type_lets_kinds_mix(clips: list[Clip]) -> None:
    result = spotting.accuracy(clips, PROTOCOLS["any-type"])
    assert "protocol any-type" in result.title
    assert rows(result)["easy"]["F1"] == round(4 / 7, 3)


def test_false_alarms_and_misses_say_what_was_there(clips: list[Clip]) -> None:
    outcome = spotting.compare(clips, DEFAULT)
    alarms = {a.spotted.onset: a.coincides for a in outcome.false_alarms}
    assert alarms == {
        300: ("expression",),
        606: ("expression",),
        900: ("blink",),  # the gaze held then, its saccades were before and after
        30: ("gaze",),
        200: ("not told",),
    }
    why = {m.truth.onset: m.why for m in outcome.misses if m.variant == "ours"}
    assert why == {300: "kind", 600: "borders", 50: "nothing"}
    assert sum(m.variant == "paper" for m in outcome.misses) == 4
    counts = rows(spotting.coincidences(clips, outcome, DEFAULT))["all synth"]
    names = ("false alarms", "expression", "blink", "gaze", "nothing")
    assert [counts[name] for name in names] == [4, 2, 1, 1, 0]
    missed = spotting.reasons(clips, outcome, DEFAULT)
    assert rows(missed)["easy"]["another kind"] == 1


def test_delays_are_those_of_matched_micro_expressions(clips: list[Clip]) -> None:
    outcome = spotting.compare(clips, DEFAULT)
    easy = rows(spotting.delays(clips, outcome, DEFAULT))["easy"]
    assert easy["micro"] == 1
    assert easy["apex p50"] == pytest.approx(0.2 + 1 / FPS, abs=0.01)
    assert easy["final p95"] == pytest.approx(0.5 + 1 / FPS, abs=0.01)
    assert (easy["announced/min"], easy["retracted/min"], easy["merged"]) == (4.0, 1.0, 1.0)


def test_misses_stand_by_au_and_amplitude(clips: list[Clip]) -> None:
    outcome = spotting.compare(clips, DEFAULT)
    result = spotting.missed(clips, outcome, DEFAULT)
    table = {(str(row[0]), str(row[1])): row[2:] for row in result.rows}
    assert table["all synth", "micro"] == [2, 2, 1]
    assert table["all synth", "AU 4"] == [3, 3, 2]
    assert table["all synth", "1 to 1.5 px"] == [2, 2, 1]
    assert table["all synth", "5 px and more"] == [1, 1, 1]
    assert table["folder", "AU 12"] == [1, 1, 1]


def test_every_table_names_the_protocol_and_json_holds_all(clips: list[Clip]) -> None:
    outcome = spotting.compare(clips, DEFAULT)
    tables = spotting.tables(clips, outcome, DEFAULT)
    assert all("protocol one-to-one" in table.title for table in tables)
    everything = spotting.everything(spotting.Scored(tables, clips, outcome, DEFAULT, {}))
    back = json.loads(json.dumps(everything))
    assert [len(back[key]) for key in ("clips", "pairs", "false_alarms", "misses")] == [3, 1, 5, 7]
    assert back["clips"][0]["scores"]["ours"][0]["micro"]["tp"] == 1


# ---------------------------------------------------------------- with the pipeline


@pytest.mark.slow
def test_three_short_clips(capsys: Any) -> None:
    what = spotting.scored(None, 0.25, "obama", jobs=1)
    results = what.tables
    assert capsys.readouterr().err.count(" s in ") == 3
    table = rows(results[0])
    assert list(table) == ["easy", "medium", "hard", "all synth"]
    assert table["all synth"]["true"] == sum(table[level]["true"] for level in spotting.LEVELS)
    made = json.loads(json.dumps(spotting.everything(what)))
    assert [c["data"] for c in made["clips"]] == ["easy", "medium", "hard"]
    assert all(c["frames"] == pytest.approx(150, abs=3) for c in made["clips"])
    assert made["settings"]["given"]["portraits"] == ["obama"]


@pytest.mark.slow
def test_a_clip_of_the_folder(data: Path, tmp_path: Path) -> None:
    truth = json.loads((data / "dev_clips" / "truth.json").read_text())
    name = "dev_00.mp4"
    (tmp_path / "truth.json").write_text(json.dumps({name: truth[name]}))
    (tmp_path / name).write_bytes((data / "dev_clips" / name).read_bytes())
    result = spotting.measure(tmp_path, 0.0, jobs=1)[0]
    assert list(rows(result)) == ["folder"]
    assert rows(result)["folder"]["true"] == 4
    assert rows(result, "paper")["folder"]["recall"] >= 0.5
    assert rows(result, "ours")["folder"]["recall"] >= 0.5


# ---------------------------------------------------------------- bench.report


def test_tables_print_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("t", ["a", "b"], [["x", 1.5]], ["note"])
    for as_markdown in (False, True):
        show([result], as_markdown)
        printed = capsys.readouterr().out
        assert "1.5" in printed
        assert "note" in printed
    assert percentile_cells([]) == ["-", "-", "-", 0]
    assert percentile_cells(range(101)) == [50, 95, 99, 101]
