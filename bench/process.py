"""What a process and its children use, read from ``/proc`` (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MB = 1024 / 1e6  # kB of the kernel (KiB) to MB


@dataclass(frozen=True)
class Usage:
    """Memory in MB, processor time in s since the start; of a process and its children.

    ``rss`` counts shared pages in every process, ``pss`` shares them out; ``peak`` is the
    largest rss of each process so far, summed.
    """

    rss: float
    pss: float
    peak: float
    cpu_s: float


def check() -> None:
    """Raise a UserError where there is no ``/proc`` to read."""
    if not (_PROC / "self" / "smaps_rollup").is_file():
        raise UserError("this measurement needs Linux: /proc/PID/smaps_rollup is missing")


def usage(pid: int) -> Usage | None:
    """Of ``pid`` and its children; None once it is gone."""
    total = _of(pid)
    if total is None:
        return None
    for child in children(pid):
        more = _of(child)
        if more is not None:
            total = Usage(
                total.rss + more.rss,
                total.pss + more.pss,
                total.peak + more.peak,
                total.cpu_s + more.cpu_s,
            )
    return total


def _of(pid: int) -> Usage | None:
    folder = _PROC / str(pid)
    try:
        memory = _fields(folder / "smaps_rollup")
        status = _fields(folder / "status")
        cpu_s = _cpu_s(folder / "stat")
    except (OSError, KeyError, IndexError, ValueError):
        return None  # it ended while being looked at
    if "VmHWM" not in status:
        return None
    peak = status["VmHWM"] * _MB
    return Usage(memory["Rss"] * _MB, memory["Pss"] * _MB, peak, cpu_s)


def _fields(path: Path) -> dict[str, int]:
    """The lines ``Name:  123 kB``."""
    lines = (
        line.split() for line in path.read_text(encoding="ascii", errors="replace").split("\n")
    )
    return {p[0].rstrip(":"): int(p[1]) for p in lines if len(p) == 3 and p[2] == "kB"}


def _cpu_s(path: Path) -> float:
    # the name in brackets may hold blanks; fields 14 and 15 are utime and stime
    rest = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / _TICKS


def command_line(pid: int) -> bytes:
    """How ``pid`` was started; empty once it is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def handles(pid: int) -> tuple[int, int] | None:
    """Open file descriptors and threads of ``pid`` and its children; None once it is gone."""
    counts = [_handles(one) for one in (pid, *children(pid))]
    if counts[0] is None:
        return None
    known = [count for count in counts if count is not None]
    return sum(files for files, _ in known), sum(threads for _, threads in known)


def _handles(pid: int) -> tuple[int, int] | None:
    folder = _PROC / str(pid)
    try:
        return len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    except OSError:
        return None


def children(pid: int) -> list[int]:
    """All processes that ``pid`` has started, and theirs."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            tasks = list((_PROC / str(parent) / "task").iterdir())
            texts = [(task / "children").read_text(encoding="ascii") for task in tasks]
        except OSError:
            continue
        born = [int(word) for text in texts for word in text.split()]
        found += born
        waiting += born
    return found
