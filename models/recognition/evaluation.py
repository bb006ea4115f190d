"""Training and testing over all folds of an evaluation, kept on disk fold by fold.

Below the run's folder: ``run.json`` (what was asked for), ``data.json`` (on which samples),
``folds/<fold>.json`` (a finished fold's answers), ``folds/<fold>.pt`` (one that is under way),
``tensorboard/<fold>``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from models.errors import UserError
from models.recognition.au_scores import choose_thresholds
from models.recognition.recipe import Recipe
from models.recognition.samples import Floats, Ints, Samples
from models.recognition.splits import Evaluation, Fold, folds, inner
from models.recognition.training import Answers, Log, Split, Trained, Training, answers, seed_of

Protocol = Literal["leak-free", "as-published"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class Settings(msgspec.Struct, frozen=True):
    """How an evaluation is run.

    ``leak-free`` chooses each fold's epoch on inner validation subjects. ``as-published``
    repeats, from the same trainings, what most public code does: it takes the epoch that
    answers best on the test subjects themselves.
    """

    evaluation: Evaluation
    protocol: Protocol = "leak-free"
    seed: int = 0
    device: str = "cpu"


class FoldResult(msgspec.Struct, frozen=True):
    """What a fold's network said of its test samples."""

    name: str
    samples: list[str]
    truth: list[int]
    predicted: list[int]  # at the epoch that the inner validation chose
    leaked: list[int]  # at the epoch that the test samples chose; empty: not asked for
    epoch: int
    leaked_epoch: int  # 0: not asked for
    validation_uf1: float
    aus_truth: list[list[bool]]  # (n, K); empty where the network detects none
    aus_predicted: list[list[bool]]
    thresholds: list[float]  # (K,) chosen on the inner validation


@dataclass(frozen=True)
class Progress:
    """Where an evaluation stands."""

    fold: str
    number: int  # from 1
    folds: int
    epoch: int
    epochs: int
    values: Mapping[str, float]


Tell = Callable[[Progress], None]


RUN, DATA = "run.json", "data.json"


def identity(recipe: Recipe, settings: Any) -> dict[str, Any]:
    """What was asked for, for ``run.json``; ``settings``: plain or a struct."""
    return {
        "recipe": repr(recipe),
        "network": recipe.name,
        "variant": recipe.variant,
        "classes": list(recipe.classes),
        "settings": msgspec.to_builtins(settings),
    }


def data_of(samples: Samples, recipe: Recipe, parts: int = 1) -> dict[str, Any]:
    """On which samples, in how many folds, for ``data.json``."""
    digest = hashlib.sha256()
    for name in recipe.inputs:
        digest.update(np.ascontiguousarray(samples.inputs[name]).tobytes())
    digest.update(msgspec.json.encode([samples.names, samples.labels.tolist(), samples.subjects]))
    return {
        "samples": digest.hexdigest()[:16],
        "datasets": list(dict.fromkeys(samples.datasets)),
        "folds": parts,
    }


def claim(folder: Path, asked: Mapping[str, Any], name: str = RUN) -> None:
    """Make ``folder`` this run's, or find that it already is.

    Args:
        folder: made when missing.
        asked: what makes two runs the same run.
        name: of the file that keeps it.

    Raises:
        UserError: another run lies there, or the folder cannot be written.
    """
    file = folder / name
    text = msgspec.json.format(msgspec.json.encode(asked), indent=2)
    try:
        (folder / "folds").mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_bytes(text)
            return
        there = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise UserError(f"{file}: not a run of mespot's; use another --out") from None
    if there != msgspec.json.decode(text):
        keys = [key for key in asked if not isinstance(there, dict) or there.get(key) != asked[key]]
        raise UserError(
            f"{folder}: holds another run (it differs in {', '.join(keys) or 'its form'}); use "
            "another --out"
        )


def evaluate(
    recipe: Recipe,
    samples: Samples,
    settings: Settings,
    folder: Path,
    tell: Tell = lambda progress: None,
    log: Callable[[str], Log] = lambda fold: lambda epoch, values: None,
) -> list[FoldResult]:
    """Train and test every fold; finished folds are taken over from an earlier run.

    Args:
        recipe: the network.
        samples: every sample.
        settings: evaluation, protocol, seed, device.
        folder: of the run; made when missing.
        tell: hears about every epoch.
        log: makes, for a fold, what hears its losses.

    Raises:
        UserError: the data do not fit the evaluation, or the folder holds another run.
    """
    parts = folds(samples, settings.evaluation)
    claim(folder, identity(recipe, settings))
    claim(folder, data_of(samples, recipe, len(parts)), DATA)
    return [
        _fold(recipe, samples, settings, folder, part, (number, len(parts)), tell, log)
        for number, part in enumerate(parts, start=1)
    ]


