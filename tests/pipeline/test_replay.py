"""The replay socket: pages, bounds, and requests that mean no good."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import replay, sockets
from pipeline.config import SecurityConfig
from pipeline.event_log import EventLog
from pipeline.event_rows import LogError, Row
from pipeline.guard import Guard
from pipeline.journal import Journal
from pipeline.replay import Answer, Limits, Pages, ReplayServer, Request


def row(seq: int, size: int = 50) -> Row:
    body = msgspec.msgpack.encode({"log": "", "run": 1, "seq": seq, "pad": "x" * size})
    return Row(seq, 1, f"cam/0/0-{seq}", "final", 10**18, body)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(EventLog(tmp_path / "l.db", "cam", sync="off", max_days=1e5))
    made.begin()
    yield made
    made.close()


def seqs(answer: Answer) -> list[int]:
    return [msgspec.msgpack.decode(raw)["seq"] for raw in answer.events]


def test_pages_are_bounded_and_follow_each_other(journal: Journal) -> None:
    pages = Pages(journal, "cam")
    assert (pages.answer(Request(since=-1)).first, pages.answer(Request(since=-1)).last) == (0, -1)
    journal.append([row(seq) for seq in range(1200)])
    since, got = -1, []
    while page := seqs(pages.answer(Request(since=since))):
        assert len(page) <= 500
        got += page
        since = page[-1]
    assert got == list(range(1200))
    answer = pages.answer(Request(since=3, limit=2, id=9))
    assert (seqs(answer), answer.id, answer.first, answer.last) == ([4, 5], 9, 0, 1199)
    assert (answer.log, answer.run, answer.stream) == (journal.log, 1, "cam")
    pages.close()


def test_a_page_has_a_megabyte_at_most(journal: Journal) -> None:
    journal.append([row(seq, 300_000) for seq in range(6)] + [row(6, 3_000_000)])
    pages = Pages(journal, "cam")
    assert seqs(pages.answer(Request(since=-1))) == [0, 1, 2]
    assert seqs(pages.answer(Request(since=5))) == [6]  # larger than a page, and alone
    pages.close()


def test_what_waits_for_the_disk_is_served_behind_the_log(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([row(seq, 200_000) for seq in range(8)])

    def full(rows: Any, run: int) -> None:
        raise LogError("full")

    with monkeypatch.context() as patch:
        patch.setattr(journal._file, "append", full)
        journal.append([row(8), row(9)])
    pages = Pages(journal, "cam")
    assert seqs(pages.answer(Request(since=-1))) == [0, 1, 2, 3]  # no hole before what waits
    assert seqs(pages.answer(Request(since=3))) == [4, 5, 6, 7, 8, 9]
    assert seqs(pages.answer(Request(since=7))) == [8, 9]
    journal.tend()
    assert seqs(pages.answer(Request(since=7))) == [8, 9]
    pages.close()


def test_a_log_that_cannot_be_read_is_an_error_and_no_empty_page(
    journal: Journal, tmp_path: Path
) -> None:
    journal.append([row(0)])
    (tmp_path / "l.db").rename(tmp_path / "away.db")
    pages = Pages(journal, "cam")
    answer = pages.answer(Request(since=-1))
    assert "cannot be read" in answer.error
    assert answer.retry_after_s > 0
    (tmp_path / "away.db").rename(tmp_path / "l.db")
    assert seqs(pages.answer(Request(since=-1))) == [0]
    pages.close()


def test_another_logs_numbers_mean_nothing_here(journal: Journal) -> None:
    journal.append([row(0)])
    pages = Pages(journal, "cam")
    assert seqs(pages.answer(Request(since=-1, log=journal.log))) == [0]
    assert seqs(pages.answer(Request(since=-1, log="another"))) == []
    pages.close()


def test_each_client_and_all_together_are_limited_and_few_are_remembered() -> None:
    now = [0.0]
    limits = Limits(lambda: now[0])
    rate, burst = replay.PER_CLIENT
    served = sum(not limits.wait_s(b"a") for _ in range(1000))
    assert served == burst
    assert 0 < limits.wait_s(b"a") <= 1 / rate
    assert not limits.wait_s(b"b")
    now[0] += 1
    assert sum(not limits.wait_s(b"a") for _ in range(1000)) == rate
    now[0] += 100
    everybody = sum(not limits.wait_s(str(k).encode()) for k in range(10_000))
    assert everybody == replay.OVER_ALL[1]
    assert len(limits._each) <= 256


class Service:
    """A server with three events at a real socket."""

    def __init__(self, journal: Journal) -> None:
        journal.append([row(seq) for seq in range(3)])
        self.context: zmq.Context[Any] = zmq.Context()
        guard = Guard(self.context, SecurityConfig())
        link, self.address = sockets.public(
            self.context, zmq.ROUTER, "tcp://127.0.0.1:*", 10, guard, "replay"
        )
        self.server = ReplayServer(link, self.address, guard, journal, "cam")
        self.server.start()

    def client(self, kind: int = zmq.DEALER) -> Any:
        link = self.context.socket(kind)
        link.linger = 0
        link.connect(self.address)
        return link

    def close(self) -> None:
        self.server.stop()
        assert not self.server.is_alive()
        self.context.destroy(linger=0)


@pytest.fixture
def service(journal: Journal) -> Iterator[Service]:
    made = Service(journal)
    yield made
    made.close()


def ask(link: Any, body: bytes, patience_ms: int = 20_000) -> Answer:
    link.send(body)
    assert link.poll(patience_ms), "no answer"
    return msgspec.msgpack.decode(link.recv(), type=Answer)


GOOD = msgspec.msgpack.encode({"v": 1, "since": 0, "limit": 500, "id": 4})


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ])
def test_any_client_of_zeromq_and_msgpack_is_served(service: Service, kind: int) -> None:
    answer = ask(service.client(kind), GOOD)
    assert (seqs(answer), answer.id, answer.error) == ([1, 2], 4, "")


HOSTILE = [
    {},
    [],
    {"since": -2},
    {"since": 2**63},
    {"since": "0"},
    {"since": 0.5},
    {"since": None},
    {"since": 0, "limit": 0},
    {"since": 0, "limit": 501},
    {"since": 0, "v": 2},
    {"since": 0, "log": "x" * 65},
    {"since": 0, "log": 7},
    {"since": 0, "run": "1"},
    {"since": {"since": {"since": 0}}},
]


@pytest.mark.parametrize("request_", HOSTILE, ids=str)
def test_a_malformed_request_costs_an_error_and_a_count(service: Service, request_: Any) -> None:
    link = service.client()
    answer = ask(link, msgspec.msgpack.encode(request_))
    assert answer.error.startswith("malformed: ")
    assert not answer.events
    assert service.server.counts["malformed"] == 1
    assert seqs(ask(link, GOOD)) == [1, 2]


def test_deep_nesting_and_false_lengths_are_malformed(service: Service) -> None:
    link = service.client()
    for body in (b"\x91" * 4000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1"):
        assert ask(link, body).error.startswith("malformed: ")
    assert seqs(ask(link, GOOD)) == [1, 2]


def test_bytes_of_any_kind_end_nothing(journal: Journal) -> None:
    service = Service(journal)
    link = service.client()

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    def throw(parts: list[bytes]) -> None:
        link.send_multipart(parts)
        while link.poll(0):
            link.recv_multipart()

    throw()
    assert seqs(ask(service.client(), GOOD)) == [1, 2]
    assert service.server.is_alive()
    assert not service.server.counts["failed"]
    service.close()


def test_a_message_that_is_too_large_cuts_its_sender_off(service: Service) -> None:
    link = service.client()
    link.send(bytes(10_000_000))
    assert not link.poll(1000)
    assert not service.server.counts["malformed"]
    assert seqs(ask(service.client(), GOOD)) == [1, 2]


def test_a_flood_is_refused_and_others_are_served(service: Service) -> None:
    over = threading.Event()

    def flood() -> None:
        with service.client() as link:
            while not over.is_set():
                if link.poll(10, zmq.POLLOUT):
                    link.send(GOOD)
                while link.poll(0):
                    link.recv()

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    try:
        polite = service.client()
        end = time.monotonic() + 30
        while not service.server.counts["refused"] and time.monotonic() < end:
            over.wait(0.05)
        assert service.server.counts["refused"]
        for _ in range(3):
            answer = ask(polite, GOOD)
            while answer.error:
                assert answer.retry_after_s > 0
                over.wait(answer.retry_after_s)
                answer = ask(polite, GOOD)
            assert seqs(answer) == [1, 2]
    finally:
        over.set()
        flooding.join(10)


def test_a_client_that_does_not_read_holds_nothing_up(service: Service) -> None:
    deaf = service.client()
    deaf.rcvhwm = 1
    for _ in range(300):
        deaf.send(GOOD)
    assert seqs(ask(service.client(), GOOD)) == [1, 2]
