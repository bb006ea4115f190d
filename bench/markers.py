"""Tables between markers of a Markdown document: ``<!-- bench:NAME -->`` to ``<!-- /bench -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from models.errors import UserError

_PART = re.compile(r"(<!-- bench:([a-z-]+) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)
_OPENED = re.compile(r"<!-- bench:([a-z-]+) -->")


def rewritten(text: str, parts: Mapping[str, str]) -> str:
    """``text`` with the parts that are given put in; all else is left as it is.

    Raises:
        ValueError: a marker is not closed before the next, or stands twice.
    """
    names = _OPENED.findall(text)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"bench:{min(twice)} stands there twice")
    for match in _PART.finditer(text):
        if _OPENED.search(match[3]):
            raise ValueError(f"bench:{match[2]} is not closed by <!-- /bench -->")
    if len(names) != len(_PART.findall(text)):
        raise ValueError(f"bench:{names[-1]} is not closed by <!-- /bench -->")

    def put(match: re.Match[str]) -> str:
        body = parts.get(match[2])
        return match[0] if body is None else f"{match[1]}{body.strip()}\n{match[4]}"

    return _PART.sub(put, text)


def rewrite(path: Path, parts: Mapping[str, str]) -> list[str]:
    """Put ``parts`` into the document; the names that it has no place for.

    Raises:
        UserError: it cannot be read or written, or its markers are wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
        made = rewritten(text, parts)
        path.write_text(made, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--into {path}: {reason}") from None
    except ValueError as error:
        raise UserError(f"--into {path}: {error}") from None
    held = set(_OPENED.findall(text))
    return [name for name in parts if name not in held]
