"""train, evaluate-recognition and export as a user runs them; the data are synthetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import onnx
import pytest
from typer.testing import CliRunner

from models.recogniser import Recogniser
from models.synthesis.recognition_set import plan_set
from models.synthesis.recognition_set_files import record, write_labels, write_sample
from pipeline import recognition
from pipeline.cli import app, run

SMALL = ["--network", "augcn", "--features", "16", "--at", "28", "--flow", "farneback"]
FAST = ["--epochs", "1", "--threads", "1"]


def _made(kind: str, folder: Path, portraits: tuple[str, ...], subjects: int = 3) -> Path:
    plan = plan_set(kind, subjects=subjects, samples=3, seed=2, portraits=portraits)  # type: ignore[arg-type]
    for sample in plan.samples:
        write_sample(sample, folder)
    write_labels(plan, folder)
    (folder / "synthetic.json").write_text(json.dumps(record(plan)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made("casme2", tmp_path_factory.mktemp("casme2"), ("biden",))


@pytest.fixture(autouse=True)
def _few_variants(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three of the 70: what is tested here is the way through, not the training."""
    from stages import recognition_samples

    whole = recognition_samples.plan
    monkeypatch.setattr(recognition_samples, "plan", lambda *given: whole(*given)[:3])
    yield


def _run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def _fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run([str(word) for word in words]) != 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_train_and_export_end_in_a_model_that_serves(casme2: Path, tmp_path: Path) -> None:
    folder, file = tmp_path / "run", tmp_path / "augcn.onnx"
    code, text = _run(
        "train", *SMALL, *FAST, "--dataset", "casme2", "--root", casme2, "--out", folder
    )
    assert code == 0, text
    assert "casme2 is synthetic" in text
    assert "no test figure" in text
    assert list((folder / "tensorboard" / "training").iterdir())
    code, text = _run("export", folder, "--out", file, "--name", "small", "--version", "7")
    assert code == 0, text
    model = Recogniser(file)
    assert model.card.label == "small@7"
    assert "synthetic" in model.card.training
    assert model.card.classes == ["I", "II", "III", "IV", "V"]
    held = {p.key: p.value for p in onnx.load(str(file)).metadata_props}
    assert "not evaluated" in held["mespot.figures"]


def test_evaluation_reports_both_protocols_and_feeds_the_export(
    casme2: Path, tmp_path: Path
) -> None:
    where = ["--dataset", "casme2", "--root", casme2]
    done = tmp_path / "loso"
    words = ["evaluate-recognition", *SMALL, *FAST, *where, "--out", done]
    code, text = _run(*words, "--protocol", "as-published")
    assert code == 0, text
    assert "| leak-free |" in text and "| as published |" in text and "| difference |" in text
    assert (done / "report.md").read_text(encoding="utf-8") in text
    assert len(list((done / "folds").glob("*.json"))) == 3
    folder, file = tmp_path / "run", tmp_path / "augcn.onnx"
    _run("train", *SMALL, *FAST, *where, "--out", folder)
    code, text = _run("export", folder, "--out", file, "--evaluated", done)
    assert code == 0, text
    held = {p.key: p.value for p in onnx.load(str(file)).metadata_props}
    assert json.loads(held["mespot.figures"])["loso"]["folds"] == 3


