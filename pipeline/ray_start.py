"""Ray, where it is installed: joined at an address, or started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from models.errors import AddressError, UserError

NAMESPACE = "mespot"
_REACH_S = 5.0
_TOLD_S = 5.0  # within which Ray tells what a node has that just joined
_AGAIN_S = 0.2
_STORE_BYTES = 80 * 2**20  # no picture passes through Ray: its store stays as small as it can be


def load_ray() -> Any:
    """The module ``ray``.

    Raises:
        UserError: it is missing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when it is imported
    try:
        import ray
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"this needs Ray ({reason}): pip install 'mespot[ray]'") from None
    return ray


@contextlib.contextmanager
def joined(address: str | None, cpus: int | None = None) -> Iterator[Any]:
    """The module, in a cluster: the one at ``address``, or a local one that ends with the block.

    Args:
        address: as ``ray.init`` takes it; None: a Ray of this process's own.
        cpus: processor cores of the local one; None: all.

    Raises:
        UserError: Ray is missing, or nothing answers at ``address``.
    """
    ray = load_ray()
    if ray.is_initialized():  # by whoever called
        yield ray
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address is None:
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                namespace=NAMESPACE,
                **quiet,
            )
        else:
            _reached(address)
            ray.init(address, namespace=NAMESPACE, **quiet)
    except (RuntimeError, OSError, ValueError) as error:
        where = "a local Ray" if address is None else f"--ray {address}"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AddressError(f"{where}: cannot be joined: {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _reached(address: str) -> None:
    """Raise an OSError where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()


def check_room(ray: Any, needs: dict[str, float]) -> None:
    """Refuse what no node could ever take.

    Args:
        ray: the module.
        needs: by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes).

    Raises:
        UserError: one line that says what the largest node has.
    """
    until = time.monotonic() + _TOLD_S
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(n.get(name, 0) >= least for name, least in needs.items()) for n in nodes):
            return
        if time.monotonic() > until:
            break
        time.sleep(_AGAIN_S)
    wanted = ", ".join(_amount(name, least) for name, least in needs.items() if least)
    most = [_amount(name, max((n.get(name, 0) for n in nodes), default=0)) for name in needs]
    raise UserError(f"no node of the cluster has {wanted}; at most there are {', '.join(most)}")


def _amount(name: str, value: float) -> str:
    return f"{value / 1e6:.0f} MB" if name == "memory" else f"{value:g} {name}"
