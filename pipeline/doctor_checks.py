"""The checks of ``mespot doctor``; each one is run as ``python -m pipeline.doctor_checks NAME``."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models.errors import UserError
from pipeline import doctor_sight
from pipeline.doctor import Finding, Found, Level, green
from pipeline.guard import reach

if TYPE_CHECKING:
    from pipeline.config import Config

Check = Callable[["Config"], Found]

_FREE = 1e9  # bytes that an event log wants


# ---------------------------------------------------------------- installation


def configuration(config: Config) -> Found:
    """The file and MESPOT_… variables are understood, the prototypes load."""
    from pipeline.build import prototypes

    known = prototypes(config)
    return green(f"in order; prototypes {known.name}@{known.version}, {len(known.aus)} AUs")


def packages(config: Config) -> Found:
    """What mespot needs is installed, in versions that fit."""
    from pipeline import doctor_packages as held

    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info < (3, 13):
        return "red", f"Python {version}", "make PYTHON=/path/to/python3.12 setup"
    mine = held.installed(held.NAME)
    if not mine:
        return "yellow", "mespot is not installed as a package", "make setup"
    if missing := held.unmet():
        words = ", ".join(f"{n.wanted} ({n.found or 'not installed'})" for n in missing)
        return "red", f"does not fit: {words}", "make setup"
    if held.installed("onnxruntime") and held.installed("onnxruntime-gpu"):
        return (
            "yellow",
            "onnxruntime and onnxruntime-gpu own the same module",
            "uninstall both, then install one: mespot[cpu] or mespot[gpu]",
        )
    if extra := [n for n in ("opencv-python", "opencv-python-headless") if held.installed(n)]:
        return "yellow", f"{extra[0]} beside opencv-contrib-python", f"uninstall {extra[0]}"
    if other := held.untested(held.direct()):
        return "yellow", f"not as tested: {', '.join(other)}", "make setup installs those tested"
    return green(f"mespot {mine}, Python {version}, {len(held.direct())} packages")


def extras(config: Config) -> Found:
    """Which optional parts are there."""
    from pipeline import doctor_packages as held

    if not held.installed(held.NAME):
        return green("not known: mespot is not installed as a package")
    there = {name: not held.unmet(name) for name in held.EXTRAS}
    present = ", ".join(n for n, whole in there.items() if whole) or "none"
    absent = [f"mespot[{n}]" for n, whole in there.items() if not whole]
    return green(f"present: {present}" + (f"; to be had: {', '.join(absent)}" if absent else ""))


def cpu(config: Config) -> Found:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = f"{count} of {os.cpu_count()} cores; recognisers take {config.classify.threads} threads"
    if (count or 1) < 2:
        return "yellow", words, "one core is enough for about 30 frames a second; give it two"
    return green(words)


def numba_cache(config: Config) -> Found:
    """Compiled kernels are kept, so that later starts are quick."""
    from pipeline.kernels import kernels

    found = kernels()
    if not found.writable:
        todo = "set NUMBA_CACHE_DIR to a folder that can be written"
        if not found.cold:
            return green(f"warm, {found.kept} kernels; {found.folder} is read-only")
        return "yellow", f"{found.folder} cannot be written: every start compiles for minutes", todo
    if found.cold:
        return (
            "yellow",
            f"cold ({found.fresh} kernels in {found.folder}): the next start compiles, "
            "for a minute or so",
            "mespot live synthetic: --duration 10",
        )
    return green(f"warm, {found.kept} kernels in {found.folder}")


# ---------------------------------------------------------------- where it goes


def event_address(config: Config) -> Found:
    """The event socket can be opened."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        try:
            socket.bind(config.events)
        except zmq.ZMQError as error:
            todo = "end what holds it (another mespot?), or set another: --events tcp://127.0.0.1:*"
            return "red", f"{config.events}: {error.strerror}", todo
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return green(f"{bound} is free")


