"""The client at real sockets: slow to join, robbed, restarted (scripted events)."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from models.errors import AddressError
from pipeline.config import load
from pipeline.events import EventsLost, Missing, NewLog, Position, subscribe
from pipeline.events import _as_seen as as_seen
from stages.items import Blink, Stamp
from tests.pipeline.scripted_publisher import Life, event, script

PATIENCE_S = 20.0
ROOT = Path(__file__).parents[2]


class Publisher:
    """Lives one after the other at one address."""

    def __init__(self, folder: Path) -> None:
        self.options: dict[str, Any] = {
            "events": f"ipc://{folder}/events",
            "log": {"path": str(folder / "l.db")},
            "publish": {"beat_s": 0.1},
        }
        self.lives = itertools.count()
        self.life: Life | None = None
        self.address = self.options["events"]

    def start(self) -> Life:
        self.number = next(self.lives)
        self.life = Life(load(source="synthetic:", **self.options), f"life{self.number}")
        self.life.report("ready")
        self.script = script(self.number, str(self.number))
        return self.life

    def publish(self, count: int) -> None:
        assert self.life is not None
        for item in itertools.islice(self.script, count):
            self.life.give(item)
        while count:
            message = msgspec.msgpack.decode(self.life.report("published").payload)
            count -= message["type"] == "event" and message["id"].split("/")[2][0] == str(
                self.number
            )

    def stop(self) -> None:
        if self.life is not None:
            self.life.end()
            self.life = None


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path)
    yield made
    made.stop()


def take(subscription: Any, count: int) -> list[int]:
    return [message["seq"] for _, message in itertools.islice(subscription, count)]


def test_live_alone_is_what_comes_and_no_more(publisher: Publisher) -> None:
    publisher.start()
    publisher.publish(3)
    with subscribe(publisher.address, topic="", timeout_s=PATIENCE_S) as subscription:
        topic, beat = next(subscription)  # now it has joined
        assert topic == "beat.synthetic"
        assert beat["seq"] == 2
        assert beat["replay"] == f"{publisher.address}.replay"
        publisher.publish(2)
        topics = [topic for topic, _ in itertools.islice(subscription, 2)]
    assert all(topic.startswith(("event.", "beat.")) for topic in topics)
    assert subscription.position is None


def test_it_ends_when_nothing_comes(publisher: Publisher) -> None:
    assert not list(subscribe(publisher.address, timeout_s=0.3))
    assert not list(subscribe(publisher.address, since=-1, timeout_s=0.3))
    with pytest.raises(AddressError, match="not a ZeroMQ address"):
        subscribe("nonsense")
    with pytest.raises(AddressError):
        subscribe(publisher.address, since=-1, replay="nonsense")


def test_a_slow_joiner_gets_everything(publisher: Publisher) -> None:
    publisher.start()
    publisher.publish(30)
    with subscribe(publisher.address, since=-1, timeout_s=PATIENCE_S) as all_of_it:
        assert take(all_of_it, 30) == list(range(30))
        publisher.publish(5)
        assert take(all_of_it, 5) == list(range(30, 35))
        assert all_of_it.position is not None
        assert all_of_it.position.seq == 34
    with subscribe(publisher.address, since=31, timeout_s=PATIENCE_S) as rest:
        assert take(rest, 3) == [32, 33, 34]


def test_events_that_the_network_loses_come_in_their_place(publisher: Publisher) -> None:
    life = publisher.start()
    public = life.node._public
    assert public is not None
    count = itertools.count()

    class Robbed:
        def send_multipart(self, parts: list[bytes]) -> None:
            if not parts[0].startswith(b"event.") or next(count) % 3 == 0:
                public.send_multipart(parts)

        def __getattr__(self, name: str) -> Any:
            return getattr(public, name)

    life.node._public = Robbed()  # type: ignore[assignment]
    with subscribe(publisher.address, since=-1, timeout_s=PATIENCE_S) as subscription:
        got = []
        for _ in range(20):
            publisher.publish(5)
            got += take(subscription, 5)
        assert got == list(range(100))
        assert subscription.counts["replayed"] >= 60
        assert subscription.counts["malformed"] == 0


def test_other_messages_pass_beside_the_row(publisher: Publisher) -> None:
    life = publisher.start()
    with subscribe(publisher.address, topic="", since=-1, timeout_s=PATIENCE_S) as everything:
        assert next(everything)[0] == "beat.synthetic"
        stamp = Stamp("synthetic", 1, 0.1, 1, 1)
        life.give(Blink(0, 45, stamp, stamp, stamp, 0.5))
        life.give(event("synthetic/0/0-0", "apex"))
        topics = set()
        while "event.synthetic.apex" not in topics or "blink.synthetic" not in topics:
            topics.add(next(everything)[0])
    with subscribe(publisher.address, topic="event.synthetic.final", since=-1) as finals:
        life.give(event("synthetic/0/0-0", "final"))
        topic, message = next(finals)
        assert (topic, message["seq"]) == ("event.synthetic.final", 1)


def test_publisher_and_subscriber_come_and_go(publisher: Publisher) -> None:
    had: list[dict[str, Any]] = []
    for round_ in range(3):
        publisher.start()
        publisher.publish(7)
        since = had[-1]["seq"] if had else -1
        with subscribe(publisher.address, since=since, timeout_s=PATIENCE_S) as subscription:
            had += [message for _, message in itertools.islice(subscription, 4)]
            publisher.stop()
            publisher.start()
            publisher.publish(4)
            had += [message for _, message in itertools.islice(subscription, 5)]
        publisher.stop()
        assert [event["seq"] for event in had] == list(range(9 * (round_ + 1)))
    runs = [event["run"] for event in had]
    assert runs == sorted(runs)
    first_of_run = [b for a, b in itertools.pairwise(had) if b["run"] > a["run"]]
    withdrawn = {e["reason"] for e in first_of_run if e["phase"] == "retracted"}
    assert withdrawn == {"the run before ended unexpectedly"}


def test_every_position_over_a_restart_of_the_publisher_is_one_to_go_on_from(
    publisher: Publisher,
) -> None:
    publisher.start()
    publisher.publish(4)
    positions: list[Position] = []
    notices: list[Any] = []
    with subscribe(
        publisher.address, since=-1, timeout_s=PATIENCE_S, on_notice=notices.append
    ) as subscription:
        assert take(subscription, 4) == [0, 1, 2, 3]
        publisher.stop()
        publisher.start()
        publisher.publish(4)
        for seq in range(4, 8):
            assert take(subscription, 1) == [seq]
            assert subscription.position is not None
            positions.append(subscription.position)
    publisher.publish(4)  # what follows the last of them
    assert {position.seq for position in positions} == {4, 5, 6, 7}
    for position in positions:
        assert Position.parse(str(position)) == position
        with subscribe(
            publisher.address, since=position, timeout_s=PATIENCE_S, on_notice=notices.append
        ) as later:
            assert take(later, 3) == [position.seq + number for number in (1, 2, 3)]
    assert not notices


def test_without_a_log_a_restart_is_a_new_log(publisher: Publisher) -> None:
    publisher.options["log"] = {"enabled": False}
    publisher.start()
    publisher.publish(4)
    notices: list[Any] = []
    with subscribe(
        publisher.address, since=-1, timeout_s=PATIENCE_S, on_notice=notices.append
    ) as subscription:
        assert take(subscription, 4) == [0, 1, 2, 3]
        publisher.stop()
        publisher.start()
        publisher.publish(2)
        assert take(subscription, 2) == [0, 1]
    ((kind, log),) = [(type(notice), notice.log) for notice in notices]
    assert kind is NewLog
    assert subscription.position is not None
    assert subscription.position.log == log


def test_what_is_not_kept_is_a_warning_or_a_notice(publisher: Publisher) -> None:
    publisher.start()
    publisher.publish(10)
    assert publisher.life is not None
    journal = publisher.life.node._journal
    assert journal is not None and journal._file is not None
    # as retention does
    journal._file._connected().execute("DELETE FROM events WHERE seq < 6")
    with (
        subscribe(publisher.address, since=2, timeout_s=PATIENCE_S) as subscription,
        pytest.warns(EventsLost, match="events 3 to 5 are not kept any more"),
    ):
        assert take(subscription, 4) == [6, 7, 8, 9]
    notices: list[Any] = []
    with subscribe(
        publisher.address, since=-1, timeout_s=PATIENCE_S, on_notice=notices.append
    ) as subscription:
        assert take(subscription, 1) == [6]
    assert notices == [Missing(0, 5)]


def test_malformed_messages_are_counted_and_passed_over(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/e"
    at = {"frame": 3, "pts": 0.1, "utc_ns": 7}
    whole = {
        **{"v": 1, "type": "event", "log": "a", "run": 1, "seq": 0, "id": "cam/0/0-0"},
        **{"stream": "cam", "face": 0, "phase": "apex", "kind": "unknown", "onset": None},
        **{"apex": at, "offset": None, "aus": [], "height": 0.0, "explained": 0.0, "vetoes": []},
        **{"emotions": [], "prototypes": "p@1", "models": [], "reason": ""},
        **{"delays": {"decision_s": 0.1, "processing_ms": 1.0}, "published_utc_ns": 9},
    }
    parts = [
        [b"event.cam.apex"],
        [b"event.cam.apex", b"a", b"b"],
        [b"event.\xff", msgspec.msgpack.encode(whole)],
        [b"event.cam.apex", b"\xc1"],
        [b"event.cam.apex", b"\x91" * 100_000],
        [b"event.cam.apex", msgspec.msgpack.encode([1])],
        [b"beat.cam", msgspec.msgpack.encode({"seq": "x"})],
    ]
    ordered_only = [whole | {"seq": -1}, whole | {"seq": "0"}, {"type": "event"}]
    parts += [[b"event.cam.apex", msgspec.msgpack.encode(one)] for one in ordered_only]
    over = threading.Event()

    def publish() -> None:
        with zmq.Context() as context, context.socket(zmq.PUB) as link:
            link.linger = 0
            link.bind(address)
            while not over.is_set():
                for message in parts:
                    link.send_multipart(message)
                link.send_multipart([b"event.cam.final", msgspec.msgpack.encode(whole)])
                time.sleep(0.05)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    with subscribe(address, topic="event.cam.final", timeout_s=PATIENCE_S) as live:
        next(live)
    with subscribe(address, timeout_s=PATIENCE_S) as live:
        while next(live)[0] != "event.cam.final":
            pass
        assert live.counts["malformed"] >= 6
    with subscribe(address, since=-1, timeout_s=1.0) as ordered:
        assert not list(ordered)  # there is no replay socket to vouch for anything
        assert ordered.counts["malformed"] >= len(parts)
    over.set()
    thread.join()


@pytest.mark.parametrize(
    ("replay", "events", "seen"),
    [
        ("tcp://127.0.0.1:5557", "tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557"),
        ("tcp://0.0.0.0:5557", "tcp://10.0.0.7:5556", "tcp://10.0.0.7:5557"),
        ("tcp://[::]:5557", "tcp://[fe80::1]:5556", "tcp://[fe80::1]:5557"),
        ("ipc:///run/x.replay", "ipc:///run/x", "ipc:///run/x.replay"),
    ],
)
def test_the_replay_socket_is_reached_as_the_event_socket_is(
    replay: str, events: str, seen: str
) -> None:
    assert as_seen(replay, events) == seen


def _subscribe(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from pipeline.cli import run; sys.exit(run(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_prints_every_event_since(publisher: Publisher) -> None:
    publisher.start()
    publisher.publish(6)
    command = _subscribe("subscribe", publisher.address, "--since", "1", "--format", "json")
    assert command.stdout is not None
    lines = [json.loads(command.stdout.readline()) for _ in range(4)]
    command.kill()
    assert [line["seq"] for line in lines] == [2, 3, 4, 5]
    last = Position(lines[-1]["seq"], lines[-1]["run"], lines[-1]["log"])
    publisher.publish(1)
    command = _subscribe("subscribe", publisher.address, "--since", str(last))
    assert command.stdout is not None
    assert command.stdout.readline().startswith(("apex", "final", "retracted"))
    command.kill()


def test_a_wrong_since_is_one_line() -> None:
    command = _subscribe("subscribe", "ipc:///tmp/none", "--since", "soon")
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 2
    assert errors.strip() == "mespot: --since soon: a number from -1 on, or SEQ:RUN:LOG"
