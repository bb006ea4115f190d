"""``mespot fit-prototypes`` and ``mespot evaluate`` as a user meets them; synthetic faces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.datasets import converted, facts
from models.prototypes import load as load_set
from models.prototypes import load_default
from pipeline import evaluate_dataset
from pipeline.cli import run
from pipeline.evaluate_dataset import Done
from tests import dataset_faces
from tests.models.datasets import trees

Output = pytest.CaptureFixture[str]
EVERY = ("casme2", "samm", "casme_sq", "samm_lv", "plain")


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset_faces.casme2(tmp_path_factory.mktemp("casme2"))


@pytest.fixture(scope="module")
def casme_sq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video with a frown, annotated twice (once without its offset), and one without any."""
    root = tmp_path_factory.mktemp("casme_sq")
    trees.casme_sq(
        root,
        [
            (1, "anger1_1", 37, 43, 49, "4", "anger", "micro-expression", "anger"),
            (1, "anger1_2", 60, 66, 0, "4", "anger", "macro-expression", "anger"),
        ],
    )
    raw = root / "rawpic" / "s15"
    dataset_faces.long_video(raw / "15_0401girlcrashing", [dataset_faces.BROWS])
    dataset_faces.long_video(raw / "15_0101disgustingteeth", [], seconds=1.0)
    return root


def samm_lv(root: Path) -> Path:
    """One video of grey images at 200 fps."""
    trees.samm_lv(root, [("006", "006_1_1", 2, 3, 5, "Micro - 1/2", "4")])
    trees.images(root / "006_1", [f"006_1_{i:04}.jpg" for i in range(1, 7)])
    return root


def one_line(output: Output, code: int, wanted: int = 2) -> str:
    """Standard error, which is one line of ours."""
    error = output.readouterr().err
    assert code == wanted
    assert error.startswith("mespot: ") and error.endswith("\n") and error.count("\n") == 1, error
    return error


def nothing_spotted(clip: object, settings: object, file: Path) -> Done:
    file.write_text("")
    return Done(clip.video, frames=1)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- fit-prototypes