def test_a_second_run_takes_samples_and_folds_over(
    casme2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate-recognition", *SMALL, *FAST, "--dataset", "casme2", "--root", casme2]
    _, first = _run(*words, "--out", tmp_path)
    monkeypatch.setattr("models.recognition.evaluation.Training", None)
    monkeypatch.setattr("stages.recognition_samples.gather", None)
    code, again = _run(*words, "--out", tmp_path)
    assert code == 0
    assert again[again.index("# augcn") :] == first[first.index("# augcn") :]


def test_an_ablation_is_one_command_and_one_table(casme2: Path, tmp_path: Path) -> None:
    words = ["evaluate-recognition", *SMALL, *FAST, "--dataset", "casme2", "--root", casme2]
    code, text = _run(*words, "--out", tmp_path, "--ablation", "--rows", "aufeat, full")
    assert code == 0, text
    for row in ("| aufeat |", "| full |"):
        assert row in text
    assert "paper" not in text  # 003's tables are of HDE
    assert (tmp_path / "report.md").is_file()


def test_map_runs_the_same_way(casme2: Path, tmp_path: Path) -> None:
    code, text = _run(
        *("train", "--network", "map", "--width", "0.125", "--size", "64", *FAST),
        *("--batch-size", 8, "--dataset", "casme2", "--root", casme2, "--out", tmp_path / "run"),
    )
    assert code == 0, text
    code, text = _run("export", tmp_path / "run", "--out", tmp_path / "map.onnx")
    assert code == 0, text
    assert Recogniser(tmp_path / "map.onnx").card.classes[-1] == "others"
    code, text = _run("recognition-pictures", tmp_path / "run", "--out", tmp_path / "p")
    assert code == 0, text
    for name in ("cam.png", "features.png"):
        picture = cv2.imread(str(tmp_path / "p" / name))
        assert picture is not None and picture.std() > 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset", "casme2"], "Missing option '--root'"),
        (["--dataset", "casme2", "--dataset", "samm", "--root", "x"], "one --root for every"),
        (["--dataset", "casme2", "--root", "nowhere"], "nowhere"),
        (["--width", "0.5"], "--width: not of augcn"),
        (["--variant", "sb"], "no variant 'sb'"),
        (["--device", "cuda"], "--device cuda: cannot be used here"),
        (["--device", "toaster"], "--device toaster: cannot be used here"),
        (["--style", "code"], "never published"),
    ],
)
def test_mistakes_get_one_line(
    casme2: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    import torch

    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    where = [] if "--dataset" in words else ["--dataset", "casme2", "--root", str(casme2)]
    text = _fails(capsys, "train", *SMALL, *FAST, *words, *where, "--out", tmp_path / "run")
    assert said in text
    assert len(text.strip().splitlines()) == 1


def test_other_mistakes(casme2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dataset", "casme2", "--root", casme2, "--out", tmp_path / "x"]
    command = ["evaluate-recognition", *SMALL, *FAST, *where]
    assert "two data sets, not 1" in _fails(capsys, *command, "--evaluation", "hde")
    assert "no row 'sb'" in _fails(capsys, *command, "--ablation", "--rows", "sb")
    assert "goes with --ablation" in _fails(capsys, *command, "--rows", "full")
    assert "no finished training" in _fails(
        capsys, "export", tmp_path, "--out", tmp_path / "a.onnx"
    )


def test_what_cannot_work_is_said_before_any_image_is_looked_at(
    casme2: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stages.recognition_samples.gather", None)
    where = ["--dataset", "casme2", "--root", casme2]
    hde = ["evaluate-recognition", *SMALL, *FAST, *where, "--evaluation", "hde"]
    assert "two data sets" in _fails(capsys, *hde, "--out", tmp_path / "x")
    (tmp_path / "file").write_text("", encoding="utf-8")
    text = _fails(capsys, "train", *SMALL, *FAST, *where, "--out", tmp_path / "file")
    assert "file" in text
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}", encoding="utf-8")
    text = _fails(capsys, "train", *SMALL, *FAST, *where, "--out", tmp_path / "other")
    assert "holds another run" in text
    assert not (tmp_path / "other" / "samples").exists()


def test_only_its_own_finished_evaluation_gives_a_model_figures(
    casme2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dataset", "casme2", "--root", casme2]
    run, done, other = (tmp_path / name for name in ("run", "done", "other"))
    _run("train", *SMALL, *FAST, *where, "--out", run)
    _run("evaluate-recognition", *SMALL, *FAST, *where, "--out", done)
    _run("evaluate-recognition", *SMALL, "--epochs", 2, "--threads", 1, *where, "--out", other)
    export = ["export", run, "--out", tmp_path / "a.onnx", "--evaluated"]
    assert "its options differ" in _fails(capsys, *export, other)
    sorted((done / "folds").glob("*.json"))[0].unlink()
    assert "2 of 3 folds are finished" in _fails(capsys, *export, done)
    assert "not an evaluation" in _fails(capsys, *export, tmp_path)
    assert not (tmp_path / "a.onnx").exists()


def test_without_torch_the_extra_is_named(
    casme2: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    text = _fails(
        capsys, "train", *SMALL, "--dataset", "casme2", "--root", casme2, "--out", tmp_path / "r"
    )
    assert "mespot[train]" in text


def test_samples_of_changed_data_are_made_anew(casme2: Path, tmp_path: Path) -> None:
    """Labels, classes, variants or an image: the cache has another name."""
    from dataclasses import replace

    from models.recognition.build import Plan

    asked = recognition.Asked(
        ("casme2",),
        (casme2,),
        "objective",
        Plan("augcn", (), (), features=16, at=28, flow="farneback"),
    )
    found = recognition.look(asked)
    from models.recognition.build import recipe

    plan = Plan("augcn", found.classes, found.aus, features=16, at=28, flow="farneback")
    (data,) = found.datasets
    names = {
        recognition._digest(data, casme2, asked, recipe(plan), True),
        recognition._digest(
            replace(data, annotations=data.annotations[1:]), casme2, asked, recipe(plan), True
        ),
        recognition._digest(data, casme2, replace(asked, scheme="three"), recipe(plan), True),
        recognition._digest(data, casme2, asked, recipe(plan), False),
    }
    before = recognition._digest(data, casme2, asked, recipe(plan), True)
    image = data.frames(data.annotations[0]).images[0]
    content = image.read_bytes()
    image.write_bytes(content + b"x")
    names.add(recognition._digest(data, casme2, asked, recipe(plan), True))
    image.write_bytes(content)
    assert before in names
    assert len(names) == 5
