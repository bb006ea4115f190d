"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import UserError


@contextlib.contextmanager
def whole(*targets: Path) -> Iterator[Sequence[Path]]:
    """Temporary files beside ``targets``, which take their places when the block ends well.

    Raises:
        UserError: a target cannot be written; earlier files stay as they were.
    """
    for target in targets:
        if target.exists() and not target.is_file():
            raise UserError(f"{target}: is there already, and is no file")
    parts = [target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets]
    try:
        yield parts
        for part in parts:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    except OSError as error:
        name = ", ".join(map(str, targets))
        raise UserError(f"{name}: cannot be written: {error.strerror or error}") from None
    finally:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
