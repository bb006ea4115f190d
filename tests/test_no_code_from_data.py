"""Nothing in the tree turns data into code: no pickle, no eval, no shell, no unsafe loader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_TREES = ("models", "stages", "pipeline", "bench", "examples", "run_live.py")
_CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
_MODULES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "joblib",
    "cloudpickle",
    "yaml",
    "xmlrpc",
}
_OF_PICKLE = {"UnpicklingError"}  # its error alone, which torch raises


def _files() -> list[Path]:
    found: list[Path] = []
    for name in _TREES:
        path = _ROOT / name
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def _keyword(call: ast.Call, name: str) -> object:
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def faults(text: str) -> Iterator[str]:
    """What in a module's text turns data into code."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _MODULES:
            yield f"line {node.lineno}: from {node.module} import"
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in _MODULES - {"pickle"}:
                    yield f"line {node.lineno}: import {alias.name}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "pickle"
            and node.attr not in _OF_PICKLE
        ):
            yield f"line {node.lineno}: pickle.{node.attr}"
        if isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    if name in _CALLS or name in ("os.system", "os.popen", "sys.settrace"):
        yield f"line {node.lineno}: {name}"
    if _keyword(node, "allow_pickle") is True or _keyword(node, "shell") is True:
        yield f"line {node.lineno}: {name} with allow_pickle or shell"
    if name in ("np.load", "numpy.load") and _keyword(node, "allow_pickle") is not False:
        yield f"line {node.lineno}: {name} without allow_pickle=False"
    if name in ("torch.load", "load_checkpoint") and _keyword(node, "weights_only") is not True:
        yield f"line {node.lineno}: {name} without weights_only=True"
    if name.endswith((".recv_pyobj", ".send_pyobj", ".recv_serialized")):
        yield f"line {node.lineno}: {name}"


def test_no_module_turns_data_into_code() -> None:
    found = [
        f"{path.relative_to(_ROOT)} {fault}"
        for path in _files()
        for fault in faults(path.read_text(encoding="utf-8"))
    ]
    assert len(_files()) > 100
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec(x)",
        "import pickle\npickle.loads(x)",
        "from pickle import loads",
        "import yaml",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.save(f, a, allow_pickle=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "subprocess.run(x, shell=True)",
        "os.system(x)",
        "socket.recv_pyobj()",
    ],
)
def test_what_is_looked_for_is_found(text: str) -> None:
    assert list(faults(text))
