"""The soak: cameras under faults, and an account of every event in the end."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import process
from bench.clip import dense_scene, rendered
from bench.report import Result, say
from bench.rtsp_server import missing, serving
from bench.soak.accounts import Message, audit, delivered, lines
from bench.soak.faults import KINDS, Kind, another_camera
from bench.soak.log import messages
from bench.soak.outcome import Injected, Outcome
from bench.soak.rig import Rig
from bench.soak.tables import tables
from bench.soak.watch import Watch
from models.errors import UserError
from models.synthesis import Scene

_CLIP_S = 24.0
_SIZES = ((640, 480), (480, 360))
_LEAST_S = 20.0
_RECOVERY_S = 60.0  # a camera that shows nothing for so long after a fault has not survived it
_SETTLE_S = 5.0
_DELIVERY_S = 60.0  # what subscribers may take for the rest, once nothing is disturbed
_MARGIN_S = 600.0
_MOST_TIMES = 400  # of the clip, joined: some 600 MB
_CALM_S = 1.0  # between a fault's end and the next


class Disturber(threading.Thread):
    """Faults of one rig, one after another, until it is told to end."""

    def __init__(self, rig: Rig, kinds: Sequence[Kind], every_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._rig, self._kinds, self._every_s = rig, kinds, every_s
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._begin = time.monotonic()
        self.faults: list[Injected] = []

    def run(self) -> None:
        """Wait, disturb, see it recover; and again."""
        weights = [kind.weight for kind in self._kinds]
        while not self._over.wait(_CALM_S + self._random.expovariate(1 / self._every_s)):
            (kind,) = self._random.choices(self._kinds, weights)
            fault = Injected(kind, time.monotonic() - self._begin)
            self.faults.append(fault)
            kind.inject(self._rig, self._random)
            fault.recovery_s = self._recovery()

    def _recovery(self) -> float | None:
        over, over_ns = time.monotonic(), time.time_ns()
        while time.monotonic() - over < _RECOVERY_S:
            came = self._rig.hearing.first_after(over_ns)
            if came is not None:
                return max(came - over, 0.0)
            time.sleep(0.02)
        return None

    def close(self) -> None:
        """No more faults; waits for the last one's end."""
        self._over.set()
        self.join(timeout=_RECOVERY_S + 10)


def measure(
    hours: float,
    faults_a_minute: float = 9.0,
    seed: int = 1,
    transports: Sequence[str] = ("inproc", "ipc"),
) -> list[Result]:
    """Cameras over RTSP, one for each transport, under random faults.

    Args:
        hours: how long.
        faults_a_minute: over all cameras.
        seed: of the faults' order and sizes.
        transports: a camera each.

    Raises:
        UserError: a number is out of range, or there is no RTSP server here.
    """
    seconds = hours * 3600
    if not _LEAST_S <= seconds <= 1000 * 3600:
        raise UserError(f"--hours {hours:g}: from {_LEAST_S / 3600:.3f} to 1000")
    if not 0.1 <= faults_a_minute <= 60:
        raise UserError(f"--faults {faults_a_minute:g}: from 0.1 to 60 a minute")
    if missing():
        raise UserError(f"the soak needs a real RTSP server: {missing()}")
    process.check()
    with _rigs(transports, seconds, seed) as (rigs, addresses):
        outcomes = _soak(rigs, addresses, seconds, faults_a_minute, seed)
    return tables(outcomes, seconds)


@contextlib.contextmanager
def _rigs(
    transports: Sequence[str], seconds: float, seed: int
) -> Iterator[tuple[list[Rig], list[str]]]:
    # a film that ends is one more fault: the camera has ended the stream
    times = min(int((seconds + _MARGIN_S) / _CLIP_S) + 1, _MOST_TIMES)
    clips = [rendered(_sized(size)) for size in _SIZES]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mespot-soak-")))
        servers = [stack.enter_context(serving(clip, times=times, live=True)) for clip in clips]
        addresses = [server.address for server in servers]
        rigs = []
        for i, transport in enumerate(transports):
            rig = Rig(folder, f"{transport}{i}", addresses[0], transport, 2, seed + i)
            stack.callback(rig.close)
            rigs.append(rig)
        for rig in rigs:
            if not rig.await_frames():
                raise UserError(f"soak: no frame from {rig.name}: {rig.console()}")
        yield rigs, addresses


def _soak(
    rigs: Sequence[Rig], addresses: Sequence[str], seconds: float, rate: float, seed: int
) -> list[Outcome]:
    say(f"soak of {len(rigs)} synthetic cameras: {seconds:g} s in real time")
    watches = [Watch(rig) for rig in rigs]
    disturbers = []
    for i, rig in enumerate(rigs):
        kinds = [k for k in (*KINDS, another_camera(addresses)) if _fits(k, rig)]
        every = 60.0 * len(rigs) / rate - _CALM_S
        disturbers.append(Disturber(rig, kinds, max(every, 0.1), seed + 100 + i))
    for thread in (*watches, *disturbers):
        thread.start()
    time.sleep(seconds)
    for disturber in disturbers:
        disturber.close()
    time.sleep(_SETTLE_S)
    for watch in watches:
        watch.close()
    return [
        _outcome(rig, watch, disturber)
        for rig, watch, disturber in zip(rigs, watches, disturbers, strict=True)
    ]


def _fits(kind: Kind, rig: Rig) -> bool:
    return rig.transport != "inproc" or not kind.processes


def _outcome(rig: Rig, watch: Watch, disturber: Disturber) -> Outcome:
    """The account, once the subscribers have had time for what is still under way."""
    made = Outcome(rig.name, rig.transport, disturber.faults, samples=watch.samples)
    before = messages(rig.log)
    _await(rig, int(before[-1]["seq"]) if before else -1)
    made.stopped_s = rig.stop()
    made.messages = messages(rig.log)
    made.account = audit(made.messages)
    # what the stop itself published can only be had from the next run: the log is the record
    ended = [lines(subscriber.file) for subscriber in rig.subscribers]
    for got in ended:
        last = int(got[-1]["seq"]) if got else -1
        record = [m for m in made.messages if int(m["seq"]) <= max(last, _last(before))]
        made.deliveries.append(delivered(record, got))
    made.states = dict(rig.hearing.states)
    made.starts = rig.starts
    made.subscriber_kills = sum(subscriber.kills for subscriber in rig.subscribers)
    return made


def _last(log: Sequence[Message]) -> int:
    return int(log[-1]["seq"]) if log else -1


def _await(rig: Rig, seq: int) -> None:
    begin = time.monotonic()
    while time.monotonic() - begin < _DELIVERY_S:
        got = [lines(subscriber.file) for subscriber in rig.subscribers]
        if all(one and int(one[-1]["seq"]) >= seq for one in got):
            return
        time.sleep(0.5)


def _sized(size: tuple[int, int]) -> Scene:
    return replace(dense_scene(_CLIP_S), width=size[0], height=size[1])
