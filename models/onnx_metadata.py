"""An ONNX file's metadata without its weights: the few fields of protobuf that it takes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

_METADATA = 14  # of ModelProto: metadata_props, a key (1) and a value (2) each
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10
_MOST_FIELDS = 100_000  # of one message; a model has a dozen beside its metadata
_MOST_BYTES = 1_000_000  # of all metadata

Buffer = mmap.mmap | bytes


def read_metadata(path: Path) -> dict[str, str]:
    """The ``metadata_props`` of the model at ``path``; weights are skipped, not read.

    Raises:
        ValueError: the file is not protobuf, or its metadata are larger than 1 MB.
        OSError: it cannot be read.
    """
    pairs: list[tuple[str, str]] = []
    room = _MOST_BYTES
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for field, begin, end in _fields(data):
            if field == _METADATA:
                room -= end - begin
                if room < 0:
                    raise ValueError(f"more than {_MOST_BYTES} bytes of metadata")
                pairs.append(_pair(data[begin:end]))
    return dict(pairs)


def _pair(entry: bytes) -> tuple[str, str]:
    parts = {field: entry[a:b].decode() for field, a, b in _fields(entry)}
    return parts.get(1, ""), parts.get(2, "")


def _fields(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field that holds bytes."""
    place = 0
    for _ in range(_MOST_FIELDS):
        if place >= len(data):
            return
        tag, place = _varint(data, place)
        begin, kind = place, tag & 7
        if kind == _VARINT:
            _, place = _varint(data, place)
        elif kind in (_EIGHT, _FOUR):
            place += 8 if kind == _EIGHT else 4
        elif kind == _BYTES:
            size, begin = _varint(data, place)
            place = begin + size
        else:
            raise ValueError(f"wire type {kind}")
        if place > len(data):
            raise ValueError("cut short")
        if kind == _BYTES:
            yield tag >> 3, begin, place
    raise ValueError(f"more than {_MOST_FIELDS} fields")


def _varint(data: Buffer, place: int) -> tuple[int, int]:
    """A number of variable length at ``place``, and the place behind it."""
    value = 0
    for i, byte in enumerate(data[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, place + i + 1
    raise ValueError("an endless number")
