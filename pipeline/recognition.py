"""Training, evaluating and exporting recognisers: what the commands have in common."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from models.datasets import Dataset, load
from models.errors import UserError
from models.files import read_text
from models.recogniser import InputSpec
from models.recognition import samples as stored
from models.recognition.build import Plan, recipe, vocabulary
from models.recognition.classes import Scheme, class_of, classes
from models.recognition.recipe import Recipe
from models.recognition.samples import Samples
from models.recognition.training import Log

SYNTHETIC = "synthetic.json"  # beside the workbook of a made data set
Tell = Callable[[str, int, int], None]  # data set, annotations done, of how many


@dataclass(frozen=True)
class Asked:
    """What a command was asked to train on, and how."""

    datasets: tuple[str, ...]
    roots: tuple[Path, ...]
    scheme: Scheme
    plan: Plan  # its classes and AUs are found in the data
    magnifier: Path | None = None  # None: flow warp
    device: str = "cpu"
    threads: int = 0  # 0: torch's own choice


@dataclass(frozen=True, eq=False)
class Prepared:
    """Samples, and the recipe that fits them."""

    samples: Samples
    plan: Plan
    recipe: Recipe
    remarks: tuple[str, ...]  # for reports: synthetic, left out
    training: str  # for the model's card: the data sets
    files: tuple[str, ...]  # of the samples, below the run's folder


@dataclass(frozen=True)
class Found:
    """Data sets and their annotations' classes, before any image is looked at."""

    datasets: tuple[Dataset, ...]
    classes: tuple[str, ...]
    aus: tuple[int, ...]
    subjects: int  # over all data sets


def use_torch(device: str, threads: int) -> None:
    """Set torch's threads and determinism, and refuse a device that is not there.

    Raises:
        UserError: CUDA is asked for and cannot be used, or torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UserError("training needs PyTorch; install the train extra: mespot[train]") from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # torch's words go over many lines
        raise UserError(f"--device {device}: cannot be used here; use --device cpu") from None
    if threads:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS refuses the next
    torch.use_deterministic_algorithms(True, warn_only=True)


def look(asked: Asked) -> Found:
    """Read the labels: which classes and AUs there are.

    Raises:
        UserError: data sets and roots do not pair up, or hold nothing of these classes.
    """
    if not asked.datasets or len(asked.datasets) != len(asked.roots):
        raise UserError("give one --root for every --dataset, in the same order")
    if len(set(asked.datasets)) != len(asked.datasets):
        raise UserError("a --dataset is named twice")
    held = tuple(load(name, root) for name, root in zip(asked.datasets, asked.roots, strict=True))
    aus = {
        data.name: [
            note.sure_aus
            for note in data.annotations
            if class_of(asked.scheme, data.name, note) is not None
        ]
        for data in held
    }
    for name, sets in aus.items():
        if not sets:
            raise UserError(f"{name}: no annotation is of the {asked.scheme} classes")
    subjects = {
        (data.name, note.subject)
        for data in held
        for note in data.annotations
        if class_of(asked.scheme, data.name, note) is not None
    }
    names = classes(asked.scheme, asked.datasets)
    return Found(held, names, vocabulary(asked.plan.network, aus), len(subjects))


def prepare(
    asked: Asked,
    folder: Path,
    tell: Tell,
    first: Callable[[Found, Recipe], None],
    variant: str | None = None,
) -> Prepared:
    """Samples for ``asked``, from ``folder/samples`` where an earlier run left them.

    Args:
        asked: data and recipe.
        folder: of the run.
        tell: hears about the progress.
        first: is given the recipe before any image is looked at, which may take long; what
            does not fit is refused there.
        variant: of the recipe, in place of the plan's.

    Raises:
        UserError: data, recipe or folder are not as they must be.
    """
    found = look(asked)
    plan = msgspec.structs.replace(
        asked.plan,
        classes=found.classes,
        aus=found.aus,
        variant=variant or asked.plan.variant,
    )
    made = recipe(plan)
    first(found, made)
    augmented = plan.network == "augcn"  # one set for all rows: variant 0 serves those without
    parts, remarks, files = [], [], []
    for data, root in zip(found.datasets, asked.roots, strict=True):
        name = f"samples/{data.name}-{_digest(data, root, asked, made, augmented)}.npz"
        part, left_out = _samples(data, asked, made, augmented, folder / name, tell)
        parts.append(part)
        files.append(name)
        remarks += [*_synthetic(data.name, root), *_left(data.name, part, left_out)]
    samples = stored.joined(parts)
    training = "; ".join(
        _trained_on(data.name, root, part)
        for data, root, part in zip(found.datasets, asked.roots, parts, strict=True)
    )
    return Prepared(samples, plan, made, tuple(remarks), training, tuple(files))


def _samples(
    data: Dataset,
    asked: Asked,
    made: Recipe,
    augmented: bool,
    file: Path,
    tell: Tell,
) -> tuple[Samples, list[str]]:
    beside = file.with_suffix(".json")
    if file.exists() and beside.exists():
        return stored.load(file), _left_out(beside)
    from stages.landmarks import FaceMeshLandmarker
    from stages.recognition_samples import gather

    landmarker = FaceMeshLandmarker()
    try:
        samples, left_out = gather(
            data,
            lambda note: class_of(asked.scheme, data.name, note),
            made.classes,
            made.inputs,
            landmarker,
            magnifier(asked.magnifier),
            augmented,
            lambda done, total: tell(data.name, done, total),
        )
    finally:
        landmarker.close()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stored.save(samples, file)
        beside.write_text(json.dumps(left_out), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
    return samples, left_out


def _left_out(file: Path) -> list[str]:
    try:
        found = json.loads(read_text(file, "what a run left"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(words, str) for words in found):
        raise UserError(f"{file}: not what a run left; delete it")
    return found


def magnifier(file: Path | None) -> Any:
    """The user's learning-based network, or the flow warp."""
    from stages.magnify import FlowWarpMagnifier, OnnxMagnifier

    return FlowWarpMagnifier() if file is None else OnnxMagnifier(file)


