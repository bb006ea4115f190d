"""Types that msgspec decodes to, known to it before two threads meet over one.

msgspec learns what a class looks like when the class is first decoded to, in Python code that
other threads interrupt; one that decodes to the same class meanwhile finds half of it, and the
process dies by a null pointer (msgspec 0.22; met once in a live run, and in 10 of 60 processes
that were made to try).
"""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

_T = TypeVar("_T")

_LOCK = threading.Lock()
_known: set[object] = set()


def known(kind: _T) -> _T:
    """``kind``, a type to decode to, once msgspec knows all of it: one thread learns, others wait.

    Whatever is decoded in this project says ``type=known(...)``.

    Raises:
        TypeError: msgspec cannot decode to it.
    """
    if kind not in _known:
        with _LOCK:
            msgspec.msgpack.Decoder(kind)  # what is learnt stays with the classes
            _known.add(kind)
    return kind
