"""Metadata read past the weights, against what the ``onnx`` package writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.onnx_metadata import read_metadata
from models.onnx_session import Compute, OnnxSession

onnx = pytest.importorskip("onnx")


def saved(path: Path, metadata: dict[str, str], weights: int = 100) -> Path:
    """A model that adds a constant of so many numbers."""
    from onnx import TensorProto, helper, numpy_helper

    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [weights]) for name in "xy"]
    constant = numpy_helper.from_array(np.ones(weights, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", port[:1], port[1:], [constant]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    "metadata",
    [{}, {"a": "b"}, {"empty": "", "": "nameless", "long": "x" * 300, "words": "é — 笑"}],
)
def test_it_is_what_was_written(tmp_path: Path, metadata: dict[str, str]) -> None:
    assert read_metadata(saved(tmp_path / "m.onnx", metadata, 100_000)) == metadata


def test_onnx_runtime_reads_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = saved(tmp_path / "m.onnx", {"mespot.name": "tiny", "other": "1"})
    assert read_metadata(path) == OnnxSession(path, Compute(cpu=True)).metadata


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path / "m.onnx", {"a": "b"})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError):
        read_metadata(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x0b\x00", b"plain text, no model"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        read_metadata(path)
