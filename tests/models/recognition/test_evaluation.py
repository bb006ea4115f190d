from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from models.errors import UserError
from models.recognition import evaluation
from models.recognition.evaluation import Progress, Settings, evaluate, pooled, pooled_aus
from models.recognition.metrics import figures
from models.recognition.report import Told, ablation, markdown
from models.recognition.samples import Samples
from models.recognition.training import Split, Training
from tests.models.recognition.toy import ToyRecipe, toy_samples

TOLD = Told(
    "toy", "full", "three", ("set0",), ("happiness", "surprise"), (1, 12), 6, ("synthetic",)
)


def test_every_sample_is_tested_once(tmp_path: Path) -> None:
    samples = toy_samples()
    results = evaluate(ToyRecipe(), samples, Settings("loso"), tmp_path)
    assert sorted(name for r in results for name in r.samples) == sorted(samples.names)
    by_name = dict(zip(samples.names, samples.labels.tolist(), strict=True))
    for result in results:
        assert result.truth == [by_name[name] for name in result.samples]
    assert figures(*pooled(results), 2).uf1 > 0.9
    assert not list(tmp_path.glob("folds/*.pt"))


def test_aus_are_detected_with_thresholds_of_the_inner_validation(tmp_path: Path) -> None:
    results = evaluate(ToyRecipe(epochs=12), toy_samples(), Settings("loso"), tmp_path)
    both = pooled_aus(results)
    assert both is not None
    carried, detected = both
    assert carried.shape == detected.shape == (48, 2)
    assert (carried == detected).mean() > 0.85


def test_as_published_differs_only_in_the_epoch_it_takes(tmp_path: Path) -> None:
    samples = toy_samples(noise=2.5)
    recipe = ToyRecipe(epochs=10, rate=0.5)
    honest = evaluate(recipe, samples, Settings("loso"), tmp_path / "a")
    leaking = evaluate(recipe, samples, Settings("loso", "as-published"), tmp_path / "b")
    assert [r.predicted for r in honest] == [r.predicted for r in leaking]
    assert [r.epoch for r in honest] == [r.epoch for r in leaking]
    fair, leaked = (figures(*pooled(leaking, leak), 2).war for leak in (False, True))
    assert leaked > fair  # the leak flatters; on this noise it must
    text = markdown(leaking, Settings("loso", "as-published"), TOLD)
    assert f"{leaked - fair:+.3f}" in text
    assert "Not a result" in text


def test_finished_folds_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = toy_samples()
    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.number == 3 and progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(ToyRecipe(), samples, Settings("loso"), tmp_path, stop)
    assert len(list(tmp_path.glob("folds/*.json"))) == 2
    assert len(list(tmp_path.glob("folds/*.pt"))) == 1
    whole = evaluate(ToyRecipe(), samples, Settings("loso"), tmp_path / "whole")
    again = evaluate(ToyRecipe(), samples, Settings("loso"), tmp_path)
    assert again == whole
    monkeypatch.setattr(evaluation, "Training", None)  # nothing is left to be trained
    assert evaluate(ToyRecipe(), samples, Settings("loso"), tmp_path) == whole


@pytest.mark.parametrize("change", ["recipe", "settings", "samples"])
def test_a_folder_of_another_run_is_refused(tmp_path: Path, change: str) -> None:
    samples, recipe, settings = toy_samples(), ToyRecipe(epochs=1), Settings("loso")
    evaluate(recipe, samples, settings, tmp_path)
    if change == "recipe":
        recipe = replace(recipe, rate=0.1)
    elif change == "settings":
        settings = Settings("loso", seed=1)
    else:
        samples = toy_samples(noise=0.7)
    with pytest.raises(UserError, match=f"another run .*{change}"):
        evaluate(recipe, samples, settings, tmp_path)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    samples = toy_samples()
    evaluate(ToyRecipe(epochs=1), samples, Settings("loso"), tmp_path)
    broken = sorted(tmp_path.glob("folds/*.json"))[0]
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=broken.name):
        evaluate(ToyRecipe(epochs=1), samples, Settings("loso"), tmp_path)


