"""One camera under test: server, fault proxy, a run of mespot, its subscribers, a listener."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import zmq

from bench.camera import ROOT, environment, start
from bench.fault_proxy import FaultProxy
from bench.process import children, command_line

_START_S = 120.0
_AGAIN_S = 0.5
_STOP_S = 60.0


def free_port() -> int:
    """A TCP port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hearing(threading.Thread):
    """Notes when which frame's curves came, and every state; may miss some, as any subscriber."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.arrived: list[float] = []  # monotonic, s
        self.captured_ns: list[int] = []  # UTC
        self.states: Counter[str] = Counter()

    def run(self) -> None:
        """Listen until closed."""
        with zmq.Context() as context, context.socket(zmq.SUB) as link:
            link.setsockopt(zmq.LINGER, 0)
            link.setsockopt(zmq.RECONNECT_IVL, 20)
            link.subscribe(b"curves.")
            link.subscribe(b"state.")
            link.connect(self._address)
            while not self._over.is_set():
                if link.poll(100):
                    self._take(msgspec.msgpack.decode(link.recv_multipart()[1]))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "state":
            self.states[message["state"]] += 1
        elif not self.captured_ns or message["at"]["utc_ns"] > self.captured_ns[-1]:
            self.captured_ns.append(message["at"]["utc_ns"])
            self.arrived.append(time.monotonic())

    def first_after(self, utc_ns: int) -> float | None:
        """When the first frame captured after ``utc_ns`` came, monotonic s; None: not yet."""
        at = bisect_left(self.captured_ns, utc_ns)
        return self.arrived[at] if at < len(self.arrived) else None

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self.join(timeout=5)


class Subscriber:
    """A subscriber's process; what it got outlives it."""

    def __init__(self, events: str, replay: str, file: Path) -> None:
        self._command = [sys.executable, "-m", "bench.soak.subscriber", events, replay, str(file)]
        self.file = file
        self.kills = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.file.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=environment(), stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Kill it and start it again where it was."""
        self.end()
        self.kills += 1
        self._process = self._start()

    def pause(self, seconds: float) -> None:
        """Let it stand still for a while."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class Rig:
    """A camera of one kind of transport, for as long as the soak lasts.

    Args:
        folder: for everything that is written.
        name: of the camera and of its files.
        upstream: ``rtsp://`` address of its server.
        transport: of the run.
        subscribers: how many.
        seed: of the proxy's faults.
    """

    def __init__(
        self, folder: Path, name: str, upstream: str, transport: str, subscribers: int, seed: int
    ) -> None:
        self.name, self.transport = name, transport
        self.log = folder / f"{name}.db"
        self.events = f"tcp://127.0.0.1:{free_port()}"
        self.replay = f"tcp://127.0.0.1:{free_port()}"
        self.proxy = FaultProxy(upstream, seed)
        self.starts = 0
        self._changing = threading.Lock()  # of the run: a fault and the watch may want to at once
        self._console = folder / f"{name}.log"
        self._toml = folder / f"{name}.toml"
        self._toml.write_text(self._config(), encoding="utf-8")
        self.hearing = Hearing(self.events)
        self.hearing.start()
        self._process = self.start()
        files = [folder / f"{name}-{i}.jsonl" for i in range(subscribers)]
        self.subscribers = [Subscriber(self.events, self.replay, file) for file in files]

    def _config(self) -> str:
        options: dict[str, dict[str, Any]] = {
            "capture": {
                "name": self.name,
                "read_timeout_s": 2.0,
                "open_timeout_s": 3.0,
                "retry_first_s": 0.2,
                "retry_most_s": 2.0,
            },
            "publish": {"curves": True},
            "log": {"path": str(self.log)},
            "graph": {"deaths": 1000},
        }
        top = {
            "source": self.proxy.address,
            "events": self.events,
            "replay": self.replay,
            "transport": self.transport,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
        for section, values in options.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join(lines) + "\n"

    def start(self) -> subprocess.Popen[bytes]:
        """A run; what it prints is kept."""
        self.starts += 1
        log = self._console.with_suffix(f".{self.starts}.log")
        self._process = start(["run_live.py", "--config", str(self._toml)], log)
        return self._process

    @property
    def pid(self) -> int:
        """Of the run."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the run is there."""
        return self._process.poll() is None

    def console(self) -> str:
        """The last lines of the newest run."""
        log = self._console.with_suffix(f".{self.starts}.log")
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return "\n".join(text.strip().splitlines()[-5:])

    def await_frames(self) -> bool:
        """Wait for the first frame; a run that cannot start yet is started again."""
        begin, since = time.monotonic(), time.time_ns()
        while time.monotonic() - begin < _START_S:
            if self.hearing.first_after(since) is not None:
                return True
            if not self.alive:  # the address may still be held by one that is ending
                time.sleep(_AGAIN_S)
                self.start()
            time.sleep(0.05)
        return False

    def nodes(self) -> list[int]:
        """Processes of the run's nodes."""
        return [pid for pid in children(self.pid) if b"spawn_main" in command_line(pid)]

    def revive(self) -> bool:
        """Start a run where there is none, as a service manager does; whether it had to."""
        with self._changing:
            if self.alive:
                return False
            self.start()
            return True

    def kill_and_start(self) -> None:
        """Kill the run and start the next at once."""
        with self._changing:
            self.kill()
            self.start()

    def kill(self) -> None:
        """Kill the run, as the kernel does when memory is short."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> float:
        """SIGTERM; seconds until it has ended."""
        begin = time.monotonic()
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - begin

    def close(self) -> None:
        """End whatever still runs."""
        for subscriber in self.subscribers:
            subscriber.end()
        if self.alive:
            self.kill()
        self.hearing.close()
        self.proxy.close()