def _fold(
    recipe: Recipe,
    samples: Samples,
    settings: Settings,
    folder: Path,
    fold: Fold,
    place: tuple[int, int],
    tell: Tell,
    log: Callable[[str], Log],
) -> FoldResult:
    safe = _UNSAFE.sub("-", fold.name)
    file, checkpoint = folder / "folds" / f"{safe}.json", folder / "folds" / f"{safe}.pt"
    if file.exists():
        tell(Progress(fold.name, *place, recipe.epochs, recipe.epochs, {}))
        return _read(file)
    seed = seed_of(settings.seed, fold.name)
    fitted, validating = inner(samples, fold.train, seed)
    training = Training(
        recipe,
        samples,
        Split(fitted, validating, fold.test),
        seed,
        checkpoint,
        watch_test=settings.protocol == "as-published",
        device=settings.device,
    )
    hears = log(safe)

    def heard(epoch: int, values: Mapping[str, float]) -> None:
        hears(epoch, values)
        tell(Progress(fold.name, *place, epoch, recipe.epochs, values))

    trained = training.run(heard)
    result = _tested(recipe, samples, training, trained, fold, validating)
    part = file.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(result))
    part.replace(file)
    checkpoint.unlink(missing_ok=True)
    return result


def _read(file: Path) -> FoldResult:
    try:
        return msgspec.json.decode(file.read_bytes(), type=FoldResult)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"{file}: not a fold's result ({error}); delete it to redo it") from None


def _tested(
    recipe: Recipe,
    samples: Samples,
    training: Training,
    trained: Trained,
    fold: Fold,
    validating: Ints,
) -> FoldResult:
    training.network.load_state_dict(trained.state)
    said = answers(training.network, recipe, samples, fold.test)
    truth = samples.labels[fold.test]
    leaked_epoch = _leak(trained.tests, truth)
    leaked = trained.tests[leaked_epoch - 1].probabilities if leaked_epoch else None
    thresholds: list[float] = []
    carried, detected = np.zeros((0, 0), bool), np.zeros((0, 0), bool)
    if said.aus is not None and trained.validation is not None:
        carried_by = samples.multi_hot(recipe.aus) > 0.5
        assert trained.validation.aus is not None
        chosen = choose_thresholds(trained.validation.aus, carried_by[validating])
        thresholds = [float(value) for value in chosen]
        carried, detected = carried_by[fold.test], said.aus >= chosen
    return FoldResult(
        name=fold.name,
        samples=[samples.names[i] for i in fold.test],
        truth=truth.tolist(),
        predicted=said.probabilities.argmax(axis=1).tolist(),
        leaked=[] if leaked is None else leaked.argmax(axis=1).tolist(),
        epoch=trained.epoch,
        leaked_epoch=leaked_epoch,
        validation_uf1=trained.history[trained.epoch - 1].validation_uf1,
        aus_truth=carried.tolist(),
        aus_predicted=detected.tolist(),
        thresholds=thresholds,
    )


def _leak(tests: Sequence[Answers], truth: Ints) -> int:
    """The epoch (from 1) with the most right answers on the test samples; 0 without any."""
    if not tests:
        return 0
    right = [int((said.probabilities.argmax(axis=1) == truth).sum()) for said in tests]
    return int(np.argmax(right)) + 1


def pooled(results: Sequence[FoldResult], leaked: bool = False) -> tuple[Ints, Ints]:
    """Truth and predictions of all folds, (N,) each."""
    truth = [label for result in results for label in result.truth]
    said = [label for r in results for label in (r.leaked if leaked else r.predicted)]
    return np.array(truth, np.int64), np.array(said, np.int64)


def pooled_aus(results: Sequence[FoldResult]) -> tuple[Floats, Floats] | None:
    """AUs carried and detected over all folds, (N, K) of 0 and 1; None without detection."""
    if not all(result.thresholds for result in results):
        return None
    carried = [row for result in results for row in result.aus_truth]
    detected = [row for result in results for row in result.aus_predicted]
    return np.array(carried, np.float32), np.array(detected, np.float32)
