"""ONNX recognisers that describe themselves (format v1, ``docs/recogniser-format.md``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.facs import CATEGORY_OF, Category
from models.onnx_session import Compute, OnnxSession, metadata_of

Floats = npt.NDArray[np.float32]
Source = Literal[
    "onset",
    "apex",
    "offset",
    "magnified",
    "flow_onset_apex",
    "flow_offset_apex",
    "flow_onset_magnified",
    "flow_offset_magnified",
]
Region = Literal["eye", "mouth", "face"]
FlowMethod = Literal["farneback", "tvl1"]
Channel = Literal["u", "v", "magnitude", "grey"]

FORMAT = "1"
_LONGEST_NAME, _LONGEST_TEXT = 100, 10_000
_MOST_INPUTS, _MOST_CHANNELS, _MOST_CLASSES = 16, 16, 1000
_MOST_NUMBERS = 2**24  # in all inputs of one expression

_Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_FlowSide = Annotated[int, msgspec.Meta(ge=16, le=4096)]  # flow needs some room
_T = TypeVar("_T")


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one ONNX input is made from an event's crops (``mespot.inputs``).

    ``tensor`` = (channel * ``scale`` - ``mean``) / ``std``, per channel. ``magnified``
    is the apex crop with its displacement from the onset crop multiplied by ``factor``.
    The crops are resized to ``at``, where it is given, before flow or channels are taken.

    Raises:
        ValueError: values that do not fit together (msgspec reports it as its own
            ValidationError when decoding).
    """

    source: Source
    region: Region
    size: tuple[_Side, _Side]  # width, height
    channels: list[Channel]
    scale: float = 1.0
    mean: list[float] = []  # per channel; empty: 0
    std: list[float] = []  # per channel; empty: 1
    flow: FlowMethod = "farneback"
    at: tuple[_FlowSide, _FlowSide] | None = None  # width, height; None: as cropped
    factor: float = 6.0  # of magnification
    steady: bool = False  # flow without the motion of the whole face

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("channels is empty")
        if len(self.channels) > _MOST_CHANNELS:
            raise ValueError(f"more than {_MOST_CHANNELS} channels")
        if self.is_flow == ("grey" in self.channels):
            wanted = "u, v or magnitude" if self.is_flow else "grey"
            raise ValueError(f"the channels of {self.source} are {wanted}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, len(self.channels)):
                raise ValueError(
                    f"{name} has {len(values)} values for {len(self.channels)} channels"
                )
        if not np.isfinite([self.scale, *self.mean, *self.std]).all():
            raise ValueError("scale, mean and std must be finite")
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be above 0")
        if not (np.isfinite(self.factor) and self.factor > 0):
            raise ValueError("factor must be above 0")

    @property
    def is_flow(self) -> bool:
        """Whether the source is a flow field rather than a crop."""
        return self.source.startswith("flow_")

    @property
    def is_magnified(self) -> bool:
        """Whether the magnified apex is needed."""
        return self.source.endswith("magnified")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor, (1, channels, height, width)."""
        return 1, len(self.channels), self.size[1], self.size[0]

    def tensor(self, field: npt.NDArray[Any]) -> Floats:
        """The input tensor made from a flow field or a crop.

        Args:
            field: flow (h, w, 2) float32, or crop (h, w) uint8; of size ``at``, else of
                the full crop.

        Returns:
            ``shape`` float32. Channels are taken at the size of ``field``, then resized:
            area average where neither side grows, else linear. Flow stays in px of
            ``field``.

        Raises:
            ValueError: ``field`` is not what ``source`` says.
        """
        if field.ndim != (3 if self.is_flow else 2):
            raise ValueError(f"{self.source} needs another array than {field.shape}")
        planes = [self._resized(self._plane(field, channel)) for channel in self.channels]
        stack = np.stack(planes) * np.float32(self.scale)
        if self.mean:
            stack = stack - np.asarray(self.mean, np.float32)[:, None, None]
        if self.std:
            stack = stack / np.asarray(self.std, np.float32)[:, None, None]
        return np.ascontiguousarray(stack[None], np.float32)

    @staticmethod
    def _plane(field: npt.NDArray[Any], channel: Channel) -> Floats:
        if channel == "grey":
            return field.astype(np.float32)
        if channel == "magnitude":
            return np.asarray(np.hypot(field[..., 0], field[..., 1]), np.float32)
        return np.ascontiguousarray(field[..., "uv".index(channel)], np.float32)

    def _resized(self, plane: Floats) -> Floats:
        width, height = self.size
        shrinks = height <= plane.shape[0] and width <= plane.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(plane, (width, height), interpolation=method), np.float32)


# msgspec learns a class when it is first decoded to, and two threads that load recognisers must
# not be the ones to teach it (``pipeline.known``)
msgspec.json.Decoder(InputSpec)


class Card(msgspec.Struct, frozen=True):
    """What a model's metadata say about it."""

    name: str
    version: str
    training: str  # free text: what it was trained on
    classes: list[str]
    categories: dict[str, Category]
    inputs: dict[str, InputSpec]
    output: Literal["logits", "probabilities"]
    aus: list[int] = []  # of the second output
    protocol: str = ""  # free text: how it was evaluated
    figures: dict[str, Any] = {}  # what that gave
    licence: str = ""  # free text

    @property
    def label(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


def _text(metadata: Mapping[str, str], key: str) -> str:
    value = metadata.get(f"mespot.{key}", "").strip()
    if not value:
        raise ModelError(f"metadata mespot.{key} is missing; see docs/recogniser-format.md")
    if key in ("name", "version") and (len(value) > _LONGEST_NAME or not value.isprintable()):
        raise ModelError(f"metadata mespot.{key}: more than {_LONGEST_NAME} printable characters")
    return value[:_LONGEST_TEXT]


def _decoded(metadata: Mapping[str, str], key: str, kind: type[_T], default: str = "") -> _T:
    text = metadata.get(f"mespot.{key}", default)
    if not text:
        raise ModelError(f"metadata mespot.{key} is missing; see docs/recogniser-format.md")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"metadata mespot.{key}: {error}") from None


def _categories(metadata: Mapping[str, str], classes: list[str]) -> dict[str, Category]:
    given = _decoded(metadata, "categories", dict[str, Category], default="{}")
    strange = sorted(given.keys() - set(classes))
    if strange:
        raise ModelError(f"metadata mespot.categories: {strange[0]!r} is not among the classes")
    known = {name: CATEGORY_OF[name.lower()] for name in classes if name.lower() in CATEGORY_OF}
    return known | given


def _aus(metadata: Mapping[str, str]) -> list[int]:
    aus = _decoded(metadata, "aus", list[int], default="[]")
    if len(set(aus)) < len(aus) or any(not 1 <= au <= 100 for au in aus):
        raise ModelError("metadata mespot.aus: distinct numbers of action units")
    return aus


def read_card(metadata: Mapping[str, str]) -> Card:
    """Read a model's ``metadata_props``.

    Raises:
        ModelError: a key is missing or wrong; the message names it.
    """
    version = _text(metadata, "format")
    if version != FORMAT:
        raise ModelError(f"metadata mespot.format is {version!r}; this mespot reads {FORMAT!r}")
    output = _text(metadata, "output")
    if output not in ("logits", "probabilities"):
        raise ModelError(f"metadata mespot.output is {output!r}, not logits or probabilities")
    classes = _decoded(metadata, "classes", list[str])
    if len(classes) < 2 or len(set(classes)) < len(classes) or "" in classes:
        raise ModelError("metadata mespot.classes: at least two distinct, non-empty names")
    if len(classes) > _MOST_CLASSES or any(len(name) > _LONGEST_NAME for name in classes):
        raise ModelError(
            f"metadata mespot.classes: at most {_MOST_CLASSES}, each of {_LONGEST_NAME} characters"
        )
    inputs = _decoded(metadata, "inputs", dict[str, InputSpec])
    if not inputs:
        raise ModelError("metadata mespot.inputs: no input is described")
    numbers = sum(math.prod(spec.shape) for spec in inputs.values())
    if len(inputs) > _MOST_INPUTS or numbers > _MOST_NUMBERS:
        raise ModelError(f"metadata mespot.inputs: more than {_MOST_INPUTS} inputs, or too large")
    return Card(
        name=_text(metadata, "name"),
        version=_text(metadata, "version"),
        training=_text(metadata, "training"),
        classes=classes,
        categories=_categories(metadata, classes),
        inputs=inputs,
        output="logits" if output == "logits" else "probabilities",
        aus=_aus(metadata),
        protocol=metadata.get("mespot.protocol", "").strip()[:_LONGEST_TEXT],
        figures=_decoded(metadata, "figures", dict[str, Any], default="{}"),
        licence=metadata.get("mespot.licence", "").strip()[:_LONGEST_TEXT],
    )


def card_of(path: Path) -> Card:
    """The card of a model file, read without making the model ready to run.

    Raises:
        ModelError: the file is missing, not ONNX, or its metadata are wrong.
    """
    metadata = metadata_of(path)
    try:
        return read_card(metadata)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


@dataclass(frozen=True)
class Scores:
    """What a recogniser says of one expression."""

    classes: dict[str, float]  # probability by class, in the card's order
    aus: dict[int, float]  # probability by AU; empty for a model that detects none


class Recogniser:
    """Classifies a spotted expression with an ONNX model of format v1.

    ``device`` says where it runs. Not safe for concurrent use.

    Args:
        path: the ``.onnx`` file.
        compute: where and on how many threads.

    Raises:
        ModelError: the file is missing, not ONNX, lacks metadata or contradicts it.
        GpuError: the GPU that ``compute`` demands cannot be used.
    """

    def __init__(self, path: str | Path, compute: Compute | None = None) -> None:
        self._session = OnnxSession(Path(path), compute or Compute())
        try:
            self.card = read_card(self._session.metadata)
            self._check_inputs()
            self._outputs = self._wanted_outputs()
            self._try(1)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        self.batched = self._takes_batches()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.card.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.card.version

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the output."""
        return self.card.classes

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """What each ONNX input wants."""
        return self.card.inputs

    @property
    def device(self) -> str:
        """The provider that the session runs on, such as ``CUDAExecutionProvider``."""
        return self._session.device

    def category(self, label: str) -> str:
        """Category of a class: ``mespot.categories``, else by name; "" when unknown."""
        return self.card.categories.get(label, "")

    def scores(self, inputs: Mapping[str, Floats]) -> dict[str, float]:
        """Class probabilities of one expression; see ``score_batch``."""
        return self.score_batch([inputs])[0].classes

    def score_batch(self, batch: Sequence[Mapping[str, Floats]]) -> list[Scores]:
        """Class and AU probabilities: in one inference where the model's batch is dynamic.

        Args:
            batch: per expression and ONNX input its tensor, ``InputSpec.shape`` float32.

        Returns:
            One ``Scores`` per expression; class probabilities are the softmax of logits.

        Raises:
            ValueError: names or shapes are not those of ``inputs``.
            ModelError: the model fails or gives values that are no scores.
        """
        for inputs in batch:
            self._check(inputs)
        if not self.batched:
            return [self._scored(inputs)[0] for inputs in batch]
        if not batch:
            return []
        return self._scored(
            {name: np.concatenate([inputs[name] for inputs in batch]) for name in self.inputs}
        )

    def _check(self, inputs: Mapping[str, Floats]) -> None:
        if inputs.keys() != self.inputs.keys():
            raise ValueError(f"inputs {sorted(inputs)} given, {sorted(self.inputs)} wanted")
        for name, spec in self.inputs.items():
            if inputs[name].shape != spec.shape or inputs[name].dtype != np.float32:
                raise ValueError(f"input {name} must be {spec.shape} float32")

    def _scored(self, inputs: Mapping[str, Floats]) -> list[Scores]:
        """Scores for tensors (N, channels, height, width)."""
        size = len(next(iter(inputs.values())))
        raw = self._session.run(self._outputs, inputs)
        wanted = (len(self.classes), "classes"), (len(self.card.aus), "action units")
        values = [_checked(array, size, *one) for array, one in zip(raw, wanted, strict=False)]
        if self.card.output == "logits":
            grown = np.exp(values[0] - values[0].max(axis=1, keepdims=True))
            values[0] = grown / grown.sum(axis=1, keepdims=True)
        for array, key in zip(values, ("output says", "aus promises"), strict=False):
            if array.min() < -1e-3 or array.max() > 1 + 1e-3:
                raise ModelError(f"metadata mespot.{key} probabilities, the model gives others")
        return [
            Scores(
                dict(zip(self.classes, values[0][i].tolist(), strict=True)),
                dict(zip(self.card.aus, values[-1][i].tolist(), strict=True))
                if self.card.aus
                else {},
            )
            for i in range(size)
        ]

    def _try(self, size: int) -> None:
        """A dry run on zeros: finds what the declared shapes hide."""
        self._scored(
            {n: np.zeros((size, *spec.shape[1:]), np.float32) for n, spec in self.inputs.items()}
        )

    def _takes_batches(self) -> bool:
        """Whether every input's batch is declared dynamic, and really is."""
        if any(isinstance(port.shape[0], int) for port in self._session.inputs):
            return False
        try:
            self._try(2)
        except ModelError:
            return False
        return True

    def _wanted_outputs(self) -> list[str]:
        wanted = 2 if self.card.aus else 1
        if len(self._session.outputs) < wanted:
            raise ModelError("metadata mespot.aus: the model has no second output")
        return self._session.outputs[:wanted]

    def _check_inputs(self) -> None:
        declared = {port.name: port for port in self._session.inputs}
        if declared.keys() != self.inputs.keys():
            raise ModelError(
                f"metadata mespot.inputs describes {sorted(self.inputs)}, "
                f"the model has {sorted(declared)}"
            )
        for name, port in declared.items():
            spec = self.inputs[name]
            if port.kind != "tensor(float)":
                raise ModelError(f"input {name} is {port.kind}; float32 is needed")
            fits = len(port.shape) == 4 and all(
                size == wanted or not isinstance(size, int)  # a name or None: dynamic
                for size, wanted in zip(port.shape, spec.shape, strict=True)
            )
            if not fits:
                raise ModelError(
                    f"input {name} has shape {list(port.shape)}, metadata mespot.inputs "
                    f"makes {list(spec.shape)}"
                )


def _checked(
    array: npt.NDArray[Any], size: int, columns: int, what: str
) -> npt.NDArray[np.float64]:
    """An output as (size, columns) of finite numbers."""
    which = "first" if what == "classes" else "second"
    if array.shape != (size, columns):
        raise ModelError(
            f"the {which} output has shape {array.shape}; {columns} {what} need ({size}, {columns})"
        )
    values = np.asarray(array, np.float64)
    if not np.isfinite(values).all():
        raise ModelError("the model's output is not finite")
    return values
