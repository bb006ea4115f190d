"""Which of the packages that mespot names are installed, and in which versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pipeline

NAME = "mespot"
EXTRAS = ("lab", "metrics", "page", "ray", "datasets", "train")
_CONSTRAINTS = Path(pipeline.__file__).resolve().parent.parent / "constraints.txt"


@dataclass(frozen=True)
class Need:
    """A requirement that is not met."""

    wanted: str  # as mespot names it
    found: str  # the version installed; "" for none


def unmet(extra: str = "") -> list[Need]:
    """Requirements that are not met: of mespot itself, or of an extra alone.

    Raises:
        PackageNotFoundError: mespot itself is not installed as a package.
    """
    from packaging.requirements import Requirement

    missing = []
    for line in metadata.requires(NAME) or []:
        need = Requirement(line)
        applies = need.marker is None or need.marker.evaluate({"extra": extra})
        always = need.marker is None or need.marker.evaluate({"extra": ""})
        if not applies or (extra and always) or need.name == NAME:
            continue
        found = installed(need.name)
        if not found or not need.specifier.contains(found, prereleases=True):
            missing.append(Need(f"{need.name}{need.specifier}", found))
    return missing


def installed(name: str) -> str:
    """The version of a package; "" where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def untested(names: Iterable[str]) -> list[str]:
    """Which of these packages are in another version than the tested one, in words.

    The tested ones are known where mespot runs from its checkout.
    """
    try:
        lines = _CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    tested = dict(line.split("==", 1) for line in lines if "==" in line and line[0] != "#")
    said = []
    for name in names:
        found, wanted = installed(name), tested.get(name, "").split(";")[0].strip()
        if found and wanted and found != wanted:
            said.append(f"{name} {found} (tested: {wanted})")
    return said


def direct() -> list[str]:
    """The packages that mespot itself always needs."""
    from packaging.requirements import Requirement

    needs = [Requirement(line) for line in metadata.requires(NAME) or []]
    return [n.name for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
