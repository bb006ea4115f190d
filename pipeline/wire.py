"""Items as ZeroMQ multipart messages, for processes: msgpack, then each array as its own part.

Arrays are never copied into the msgpack body: the body holds ``[part, dtype,
shape]`` and the buffer itself travels behind it. Threads need none of it (``pipeline.parcels``).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np

from pipeline import shapes
from pipeline.known import known
from pipeline.messages import Camera, End, Notice, Restarted, Sync
from stages.items import (
    Blink,
    Curves,
    Event,
    Face,
    FaceState,
    Frame,
    Interval,
    Stride,
    WindowEnd,
)

Items = Frame | Face | FaceState | Blink | Curves | WindowEnd | Stride | Interval | Event
Wire = Items | Camera | End | Restarted | Sync | Notice
Buffer = bytes | memoryview

_DTYPES: dict[str, np.dtype[Any]] = {
    "u1": np.dtype(np.uint8),
    "f4": np.dtype(np.float32),
    "f8": np.dtype(np.float64),
}
_MAX_BYTES = 128 * 1024 * 1024  # of an array, as sockets.MOST_BYTES; an 8K image has 100 million
_MAX_BODY = 1024 * 1024
_MAX_PARTS = 1024
_LONGEST_REASON = 200  # it may quote the message


class WireError(ValueError):
    """Bytes that are not a message of ours."""


_T = TypeVar("_T")


class _ArrayRef(msgspec.Struct, array_like=True, frozen=True):
    part: int
    dtype: str
    shape: list[int]


def encode(item: msgspec.Struct) -> list[Buffer]:
    """``item``, a ``Wire`` as a rule, as message parts; array buffers are borrowed, not copied."""
    arrays: list[Buffer] = []

    def hook(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"cannot send a {type(value).__name__}")
        contiguous = np.ascontiguousarray(value)
        arrays.append(contiguous.data.cast("B") if contiguous.size else b"")
        return _ArrayRef(len(arrays), contiguous.dtype.str[1:], list(contiguous.shape))

    body = msgspec.msgpack.encode(item, enc_hook=hook)
    return [body, *arrays]


def _array(value: Any, parts: list[Any]) -> np.ndarray[Any, Any]:
    ref = msgspec.convert(value, known(_ArrayRef))
    dtype = _DTYPES.get(ref.dtype)
    if dtype is None or not 0 < ref.part < len(parts) or len(ref.shape) > 4:
        raise WireError("malformed array reference")
    if not all(0 < n <= _MAX_BYTES for n in ref.shape):
        raise WireError("an array's size is not above 0, or too large")
    size = dtype.itemsize
    for n in ref.shape:
        size *= n
    buffer = memoryview(parts[ref.part])
    if size > _MAX_BYTES or buffer.nbytes != size:
        raise WireError("array size does not match its part")
    array: np.ndarray[Any, Any] = np.frombuffer(buffer, dtype).reshape(ref.shape)
    return array


def decode(parts: list[Any]) -> Wire:
    """The item in ``parts``, as ``decode_as``, with arrays that the stages can work on.

    Raises:
        WireError: anything malformed.
    """
    item: Wire = decode_as(parts, Wire)
    try:
        shapes.check(item)
    except ValueError as error:
        raise WireError(str(error)[:_LONGEST_REASON]) from None
    return item


def decode_as(parts: list[Any], kind: Any) -> Any:
    """The ``kind`` in ``parts`` (bytes, memoryviews or zmq frames' buffers).

    Arrays are read-only views of the parts; nothing is allocated by what the body claims.

    Raises:
        WireError: anything malformed.
    """
    if not 0 < len(parts) <= _MAX_PARTS:
        raise WireError("empty or oversized message")
    if memoryview(parts[0]).nbytes > _MAX_BODY:
        raise WireError("oversized body")

    def hook(kind: type, value: Any) -> Any:
        return _array(value, parts)

    try:
        return msgspec.msgpack.decode(parts[0], type=known(kind), dec_hook=hook)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(str(error)[:_LONGEST_REASON]) from None
