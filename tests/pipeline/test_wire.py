from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.messages import End, Restarted, Sync
from pipeline.wire import WireError, decode, encode
from stages.items import (
    EYE_SHAPE,
    FACE_SHAPE,
    MOUTH_SHAPE,
    Column,
    Curves,
    Event,
    Evidence,
    Face,
    Frame,
    Interval,
    Reading,
    Stamp,
    Stride,
    WindowEnd,
)

STAMP = Stamp("cam", 7, 0.25, 123, 456)
CROPS = [EYE_SHAPE, MOUTH_SHAPE] * 3 + [FACE_SHAPE] * 3


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, msgspec.Struct) and type(a) is type(b):
        return all(_same(getattr(a, f), getattr(b, f)) for f in a.__struct_fields__)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


ITEMS = [
    Frame(STAMP, np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
    Face(
        STAMP,
        1,
        np.ones((240, 280), np.uint8),
        np.zeros((160, 260), np.uint8),
        np.linspace(0, 1, 936, dtype=np.float32).reshape(468, 2),
        180.5,
        0.3,
        (1.0, -2.0, 3.5),
    ),
    Face(
        STAMP,
        1,
        np.ones((240, 280), np.uint8),
        np.zeros((160, 260), np.uint8),
        np.zeros((468, 2), np.float32),
        180.5,
        0.3,
        (1.0, -2.0, 3.5),
        np.full((224, 224), 9, np.uint8),
    ),
    Curves(STAMP, 0, [], whole=np.full((224, 224), 9, np.uint8)),
    Interval(
        "a/0/0-1",
        0,
        "final",
        "micro",
        STAMP,
        STAMP,
        STAMP,
        [],
        STAMP,
        3,
        evidence=Evidence(*(np.full(shape, k, np.uint8) for k, shape in enumerate(CROPS))),
    ),
    Curves(STAMP, 0, [Column(3, np.float32([1, 2, 3])), Column(9, np.float32([4, 5, 6]))]),
    Curves(STAMP, 0, [Column(3, np.float32([1]), np.ones((2, 5), np.float32))], shut=True),
    WindowEnd(STAMP, 0, 3, "full"),
    Stride(0, 3, 9, True),
    Event(
        Interval("a/0/0-1", 0, "apex", "unknown", None, STAMP, None, [], STAMP, 3), [], "p@1", []
    ),
    Event(
        Interval("a/0/0-1", 0, "update", "micro", None, STAMP, None, [], STAMP, 3),
        [Reading("map", "positive", scores={"positive": 1.0}, training="x", aus={"4": 0.5})],
        "p@1",
        ["map@1"],
    ),
    End("cam", "cut short"),
    Restarted("cam", "face"),
    Sync(4),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_every_item_survives_the_wire(item: object) -> None:
    assert _same(decode([bytes(part) for part in encode(item)]), item)


def test_arrays_are_neither_copied_out_nor_in() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    parts = encode(Frame(STAMP, image))
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), image)
    back = decode(list(parts))
    assert isinstance(back, Frame)
    assert np.shares_memory(back.image, image)


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_foreign_bytes_raise_wire_error_only(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(list(parts))


@pytest.mark.parametrize(
    "body",
    [
        [9, "u1", [3, 4]],
        [1, "O8", [3, 4]],
        [1, "u1", [3, 5]],
        [1, "u1", [-3, -4]],
        [1, "u1", [1, 1, 1, 3, 4]],
        [0, "u1", [3, 4]],
        "array",
    ],
)
def test_array_references_are_checked(body: object) -> None:
    raw = msgspec.to_builtins(STAMP)
    head = msgspec.msgpack.encode({"type": "Frame", "stamp": raw, "image": body})
    with pytest.raises(WireError):
        decode([head, bytes(12)])
