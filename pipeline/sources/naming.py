"""The stream's name by SOURCE, known before it is opened."""

from __future__ import annotations

from pathlib import Path

from pipeline.redaction import redacted
from pipeline.sources.base import stream_name


def stream_of(text: str, name: str = "") -> str:
    """The name that ``open_source(text, stream=name or None)`` gives its stamps."""
    if name:
        return name
    if text.isdecimal():
        return f"cam{int(text)}"
    if text.startswith("synthetic:"):
        return "synthetic"
    if "://" in text:
        return stream_name(redacted(text).partition("://")[2])
    path = Path(text)
    return stream_name(path.resolve().name if path.is_dir() else path.stem)
