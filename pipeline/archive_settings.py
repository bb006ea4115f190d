"""What the results of an archive depend on besides its videos, as one short text."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.build import prototypes, recognisers
from pipeline.config import Config
from pipeline.exports.version import version

_SECTIONS = ("face", "motion", "spot", "classify")
_PLAIN = ("method", "faces", "fps", "duration")
_FILES = {"face": ("task",), "motion": ("prototypes",), "classify": ("magnifier",)}


def settings(config: Config) -> dict[str, Any]:
    """Everything but paths and what says where things go; files by their content.

    Raises:
        UserError: a file that the configuration names cannot be read.
    """
    made: dict[str, Any] = {"mespot": version()}
    made |= {name: getattr(config, name) for name in _PLAIN}
    for name in _SECTIONS:
        section = getattr(config, name).model_dump(mode="json")
        for key in _FILES.get(name, ()):
            section[key] = _content(getattr(getattr(config, name), key))
        made[name] = section
    chosen = prototypes(config)
    made["prototypes"] = f"{chosen.name}@{chosen.version}"
    made["models"] = sorted(filter(None, map(_content, recognisers(config))))
    return made


def fingerprint(config: Config) -> str:
    """32 hexadecimal digits, the same on every machine whose mespot gives the same results."""
    text = json.dumps(settings(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _content(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        about = path.stat()
        return _digest(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    """Of the content; size and time of change only tell that it is another."""
    del size, changed_ns
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
