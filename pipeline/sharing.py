"""Recognisers that the cameras of one process share, and when they are let go."""

from __future__ import annotations

import contextlib
import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.build import recognisers, scorer
from pipeline.config import Config
from pipeline.score_server import ScoreServer
from pipeline.sockets import Endpoint, private_endpoint

if TYPE_CHECKING:
    from stages.score import Scoring


@dataclass(frozen=True)
class _Shared:
    endpoint: Endpoint
    server: ScoreServer
    held: contextlib.ExitStack


class Sharing:
    """One set of recognisers for all cameras that want the same, until none does."""

    def __init__(self) -> None:
        self._shared: dict[str, _Shared] = {}
        self._wanted: dict[object, str] = {}  # by camera; a name may have two for a moment
        self._lock = threading.Lock()

    def __enter__(self) -> Sharing:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._wanted.clear()
        self._sweep()

    @property
    def servers(self) -> list[ScoreServer]:
        """Those that run."""
        with self._lock:
            return [shared.server for shared in self._shared.values()]

    def take(self, camera: object, config: Config) -> Endpoint | None:
        """Where ``camera`` finds its recognisers, in place of what it had; None: it wants none.

        Its life before must have ended.
        """
        paths = recognisers(config)
        how = config.classify.model_dump(exclude={"deadline_s"})
        key = f"{paths} {how} {config.require_gpu}"
        with self._lock:
            self._wanted.pop(camera, None)
            if paths:
                self._wanted[camera] = key
                if key not in self._shared:
                    self._shared[key] = _begun(config)
                endpoint = self._shared[key].endpoint
        self._sweep()
        return endpoint if paths else None

    def leave(self, camera: object) -> None:
        """``camera`` is over."""
        with self._lock:
            self._wanted.pop(camera, None)
        self._sweep()

    def _sweep(self) -> None:
        """End what no camera wants; outside the lock, as an inference may take its time."""
        with self._lock:
            unwanted = [self._shared.pop(key) for key in {*self._shared} - {*self._wanted.values()}]
        for shared in unwanted:
            shared.held.close()


def _begun(config: Config) -> _Shared:
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(private_endpoint())
        server = stack.enter_context(ScoreServer(endpoint, functools.partial(_loaded, config)))
        return _Shared(endpoint, server, stack.pop_all())


def _loaded(config: Config) -> Scoring:
    made = scorer(config)
    assert made is not None  # there are recognisers
    return made
