"""Numba's compiled kernels on disk: whether the next start finds them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_ENOUGH = 20  # fewer of them, and a start compiles


@dataclass(frozen=True)
class Kernels:
    """What is kept in ``folder``.

    Attributes:
        folder: of the cache; it need not exist.
        kept: compiled kernels.
        fresh: those that are newer than their source.
        writable: whether more can be kept.
    """

    folder: Path
    kept: int
    fresh: int
    writable: bool

    @property
    def cold(self) -> bool:
        """Whether the next start compiles, for a minute or so."""
        return (self.fresh if self.writable else self.kept) < _ENOUGH


def kernels() -> Kernels:
    """What is kept now."""
    import stages

    given = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(stages.__file__).parent
    folder = Path(given) if given else home / "__pycache__"
    kept = list(folder.rglob("*.nbi")) if folder.is_dir() else []
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    written = {path.stem: path.stat().st_mtime for path in home.glob("*.py")}
    newest = max(written.values(), default=0.0)
    # module.function-line.py311.nbi
    fresh = sum(p.stat().st_mtime >= written.get(p.name.split(".")[0], newest) for p in kept)
    return Kernels(folder, len(kept), fresh, os.access(place, os.W_OK))
