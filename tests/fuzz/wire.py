"""Coverage-guided fuzzing of what sockets bring: ``python -m tests.fuzz.wire [libFuzzer options]``.

Such as ``-max_total_time=60``. An input is the number of a decoder and length-prefixed
parts; valid messages are the seeds. Anything but a value or a ``WireError`` is a crash.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["pipeline.wire", "pipeline.arrived", "pipeline.shapes"]):
    from pipeline import arrived, routing
    from pipeline.sockets import NODES
    from pipeline.wire import WireError, decode, encode

import msgspec

from tests.fuzz.hostile import SMALL, damaged_tree
from tests.fuzz.messages import COMMANDS, ITEMS, PUBLISHED, REPORTS, wire

_LARGE = 5_000  # bytes; a message grown beyond is not grown further
_PLACES = [*NODES[1:], "feedback"]


def pack(kind: int, parts: list[bytes]) -> bytes:
    """An input of the fuzzer: decoder, number of parts, lengths, parts."""
    lengths = b"".join(len(part).to_bytes(3, "big") for part in parts)
    return bytes([kind, len(parts)]) + lengths + b"".join(parts)


def unpack(data: bytes) -> tuple[int, list[bytes]]:
    """The inverse of ``pack``, for any bytes."""
    if len(data) < 2:
        return 0, [data]
    kind, count = data[0], data[1]
    place = 2 + 3 * count
    parts = []
    for n in range(count):
        length = int.from_bytes(data[2 + 3 * n : 5 + 3 * n], "big")
        parts.append(data[place : place + length])
        place += length
    return kind, parts


def items(parts: list[bytes]) -> None:
    """As a node takes an item: decoded, in its place, and fit to be sent on."""
    item = decode(list(parts))
    for place in _PLACES:
        try:
            routing.check_place(item, place)
        except WireError:
            continue
    encode(item)


DECODERS: list[Any] = [items, arrived.report, arrived.command, arrived.published]


def one(data: bytes) -> None:
    """One input of the fuzzer."""
    kind, parts = unpack(data)
    try:
        DECODERS[kind % len(DECODERS)](parts)
    except WireError:
        return


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Half of the time libFuzzer's own bytes; else a message's fields, which bytes seldom reach."""
    draw = random.Random(seed)
    kind, parts = unpack(data)
    at = -1 if kind % len(DECODERS) == 3 else 0  # behind the topic
    if not parts or len(parts[at]) > _LARGE or draw.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    try:
        tree = msgspec.msgpack.decode(parts[at])
        parts[at] = msgspec.msgpack.encode(
            damaged_tree(tree, draw, draw.choice([1, 1, 2, 4]), SMALL)
        )
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return bytes(atheris.Mutate(data, most))
    return pack(kind, parts)[:most]


def seeds() -> list[bytes]:
    """Valid messages as inputs."""
    made = [pack(0, wire(item)) for item in ITEMS]
    made += [pack(1, [msgspec.msgpack.encode(report)]) for report in REPORTS]
    made += [pack(2, [msgspec.msgpack.encode(command)]) for command in COMMANDS]
    return made + [pack(3, parts) for parts in PUBLISHED]


def main() -> None:
    """Fuzz until libFuzzer's options say so."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            (Path(folder) / f"{number:02}").write_bytes(seed)
        limits = ["-max_len=300000", "-rss_limit_mb=2048", "-malloc_limit_mb=512", "-timeout=20"]
        command = [sys.argv[0], *limits, *sys.argv[1:], folder]
        atheris.Setup(command, one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
