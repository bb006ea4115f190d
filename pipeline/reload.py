"""What of the configuration can change while a run goes on, and how it gets to the nodes.

Nodes are told the values of all such keys, under a number that grows with each change, until
their reports bear that number: so none misses a change because it was just being started.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipeline.config import Config
from pipeline.messages import Setting

if TYPE_CHECKING:
    from pipeline.lines import Lines
    from pipeline.summary import NodeState

# marked in the table of docs/operations.md
RELOADABLE = frozenset(
    {
        "capture.open_timeout_s",
        "capture.read_timeout_s",
        "capture.stale_s",
        "capture.frozen_s",
        "capture.reconnect",
        "capture.retry_first_s",
        "capture.retry_most_s",
        "capture.give_up_s",
        "classify.deadline_s",
        "publish.curves",
        "publish.beat_s",
        "log.max_mb",
        "log.max_days",
        "graph.deaths",
        "graph.heartbeat_s",
        "graph.silence_s",
        "graph.drain_s",
        "clips.before_s",
        "clips.after_s",
        "clips.retention_days",
        "clips.max_mb",
        "clips.memory_mb",
        "metrics.stall_s",
    }
)
# read once, when the process starts
OF_THE_PROCESS = ("dashboard.", "metrics.", "lsl.", "console.")
_AGAIN_S = 0.2  # between two tellings of nodes that have not heard


@dataclass(frozen=True)
class Reloaded:
    """What became of a new configuration: keys by what they do."""

    applied: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line."""
        said = [f"applied {', '.join(self.applied)}"] if self.applied else []
        said += [f"needs a restart: {', '.join(self.restart)}"] if self.restart else []
        return "; ".join(said) or "nothing has changed"


def flat(section: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Every key of a configuration with its value."""
    found: dict[str, Any] = {}
    for name, value in section:
        if isinstance(value, BaseModel):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def changed(old: Config, new: Config) -> list[str]:
    """The keys in which two configurations differ."""
    before, after = flat(old), flat(new)
    return sorted(key for key in before.keys() | after if before.get(key) != after.get(key))


def settings(config: Config) -> dict[str, Setting]:
    """The values of all keys that can change."""
    return {key: value for key, value in flat(config).items() if key in RELOADABLE}


def overlaid(config: Config, values: Mapping[str, Setting]) -> Config:
    """``config`` with those of ``values`` that can change.

    Raises:
        ValueError: a value that its key does not take.
    """
    whole = config.model_dump()
    for key in RELOADABLE & values.keys():
        section, _, name = key.partition(".")
        whole[section][name] = values[key]
    return Config(**whole)


class News:
    """The configuration of a run as it changes.

    Args:
        nodes: what is known of each node: the number that it has heard.
    """

    def __init__(self, nodes: Mapping[str, NodeState]) -> None:
        self._nodes = nodes
        self.lock = threading.Lock()
        self.revision = 0
        self._spread = 0
        self._told = 0.0

    def take(self, now: Config, wanted: Config) -> tuple[Config, Reloaded]:
        """What holds from now on, of what is wanted; under ``lock``, until it is in its place."""
        new = overlaid(now, settings(wanted))
        applied = changed(now, new)
        self.revision += bool(applied)
        return new, Reloaded(applied, changed(new, wanted))

    def fresh(self) -> bool:
        """Whether something changed since the last call; in the supervising thread."""
        with self.lock:
            new = self._spread != self.revision
            self._spread = self.revision
        if new:
            self._told = 0.0
        return new

    def tell(self, lines: Lines, config: Config) -> None:
        """Tell nodes that have not heard, now and then."""
        revision = self._spread
        behind = any(
            state.ready and not state.done and state.revision < revision
            for state in self._nodes.values()
        )
        if behind and time.monotonic() - self._told > _AGAIN_S:
            self._told = time.monotonic()
            lines.reload(revision, settings(config))
