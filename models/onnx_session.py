"""ONNX Runtime sessions: where they run, on how many threads, and how their errors read."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import GpuError, ModelError
from models.onnx_metadata import read_metadata

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_MOST_BYTES = 2_000_000_000  # of a model file, as protobuf has it
_MOST_METADATA = 1_000_000  # characters

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Compute:
    """Where a model runs.

    CUDA is used where it works, else the CPU. ``tensorrt`` asks for TensorRT on top;
    ``require_gpu`` refuses the CPU, ``cpu`` everything else.
    """

    threads: int = 1  # of the CPU, for one inference
    require_gpu: bool = False
    tensorrt: bool = False
    cpu: bool = False


@dataclass(frozen=True)
class Port:
    """One input that a model declares; a size that is not an int is dynamic."""

    name: str
    kind: str  # "tensor(float)", ...
    shape: tuple[int | str | None, ...]


class OnnxSession:
    """A loaded ONNX model. Not safe for concurrent use.

    Args:
        path: the ``.onnx`` file.
        compute: where it runs.

    Raises:
        ModelError: the file is missing or not usable.
        GpuError: a GPU or TensorRT is asked for, and the session does not get it.
    """

    def __init__(self, path: Path, compute: Compute) -> None:
        _check_file(path)
        ort = _runtime()
        self._ort = ort
        self._errors = _errors_of(ort)
        try:
            self._session = _begin(ort, path, compute, self._errors)
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except self._errors as error:
            raise ModelError(f"{path}: not a usable ONNX model: {_one_line(error)}") from None
        self.device = str(self._session.get_providers()[0])
        if sum(len(key) + len(value) for key, value in self.metadata.items()) > _MOST_METADATA:
            raise ModelError(f"{path}: its metadata are larger than {_MOST_METADATA} characters")
        self.inputs = [Port(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], inputs: Arrays) -> list[npt.NDArray[Any]]:
        """The named outputs for float32 ``inputs``.

        Raises:
            ModelError: the model cannot run.
        """
        try:
            if self.device == CPU:
                return [np.asarray(a) for a in self._session.run(list(outputs), dict(inputs))]
            return self.run_bound(outputs, inputs, "cuda")
        except self._errors as error:
            raise ModelError(f"the model cannot run: {_one_line(error)}") from None

    def run_bound(
        self, outputs: Sequence[str], inputs: Arrays, device: str
    ) -> list[npt.NDArray[Any]]:
        """As ``run``, with inputs and outputs bound to memory of ``device`` (cuda or cpu).

        Each tensor is copied once to the device and once back, by no detour of the session.
        """
        binding = self._session.io_binding()
        for name, array in inputs.items():
            value = self._ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)
            binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name, device)
        self._session.run_with_iobinding(binding)
        return [np.asarray(array) for array in binding.copy_outputs_to_cpu()]


def metadata_of(path: Path) -> dict[str, str]:
    """A model's metadata, without making it ready to run, or seeing whether it could.

    Raises:
        ModelError: the file is missing or no ONNX model.
    """
    _check_file(path)
    found: dict[str, str] = {}
    with contextlib.suppress(ValueError, OSError):
        found = read_metadata(path)
    return found or OnnxSession(path, Compute(cpu=True)).metadata  # it words what is wrong


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    if path.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{path}: larger than a model can be ({_MOST_BYTES // 1_000_000} MB)")


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"a recogniser needs ONNX Runtime; install the cpu or gpu extra ({_one_line(error)})"
        ) from None
    return onnxruntime


def _errors_of(ort: Any) -> tuple[type[Exception], ...]:
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


def _begin(ort: Any, path: Path, compute: Compute, errors: tuple[type[Exception], ...]) -> Any:
    """A session on the best that is asked for and works, else on the CPU."""
    if compute.cpu:
        return _open(ort, path, compute.threads, [CPU])
    with contextlib.suppress(AttributeError):  # before ONNX Runtime 1.21
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
    wanted = [TENSORRT, CUDA] if compute.tensorrt else [CUDA]
    available = ort.get_available_providers()
    failure = "the session fell back to the CPU; check the driver and the CUDA libraries"
    session = None
    if wanted[0] in available:
        try:
            session = _open(ort, path, compute.threads, [*wanted, CPU])
        except errors as error:
            failure = _one_line(error)
    else:
        failure = f"this ONNX Runtime offers {', '.join(available)}; install the gpu extra"
    if session is None:
        session = _open(ort, path, compute.threads, [CPU])  # tells a bad model from a bad GPU
    device = session.get_providers()[0]
    if compute.tensorrt and device != TENSORRT:
        raise GpuError(f"classify.tensorrt asks for {TENSORRT}, which cannot be used: {failure}")
    if compute.require_gpu and device == CPU:
        raise GpuError(f"a GPU is required and {CUDA} cannot be used: {failure}")
    return session


def _open(ort: Any, path: Path, threads: int, providers: list[str]) -> Any:
    return ort.InferenceSession(
        str(path), _options(ort, threads), providers=providers, enable_fallback=0
    )
