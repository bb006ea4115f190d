"""Samples to train on: what a network sees of each expression, and its labels."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.archives import read_arrays
from models.errors import UserError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_INPUT = "input:"
_MOST_BYTES, _MOST_ARRAYS = 16_000_000_000, 100


@dataclass(frozen=True, eq=False)
class Samples:
    """N expressions as network inputs.

    A network without augmentation by further frames has V = 1; variant 0 is always the
    expression itself, the others (enriched apexes, rotations) serve training only.
    """

    inputs: Mapping[str, Floats]  # by ONNX input: (N, V, channels, height, width)
    labels: Ints  # (N,) index into ``classes``
    classes: tuple[str, ...]
    aus: tuple[frozenset[int], ...]  # N sets
    subjects: tuple[str, ...]  # N, unique over data sets: "casme2/sub01"
    datasets: tuple[str, ...]  # N
    names: tuple[str, ...]  # N, unique

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def variants(self) -> int:
        """V."""
        return next(iter(self.inputs.values())).shape[1]

    def multi_hot(self, aus: Sequence[int]) -> Floats:
        """Which of ``aus`` each sample carries, (N, len(aus)) of 0 and 1."""
        return np.array([[float(au in found) for au in aus] for found in self.aus], np.float32)


def joined(parts: Sequence[Samples]) -> Samples:
    """Several data sets as one.

    Raises:
        ValueError: their classes or inputs differ.
    """
    first = parts[0]
    if any(
        part.classes != first.classes or part.inputs.keys() != first.inputs.keys() for part in parts
    ):
        raise ValueError("samples of other classes or inputs")
    return Samples(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in first.inputs},
        np.concatenate([part.labels for part in parts]),
        first.classes,
        tuple(aus for part in parts for aus in part.aus),
        tuple(subject for part in parts for subject in part.subjects),
        tuple(name for part in parts for name in part.datasets),
        tuple(name for part in parts for name in part.names),
    )


def save(samples: Samples, file: Path) -> None:
    """Write ``samples`` as an ``.npz`` file; an earlier one stays whole until it is."""
    said = {
        "classes": samples.classes,
        "aus": [sorted(aus) for aus in samples.aus],
        "subjects": samples.subjects,
        "datasets": samples.datasets,
        "names": samples.names,
    }
    part = file.with_suffix(".part.npz")
    arrays = {f"{_INPUT}{name}": values for name, values in samples.inputs.items()}
    np.savez(part, labels=samples.labels, said=np.array(json.dumps(said)), **arrays)
    part.replace(file)


def load(file: Path) -> Samples:
    """Read what ``save`` wrote.

    Raises:
        UserError: the file cannot be read or holds something else.
    """
    try:
        held = read_arrays(file, _MOST_BYTES, _MOST_ARRAYS)
        said = json.loads(str(held["said"]))
        inputs = {name.removeprefix(_INPUT): held[name] for name in held if _INPUT in name}
        return Samples(
            inputs,
            held["labels"],
            tuple(said["classes"]),
            tuple(frozenset(aus) for aus in said["aus"]),
            tuple(said["subjects"]),
            tuple(said["datasets"]),
            tuple(said["names"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: not samples of mespot's ({error}); delete it") from None
