"""Nodes around stages."""

from __future__ import annotations

import time
from collections.abc import Iterable

import zmq

from pipeline import routing, sockets
from pipeline.build import build
from pipeline.config import Config
from pipeline.dashboard.sights import Sight, sight
from pipeline.messages import End, Restarted, Sync
from pipeline.node import POLL_MS, Links, Node, stamp_of
from pipeline.routing import step
from pipeline.wire import Wire
from stages.base import Stage
from stages.items import Curves, Face, Frame, Stamp, Stride, WindowEnd

_FRAMES = (Frame, Face, Curves)  # what may be thrown away: no phase of an event is among it
_ASK_AGAIN_S = 2.0
_FAILURES_IN_A_ROW = 30  # a stage that rejects this many items running is taken as dead


class StageNode(Node):
    """A stage between two sockets."""

    def __init__(self, name: str, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__(name, config, links, epoch)
        self._failures = 0
        self._newest: Stamp | None = None
        self._sight: Sight | None = None

    def run(self) -> None:
        """Build the stage, then items in, items out, until the end."""
        self.begin()
        while self.turn():
            pass

    def begin(self) -> None:
        """Build the stage and say so."""
        self.stage = self.built()
        self._sight = sight(self.name, self.config, self.stage, self.tap)
        self.reporter.send("ready", text=self._detail())
        if self.epoch:
            self.send(Restarted(self.links.begun.stream, self.name))

    def built(self) -> Stage:
        """A new stage."""
        return build(self.name, self.config, self.epoch)

    def turn(self) -> bool:
        """Take one item, if there is one; False at the end."""
        item = self.receive()
        if isinstance(item, End):
            self.finish(item)
            return False
        if self.links.begun.hurry and isinstance(item, _FRAMES):
            self.reporter.dropped[f"{self.name}: left at the stop"] += 1
        elif item is not None and not self._out_of_order(item):
            self.handle(item)
        return True

    def _out_of_order(self, item: Wire) -> bool:
        """Whether ``item`` is a frame no newer than one before it: no stage may see it."""
        if not isinstance(item, Frame):
            return False
        newest, stamp = self._newest, item.stamp
        if newest is not None and (stamp.frame <= newest.frame or stamp.pts <= newest.pts):
            self.reporter.dropped[f"{self.name}: out of order"] += 1
            return True
        self._newest = stamp
        return False

    def _detail(self) -> str:
        return str(getattr(self.stage, "device", ""))

    def handle(self, item: Wire) -> None:
        """One item through the stage; an item it raises on is dropped and counted."""
        begin = time.perf_counter()
        try:
            outputs = self.outputs(item)
            if self.links.clips is not None and self.name == "face" and isinstance(item, Frame):
                self.links.clips.see(item, outputs)
        except Exception as error:  # noqa: BLE001  a stage may raise anything; said and counted
            self._rejected(error)
            return
        self._failures = 0
        if isinstance(item, routing.ACCEPTS[self.name]):
            self.reporter.item(stamp_of(item), time.perf_counter() - begin)
        self.deliver(outputs)
        self._show(item, outputs)

    def _show(self, item: Wire, outputs: list[Wire]) -> None:
        """What the page is to see of it, when it is on its way."""
        if self._sight is None:
            return
        try:
            self._sight(item, outputs)
        except Exception as error:  # noqa: BLE001  whoever looks on must not end the run
            self.reporter.once(f"nothing to see: {type(error).__name__}: {error}")

    def outputs(self, item: Wire) -> list[Wire]:
        """What ``item`` makes the stage give."""
        return list(step(self.name, self.stage, item, self.config.publish.curves))

    def _rejected(self, error: Exception) -> None:
        self._failures += 1
        self.reporter.dropped[f"{self.name} failed"] += 1
        self.reporter.once(f"dropped an item: {type(error).__name__}: {error}")
        if self._failures >= _FAILURES_IN_A_ROW:
            self._failures = 0
            raise error

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Send what the stage made."""
        for output in outputs:
            self.send(output)

    def finish(self, end: End) -> None:
        """Flush the stage and pass the end on."""
        self.deliver(self.stage.flush())
        self.send(end)


class MotionNode(StageNode):
    """Motion, with the strides that spot feeds back.

    After a window's end nothing new is taken until spot has answered, so that
    the outcome does not depend on how fast either node runs.
    """

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("motion", config, links, epoch)
        address = links.addresses["feedback"]
        self.feedback = self._own(sockets.pull(links.context, address, 1000))
        self._sync = epoch << 32  # an answer to an earlier life is none
        self._poller = zmq.Poller()
        for socket in (self.feedback, self.inbox):
            self._poller.register(socket, zmq.POLLIN)

    def receive(self) -> Wire | None:
        """Strides before faces."""
        assert self.inbox is not None
        self.check()
        waiting = dict(self._poller.poll(POLL_MS))
        if self.feedback in waiting:
            item = self.take(self.feedback)
            if isinstance(item, Restarted):
                self._break_off()
            return item if isinstance(item, Stride) else None
        self.reporter.idle = self.inbox not in waiting
        return None if self.reporter.idle else self.take(self.inbox)

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Send, and settle when a window ended."""
        ended = False
        for output in outputs:
            ended = ended or isinstance(output, WindowEnd)
            self.send(output)
        if ended:
            self._settle()

    def _break_off(self) -> None:
        """Spot began anew and knows of no window: begin new ones as well."""
        for end in getattr(self.stage, "break_off", list)():
            self.send(end)

    def _settle(self) -> None:
        while not self.links.begun.hurry and self._answers_to_sync():
            pass

    def _answers_to_sync(self) -> bool:
        """Ask spot to catch up; True when a stride came that made new columns."""
        self._sync += 1
        made = False
        self.send(Sync(self._sync))
        asked = time.monotonic()
        while not self.links.begun.hurry:
            self.check()
            if self.feedback.poll(POLL_MS):
                item = self.take(self.feedback)
                if isinstance(item, Sync) and item.number == self._sync:
                    return made
                if isinstance(item, Restarted):
                    self._break_off()
                    return False
                if isinstance(item, Stride):
                    outputs = list(step("motion", self.stage, item))
                    made = made or bool(outputs)
                    for output in outputs:
                        self.send(output)
            elif time.monotonic() - asked > _ASK_AGAIN_S:  # spot died with the question
                asked = time.monotonic()
                self.send(Sync(self._sync))
        return False


class SpotNode(StageNode):
    """Spot, with strides and sync answers going back to motion."""

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("spot", config, links, epoch)
        self.feedback = self._own(sockets.push(links.context, links.addresses["feedback"], 1000))

    def begin(self) -> None:
        """As every stage; motion is told as well when windows were lost."""
        super().begin()
        if self.epoch:
            self.send(Restarted(self.links.begun.stream, self.name), self.feedback)

    def deliver(self, outputs: Iterable[Wire]) -> None:
        """Strides and sync answers to motion, the rest onward."""
        for output in outputs:
            back = isinstance(output, Stride | Sync)
            self.send(output, self.feedback if back else None)
