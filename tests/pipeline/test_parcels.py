"""Items handed from thread to thread: the same object, once, and nothing else by mistake."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.messages import End, Sync
from pipeline.parcels import Parcels
from pipeline.wire import WireError, encode
from stages.items import Frame, Stamp

FRAME = Frame(Stamp("cam", 7, 0.25, 123, 456), np.zeros((2, 3), np.uint8))


def test_the_item_itself_arrives_once() -> None:
    parcels = Parcels()
    first, second = parcels.put(FRAME), parcels.put(Sync(1))
    assert parcels.take(second) == Sync(1)
    assert parcels.take(memoryview(first)) is FRAME
    with pytest.raises(WireError):
        parcels.take(first)


def test_encoded_items_are_told_apart() -> None:
    assert Parcels.is_one(Parcels().put(FRAME))
    assert not any(Parcels.is_one(encode(item)[0]) for item in (FRAME, Sync(1), End("cam")))
    assert not Parcels.is_one(b"")


def test_threads_never_share_a_number() -> None:
    parcels = Parcels()
    sent: dict[int, list[bytes]] = {}

    def put(who: int) -> None:
        sent[who] = [parcels.put(Sync(1000 * who + i)) for i in range(500)]

    threads = [threading.Thread(target=put, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for who, messages in sent.items():
        assert [parcels.take(m) for m in messages] == [Sync(1000 * who + i) for i in range(500)]
