"""Zip files that others wrote (prototypes, workbooks, samples): bounded before they are read."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_TAIL = 22 + 65_535  # bytes in which a zip file's end record must begin
_END, _END64 = b"PK\x05\x06", b"PK\x06\x07"


def check_zip(path: Path, most: int, unpacked: int, members: int) -> None:
    """Pass a zip file that is small enough, also unpacked; no member is read.

    Args:
        most: bytes of the file itself.
        unpacked: bytes that its members may state altogether.
        members: how many it may have.

    Raises:
        ValueError: it is larger, or its members are not stored or deflated.
        OSError: it cannot be read.
        zipfile.BadZipFile: it is no zip file.
    """
    if path.stat().st_size > most:
        raise ValueError(f"larger than {most // 1_000_000} MB")
    _check_directory(path, members)
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (NotImplementedError, EOFError, struct.error) as error:
        raise ValueError(str(error)) from None
    if sum(member.file_size for member in found) > unpacked:
        raise ValueError(f"unpacked larger than {unpacked // 1_000_000} MB")
    if any(member.compress_type not in (0, zipfile.ZIP_DEFLATED) for member in found):
        raise ValueError("a member is not deflated")


def _check_directory(path: Path, members: int) -> None:
    """Bound the list of members, which ``zipfile`` reads whole."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
    if _END64 in tail:
        raise ValueError("of the zip64 kind, which is for larger ones")
    place = tail.find(_END)
    while place >= 0:
        listed = int.from_bytes(tail[place + 12 : place + 16], "little")  # bytes of the list
        if listed > 512 * members:
            raise ValueError(f"more than {members} members")
        place = tail.find(_END, place + 1)


def array_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and kind of the array that a ``.npy`` member of ``size`` bytes holds.

    Raises:
        ValueError: it is no plain array of version 1.0, or claims more than its member holds.
    """
    try:
        if np.lib.format.read_magic(stream) != (1, 0):  # type: ignore[no-untyped-call]
            raise ValueError("not a version 1.0 array")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of headers as Python 2 wrote them
            shape, _, kind = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    except (
        UserWarning,
        SyntaxError,
        TypeError,
        RecursionError,
        MemoryError,
        tokenize.TokenError,
    ) as error:
        raise ValueError(f"malformed array header: {type(error).__name__}") from None
    if kind.hasobject or any(isinstance(n, bool) or not 0 <= n <= size for n in shape):
        raise ValueError("no plain array")
    if math.prod(shape) * max(kind.itemsize, 1) > size:
        raise ValueError("an array larger than its member")
    return shape, kind


def read_arrays(path: Path, most: int, members: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, none of them pickled.

    Args:
        most: bytes of the file, and of all arrays.
        members: how many arrays it may have.

    Raises:
        ValueError: larger, or a member is damaged or no array.
        OSError: it cannot be read.
        zipfile.BadZipFile: it is no zip file.
    """
    check_zip(path, most, most, members)
    found: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            try:
                content = archive.read(member)
            except (RuntimeError, EOFError, zlib.error, NotImplementedError) as error:
                raise ValueError(f"{member.filename}: {error}") from None
            array_header(io.BytesIO(content), len(content))
            array = np.load(io.BytesIO(content), allow_pickle=False)
            found[member.filename.removesuffix(".npy")] = array
    return found
