"""ONNX recognisers that describe themselves (format v1, ``docs/recogniser-format.md``)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import GpuError, ModelError
from models.facs import CATEGORY_OF, Category

Floats = npt.NDArray[np.float32]
Source = Literal["flow_onset_apex", "flow_offset_apex", "onset", "apex", "offset"]
Region = Literal["eye", "mouth"]
Channel = Literal["u", "v", "magnitude", "grey"]

FORMAT = "1"
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

_Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_T = TypeVar("_T")


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one ONNX input is made from an event's crops (``mespot.inputs``).

    ``tensor`` = (channel * ``scale`` - ``mean``) / ``std``, per channel.

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

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("channels is empty")
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

    @property
    def is_flow(self) -> bool:
        """Whether the source is a flow field rather than a crop."""
        return self.source.startswith("flow_")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor, (1, channels, height, width)."""
        return 1, len(self.channels), self.size[1], self.size[0]

    def tensor(self, field: npt.NDArray[Any]) -> Floats:
        """The input tensor made from a flow field or a crop.

        Args:
            field: flow (h, w, 2) float32, px of the full crop; or crop (h, w) uint8.

        Returns:
            ``shape`` float32. Channels are taken at full size, then resized: area
            average where neither side grows, else linear. Flow stays in px of the
            full crop.

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


class Card(msgspec.Struct, frozen=True):
    """What a model's metadata say about it."""

    name: str
    version: str
    training: str  # free text: what it was trained on
    classes: list[str]
    categories: dict[str, Category]
    inputs: dict[str, InputSpec]
    output: Literal["logits", "probabilities"]

    @property
    def label(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


def _text(metadata: Mapping[str, str], key: str) -> str:
    value = metadata.get(f"mespot.{key}", "").strip()
    if not value:
        raise ModelError(f"metadata mespot.{key} is missing; see docs/recogniser-format.md")
    return value


def _decoded(metadata: Mapping[str, str], key: str, kind: type[_T], default: str = "") -> _T:
    text = metadata.get(f"mespot.{key}", default) if default else _text(metadata, key)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ModelError(f"metadata mespot.{key}: {error}") from None


def _categories(metadata: Mapping[str, str], classes: list[str]) -> dict[str, Category]:
    given = _decoded(metadata, "categories", dict[str, Category], default="{}")
    strange = sorted(given.keys() - set(classes))
    if strange:
        raise ModelError(f"metadata mespot.categories: {strange[0]!r} is not among the classes")
    known = {name: CATEGORY_OF[name.lower()] for name in classes if name.lower() in CATEGORY_OF}
    return known | given


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
    inputs = _decoded(metadata, "inputs", dict[str, InputSpec])
    if not inputs:
        raise ModelError("metadata mespot.inputs: no input is described")
    return Card(
        name=_text(metadata, "name"),
        version=_text(metadata, "version"),
        training=_text(metadata, "training"),
        classes=classes,
        categories=_categories(metadata, classes),
        inputs=inputs,
        output="logits" if output == "logits" else "probabilities",
    )


def _ort_errors(ort: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own classes have no common base but Exception."""
    state = ort.capi.onnxruntime_pybind11_state
    own = (value for value in vars(state).values() if isinstance(value, type))
    return (RuntimeError, TypeError, ValueError, *(c for c in own if issubclass(c, Exception)))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # waiting threads must not take the cores of the other nodes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"a recogniser needs ONNX Runtime; install the cpu or gpu extra ({_one_line(error)})"
        ) from None
    return onnxruntime


def _session(ort: Any, path: Path, threads: int, require_gpu: bool) -> Any:
    """A session on CUDA if that works, else on the CPU."""
    with contextlib.suppress(AttributeError):  # before ONNX Runtime 1.21
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
    failure = "the session fell back to the CPU; check the driver and the CUDA libraries"
    available = ort.get_available_providers()
    session = None
    if CUDA in available:
        try:
            session = _open(ort, path, threads, [CUDA, CPU])
        except _ort_errors(ort) as error:
            failure = _one_line(error)
    else:
        failure = f"this ONNX Runtime offers {', '.join(available)}; install the gpu extra"
    if session is None:
        session = _open(ort, path, threads, [CPU])  # tells a bad model from a bad GPU
    if require_gpu and session.get_providers()[0] != CUDA:
        raise GpuError(f"a GPU is required and {CUDA} cannot be used: {failure}")
    return session


def _open(ort: Any, path: Path, threads: int, providers: list[str]) -> Any:
    return ort.InferenceSession(
        str(path), _options(ort, threads), providers=providers, enable_fallback=0
    )


class Recogniser:
    """Classifies a spotted expression with an ONNX model of format v1.

    CUDA is used where it works, else the CPU; ``device`` says which. Not safe for
    concurrent use.

    Args:
        path: the ``.onnx`` file.
        require_gpu: fail rather than run on the CPU.
        threads: CPU threads for one inference.

    Raises:
        ModelError: the file is missing, not ONNX, lacks metadata or contradicts it.
        GpuError: ``require_gpu``, and the session does not run on CUDA.
    """

    def __init__(self, path: str | Path, require_gpu: bool = False, threads: int = 1) -> None:
        if not Path(path).is_file():
            raise ModelError(f"{path}: no such model file")
        ort = _runtime()
        self._errors = _ort_errors(ort)
        try:
            self._session = _session(ort, Path(path), threads, require_gpu)
        except self._errors as error:
            raise ModelError(f"{path}: not a usable ONNX model: {_one_line(error)}") from None
        try:
            self.card = read_card(self._session.get_modelmeta().custom_metadata_map)
            self._check_inputs()
            self._output = self._session.get_outputs()[0].name
            self._try()
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None

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
        return str(self._session.get_providers()[0])

    def category(self, label: str) -> str:
        """Category of a class: ``mespot.categories``, else by name; "" when unknown."""
        return self.card.categories.get(label, "")

    def scores(self, inputs: Mapping[str, Floats]) -> dict[str, float]:
        """Class probabilities.

        Args:
            inputs: per ONNX input its tensor, ``InputSpec.shape`` float32.

        Returns:
            Probability by class, in the order of ``classes``; the softmax of logits.

        Raises:
            ValueError: names or shapes are not those of ``inputs``.
            ModelError: the model fails or gives values that are no scores.
        """
        if inputs.keys() != self.inputs.keys():
            raise ValueError(f"inputs {sorted(inputs)} given, {sorted(self.inputs)} wanted")
        for name, spec in self.inputs.items():
            if inputs[name].shape != spec.shape or inputs[name].dtype != np.float32:
                raise ValueError(f"input {name} must be {spec.shape} float32")
        values = self._run(inputs)
        if self.card.output == "logits":
            grown = np.exp(values - values.max())
            values = grown / grown.sum()
        elif values.min() < -1e-3 or values.max() > 1 + 1e-3:
            raise ModelError("metadata mespot.output says probabilities, the model gives others")
        return {name: float(value) for name, value in zip(self.classes, values, strict=True)}

    def _run(self, inputs: Mapping[str, Floats]) -> npt.NDArray[np.float64]:
        """The first output for a batch of one, (classes,)."""
        try:
            raw = self._session.run([self._output], dict(inputs))[0]
            values: npt.NDArray[np.float64] = np.asarray(raw, np.float64)
        except self._errors as error:
            raise ModelError(f"the model cannot run: {_one_line(error)}") from None
        if values.shape != (1, len(self.classes)):
            raise ModelError(
                f"the first output has shape {values.shape}; "
                f"{len(self.classes)} classes need (1, {len(self.classes)})"
            )
        if not np.isfinite(values).all():
            raise ModelError("the model's output is not finite")
        return values.ravel()

    def _try(self) -> None:
        """A dry run on zeros: finds what the declared shapes hide."""
        self.scores({name: np.zeros(spec.shape, np.float32) for name, spec in self.inputs.items()})

    def _check_inputs(self) -> None:
        declared = {item.name: item for item in self._session.get_inputs()}
        if declared.keys() != self.inputs.keys():
            raise ModelError(
                f"metadata mespot.inputs describes {sorted(self.inputs)}, "
                f"the model has {sorted(declared)}"
            )
        for name, item in declared.items():
            spec = self.inputs[name]
            if item.type != "tensor(float)":
                raise ModelError(f"input {name} is {item.type}; float32 is needed")
            fits = len(item.shape) == 4 and all(
                size == wanted or not isinstance(size, int)  # a name or None: dynamic
                for size, wanted in zip(item.shape, spec.shape, strict=True)
            )
            if not fits:
                raise ModelError(
                    f"input {name} has shape {item.shape}, metadata mespot.inputs "
                    f"makes {list(spec.shape)}"
                )