def test_hde_reports_each_way_and_the_mean(tmp_path: Path) -> None:
    samples = toy_samples(datasets=2)
    results = evaluate(ToyRecipe(), samples, Settings("hde"), tmp_path)
    text = markdown(results, Settings("hde"), replace(TOLD, datasets=("set0", "set1")))
    each = [figures(*pooled([result]), 2).uar for result in results]
    assert "| set0 to set1 | 24 |" in text
    mean = next(line for line in text.splitlines() if line.startswith("| mean of both"))
    assert f"{np.mean(each):.3f}" in mean


def test_the_report_says_what_it_is_and_stands_beside_the_paper(tmp_path: Path) -> None:
    results = evaluate(ToyRecipe(), toy_samples(), Settings("loso"), tmp_path)
    told = replace(TOLD, network="map", scheme="five", datasets=("casme2",))
    text = markdown(results, Settings("loso"), told)
    for words in ("# map (full), LOSO, five classes, casme2", "- synthetic", "| 0.827 | 0.850 |"):
        assert words in text
    table = ablation([("db + AWM", results), ("full", results)], Settings("loso"), told)
    assert "0.796" in table and "0.825" in table  # 002, Table 4, CASME II
    samm = ablation([("db + AWM", results)], Settings("loso"), replace(told, datasets=("samm",)))
    assert "0.735" in samm and "CASME II" not in samm
    other = ablation([("db + AWM", results)], Settings("loso"), replace(told, scheme="three"))
    assert "paper" not in other
    leaking = evaluate(
        ToyRecipe(), toy_samples(), Settings("loso", "as-published"), tmp_path / "leak"
    )
    both = ablation([("db + AWM", leaking)], Settings("loso", "as-published"), told)
    assert "| db + AWM, as published |" in both and "as published" not in table


def test_results_survive_their_file(tmp_path: Path) -> None:
    (result, *_) = evaluate(ToyRecipe(), toy_samples(), Settings("loso"), tmp_path)
    packed = msgspec.json.encode(result)
    assert msgspec.json.decode(packed, type=evaluation.FoldResult) == result


def _parts(made: list[Split], samples: Samples) -> list[list[set[str]]]:
    subjects = np.array(samples.subjects)
    return [
        [set(subjects[rows]) for rows in (split.train, split.validation, split.test)]
        for split in made
    ]


class Recording(Training):
    """Keeps who is trained on, who validates and who is tested."""

    seen: ClassVar[list[Split]] = []

    def __init__(self, recipe, samples, split, *given, **named) -> None:  # type: ignore[no-untyped-def]
        Recording.seen.append(split)
        super().__init__(recipe, samples, split, *given, **named)


def test_nobody_who_is_tested_or_validates_is_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "Training", Recording)
    monkeypatch.setattr(Recording, "seen", [])
    samples = toy_samples()
    evaluate(ToyRecipe(epochs=1), samples, Settings("loso"), tmp_path)
    for trained, validating, tested in _parts(Recording.seen, samples):
        assert trained and validating and len(tested) == 1
        assert not (trained & validating or trained & tested or validating & tested)


def test_the_test_subject_decides_nothing(tmp_path: Path) -> None:
    """Opposite labels, AUs and images of one subject: its fold is trained and set up alike."""
    samples = toy_samples(noise=1.5)
    last = samples.subjects[-1]
    rows = np.flatnonzero(np.array(samples.subjects) == last)
    labels, x = samples.labels.copy(), samples.inputs["x"].copy()
    labels[rows], x[rows] = 1 - labels[rows], -x[rows]
    aus = [
        frozenset({1, 12} - a) if s == last else a
        for a, s in zip(samples.aus, samples.subjects, strict=True)
    ]
    turned = replace(samples, inputs={"x": x}, labels=labels, aus=tuple(aus))
    recipe = ToyRecipe(epochs=8, rate=0.3)
    first = evaluate(recipe, samples, Settings("loso", "as-published"), tmp_path / "a")[-1]
    second = evaluate(recipe, turned, Settings("loso", "as-published"), tmp_path / "b")[-1]
    assert first.name == second.name == last
    assert first.thresholds == second.thresholds
    assert (first.epoch, first.validation_uf1) == (second.epoch, second.validation_uf1)
    assert first.thresholds != [0.5, 0.5]
