"""Pictures as PNG files and as HTML pages that stand by themselves."""

from __future__ import annotations

import base64
import html
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
_PAGES = (".html", ".htm")


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as a PNG file's bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def image(figure: Figure, words: str) -> str:
    """The figure as an HTML element that holds the picture itself."""
    data = base64.b64encode(png(figure)).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page of ``parts`` that names no other address."""
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;"
        "color:#222;background:#fff}img{max-width:100%;height:auto}"
        "table{border-collapse:collapse;margin:1em 0}th,td{text-align:left;padding:.3em .9em;"
        "border-bottom:1px solid #ccc;vertical-align:top}"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n<body>"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def is_page(out: Path) -> bool:
    """Whether ``out`` is to be an HTML page."""
    return out.suffix.lower() in _PAGES


def check_out(out: Path) -> None:
    """Refuse a file that cannot be written before any work is done.

    Raises:
        UserError: neither PNG nor HTML, no such folder, or not to be written to.
    """
    if out.suffix.lower() != ".png" and not is_page(out):
        raise UserError(f"--out {out}: a .png or an .html file is needed")
    _check_place(out)


def check_page(out: Path) -> None:
    """As ``check_out``, for a page alone.

    Raises:
        UserError: no HTML, no such folder, or not to be written to.
    """
    if not is_page(out):
        raise UserError(f"--out {out}: an .html file is needed")
    _check_place(out)


def _check_place(out: Path) -> None:
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UserError(f"--out {out}: cannot be written")


def replace(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that takes its place whole: what stood there stays until then.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            unfinished = Path(file.name)
            try:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                unfinished.chmod(0o666 & ~_umask())
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write(path: Path, content: bytes | str) -> None:
    """Write a picture or page.

    Raises:
        UserError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written: {error.strerror}") from None
