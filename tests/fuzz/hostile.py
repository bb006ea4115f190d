"""How valid artefacts are made hostile: trees with foreign values, texts and bytes with damage."""

from __future__ import annotations

import copy
import math
import os
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_TIMES = int(os.environ.get("FUZZ_TIMES", "1"))  # a longer run of the same tests


def fuzzed(examples: int) -> Any:
    """Settings of a fuzz test: so many examples, no deadline, always the same ones."""
    return settings(
        max_examples=examples * _TIMES,
        deadline=None,
        derandomize=_TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def deep(levels: int) -> Any:
    nest: Any = 0
    for _ in range(levels):
        nest = [nest]
    return nest


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 255, 256, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1),
    *(-(2**63), 0.0, -0.5, 1e9, 1e12, 1e40, 1e308, math.nan, math.inf, -math.inf),
    *(
        "",
        "0",
        "1",
        "nan",
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "\x1b[2J\n",
        "é\u202e🙂",
        "x" * 70_000,
    ),
    *([], {}, [[]], [None] * 5000, {"a": {}}, {"": ""}, deep(200)),
]


def _places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += _places(value, (*here, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            found += _places(value, (*here, index))
    return found


def _size(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (len(value) if isinstance(value, str | list) else 1) + sum(map(_size, inner))


SMALL = [value for value in VALUES if _size(value) < 500]


def damaged_tree(tree: Any, draw: random.Random, times: int, values: list[Any] = VALUES) -> Any:
    """``tree`` (dicts and lists) with values replaced, left out or doubled ``times`` times."""
    tree = copy.deepcopy(tree)
    for _ in range(times):
        place = draw.choice(_places(tree))
        if not place:
            if draw.random() < 0.1:
                tree = copy.deepcopy(draw.choice(values))
            continue
        holder = tree
        for key in place[:-1]:
            holder = holder[key]
        what = draw.random()
        if what < 0.1:
            del holder[place[-1]]
        elif what < 0.2 and isinstance(holder, list):
            holder += [holder[place[-1]]] * draw.choice([1, 2, 300] if values is VALUES else [1, 2])
        elif what < 0.3:
            other = tree
            for key in draw.choice(_places(tree)):
                other = other[key]
            holder[place[-1]] = copy.deepcopy(other)
        else:
            holder[place[-1]] = copy.deepcopy(draw.choice(values))
    return tree


_BITS = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xdd\xff\xff\xff\xff",
]


def damaged_bytes(data: bytes, draw: random.Random, times: int) -> bytes:
    """``data`` with bits flipped, parts cut, doubled, overwritten or put elsewhere."""
    made = bytearray(data)
    for _ in range(times):
        at = draw.randrange(len(made) + 1)
        end = min(len(made), at + draw.choice([1, 2, 4, 8, 64, 1000]))
        what = draw.randrange(6)
        if what == 0 and at < len(made):
            made[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            del made[at : len(made) if draw.random() < 0.3 else end]
        elif what == 2:
            made[at:at] = made[at:end] * draw.choice([1, 2, 100])
        elif what == 3:
            filling = draw.choice(_BITS)
            made[at : at + len(filling)] = filling
        elif what == 4:
            made[at:end] = draw.randbytes(end - at)
        else:
            begin = draw.randrange(len(made) + 1)
            made[at:at] = made[begin : begin + draw.choice([1, 8, 100])]
    return bytes(made)


_WORDS = [
    *(
        '"',
        "'",
        ",",
        ";",
        "\t",
        "\n",
        "\r",
        "\0",
        "-",
        "0",
        "-1",
        "nan",
        "inf",
        "1e400",
        "9" * 5000,
        "[" * 3000,
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        '{"a":' * 3000,
        "../",
        "/",
        "\\",
        "é",
        "\u202e",
        "🙂",
        "\ufeff",
        "=",
        "a" * 70_000,
    ),
]


def damaged_text(text: str, draw: random.Random, times: int) -> str:
    """``text`` with parts cut, doubled, moved or replaced by what parsers stumble over."""
    for _ in range(times):
        at = draw.randrange(len(text) + 1)
        end = min(len(text), at + draw.choice([1, 1, 2, 5, 20]))
        word = draw.choice([*_WORDS, text[at:end], ""])
        text = text[:at] + word + text[end if draw.random() < 0.7 else at :]
    return text


draws = st.integers(0, 2**64).map(random.Random)
few = st.integers(1, 4)
