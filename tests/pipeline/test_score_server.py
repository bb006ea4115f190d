"""Recognisers that cameras share: batches over cameras, and everything that can go wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zmq

from models.errors import GpuError, UserError
from pipeline import sockets
from pipeline.score_server import Asked, ScoreServer
from pipeline.shared_scorer import SharedScorer
from pipeline.sockets import Endpoint
from pipeline.wire import encode
from stages.items import Evidence, Reading
from stages.region import EYE_SIZE, MOUTH_SIZE


def crops(value: int) -> Evidence:
    """Evidence that tells its number."""
    eye, mouth = (np.full(size[::-1], value, np.uint8) for size in (EYE_SIZE, MOUTH_SIZE))
    return Evidence(eye, mouth, eye, mouth, eye, mouth)


class Reader:
    """Reads the number back; ``gate`` holds the first inference until others wait."""

    models = ("fake@1",)
    about = ("fake@1 on CPU, trained on: nothing",)

    def __init__(self, at_once: int = 4) -> None:
        self.at_once = at_once
        self.gate = threading.Event()
        self.begun = threading.Event()

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        self.begun.set()
        assert self.gate.wait(30)
        return [[self._one(evidence)] for evidence in events]

    @staticmethod
    def _one(evidence: Evidence | None) -> Reading:
        if evidence is None:
            return Reading("fake", "", rule="not scored: no crops")
        value = int(evidence.apex_eye[0, 0])
        if value == 13:
            raise ValueError("unlucky")
        return Reading("fake", f"class{value}", scores={f"class{value}": 1.0})

    def unscored(self, cause: str) -> list[Reading]:
        return [Reading("fake", "", rule=f"not scored: {cause}")]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with sockets.private_endpoint() as made:
        yield made


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as made:
        yield made


def labels(rows: list[list[Reading]]) -> list[str]:
    return [row[0].label for row in rows]


def test_events_of_several_cameras_are_one_batch_and_each_gets_its_own(
    endpoint: Endpoint, context: zmq.Context
) -> None:
    reader = Reader(at_once=4)
    with ScoreServer(endpoint, lambda: reader) as server, ThreadPoolExecutor(8) as pool:
        cameras = [SharedScorer(context, endpoint, threading.Event()) for _ in range(5)]
        assert cameras[0].models == ["fake@1"] and cameras[0].at_once == 4
        first = pool.submit(cameras[0].score, [crops(100)])
        assert reader.begun.wait(30)  # meanwhile the others ask
        others = [pool.submit(cameras[n].score, [crops(2 * n), crops(2 * n + 1)]) for n in (1, 2)]
        others += [pool.submit(cameras[n].score, [crops(2 * n)]) for n in (3, 4)]
        wait_until_asked(pool)
        reader.gate.set()
        assert labels(first.result(30)) == ["class100"]
        got = [labels(one.result(30)) for one in others]
        assert got == [["class2", "class3"], ["class4", "class5"], ["class6"], ["class8"]]
    assert server.batches[1] >= 1 and sum(n * k for n, k in server.batches.items()) == 7
    assert max(server.batches) == 4, "what waits is one batch, whichever camera it is of"


def wait_until_asked(pool: ThreadPoolExecutor) -> None:
    """The others' questions are on their way; a second is ample, and less only merges less."""
    del pool
    threading.Event().wait(1.0)


def test_one_cameras_bad_event_costs_the_others_nothing(
    endpoint: Endpoint, context: zmq.Context
) -> None:
    reader = Reader(at_once=1)
    reader.gate.set()
    with ScoreServer(endpoint, lambda: reader):
        camera = SharedScorer(context, endpoint, threading.Event())
        with pytest.raises(RuntimeError, match="unlucky"):
            camera.score([crops(13)])
        assert labels(camera.score([crops(7)])) == ["class7"]
        assert camera.score([None])[0][0].rule == "not scored: no crops"
        assert camera.unscored("too late")[0].rule == "not scored: too late"


def test_recognisers_that_do_not_load_fail_each_camera_with_their_own_code(
    endpoint: Endpoint, context: zmq.Context
) -> None:
    def make() -> Reader:
        raise GpuError("no GPU here")

    with (
        ScoreServer(endpoint, make),
        pytest.raises(UserError, match="no GPU here") as caught,
    ):
        SharedScorer(context, endpoint, threading.Event())
    assert caught.value.exit_code == GpuError.exit_code


def test_strangers_bytes_cost_a_counter(endpoint: Endpoint, context: zmq.Context) -> None:
    reader = Reader()
    reader.gate.set()
    small = np.zeros((2, 2), np.uint8)
    wrong = Evidence(small, small, small, small, small, small)
    strange = ([b"\x93"], [b""], [b"x"] * 2000, encode(Asked(1, [wrong])))
    with (
        ScoreServer(endpoint, lambda: reader) as server,
        sockets.questions(context, endpoint) as link,
    ):
        for parts in strange:
            link.send_multipart(parts)
        camera = SharedScorer(context, endpoint, threading.Event())
        while server.malformed < len(strange):  # or the test's own limit
            assert labels(camera.score([crops(5)])) == ["class5"]


def test_a_camera_that_leaves_does_not_wait(endpoint: Endpoint, context: zmq.Context) -> None:
    reader = Reader()
    abandon = threading.Event()
    with ScoreServer(endpoint, lambda: reader), ThreadPoolExecutor(1) as pool:
        camera = SharedScorer(context, endpoint, abandon)
        asked = pool.submit(camera.score, [crops(1)])
        assert reader.begun.wait(30)
        abandon.set()
        with pytest.raises(TimeoutError):
            asked.result(30)
        reader.gate.set()
