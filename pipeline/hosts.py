"""Where the nodes live: threads of this process, or a process each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import zmq

from pipeline.begun import Begun
from pipeline.build import import_ahead
from pipeline.config import Config
from pipeline.machine import settle
from pipeline.node import Links, Node
from pipeline.nodes import make, work
from pipeline.sockets import Addresses

Maker = Callable[[str, Config, Links, int], Node]
_POLL_S = 0.05
_IMPORTS_S = 30.0
_LAST_WORDS_S = 2.0  # of a process whose supervisor is gone


class Host(ABC):
    """Starts nodes, and starts them again. ``can_kill``: also those that hang."""

    can_kill: bool
    config: Config  # of nodes that start from now on

    @abstractmethod
    def prepare(self) -> None:
        """Import what takes longest, while nodes are being built."""

    @abstractmethod
    def start(self, name: str, epoch: int) -> None:
        """Begin a life of the node called ``name``."""

    @abstractmethod
    def dead(self) -> list[str]:
        """Nodes that died since the last call without a word."""

    @abstractmethod
    def bury(self, name: str) -> None:
        """End what is left of a node that died or, where ``can_kill``, hangs."""

    def processes(self) -> dict[str, int]:
        """Nodes that live in a process of their own, with its id; from any thread."""
        return {}

    @abstractmethod
    def end(self, patience_s: float) -> None:
        """End all, those that will not leave within ``patience_s`` the hard way."""


class Threads(Host):
    """Nodes as threads of this process; a dead one is begun again on its own sockets."""

    can_kill = False

    def __init__(self, config: Config, links: Links, maker: Maker = make) -> None:
        self.config = config
        self._links = links
        self._make = maker
        self._imports: threading.Thread | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._again: dict[str, threading.Event] = {}
        self._ended: set[str] = set()

        # OpenCV's own start is not fit for several threads that import it at once
        import cv2  # noqa: F401

    def prepare(self) -> None:
        """Import in a thread beside the nodes."""
        self._imports = threading.Thread(target=import_ahead, name="imports", daemon=True)
        self._imports.start()

    def start(self, name: str, epoch: int) -> None:
        """A new thread, or the word to the old one that it may begin again."""
        old = self._threads.get(name)
        if old is not None and old.is_alive():
            self._again[name].set()
            return
        self._again[name] = threading.Event()
        thread = threading.Thread(target=self._run, args=(name, epoch), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _run(self, name: str, epoch: int) -> None:
        node = self._make(name, self.config, self._links, epoch)
        try:
            while not work(node):
                if not self._may_begin_again(name):
                    return
                node.next_epoch()
            self._ended.add(name)
        finally:
            node.close()

    def _may_begin_again(self, name: str) -> bool:
        again = self._again[name]
        while not again.wait(_POLL_S):
            if self._links.abandon.is_set():
                return False
        again.clear()
        return True

    def dead(self) -> list[str]:
        """Threads that are gone; as a rule one reports its death and waits."""
        gone = [name for name, thread in self._threads.items() if not thread.is_alive()]
        return [name for name in gone if name not in self._ended]

    def bury(self, name: str) -> None:
        """A thread that is gone is counted once."""
        if name in self._threads and not self._threads[name].is_alive():
            del self._threads[name]

    def end(self, patience_s: float) -> None:
        """Tell all to leave; one that hangs is left behind."""
        self._links.abandon.set()
        until = time.monotonic() + patience_s
        for thread in self._threads.values():
            thread.join(timeout=max(until - time.monotonic(), 0.0))
        if self._imports is not None:  # a process that ends within an import is aborted
            self._imports.join(timeout=_IMPORTS_S)
        if self._links.clips is not None:
            self._links.clips.close()


def _process_main(
    name: str, config: Config, addresses: Addresses, epoch: int, begun: Begun, maker: Maker
) -> None:
    for name_of_signal in ("SIGINT", "SIGTERM", "SIGHUP"):  # sent to all: the supervisor drains
        if hasattr(signal, name_of_signal):
            signal.signal(getattr(signal, name_of_signal), signal.SIG_IGN)
    alone = threading.Event()
    threading.Thread(target=_end_with_supervisor, args=(alone,), daemon=True).start()
    settle()
    context: zmq.Context[Any] = zmq.Context()
    node = maker(name, config, Links(addresses, context, alone, begun=begun), epoch)
    alive = work(node)
    # what is still on its way to a slower node would be lost with this end of the connection
    while alive and not begun.over and not alone.wait(_POLL_S):
        pass
    node.close()
    context.term()
    raise SystemExit(0 if alive else 1)


def _end_with_supervisor(alone: threading.Event) -> None:
    """Whatever the node is at: without a supervisor it ends, by itself or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    alone.set()
    time.sleep(_LAST_WORDS_S)
    os._exit(1)


class Processes(Host):
    """Nodes as processes; a dead one is replaced by a new one."""

    can_kill = True

    def __init__(
        self, config: Config, addresses: Addresses, begun: Begun, maker: Maker = make
    ) -> None:
        self.config = config
        self._addresses = addresses
        self._begun = begun
        self._make = maker
        self._spawn = multiprocessing.get_context("spawn")
        self._live: dict[str, Any] = {}

    def prepare(self) -> None:
        """Nothing: each process imports for itself."""

    def start(self, name: str, epoch: int) -> None:
        """A new process."""
        process = self._spawn.Process(
            target=_process_main,
            args=(name, self.config, self._addresses, epoch, self._begun, self._make),
            name=f"mespot-{name}",
            daemon=True,
        )
        process.start()
        self._live[name] = process

    def processes(self) -> dict[str, int]:
        """As of now."""
        return {name: int(process.pid) for name, process in self._live.copy().items()}

    def dead(self) -> list[str]:
        """Those whose process is gone."""
        return [name for name, process in self._live.items() if process.exitcode is not None]

    def bury(self, name: str) -> None:
        """Kill what is left, so that its addresses are free."""
        process = self._live.pop(name, None)
        if process is not None:
            process.kill()
            process.join()

    def end(self, patience_s: float) -> None:
        """Let all leave, and kill those that do not."""
        self._begun.over = True
        until = time.monotonic() + patience_s
        for process in self._live.values():
            process.join(timeout=max(until - time.monotonic(), 0.0))
            if process.is_alive():
                process.kill()
                process.join()