def test_fit_writes_a_set_that_evaluate_takes(
    casme2: Path, casme_sq: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "made.npz"
    options = ["--root", str(casme2), "--aus", "4, 12", "--out", str(file)]
    assert run(["fit-prototypes", "--dataset", "casme2", *options]) == 0
    said = capsys.readouterr().out
    assert "casme2: 7 annotations, 3 subjects, 7 videos" in said
    assert "5 of 7 annotations used; 1 carry none of these AUs with certainty; 1 left out:" in said
    assert "row 7 (sub03/EP03_01): apex not annotated" in said
    assert f"{file}: casme2@1, 2 AUs" in said
    assert load_set(file).aus == (4, 12)
    assert list(tmp_path.iterdir()) == [file]

    monkeypatch.setattr(evaluate_dataset, "spot", nothing_spotted)
    arguments = ["--root", str(casme_sq), "--prototypes", str(file), "--out", str(tmp_path / "e")]
    assert run(["evaluate", "--dataset", "casme_sq", *arguments]) == 0
    assert "made.npz" in (tmp_path / "e" / "run.json").read_text()


def test_fit_reads_samm(tmp_path: Path, capsys: Output) -> None:
    root, file = dataset_faces.samm(tmp_path / "samm"), tmp_path / "made.npz"
    options = ["--root", str(root), "--aus", "4", "--out", str(file)]
    assert run(["fit-prototypes", "--dataset", "samm", *options]) == 0
    assert "1 of 1 annotations used" in capsys.readouterr().out
    assert load_set(file).name == "samm"


def test_the_ninth_au_of_the_real_labels_is_offered(data: Path) -> None:
    lines = facts(converted.read(data / "labels" / "casme2.csv", "casme2")).lines()
    (offer,) = [line for line in lines if line.startswith("AU 10 ")]
    assert "18 times" in offer
    assert "--aus 1,2,4,7,10,12,14,15,17" in offer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "casme_sq"], "--dataset casme_sq: not one that can be fitted: casme2, samm"),
        (["--aus", "4,x"], "--aus 4,x: 'x' is not the number of an action unit"),
        (["--aus", "4,,5"], "--aus 4,,5: '' is not the number"),
        (["--aus", "4,45"], "AU 45 is the blink"),
        (["--aus", "99"], "AU 99 is not known"),
        (["--aus", "4,4"], "AU 4 is named twice"),
        (["--root", "nowhere"], "nowhere: no such folder"),
        (["--out", "nowhere/made.npz"], "--out nowhere/made.npz: No such file or directory"),
        (["--out", "."], "--out .: Is a directory"),
        (["--labels", "other.xlsx"], "other.xlsx"),
        (["--images", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_fit_says_what_is_wrong_in_one_line(
    casme2: Path, tmp_path: Path, options: list[str], said: str, capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = ["--dataset", "casme2", "--root", str(casme2), *options]
    code = run(["fit-prototypes", *given])
    captured = capsys.readouterr()
    assert code == 2
    assert said in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_interrupted_fit_leaves_the_earlier_file(
    casme2: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "made.npz"
    file.write_text("an earlier one")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.fit_dataset.fit_dataset", interrupted)
    arguments = ["--dataset", "casme2", "--root", str(casme2), "--out", str(file)]
    said = one_line(capsys, run(["fit-prototypes", *arguments]), 130)
    assert "interrupted; nothing was written" in said
    assert file.read_text() == "an earlier one"


# ---------------------------------------------------------------- evaluate


def test_evaluate_spots_and_scores(
    casme_sq: Path, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    arguments = ["evaluate", "--dataset", "casme_sq", "--root", str(casme_sq), "--out", str(out)]
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert "2 videos (1 without any annotation), 0 failed" in captured.out
    assert f"mespot score {out / 'truth.csv'} {out / 'predictions.csv'}" in captured.out
    assert "1 truth rows left out by the protocol" in captured.out  # the row without its offset
    (all_,) = [line for line in captured.out.splitlines() if line.startswith("0.5  all")]
    assert all_.split()[2:7] == ["1", "1", "1", "0", "0"]
    assert "1 of 2 15_0101: 0 spotted in 30 frames" in captured.err

    monkeypatch.setattr(evaluate_dataset, "spot", None)
    assert run([*arguments, "--protocol", "missed"]) == 0  # the events serve another protocol
    captured = capsys.readouterr()
    assert "2 of 2 15_0401: 1 spotted, from an earlier run" in captured.err
    assert "--protocol missed" in captured.out
    with_paper = one_line(capsys, run([*arguments, "--method", "paper"]))
    assert "holds results with method mespot, not paper" in with_paper


def test_evaluate_reads_samm_long_videos(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = samm_lv(tmp_path / "samm_lv"), tmp_path / "out"
    arguments = ["evaluate", "--dataset", "samm_lv", "--root", str(root), "--out", str(out)]
    assert run(arguments) == 0
    assert "006_1: no face was seen" in capsys.readouterr().out


def test_evaluate_without_a_label_of_the_kind_needs_a_limit(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_dataset, "spot", nothing_spotted)
    trees.images(tmp_path / "anna", ["1.jpg", "2.jpg"])
    table = tmp_path / "labels.csv"
    table.write_text("subject,video,onset,apex,offset,aus,kind,fps\nanna,anna,1,,2,4,,30\n")
    arguments = ["evaluate", "--dataset", "plain", "--root", str(tmp_path)]
    arguments += ["--out", str(tmp_path / "out")]
    said = one_line(capsys, run(arguments))
    assert "1 of 1 annotations are neither micro nor macro; say how long micro may last" in said
    assert run([*arguments, "--micro", "15"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "casme3"], "--dataset casme3: not one that can be evaluated: casme_sq"),
        (["--dataset", "casme2"], "--dataset casme2: not one that can be evaluated"),
        (["--root", "nowhere"], "nowhere: no such folder"),
        (["--root", "."], "CAS(ME)^2code_final.xlsx"),
        (["--protocol", "kindest"], "--protocol kindest: unknown; one of one-to-one"),
        (["--micro", "short"], "--micro short: neither"),
        (["--prototypes", "none.npz"], "none.npz: no such prototype file"),
        (["--method", "magic"], "magic"),
        (["--jobs", "0"], "--jobs"),
        (["--out", "file/below"], "--out file/below: Not a directory"),
        (["--dataset", "plain"], "no CSV table here; name one with --labels"),
    ],
)
def test_evaluate_says_what_is_wrong_in_one_line(
    casme_sq: Path, tmp_path: Path, options: list[str], said: str, capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate_dataset, "spot", None)  # said before anything is spotted
    (tmp_path / "file").write_text("")
    code = run(["evaluate", "--dataset", "casme_sq", "--root", str(casme_sq), *options])
    assert said in one_line(capsys, code)


def test_a_missing_video_is_named_before_anything_is_spotted(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_dataset, "spot", None)
    row = ("15_0401", 1, 2, 3)
    trees.casme_sq(tmp_path, [(1, "anger1_1", *row[1:], "4", "anger", "micro-expression", "")])
    trees.images(tmp_path / "rawpic" / "s15" / "15_0101x", ["img001.jpg"])
    arguments = ["evaluate", "--dataset", "casme_sq", "--root", str(tmp_path)]
    said = one_line(capsys, run([*arguments, "--out", str(tmp_path / "out")]))
    assert "1 annotated videos are missing, the first is 15_0401" in said
    assert not (tmp_path / "out").exists()


def test_a_failed_video_counts_as_missed_and_fails_the_command(
    tmp_path: Path, capsys: Output
) -> None:
    root = samm_lv(tmp_path / "samm_lv")
    for image in (root / "006_1").iterdir():
        image.write_bytes(b"not a picture")
    arguments = ["evaluate", "--dataset", "samm_lv", "--root", str(root)]
    code = run([*arguments, "--out", str(tmp_path / "out")])
    captured = capsys.readouterr()
    assert code == 1
    assert "no frame can be read; its 1 annotations count as missed" in captured.out
    (all_,) = [line for line in captured.out.splitlines() if line.startswith("0.5  all")]
    assert all_.split()[2:7] == ["1", "0", "0", "0", "1"]


@pytest.mark.alone
def test_ctrl_c_ends_every_process_at_once_and_the_run_can_go_on(
    casme_sq: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "evaluate"]
    command += ["--dataset", "casme_sq", "--root", str(casme_sq), "--out", str(out), "--jobs", "2"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not list(out.glob("events/*.part")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGINT)  # the workers hear of it from their parent alone
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("mespot: interrupted; ")
    until = time.monotonic() + 30
    while _alive(child.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(child.pid)
    assert not (out / "predictions.csv").exists()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_default_aus_are_the_papers() -> None:
    assert load_default().aus == (1, 2, 4, 7, 12, 14, 15, 17)
    from pipeline.cli_datasets import _PAPER_AUS

    assert tuple(map(int, _PAPER_AUS.split(","))) == load_default().aus
