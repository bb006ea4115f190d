"""Several cameras from one file: ``[[camera]]`` tables over what is said for all."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files import read_bytes
from pipeline.config import Config, ConfigError, load
from pipeline.sources.naming import stream_of

_MOST_BYTES = 1_000_000


def load_cameras(toml: Path | None = None, **options: Any) -> list[Config]:
    """One configuration for each camera; a single one where ``toml`` has no ``[[camera]]``.

    Raises:
        ConfigError: one line that names what is at fault.
    """
    data = {} if toml is None else _data(toml)
    tables = data.pop("camera", [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{toml}: camera: write [[camera]], in double brackets, for each")
    cameras = [_camera(data, table, options) for table in tables]
    names = Counter(camera.capture.name for camera in cameras)
    for name, count in names.items():
        if count > 1:
            raise ConfigError(f"{toml}: {count} cameras are called {name}; give each a name")
    return cameras


def _camera(data: dict[str, Any], table: dict[str, Any], options: dict[str, Any]) -> Config:
    own = dict(table)
    name = own.pop("name", "")
    sections = {k: {**data[k], **v} for k, v in own.items() if isinstance(v, dict) and k in data}
    config = load(**(data | own | sections | {k: v for k, v in options.items() if v is not None}))
    capture = config.capture
    named = capture.model_copy(update={"name": stream_of(config.source, name or capture.name)})
    return config.model_copy(update={"capture": named})


def _data(toml: Path) -> dict[str, Any]:
    if not toml.exists():
        raise ConfigError(f"{toml}: no such configuration file")
    try:
        return tomllib.loads(read_bytes(toml, _MOST_BYTES, "a configuration").decode())
    except UserError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{toml}: not valid TOML: {error}") from None
