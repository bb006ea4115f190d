"""Fixtures shared by all tests; the data is synthetic unless MESPOT_DATA is named."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import zmq

# of a run that left a hanging thread behind: collected in the middle of a later test, it would
# wait for that thread's sockets for ever
zmq.Context.__del__ = lambda self: None  # type: ignore[method-assign]


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, how)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the timeout: a turn may take minutes
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where several processes test, one marked ``alone`` has the machine to itself.

    Who waits for it holds the gate, so that the others do not pass him for ever.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    assert item.config.cache is not None
    locks = item.config.cache.mkdir("turns")
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with contextlib.ExitStack() as turn:
        with _locked(locks / "gate", fcntl.LOCK_EX):
            turn.enter_context(_locked(locks / "machine", how))
        return (yield)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real labels and clips, where there is one."""
    folder = os.environ.get("MESPOT_DATA")
    if not folder:
        pytest.skip("MESPOT_DATA is not set: real clips and labels are not at hand")
    return Path(folder)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No MESPOT_ option of the caller's may change a test."""
    for name in list(os.environ):
        if name.startswith("MESPOT_") and name != "MESPOT_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Event logs of a test are its own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Signal handlers, and stages that a test puts into this process's nodes, end with it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    for module, name in (("stage_nodes", "build"), ("publish_node", "prototypes")):
        if f"pipeline.{module}" in sys.modules:
            real = getattr(sys.modules["pipeline.build"], name)
            setattr(sys.modules[f"pipeline.{module}"], name, real)
