"""Missing pictures are seen by their numbers, on streams encoded here."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest

from pipeline.sources.h264 import FrameNumbers, units


def _packets(frames: int = 60, **options: str) -> list[tuple[bytes, bool, bool]]:
    """(bytes, key frame, others need it) of each packet, parameter sets in band."""
    out = BytesIO()
    rng = np.random.default_rng(1)
    with av.open(out, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, options.pop("format", "yuv420p")
        stream.options = {"g": "25", "bf": "0", "preset": "veryfast", "sc_threshold": "0"} | options
        for _ in range(frames):
            image = rng.integers(0, 255, (64, 96, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    out.seek(0)
    with av.open(out, format="h264") as container:
        packets = [p for p in container.demux(video=0) if p.size]
        return [(bytes(p), p.is_keyframe, _needed(bytes(p))) for p in packets]


def _needed(data: bytes) -> bool:
    return any(unit[0] & 31 in (1, 5) and unit[0] >> 5 & 3 for unit in units(data))


KINDS: dict[str, dict[str, str]] = {
    "baseline": {"profile": "baseline"},
    "high": {"profile": "high"},
    "B-frames": {"bf": "2"},
    "many slices": {"slices": "4"},
    "scaling lists": {"profile": "high", "x264-params": "cqm=jvt"},
    "444": {"format": "yuv444p"},
    "long": {"g": "600"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missing_from_a_whole_stream(kind: str) -> None:
    numbers = FrameNumbers()
    packets = _packets(**KINDS[kind])
    assert len(packets) == 60
    assert not any(numbers(data) for data, _, _ in packets)


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_that_is_missing_is_missed(kind: str) -> None:
    packets = _packets(**KINDS[kind])
    for lost in range(1, 59):
        _, key, needed = packets[lost]
        if key:  # numbers begin anew at a key frame: that one is missing shows by chance
            continue
        numbers = FrameNumbers()
        seen = [numbers(data) for data, _, _ in packets[:lost]]
        after = numbers(packets[lost + 1][0])
        assert not any(seen)
        assert after is (needed and not packets[lost + 1][1]), (lost, len(packets[lost][0]))


def test_parameters_may_come_apart_from_the_stream() -> None:
    packets = _packets()
    parameters = b"".join(b"\0\0\1" + unit for unit in units(packets[0][0]) if unit[0] & 31 == 7)
    numbers = FrameNumbers()
    assert not numbers(parameters)
    assert not numbers(packets[1][0])
    assert numbers(packets[4][0])


def test_any_bytes_are_taken() -> None:
    numbers = FrameNumbers()
    rng = np.random.default_rng(2)
    whole = _packets(30)
    for _ in range(2000):
        data = bytearray(whole[rng.integers(len(whole))][0])
        for k in rng.integers(0, len(data), 5):
            data[k] = rng.integers(256)
        numbers(bytes(data[: rng.integers(len(data))]))
    for length in range(40):
        numbers(b"\0\0\1" + bytes(rng.integers(0, 256, length, np.uint8)))


def test_units_are_split_at_start_codes() -> None:
    data: Any = b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\1\x65"
    assert [unit[:1] for unit in units(data)] == [b"\x67", b"\x68", b"\x65"]
    assert list(units(b"no code")) == []