def web_addresses(config: Config) -> Found:
    """The page and the metrics can be served where they are asked for."""
    served = []
    for name, port, section in (
        ("dashboard", config.dashboard.port, config.dashboard),
        ("metrics", config.metrics.port, config.metrics),
    ):
        if not section.enabled:
            continue
        where = f"{section.host}:{port}"
        try:
            with socket.create_server((section.host, port)):
                served.append(f"{name} {where} is free")
        except OSError as error:
            todo = f"end what holds it, or set another: {name}.port"
            return "red", f"{name} {where}: {error.strerror or error}", todo
        if section.token is None and not _may_be_open(config, name):
            return (
                "red",
                f"{name} {where}: others reach it, and there is no token",
                (f"set MESPOT_{name.upper()}__TOKEN to 16 characters or more"),
            )
    return green("; ".join(served) or "neither the page nor metrics are asked for")


def _may_be_open(config: Config, name: str) -> bool:
    """Without a token: the page to this machine alone, metrics also where it is said out loud."""
    if name == "dashboard":
        return config.dashboard.loopback
    where = f"tcp://{config.metrics.host}:{config.metrics.port}"
    return reach(where) != "network" or config.security.insecure


def disk(config: Config) -> Found:
    """Room where events are written, and leave to write there."""
    from pipeline.journal import default_path

    state = (config.log.path or default_path("")).parent
    folders = [state] if config.out is None else [config.out.parent, state]
    places = [next(p for p in (folder, *folder.parents) if p.exists()) for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            level: Level = "yellow" if folder == state else "red"
            return level, f"{folder}: {error.strerror}", f"make {folder} writable"
    free = [shutil.disk_usage(place).free for place in places]
    words = "; ".join(f"{f}: {n / 1e9:.1f} GB free" for f, n in zip(folders, free, strict=True))
    if min(free) < _FREE:
        return "yellow", words, "make room: logs grow"
    return green(words)


def keys(config: Config) -> Found:
    """Secret keys are their owner's alone."""
    return guarded(config.security.folder)


def guarded(folder: Path) -> Found:
    """No one but the owner may look into ``folder``."""
    if not folder.exists():
        return green("none: events stay on this machine")
    wide = [
        path
        for path in (folder, *sorted(folder.rglob("*secret*")))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if wide:
        return "red", f"others may read {wide[0]}", f"chmod -R go= {folder}"
    return green(f"{folder} is yours alone")


# ---------------------------------------------------------------- one check


CHECKS: dict[str, Check] = {
    "configuration": configuration,
    "packages": packages,
    "extras": extras,
    "cpu": cpu,
    "numba cache": numba_cache,
    "decoder": doctor_sight.decoder,
    "landmarks": doctor_sight.landmarks,
    "recognisers": doctor_sight.recognisers,
    "cameras": doctor_sight.cameras,
    "source": doctor_sight.source,
    "event address": event_address,
    "page, metrics": web_addresses,
    "disk": disk,
    "keys": keys,
}


def names(with_source: bool) -> tuple[str, ...]:
    """The checks in order; ``source`` where one is to be tried."""
    return tuple(name for name in CHECKS if with_source or name != "source")


def perform(name: str, asked: str) -> Finding:
    """Run a check; whatever goes wrong in it is what it found."""
    from pipeline.cameras import load_cameras
    from pipeline.config import Config

    given = json.loads(asked)
    file = None if given["config"] is None else Path(given["config"])
    try:
        config = load_cameras(file, source=given["source"])[given.get("camera", 0)]
    except UserError as error:
        if name == "configuration":
            return Finding(name, "red", str(error), "mespot check FILE.toml says where")
        config = Config.model_construct()  # the others go on with the defaults
    try:
        return Finding(name, *CHECKS[name](config))
    except UserError as error:
        return Finding(name, "red", str(error), "see docs/operations.md")
    except Exception as error:  # noqa: BLE001  a broken library may raise anything
        said = " ".join(str(error).split())[:200]
        return Finding(name, "red", f"{type(error).__name__}: {said}", "make setup")


if __name__ == "__main__":
    answer = sys.stdout.buffer
    finding = perform(*sys.argv[1:3])
    answer.write(b"\n" + msgspec.json.encode(finding) + b"\n")
    answer.flush()
    os._exit(0)  # libraries' threads may not end by themselves
