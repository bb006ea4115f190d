"""Items that the wire lets through, and yet make no sense: a stage drops them and goes on."""

from __future__ import annotations

import random
import resource
import time
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline import routing
from pipeline.build import build
from pipeline.config import load
from pipeline.publish import Messages
from pipeline.wire import WireError, decode
from stages.items import Frame, Stamp
from tests.fuzz.hostile import SMALL, damaged_tree
from tests.fuzz.messages import ITEMS, wire

_NUMBERS = [*(-1.0, 0.0, 1.0, 1e9, -1e10, 1e10, 0.04, 2**53, -(2**53), 2**31, 7, 8, 1e-300), *SMALL]


def _hostile(draw: random.Random, number: int) -> Any:
    """An item within bounds, fields of which are not what they should be; None: refused."""
    body, *arrays = wire(draw.choice(ITEMS))
    tree = msgspec.msgpack.decode(body)
    if isinstance(tree.get("stamp"), dict) and draw.random() < 0.7:  # a stream that goes on
        tree["stamp"] |= {"frame": number, "pts": number / 30}
    values = [draw.randbytes(8)] if draw.random() < 0.01 else _NUMBERS
    tree = damaged_tree(tree, draw, draw.choice([0, 1, 2]), values)
    try:
        return decode([msgspec.msgpack.encode(tree), *arrays])
    except (WireError, OverflowError):
        return None


@pytest.mark.parametrize("name", ["motion", "spot", "classify"])
def test_a_stage_drops_what_makes_no_sense_and_goes_on(name: str) -> None:
    draw = random.Random(5)
    stage = build(name, load(model=[]))
    seen: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(120):
        item = _hostile(draw, number)
        try:
            if item is None:
                raise WireError("refused")
            routing.check_place(item, "feedback" if type(item).__name__ == "Stride" else name)
        except WireError:
            seen["refused"] += 1
            continue
        begin = time.process_time()
        try:
            list(routing.step(name, stage, item))
            seen["taken"] += 1
        except Exception as error:  # noqa: BLE001  as the node: counted, said once, dropped
            seen[type(error).__name__] += 1
        assert time.process_time() - begin < 20
    list(stage.flush())
    assert seen["taken"] > 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize("shape", [(1, 1), (1, 16_384, 3), (16_384, 1), (17, 3, 3), (640, 480, 3)])
def test_an_image_of_any_size_that_passes_the_wire_aborts_nothing(shape: tuple[int, ...]) -> None:
    stage = build("face", load())
    noise = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    frame = Frame(Stamp("cam", 0, 0.0, 1, 1), noise)
    made = decode(wire(frame))
    assert isinstance(made, Frame)
    list(stage.process(made))


def test_the_publisher_words_whatever_passes_the_wire() -> None:
    draw = random.Random(6)
    messages = Messages("cam", (1, 2))
    counted = 0
    for number in range(1000):
        item = _hostile(draw, number)
        if item is None:
            continue
        for message in messages.of(item):
            assert msgspec.msgpack.encode(message)
            assert msgspec.json.encode(message)
            counted += 1
    assert counted > 50
