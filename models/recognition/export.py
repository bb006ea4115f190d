"""Trained networks as ONNX recognisers that describe themselves (docs/recogniser-format.md)."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch

from models.errors import ModelError, UserError
from models.facs import CATEGORY_OF, Category
from models.recogniser import FORMAT, Recogniser
from models.recognition.recipe import Recipe
from models.recognition.samples import Floats

TOLERANCE = 1e-4  # largest difference between torch and ONNX Runtime
_BATCHES = (1, 3)
# objective classes are linked with, not equal to, these emotions (paper 003, section I)
_OBJECTIVE: dict[str, Category] = {
    "I": "positive",
    "II": "surprise",
    "III": "negative",
    "IV": "negative",
    "V": "negative",
}
_OTHERS: dict[str, Category] = {"repression": "negative", "contempt": "negative"}


@dataclass(frozen=True)
class About:
    """What the file says of its model."""

    name: str
    version: str
    training: str  # what it was trained on; "synthetic" where it is
    protocol: str  # how its epoch was chosen
    figures: Mapping[str, Any]  # UF1 and the like, with what they were taken on
    licence: str


def categories(classes: tuple[str, ...]) -> dict[str, Category]:
    """The category of each class that has one."""
    known = {**CATEGORY_OF, **_OTHERS}
    found = {name: known.get(name.lower(), _OBJECTIVE.get(name)) for name in classes}
    return {name: category for name, category in found.items() if category is not None}


def export(
    recipe: Recipe,
    network: torch.nn.Module,
    about: About,
    file: Path,
    samples: Mapping[str, Floats],
) -> float:
    """Write ``network`` as ``file`` once it is seen to answer like torch.

    Args:
        recipe: the network's.
        network: trained.
        about: for the metadata.
        file: ``.onnx`` to write.
        samples: a few real inputs by name, (n, channels, height, width), for the comparison.

    Returns:
        The largest difference from torch, at batches of 1 and 3.

    Raises:
        UserError: it differs by more than ``TOLERANCE``, or cannot be written.
    """
    served = recipe.served(network).eval()
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "model.onnx"
        _export(served, recipe, part)
        _describe(part, recipe, about)
        difference = parity(served, recipe, part, samples)
        if difference > TOLERANCE:
            raise UserError(
                f"{file}: not written: ONNX Runtime answers {difference:.2g} off torch, more than "
                f"{TOLERANCE:g}"
            )
        try:
            Recogniser(part)  # reads its own card, runs on zeros
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(part.read_bytes())
        except ModelError as error:
            raise UserError(f"{file}: not written: {error}") from None
        except OSError as error:
            raise UserError(f"{file}: {error.strerror or error}") from None
    return difference


def _export(served: torch.nn.Module, recipe: Recipe, file: Path) -> None:
    names = list(recipe.inputs)
    # two, not one: a batch of one would be taken for a constant
    example = tuple(torch.rand(2, *spec.shape[1:]) for spec in recipe.inputs.values())
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        outputs = served(*example)
        several = isinstance(outputs, tuple)
        torch.onnx.export(
            served,
            example,
            str(file),
            input_names=names,
            output_names=["probabilities", "aus"][: len(outputs) if several else 1],
            dynamic_shapes=tuple({0: batch} for _ in names),
            external_data=False,
            verbose=False,
        )


def _describe(file: Path, recipe: Recipe, about: About) -> None:
    model = onnx.load(str(file))
    inputs = {name: msgspec.to_builtins(spec) for name, spec in recipe.inputs.items()}
    card = {
        "format": FORMAT,
        "name": about.name,
        "version": about.version,
        "training": about.training,
        "protocol": about.protocol,
        "figures": json.dumps(about.figures),
        "licence": about.licence,
        "classes": json.dumps(recipe.classes),
        "categories": json.dumps(categories(recipe.classes)),
        "output": "probabilities",
        "inputs": json.dumps(inputs),
    }
    if len(model.graph.output) > 1:
        card["aus"] = json.dumps(recipe.aus)
    del model.metadata_props[:]
    for key, value in card.items():
        model.metadata_props.add(key=f"mespot.{key}", value=value)
    onnx.save(model, str(file))


def parity(
    served: torch.nn.Module, recipe: Recipe, file: Path, samples: Mapping[str, Floats]
) -> float:
    """The largest difference between torch and ONNX Runtime over ``samples`` and noise."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    worst = 0.0
    for count in _BATCHES:
        noise = {
            name: draw.random((count, *spec.shape[1:]), np.float32)
            for name, spec in recipe.inputs.items()
        }
        real = {name: np.ascontiguousarray(values[:count]) for name, values in samples.items()}
        for inputs in (noise, real):
            with torch.inference_mode():
                wanted = served(*(torch.from_numpy(inputs[name]) for name in recipe.inputs))
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            given = session.run(None, inputs)
            pairs = zip(given, wanted, strict=True)
            worst = max(worst, *(float(np.abs(a - b.numpy()).max()) for a, b in pairs))
    return worst
