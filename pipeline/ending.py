"""How a run comes to its end, and in time, whatever was lost or hangs."""

from __future__ import annotations

import time

from pipeline.begun import Begun
from pipeline.lines import Lines
from pipeline.messages import End
from pipeline.sockets import NODES
from pipeline.summary import NodeState

_IDLE_REPORTS = 2  # the first may be older than what was sent last
_AGAIN_S = 1.0
_SOURCE_SHARE = 0.25  # of the time for a stop: a source that has not ended by then hangs
_HURRY_SHARE = 0.5  # from then on waiting frames are thrown away
_LAST_WORD_S = 0.5  # for the publisher, when the time for a stop is up
_LEAVE_S = 0.8  # after the time for a stop: 3 s in all, with the default
_LEAST_LEAVE_S = 0.3
_PATIENCE_S = 10.0  # where nobody asked for a stop


class Ending:
    """Says lost ends again, and gives a stop its deadline.

    Args:
        nodes: what is known of each node.
        begun: where the nodes are told to hurry.
        drain_s: time from a stop to its deadline.
    """

    def __init__(self, nodes: dict[str, NodeState], begun: Begun, drain_s: float) -> None:
        self._nodes = nodes
        self._begun = begun
        self.drain_s = drain_s
        self._stopped: float | None = None
        self._closing: float | None = None
        self._hangs = False  # the source
        self._waiting = ""
        self._told: dict[str, float] = {}
        self._warning = ""

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopped is not None

    @property
    def patience_s(self) -> float:
        """How long nodes that are through, or were given up, may take to leave."""
        if self._stopped is not None:
            left = self._stopped + self.drain_s + _LEAVE_S - time.monotonic()
            return max(_LEAST_LEAVE_S, left)
        return _PATIENCE_S if self._closing is None else _LEAST_LEAVE_S

    def stop(self) -> None:
        """The run should end soon; the deadline counts from the first call."""
        if self._stopped is None:
            self._stopped = time.monotonic()

    def give_up(self, why: str = "") -> None:
        """The run ends now: what is open is closed, nothing else is waited for."""
        if self._closing is None:
            self._closing = time.monotonic()
            self._warning = why

    def over(self, lines: Lines) -> bool:
        """Take the next step towards the end; True once it is reached."""
        publish = self._nodes["publish"]
        if publish.done:
            return True
        now = time.monotonic()
        self._keep_time(now, lines)
        if self._closing is None:
            self._say_lost_ends_again(now, lines)
            return False
        if not (publish.ready and self._begun.stream):
            return True  # nobody has heard of this run
        self._tell("publish", now, lines, self._warning)
        return now - self._closing > _LAST_WORD_S

    def _keep_time(self, now: float, lines: Lines) -> None:
        if self._stopped is None:
            return
        spent = now - self._stopped
        capture = self._nodes["capture"]
        if self._nodes["face"].ready and spent > _SOURCE_SHARE * self.drain_s:
            if not capture.done:
                self._hangs = capture.done = True
            if self._hangs:
                self._tell("face", now, lines)
        if spent > _HURRY_SHARE * self.drain_s:
            self._begun.hurry = True
        if spent > self.drain_s:
            self.give_up()

    def _say_lost_ends_again(self, now: float, lines: Lines) -> None:
        """A node that lost the end with its queue, or to a death before it, waits for ever."""
        waiting = next((name for name in NODES if not self._nodes[name].done), None)
        if waiting is None or waiting == "capture":
            return
        state = self._nodes[waiting]
        if waiting != self._waiting:
            self._waiting = waiting
            state.idle = 0
        if not state.ready or state.idle < _IDLE_REPORTS:
            return
        self._tell(waiting, now, lines)

    def _tell(self, name: str, now: float, lines: Lines, warning: str = "") -> None:
        """Tell a node the end, now and then."""
        due = now - self._told.get(name, 0.0) > _AGAIN_S
        if due and lines.tell(name, End(self._begun.stream, warning)):
            self._told[name] = now
