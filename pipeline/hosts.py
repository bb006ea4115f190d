"""Where the nodes live: threads of this process, or a process each."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event as SyncEvent
from typing import Any

import zmq

from pipeline.build import import_ahead
from pipeline.config import Config
from pipeline.machine import settle
from pipeline.node import Links
from pipeline.nodes import make, work
from pipeline.parcels import Parcels
from pipeline.sockets import Addresses

_REST_S = 0.02  # of a thread between death and rebirth


class _ParentWatch(threading.Event):
    """Set once the supervising process is gone."""

    def is_set(self) -> bool:
        parent = multiprocessing.parent_process()
        return super().is_set() or (parent is not None and not parent.is_alive())


def _process_main(
    name: str, config: Config, addresses: Addresses, epoch: int, over: SyncEvent
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor drains
    settle()
    context: zmq.Context[Any] = zmq.Context()
    node = make(name, config, Links(addresses, context, _ParentWatch()), epoch)
    parent_gone = _ParentWatch()
    alive = work(node)
    # what is still on its way to a slower node would be lost with this end of the connection
    while alive and not over.wait(0.5) and not parent_gone.is_set():
        pass
    node.close()
    context.term()
    raise SystemExit(0 if alive else 1)


class Threads:
    """Nodes as threads of this process; a dead one is begun again on its own sockets."""

    def __init__(self, config: Config, addresses: Addresses, context: zmq.Context[Any]) -> None:
        self._config = config
        self._links = Links(addresses, context, parcels=Parcels())
        self._threads: list[threading.Thread] = []

        # OpenCV's own start is not fit for several threads that import it at once
        import cv2  # noqa: F401

    def prepare(self) -> None:
        """Import the slowest library beside the nodes."""
        self._begin("imports", import_ahead)

    def start(self, name: str, epoch: int) -> None:
        """Begin a life of a node."""
        if not epoch:  # later the thread restarts itself
            self._begin(name, self._run, name)

    def _begin(self, name: str, work: Callable[..., None], *arguments: str) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self, name: str) -> None:
        node = make(name, self._config, self._links)
        try:
            while not work(node) and not self._links.abandon.wait(_REST_S):
                node.next_epoch()
        finally:
            node.close()

    def dead(self) -> list[str]:
        """Nodes that died unsaid."""
        return []  # a thread reports its own death

    def end(self) -> None:
        """End all."""
        self._links.abandon.set()
        for thread in self._threads:
            thread.join(timeout=10)


class Processes:
    """Nodes as processes; a dead one is replaced by a new one."""

    def __init__(self, config: Config, addresses: Addresses) -> None:
        self._config = config
        self._addresses = addresses
        self._spawn = multiprocessing.get_context("spawn")
        self._over = self._spawn.Event()
        self._live: dict[str, Any] = {}

    def prepare(self) -> None:
        """Each process imports for itself."""

    def start(self, name: str, epoch: int) -> None:
        """Begin a life of a node."""
        process = self._spawn.Process(
            target=_process_main,
            args=(name, self._config, self._addresses, epoch, self._over),
            name=f"mespot-{name}",
            daemon=True,
        )
        process.start()
        self._live[name] = process

    def dead(self) -> list[str]:
        """Nodes that died unsaid."""
        return [
            name
            for name, process in self._live.items()
            if process.exitcode is not None and process.exitcode != 0
        ]

    def kill(self, name: str) -> None:
        """End a node that hangs."""
        self._live[name].kill()
        self._live[name].join()

    def end(self) -> None:
        """End all."""
        self._over.set()
        for process in self._live.values():
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
