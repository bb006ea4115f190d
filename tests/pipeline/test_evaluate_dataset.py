"""Spotting in a whole data set: files, frame numbers, failures, resumed runs; synthetic faces."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.datasets import Clip, Dataset, FrameSource, converted, plain
from models.datasets.records import source
from models.errors import UserError
from models.evaluate import DEFAULT, score
from models.labels import read
from pipeline import evaluate_dataset
from pipeline.evaluate_dataset import Done, Settings, evaluate, frames_of, spot, true, write_labels
from tests import dataset_faces
from tests.models.datasets import trees

PAPER = Settings("paper")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of numbered images from 1 at 30 fps: a frown, and nothing at all."""
    folder = tmp_path_factory.mktemp("plain")
    dataset_faces.long_video(folder / "anna" / "one", [dataset_faces.BROWS])
    dataset_faces.long_video(folder / "bert" / "one", [], seconds=1.0, identity=7)
    rows = ["anna,anna/one,37,43,49,4,micro,30", "bert,bert/one,,,,,macro,30"]
    head = "subject,video,onset,apex,offset,aus,kind,fps"
    (folder / "labels.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def clips(root: Path) -> list[Clip]:
    return list(plain.read(root / "labels.csv").clips())


@pytest.fixture(scope="module")
def made(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Done]]:
    out = tmp_path_factory.mktemp("evaluated") / "new" / "results"
    return out, evaluate(clips, Settings(), out, identity="plain")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fake_spot(clip: Clip, settings: Settings, file: Path) -> Done:
    """A video in which nothing is spotted."""
    file.write_text("")
    return Done(clip.video, frames=1)


# ---------------------------------------------------------------- what is written


def test_a_frown_is_found_in_the_frame_numbers_of_the_labels(
    made: tuple[Path, list[Done]],
) -> None:
    out, done = made
    assert [(d.video, d.spotted, d.frames, d.failure) for d in done] == [
        ("anna/one", 1, 90, ""),
        ("bert/one", 0, 30, ""),
    ]
    (event,) = [
        json.loads(line) for line in (out / "events" / "anna-one.jsonl").read_text().splitlines()
        if json.loads(line)["phase"] == "final"
    ]  # fmt: skip
    (spotted,) = rows_of(out / "predictions.csv")
    assert int(spotted["apex"]) == event["apex"]["frame"] + 1  # the first image is number 1
    assert abs(int(spotted["apex"]) - 43) <= 2
    assert "4" in spotted["aus"].split("+")


def test_the_written_files_are_what_the_scorer_takes(made: tuple[Path, list[Done]]) -> None:
    out, _ = made
    truth, found = read(out / "truth.csv"), read(out / "predictions.csv")
    assert truth.videos == {"anna-one", "bert-one"}
    result = score(truth.truth, found.predictions, DEFAULT, 0.5)
    assert (result.all.truth, result.all.predictions, result.all.tp) == (1, 1, 1)


