"""The machine that a measurement was made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_LIBRARIES = {
    "numpy": ("numpy",),
    "numba": ("numba",),
    "opencv": ("opencv-contrib-python", "opencv-python", "opencv-python-headless"),
    "mediapipe": ("mediapipe",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "pyav": ("av",),
}
SAME = ("cpu", "cores", "os", "python")  # machines are alike when these agree


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, str | int | float]:
    """Processor, cores, memory (GB), system, Python, libraries, commit ("" if unknown)."""
    versions = {name: _version(packages) for name, packages in _LIBRARIES.items()}
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "ram_gb": _ram_gb(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
        **versions,
    }


def in_words(machine: dict[str, str | int | float]) -> str:
    """One line for people."""
    libraries = ", ".join(f"{name} {machine[name]}" for name in _LIBRARIES if machine.get(name))
    commit = f"; commit {machine['commit']}" if machine.get("commit") else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gb']:g} GB, {machine['os']}, "
        f"Python {machine['python']}, {libraries}{commit}"
    )


def alike(one: dict[str, str | int | float], other: dict[str, str | int | float]) -> bool:
    """Whether raw times of the two can be compared."""
    return all(one.get(name) == other.get(name) for name in SAME)


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line)
    return next(names, platform.processor() or platform.machine())


def _ram_gb() -> float:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0.0
    return round(size / 1e9, 1)


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _commit() -> str:
    """Of the checkout that runs; ``+`` when files differ from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
