"""What msgspec decodes to may be met by several threads at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pipeline.known import known

ROOT = Path(__file__).parents[2]
# each class is decoded to for the first time by four threads at once, which are made to take turns
# as often as can be
SCRIPT = """
import sys, threading, typing
import msgspec
from pipeline.known import known
of = known if sys.argv[1] == "known" else lambda kind: kind
sys.setswitchinterval(1e-6)
for n in range(60):
    number = typing.Annotated[float, msgspec.Meta(ge=0)]
    inner = msgspec.defstruct("Inner", [(f"f{i}", number, 0.0) for i in range(20)])
    outer = msgspec.defstruct("Outer", [(f"p{i}", inner | None, None) for i in range(20)])
    body = msgspec.msgpack.encode(outer(*[inner() for _ in range(20)]))
    together = threading.Barrier(4)
    def decode():
        together.wait()
        for _ in range(20):
            assert msgspec.msgpack.decode(body, type=of(outer)) == outer(*[inner()] * 20)
    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print("lived")
"""


def _lives(how: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode == 0 and done.stdout == "lived\n" and not done.stderr


def test_threads_may_decode_to_a_new_type_at_once() -> None:
    assert all(_lives("known") for _ in range(3))
    if all(_lives("bare") for _ in range(3)):
        pytest.skip("this msgspec is fit for threads by itself: pipeline.known can go")


def test_every_type_that_is_decoded_to_is_known() -> None:
    """As a rule of the sources: whoever decodes says so (models and stages know no threads)."""
    decodes = re.compile(r"msgspec\.(?:msgpack|json)\.(?:decode\([^;]*?type=|Decoder\()(\w+)", re.S)
    converts = re.compile(r"msgspec\.convert\([^,]+,\s*(?:type=)?(\w+)")
    seen = 0
    for folder in ("pipeline", "bench"):
        for file in (ROOT / folder).rglob("*.py"):
            if file == ROOT / "pipeline" / "known.py":
                continue
            for call in re.split(r"(?=msgspec\.)", file.read_text()):
                # up to the end of its statement
                call = call.split("\n    except")[0].split("\n\n")[0]
                for found in (decodes.match(call), converts.match(call)):
                    if found:
                        assert found[1] == "known", f"{file}: {call[:80]}"
                        seen += 1
    assert seen > 20


def test_a_type_that_cannot_be_decoded_to_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(TypeError):
            known(dict[list[int], set[dict[str, int]] | frozenset[int]])
    assert known(tuple[int, str]) == tuple[int, str]
    assert msgspec.json.decode(b"[1, 2]", type=known(list[int])) == [1, 2]
