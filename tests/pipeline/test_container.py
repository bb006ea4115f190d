"""The Dockerfile, read as far as that goes without Docker: nothing here builds an image."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.reload import flat

ROOT = Path(__file__).parents[2]
_KNOWN = {
    "FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL",
    "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip


def _instructions() -> list[tuple[str, str]]:
    """Name and argument of each, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, argument) for name, argument in pairs]


def _all(name: str) -> list[str]:
    return [argument for found, argument in _instructions() if found == name]


def _sent(path: str) -> bool:
    """Whether ``.dockerignore`` lets a file of the checkout through: the last rule decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.lstrip("!").removeprefix("**/")
        anywhere = rule.lstrip("!").startswith("**/")
        parts = path.split("/")
        names = parts if anywhere else [parts[0]]
        if any(fnmatch.fnmatch(name, pattern) for name in names):
            sent = rule.startswith("!")
    return sent


def test_every_instruction_is_one() -> None:
    assert {name for name, _ in _instructions()} <= _KNOWN
    for argument in [*_all("ENTRYPOINT"), *_all("CMD")]:
        assert isinstance(json.loads(argument), list)


def test_bases_are_slim_and_of_a_version_and_packages_are_pinned() -> None:
    for base in _all("FROM"):
        assert re.match(r"python:3\.1[12]-slim-\w+( AS \w+)?$", base)
    installs = [argument for argument in _all("RUN") if "pip install" in argument]
    assert all("-c constraints.txt" in one or "--no-deps" in one for one in installs)
    assert all("--no-cache-dir" in one for one in installs)
    apt = next(argument for argument in _all("RUN") if "apt-get install" in argument)
    assert "--no-install-recommends" in apt and "rm -rf /var/lib/apt/lists" in apt
    names = {"cpu", "gpu", "metrics"}
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    assert all(re.search(rf"^{name} = \[", extras, re.M) for name in names)


def test_it_runs_as_nobody_in_particular_and_asks_itself_how_it_is() -> None:
    names = [name for name, _ in _instructions()]
    (user,) = _all("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert not any(name in ("RUN", "COPY") for name in names[names.index("USER") :])
    (check,) = _all("HEALTHCHECK")
    assert check.endswith('CMD ["mespot", "health"]')
    (volume,) = _all("VOLUME")
    assert f"--home-dir {volume}" in " ".join(_all("RUN"))


def test_variables_are_keys_that_exist_and_none_is_a_secret() -> None:
    given = " ".join(_all("ENV"))
    keys = flat(Config())
    ours = re.findall(r"MESPOT_(\w+)=", given)
    assert ours
    for name in ours:
        assert name.lower().replace("__", ".") in keys
    assert "SOURCE" not in ours and "TOKEN" not in given


def test_what_is_copied_is_sent_and_nothing_private_is() -> None:
    for argument in _all("COPY"):
        if argument.startswith("--from"):
            continue
        for name in argument.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert _sent(name), name
    assert _sent("models/data/recognisers/map.onnx")
    for private in (
        ".git/config", ".venv/bin/python", "tests/conftest.py", "anna.key", "models/server.key",
        "events.jsonl", "pipeline/__pycache__/cli.pyc", "mespot.toml", ".env", "door.env",
    ):  # fmt: skip
        assert not _sent(private), private


@pytest.mark.parametrize(
    "name", ["prometheus_client", "pydantic", "onnxruntime", "onnxruntime-gpu"]
)
def test_the_pins_hold_what_the_image_installs(name: str) -> None:
    assert re.search(rf"^{name}==", (ROOT / "constraints.txt").read_text(), re.M)