def test_a_second_run_takes_over_what_is_finished(
    made: tuple[Path, list[Done]], clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = made
    predictions = (out / "predictions.csv").read_bytes()
    monkeypatch.setattr(evaluate_dataset, "spot", None)  # nothing is left to do
    after = evaluate(clips, Settings(), out, identity="plain")
    assert [(d.video, d.spotted, d.again) for d in after] == [
        (d.video, d.spotted, True) for d in before
    ]
    assert (out / "predictions.csv").read_bytes() == predictions


def test_two_processes_find_what_one_finds(
    made: tuple[Path, list[Done]], clips: list[Clip], tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    evaluate(
        clips, Settings(), tmp_path, identity="plain", jobs=2,
        tell=lambda number, total, done: told.append((number, total)),
    )  # fmt: skip
    for name in ("truth.csv", "predictions.csv"):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes()
    assert told == [(1, 2), (2, 2)]
    assert not multiprocessing.active_children()


# ---------------------------------------------------------------- runs that end early


def test_an_interrupted_run_goes_on_where_it_was(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def interrupted(clip: Clip, settings: Settings, file: Path) -> Done:
        seen.append(clip.video)
        if clip.video == "bert/one" and seen.count("bert/one") == 1:
            file.with_suffix(".part").write_text("half a li")
            raise KeyboardInterrupt
        return fake_spot(clip, settings, file)

    monkeypatch.setattr(evaluate_dataset, "spot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(clips, PAPER, tmp_path, identity="plain")
    assert not (tmp_path / "predictions.csv").exists()
    done = evaluate(clips, PAPER, tmp_path, identity="plain")
    assert seen == ["anna/one", "bert/one", "bert/one"]
    assert [d.again for d in done] == [True, False]
    assert (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("settings", "identity", "option", "said"),
    [
        (Settings("mespot"), "plain", None, "method paper, not mespot"),
        (Settings("paper", every=2), "plain", None, "every 1, not 2"),
        (PAPER, "another folder", None, "data plain, not another folder"),
        (PAPER, "plain", ("MESPOT_SPOT__SMOOTH_S", "0.2"), "spot.smooth_s 0.1, not 0.2"),
    ],
)
def test_results_of_different_runs_are_not_mixed(
    settings: Settings,
    identity: str,
    option: tuple[str, str] | None,
    said: str,
    clips: list[Clip],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate_dataset, "spot", fake_spot)
    evaluate(clips, PAPER, tmp_path, identity="plain")
    if option is not None:
        monkeypatch.setenv(*option)
    with pytest.raises(UserError, match=said):
        evaluate(clips, settings, tmp_path, identity=identity)
    done = evaluate(clips, settings, tmp_path, identity=identity, again=True)
    assert not any(d.again for d in done)


def test_a_folder_that_holds_something_else_is_refused(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1, 2")
    with pytest.raises(UserError, match="not what a run leaves"):
        evaluate(clips, PAPER, tmp_path, identity="plain")


def test_events_of_an_unknown_run_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "a.jsonl").write_text("")
    with pytest.raises(UserError, match="unknown run"):
        evaluate(clips, PAPER, tmp_path, identity="plain")


def test_another_rate_is_another_run(made: tuple[Path, list[Done]], clips: list[Clip]) -> None:
    faster = [replace(clip, fps=99.0) for clip in clips]
    with pytest.raises(UserError, match="videos"):
        evaluate(faster, PAPER, made[0], identity="plain")


def test_an_output_that_cannot_be_written(clips: list[Clip], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*file.*: "):
        evaluate(clips, PAPER, tmp_path / "file", identity="plain")


# ---------------------------------------------------------------- videos that cannot be read


def clip_of(folder: Path, fps: float | None = 30.0) -> Clip:
    return Clip("anna", folder.name, source(folder.name, folder, fps, 1), fps, ())


def test_one_broken_video_does_not_end_the_run(
    root: Path, tmp_path: Path, clips: list[Clip]
) -> None:
    folder = tmp_path / "broken"
    trees.images(folder, ["img1.jpg"])
    (folder / "img1.jpg").write_bytes(b"not a picture")
    out = tmp_path / "out"
    done = evaluate([clip_of(folder), clips[1]], PAPER, out, identity="plain")
    assert [(d.video, bool(d.failure)) for d in done] == [("broken", True), ("bert/one", False)]
    assert "no frame can be read" in done[0].failure
    assert sorted(path.name for path in (out / "events").iterdir()) == ["bert-one.jsonl"]


def test_unreadable_images_and_empty_scenes_are_remarked(tmp_path: Path) -> None:
    folder = trees.images(tmp_path / "grey", [f"img{i}.jpg" for i in range(1, 6)])
    (folder / "img3.jpg").write_bytes(b"")
    done = spot(clip_of(folder), PAPER, tmp_path / "grey.jsonl")
    assert (done.failure, done.frames) == ("", 4)
    assert done.note == "1 unreadable images left out; no face was seen"


def test_a_programming_error_in_one_video_is_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[object]:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(evaluate_dataset, "run", broken)
    folder = trees.images(tmp_path / "grey", ["img1.jpg"])
    done = spot(clip_of(folder), PAPER, tmp_path / "grey.jsonl")
    assert done.failure == "ZeroDivisionError: oops"
    assert not list(tmp_path.glob("grey.*l")) and not list(tmp_path.glob("*.part"))


def test_images_keep_their_place_and_time(tmp_path: Path) -> None:
    folder = trees.images(tmp_path / "grey", [f"img{i}.jpg" for i in (1, 2, 4, 5, 9)])
    (folder / "img4.jpg").write_bytes(b"")
    notes: list[str] = []
    stamps = [frame.stamp for frame in frames_of(clip_of(folder, 50.0), "s", 1, notes)]
    assert [(s.frame, s.pts) for s in stamps] == [(0, 0.0), (1, 0.02), (3, 0.06), (4, 0.08)]
    stamps = [frame.stamp for frame in frames_of(clip_of(folder, 50.0), "s", 2, notes)]
    assert [(s.frame, s.pts) for s in stamps] == [(0, 0.0), (2, 0.08)]
    assert notes == ["1 unreadable images left out"] * 2


def test_images_without_a_rate_are_refused(tmp_path: Path) -> None:
    folder = trees.images(tmp_path / "grey", ["img1.jpg"])
    with pytest.raises(UserError, match="images have no rate"):
        list(frames_of(clip_of(folder, None), "s", 1, []))


def test_names_that_are_one_streams_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    twin = Clip("x", "anna-one", FrameSource("anna-one", tmp_path, 30.0, 1), 30.0, ())
    with pytest.raises(UserError, match="'anna/one' and 'anna-one' are one stream's name"):
        evaluate([clips[0], twin], PAPER, tmp_path, identity="plain")
    with pytest.raises(UserError, match="no video"):
        evaluate([], PAPER, tmp_path, identity="plain")


def test_prototypes_without_a_joint_model_serve_the_papers_method_only(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from models.prototypes import load_default

    file = tmp_path / "bare.npz"
    replace(load_default(), joint=None).save(file)
    monkeypatch.setattr(evaluate_dataset, "spot", fake_spot)
    with pytest.raises(UserError, match=r"bare.npz: holds no joint model.*--method paper"):
        evaluate(clips, Settings("mespot", file), tmp_path / "out", identity="plain")
    assert evaluate(clips, Settings("paper", file), tmp_path / "out", identity="plain")


# ---------------------------------------------------------------- real labels


@pytest.mark.parametrize(
    ("name", "table", "rows", "no_onset", "no_offset", "micro"),
    [
        ("casme_sq", "casme_sq_long.csv", 357, 0, 44, 57),
        ("samm_lv", "samm_lv_25fps.csv", 502, 12, 0, 159),
    ],
)
def test_every_real_annotation_survives_as_truth(
    data: Path,
    tmp_path: Path,
    name: converted.Name,
    table: str,
    rows: int,
    no_onset: int,
    no_offset: int,
    micro: int,
) -> None:
    labels: Dataset = converted.read(data / "labels" / table, name)
    write_labels(tmp_path / "truth.csv", [true(a.video, a) for a in labels.annotations])
    truth = read(tmp_path / "truth.csv").truth
    assert len(truth) == rows
    assert sum(not item.onset_known for item in truth) == no_onset
    assert sum(item.offset == 0 for item in truth) == no_offset
    assert sum(item.kind == "micro" for item in truth) == micro
    assert [len(item.aus) for item in truth] == [len(a.au_numbers) for a in labels.annotations]
    assert all(item.video for item in truth)
