"""A network to be served: trained on every subject but a few, who choose the epoch.

Below the run's folder: ``run.json`` and ``data.json`` (what was asked for, on which samples),
``network.pt`` (weights of the chosen epoch), ``examples.npz`` (a few inputs, for the export's
comparison), ``trained.json`` (what the network is), ``training.pt`` (while it is under way).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from models.archives import read_arrays
from models.errors import UserError
from models.recognition.build import Plan, recipe
from models.recognition.evaluation import DATA, claim, data_of, identity
from models.recognition.recipe import Recipe
from models.recognition.samples import Floats, Samples
from models.recognition.splits import inner
from models.recognition.training import Log, Split, Training

_EXAMPLES = 3
_TRAINED = "trained.json"
_MOST_BYTES, _MOST_ARRAYS = 1_000_000_000, 100  # of the examples


class Run(msgspec.Struct, frozen=True):
    """What ``network.pt`` is."""

    plan: Plan
    training: str  # data sets, "synthetic" where they are
    samples: int
    subjects: int
    epoch: int
    validation_uf1: float
    validation_subjects: list[str]
    seed: int
    files: list[str] = []  # of the samples, below the folder


def train(
    plan: Plan,
    samples: Samples,
    training: str,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    log: Log = lambda epoch, values: None,
    files: Sequence[str] = (),
) -> Run:
    """Train ``plan`` on ``samples`` and keep the result below ``folder``; resumed there.

    A finished training is not repeated.

    Raises:
        UserError: the folder holds another run, or too few subjects.
    """
    made = recipe(plan)
    claim(folder, identity(made, seed))
    claim(folder, data_of(samples, made), DATA)
    if (folder / _TRAINED).is_file():
        return load(folder)[0]
    fitted, validating = inner(samples, np.arange(len(samples)), seed)
    work = Training(
        made,
        samples,
        Split(fitted, validating, validating),
        seed,
        folder / "training.pt",
        device=device,
    )
    done = work.run(log)
    run = Run(
        plan,
        training,
        len(samples),
        len(set(samples.subjects)),
        done.epoch,
        done.history[done.epoch - 1].validation_uf1,
        sorted({samples.subjects[i] for i in validating}),
        seed,
        list(files),
    )
    examples = {name: samples.inputs[name][validating[:_EXAMPLES], 0] for name in made.inputs}
    np.savez(folder / "examples.npz", **examples)
    torch.save(done.state, folder / "network.pt")
    (folder / _TRAINED).write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2))
    (folder / "training.pt").unlink(missing_ok=True)
    return run


def load(folder: Path) -> tuple[Run, Recipe, torch.nn.Module, dict[str, Floats]]:
    """What ``train`` left: the run, its recipe, the network in eval mode, a few inputs.

    Raises:
        UserError: there is no finished run, or it is damaged.
    """
    file = folder / _TRAINED
    if not file.is_file():
        raise UserError(f"{folder}: no finished training; run mespot train --out {folder} first")
    try:
        run = msgspec.json.decode(file.read_bytes(), type=Run)
        made = recipe(run.plan)
        network: Any = made.network()
        network.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
        held = read_arrays(folder / "examples.npz", _MOST_BYTES, _MOST_ARRAYS)
        examples = {name: held[name] for name in made.inputs}
    except (
        *(OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, RuntimeError),
        *(msgspec.DecodeError, pickle.UnpicklingError, zipfile.BadZipFile),
    ) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{folder}: a damaged training ({reason}); train again") from None
    return run, made, network.eval(), examples
