"""Messages from sockets: valid ones made hostile, and what the stages say of those let through."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import arrived
from pipeline.wire import WireError, decode
from stages.items import Frame
from tests.fuzz.hostile import damaged_bytes, damaged_tree, draws, few, fuzzed
from tests.fuzz.messages import COMMANDS, ITEMS, PUBLISHED, REPORTS, STAMP, wire

_ROOT = Path(__file__).parents[2]


def _decoded(decoder: Callable[[list[bytes]], Any], parts: list[bytes]) -> Any:
    """What the decoder gives, or None where it refuses; anything else fails the test."""
    try:
        return decoder(parts)
    except WireError:
        return None


@given(st.sampled_from(ITEMS), draws, few)
@fuzzed(500)
def test_an_item_with_hostile_fields_is_refused_or_within_bounds(
    item: Any, draw: Random, times: int
) -> None:
    body, *arrays = wire(item)
    tree = damaged_tree(msgspec.msgpack.decode(body), draw, times)
    found = _decoded(decode, [msgspec.msgpack.encode(tree), *arrays])
    if found is None:
        return
    stamp = getattr(found, "stamp", STAMP)
    assert abs(stamp.pts) <= 1e10
    assert len(stamp.stream) <= 1000
    assert getattr(found, "face", 0) >= 0
    if isinstance(found, Frame):
        assert found.image.dtype == np.uint8
        assert 0 < max(found.image.shape[:2]) <= 16_384


@given(st.sampled_from(ITEMS), draws, few)
@fuzzed(500)
def test_an_item_with_damaged_bytes_or_parts_is_refused_or_read(
    item: Any, draw: Random, times: int
) -> None:
    parts = wire(item)
    for _ in range(times):
        at = draw.randrange(len(parts)) if parts else 0
        what = draw.randrange(4)
        if what == 0:
            parts[at:at] = [draw.randbytes(draw.choice([0, 1, 100]))] * draw.choice([1, 3, 2000])
        elif what == 1 and parts:
            del parts[at]
        elif parts:
            parts[at] = damaged_bytes(parts[at], draw, times)
    _decoded(decode, parts)


@given(st.sampled_from([*REPORTS, *COMMANDS]), draws, few)
@fuzzed(400)
def test_reports_and_commands_are_refused_or_read(said: Any, draw: Random, times: int) -> None:
    decoder: Any = arrived.command if said in COMMANDS else arrived.report
    body = msgspec.msgpack.encode(said)
    tree = damaged_tree(msgspec.msgpack.decode(body), draw, times)
    _decoded(decoder, [msgspec.msgpack.encode(tree)])
    _decoded(decoder, [damaged_bytes(body, draw, times)] * draw.choice([1, 1, 1, 0, 2]))


@given(st.sampled_from(PUBLISHED), draws, few)
@fuzzed(400)
def test_a_client_refuses_or_reads_what_a_publisher_sends(
    parts: list[bytes], draw: Random, times: int
) -> None:
    name, body = parts
    tree = damaged_tree(msgspec.msgpack.decode(body), draw, times)
    found = _decoded(arrived.published, [name, msgspec.msgpack.encode(tree)])
    if found is not None and found[1]["type"] == "event":
        from pipeline.console import event_line

        assert event_line(found[1])
    _decoded(arrived.published, [damaged_bytes(part, draw, times) for part in parts])


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa4type" + b"\x91" * 200_000,  # nested without end: a RecursionError
        b"\x81\xa4type\xa2\xee\xee",  # no UTF-8: a UnicodeDecodeError, which is no MsgspecError
        b"\x81\xa1x\xdd\xff\xff\xff\xff",  # a list of four thousand million
        b"\x82" * 2_000_000,
        b"",
        b"\xc1",
    ],
)
def test_what_msgpack_itself_stumbles_over_is_a_wire_error(body: bytes) -> None:
    for decoder in (decode, arrived.report, arrived.command):
        with pytest.raises(WireError):
            decoder([body])
    with pytest.raises(WireError):
        arrived.published([b"event.a", body])


@pytest.mark.parametrize(
    "shape",
    [
        [0, 2**63],
        [2**62, 4],
        [2**32, 2**32],
        [2**20, 2**20, 3],
        [40_000, 2],
        [8, 8, 4],
        [64],
        [0, 0],
    ],
)
def test_sizes_are_bounded_before_anything_is_allocated(shape: list[int]) -> None:
    body, pixels = wire(Frame(STAMP, np.zeros((200, 400), np.uint8)))
    tree = msgspec.msgpack.decode(body)
    tree["image"][2] = shape
    with pytest.raises(WireError):
        decode([msgspec.msgpack.encode(tree), pixels])


def test_a_client_keeps_what_a_later_version_may_add() -> None:
    name, body = PUBLISHED[0]
    later = msgspec.msgpack.decode(body) | {"confidence": 0.5}
    assert arrived.published([name, msgspec.msgpack.encode(later)])[1]["confidence"] == 0.5
    other = msgspec.msgpack.encode({"v": 1, "type": "gaze", "at": [1, 2]})
    assert arrived.published([b"gaze.cam", other]) == (
        "gaze.cam",
        {"v": 1, "type": "gaze", "at": [1, 2]},
    )


def test_coverage_guided_fuzzing_of_the_wire_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed (no wheel for this platform)")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.wire",
            "-runs=10000",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"Done 10000 runs", done.stderr)
    assert not list(tmp_path.iterdir())