# what a sample goes through; changed code makes other samples
_MAKERS = (
    *("alignment", "farneback", "landmarks", "magnify", "prepare", "recognition_samples"),
    *("region", "rigid", "stills", "variational"),
)


def _digest(data: Dataset, root: Path, asked: Asked, made: Recipe, augmented: bool) -> str:
    """Names the samples by everything that they depend on."""
    import stages

    notes = [
        (n.video, n.onset, n.apex, n.offset, n.emotion, n.au_text, n.objective, n.row)
        for n in data.annotations
    ]
    folder = Path(stages.__file__).parent
    said = {
        "version": version("mespot"),
        "code": [_content(folder / f"{name}.py") for name in _MAKERS],
        "root": str(root.resolve()),
        "images": _images(data),
        "scheme": asked.scheme,
        "inputs": {name: _plain(spec) for name, spec in made.inputs.items()},
        "augmented": augmented,
        "magnifier": "" if asked.magnifier is None else _content(asked.magnifier),
        "notes": notes,
    }
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def _content(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None


def _images(data: Dataset) -> str:
    """Names, sizes and times of every annotated video's images."""
    digest = hashlib.sha256()
    for video in data.videos:
        path = data.paths.get(video)
        for image in sorted(path.iterdir()) if path is not None and path.is_dir() else ():
            state = image.stat()
            digest.update(f"{image} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _plain(spec: InputSpec) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(spec)
    return made


def _synthetic(name: str, root: Path) -> list[str]:
    if not (root / SYNTHETIC).is_file():
        return []
    return [f"{name} is synthetic: made faces in the data set's format, not people"]


def _trained_on(name: str, root: Path, part: Samples) -> str:
    size = f"{len(part)} samples, {len(set(part.subjects))} subjects"
    if _synthetic(name, root):
        return f"synthetic data: made faces in the format of {name} ({size})"
    return f"{name} ({size})"


def _left(name: str, part: Samples, left_out: Sequence[str]) -> list[str]:
    lines = [f"{name}: {len(part)} samples of {len(set(part.subjects))} subjects"]
    if left_out:
        lines.append(f"{name}: {len(left_out)} left out, the first: {left_out[0]}")
    return lines


def tensorboard(folder: Path) -> Callable[[str], Log]:
    """For each fold a log below ``folder/tensorboard``."""

    def of(fold: str) -> Log:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard" / fold))

        def log(epoch: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, epoch)
            writer.flush()

        return log

    return of
