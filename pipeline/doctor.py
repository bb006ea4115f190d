"""``mespot doctor``: is this machine ready, and if not, what to do.

Each check runs in a process of its own, so that one that crashes or hangs costs no other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

import pipeline
from pipeline.known import known

Level = Literal["green", "yellow", "red"]
Found = tuple[Level, str, str]  # level, what there is, what to do

LIMIT_S = 10.0  # a check that takes longer is ended
_MODULE = "pipeline.doctor_checks"


class Finding(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes:
        name: of the check.
        level: green: in order; yellow: mespot runs, with limits; red: it does not.
        found: what there is, in one line.
        todo: what to do about it; "" when green.
        seconds: how long the check took.
    """

    name: str
    level: Level
    found: str
    todo: str = ""
    seconds: float = 0.0

    def of(self, camera: str) -> Finding:
        """The finding with the camera's name."""
        return msgspec.structs.replace(self, name=f"{self.name}, {camera}")


def green(found: str) -> Found:
    """In order."""
    return "green", found, ""


@dataclass(frozen=True)
class Asked:
    """What the checks are to look at."""

    config: Path | None = None  # TOML file
    source: str | None = None  # tried as well; default: the configuration's own
    camera: int = 0  # of those in the file, from 0

    def encoded(self) -> str:
        """As one argument."""
        config = None if self.config is None else str(self.config)
        return json.dumps({"config": config, "source": self.source, "camera": self.camera})


def examine(
    asked: Asked, names: Sequence[str], limit_s: float = LIMIT_S, module: str = _MODULE
) -> Iterator[Finding]:
    """The findings of the named checks, one after the other.

    Args:
        asked: what to look at.
        names: the checks.
        limit_s: a check that takes longer is ended.
        module: the one that holds them (``pipeline.doctor_checks``).
    """
    for name in names:
        begin = time.monotonic()
        found = _alone(name, asked, limit_s, module)
        seconds = round(time.monotonic() - begin, 2)
        yield msgspec.structs.replace(found, name=name, seconds=seconds)


def _alone(name: str, asked: Asked, limit_s: float, module: str) -> Finding:
    """One check, in a process of its own."""
    begun = subprocess.Popen(
        [sys.executable, "-P", "-m", module, name, asked.encoded()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,
    )
    try:
        said, _ = begun.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        _end(begun)
        return Finding(
            name,
            "red",
            f"no answer within {limit_s:g} s",
            "try again on a machine at rest; if it stays so, something hangs here",
        )
    except BaseException:  # Ctrl-C: leave no check behind
        _end(begun)
        raise
    try:
        return msgspec.json.decode(said.splitlines()[-1], type=known(Finding))
    except (IndexError, msgspec.MsgspecError):
        how = f"signal {-begun.returncode}" if begun.returncode < 0 else f"code {begun.returncode}"
        return Finding(name, "red", f"the check itself died ({how})", "install mespot anew")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a check and whatever it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _environment() -> dict[str, str]:
    """That of this process; the checks import the same mespot."""
    root = str(Path(pipeline.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


def worst(findings: Sequence[Finding]) -> Level:
    """The worst of them."""
    levels = {finding.level for finding in findings}
    return "red" if "red" in levels else "yellow" if "yellow" in levels else "green"


def as_json(findings: Sequence[Finding]) -> str:
    """All findings as one JSON object."""
    told: dict[str, Any] = {
        "worst": worst(findings),
        "checks": [msgspec.to_builtins(finding) for finding in findings],
    }
    return json.dumps(told, indent=1, ensure_ascii=False)
