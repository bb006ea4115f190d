"""Several cameras from one file: ``[[camera]]`` tables over what is said for all.

method = "mespot"

[[camera]]
name = "door"
source = "rtsp://cam1/stream"

[[camera]]
name = "desk"
source = "0"
faces = 2
[camera.capture]
stale_s = 0.5
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config import Config, ConfigError, file_data, from_data
from pipeline.sockets import beside

_MOST = 256
_STEP = 2  # ports of a camera: events, replay
_HIGHEST = 65535


def load_cameras(toml: Path | None = None, **options: Any) -> list[Config]:
    """One configuration for each camera; a single one where ``toml`` has no ``[[camera]]``.

    A camera's own keys win over those of the file's top level; the environment and ``options``
    (None: not given) win over both, as always. Each camera has a name of its own, and
    addresses and files of its own: where they are not said for the camera, its event socket
    is two ports above that of the camera before, and its name enters the names of ``out`` and
    ``log.path``, and the folder of clips. One page shows them all, so the first camera's
    ``dashboard`` is everybody's; a camera's own ``images = false`` stays. Two cameras that were
    told the same address or file are refused.

    Raises:
        ConfigError: one line that names the camera and the key at fault.
    """
    data = {} if toml is None else file_data(toml)
    tables = data.pop("camera", None)
    if tables is None:
        return [_called(from_data(data, toml, options))]
    _check(tables, toml, options)
    cameras = [_camera(n, table, data, toml, options) for n, table in enumerate(tables)]
    names = Counter(camera.capture.name for camera in cameras)
    for name, count in names.items():
        if count > 1:
            raise ConfigError(f"{toml}: {count} cameras are called {name}; give each a name")
    _check_apart(cameras, toml)
    return [_on_the_page(camera, cameras[0]) for camera in cameras]


def _on_the_page(camera: Config, first: Config) -> Config:
    """``camera`` as the page of ``first`` shows it, which may be open to others."""
    page = first.dashboard
    if camera.dashboard.images is False:
        page = page.model_copy(update={"images": False})
    return camera.model_copy(update={"dashboard": page})


def _check(tables: Any, toml: Path | None, options: dict[str, Any]) -> None:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{toml}: camera: write [[camera]], in double brackets, for each")
    if not 0 < len(tables) <= _MOST:
        raise ConfigError(f"{toml}: {len(tables)} cameras: from 1 to {_MOST}")
    if options.get("source") is not None:
        raise ConfigError(f"{toml} names its cameras: leave SOURCE out, or the [[camera]] tables")


def _check_apart(cameras: list[Config], toml: Path | None) -> None:
    """Two cameras that were told one address or one file cannot both have it."""
    taken: dict[str, tuple[str, str]] = {}
    for camera in cameras:
        name = camera.capture.name
        for key, place in _places(camera):
            key_of, other = taken.setdefault(place, (key, name))
            if other != name:
                keys = key if key == key_of else f"{key} and {key_of}"
                raise ConfigError(
                    f"{toml}: cameras {other} and {name}: {keys}: both at {place}; "
                    "give each its own"
                )


def _places(camera: Config) -> Iterator[tuple[str, str]]:
    """What a camera must have for itself, by its key; a port that the system picks is its own."""
    addresses = (("events", camera.events), ("replay", camera.replay or beside(camera.events)))
    for key, address in addresses:
        if not address.endswith(":*"):
            tcp = address.startswith("tcp://")
            yield key, f"port {address.rpartition(':')[2]}" if tcp else address
    files = (
        ("out", camera.out),
        ("log.path", camera.log.path),
        ("clips.folder", camera.clips.folder),
    )
    for key, path in files:
        if path is not None:
            yield key, str(path.absolute())


def _camera(
    n: int, table: dict[str, Any], data: dict[str, Any], toml: Path | None, options: dict[str, Any]
) -> Config:
    own = dict(table)
    if isinstance(own.get("source"), int):
        own["source"] = str(own["source"])  # a webcam
    where = f"{toml}: camera {n + 1}"
    if "source" not in own:
        raise ConfigError(f"{where}: source: say which camera, video or folder")
    if "name" in own:
        capture = own.setdefault("capture", {})
        if not isinstance(capture, dict):
            raise ConfigError(f"{where}: capture: must be a table")
        own["capture"] = capture | {"name": own.pop("name")}
    # MESPOT_SOURCE and --source are for one camera
    made = from_data(data, where, options | {"source": own["source"]}, above=own)
    made = _called(made)
    name = made.capture.name
    changes: dict[str, Any] = {}
    if made.events != own.get("events"):
        changes["events"] = _address(made.events, n, where)
    if made.replay is not None and made.replay != own.get("replay"):
        changes["replay"] = _address(made.replay, n, where)
    if made.out is not None and "out" not in own:
        changes["out"] = _named(made.out, name)
    if made.log.path is not None and "path" not in own.get("log", {}):
        changes["log"] = made.log.model_copy(update={"path": _named(made.log.path, name)})
    if made.clips.folder is not None and "folder" not in own.get("clips", {}):
        changes["clips"] = made.clips.model_copy(update={"folder": made.clips.folder / name})
    return made.model_copy(update=changes)


def _called(config: Config) -> Config:
    """``config`` with the name that its stream has in any case."""
    name = config.stream
    return config.model_copy(update={"capture": config.capture.model_copy(update={"name": name})})


def _address(address: str, n: int, where: str) -> str:
    """``address`` for the camera ``n``: other ports, or another file."""
    start, _, end = address.rpartition(":")
    if not address.startswith("tcp://"):
        return f"{address}.{n + 1}" if n else address
    if end == "*":
        return address
    port = int(end) + _STEP * n
    if port > _HIGHEST:
        raise ConfigError(f"{where}: events: {start}:{port}: no such port; begin lower")
    return f"{start}:{port}"


def _named(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}.{name}{path.suffix}")
