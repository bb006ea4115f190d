"""Which mespot wrote a file."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed version; "unknown" where it runs without being installed."""
    try:
        return metadata.version("mespot")
    except metadata.PackageNotFoundError:
        return "unknown"
