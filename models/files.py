"""Files that others wrote: bounded before they are read, and within the folder they belong to."""

from __future__ import annotations

from pathlib import Path

from models.errors import UserError

MOST_TEXT = 200_000_000  # bytes of a table or an events file


def read_bytes(path: Path, most: int, what: str) -> bytes:
    """The content of ``path``; no more than ``most`` bytes are read, whatever it is.

    Args:
        what: for the message, such as "a table of labels".

    Raises:
        UserError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"{path}: cannot be read: {_said(error)}") from None
    if len(content) > most:
        raise UserError(f"{path}: larger than {what} can be ({most // 1_000_000} MB)")
    return content


def read_text(path: Path, what: str, most: int = MOST_TEXT) -> str:
    """The UTF-8 text of ``path``, with its line ends as ``\\n``; a byte order mark is dropped.

    Raises:
        UserError: as ``read_bytes``, or it is no UTF-8 text; ``what`` says what is wanted.
    """
    try:
        text = read_bytes(path, most, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); give {what}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def within(path: Path, folder: Path) -> bool:
    """Whether ``path`` lies in ``folder`` also when links and ``..`` are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL in the name
        return False


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
