"""The classify node: everything goes on at once, but final events wait for their scores."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from pipeline.config import Config
from pipeline.messages import End, Restarted
from pipeline.node import Abandoned, Links, is_live
from pipeline.scoring import Scored, ScoreWorker, scored
from pipeline.stage_nodes import StageNode
from pipeline.wire import Wire
from stages.items import Event, Interval

if TYPE_CHECKING:  # it brings Numba along, which only this node's process needs
    from stages.base import Stage
    from stages.classify import ClassifyStage
    from stages.score import Scoring

_NOT_SCORED = "classify: not scored"
_TICK_MS = 2  # how often results are looked for while events wait
_IDLE_MS = 100
_MOST_WAITING = 64  # events; half a megabyte of crops each
_PATIENCE_S = 5.0  # at least, with the last scores when the stream has ended


@dataclass
class _Waiting:
    """A final event without its scores."""

    event: Event
    due: float  # monotonic, s
    out: bool = False  # published without them


def is_paced(config: Config) -> bool:
    """Whether frames come by a clock, so that an event can be late."""
    return is_live(config.source) or config.fps != "max"


class ClassifyNode(StageNode):
    """Classification, with the recognisers in a thread beside the node.

    A final event waits for its scores until ``classify.deadline_s`` after it came; then it
    is published without them, and an ``update`` with all readings follows. Other items
    overtake it. Where frames are not paced by a clock nothing can be late: the node scores
    event by event and waits, so that every driver gives the same.
    """

    def __init__(self, config: Config, links: Links, epoch: int = 0) -> None:
        super().__init__("classify", config, links, epoch)
        self._paced = is_paced(config)
        self._worker: ScoreWorker | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0

    def run(self) -> None:
        """As every stage; the thread ends with the run.

        What is decided goes out even when the node dies: the publisher would retract it.
        """
        try:
            super().run()
        except Abandoned:
            raise
        except Exception:
            self.deliver(self._release(list(self._waiting)))
            raise
        finally:
            self._stop()

    def built(self) -> Stage:
        """The stage, with recognisers of its own or, among several cameras, shared ones."""
        scoring = self.links.addresses.scoring
        if scoring is None:
            return super().built()
        from pipeline.build import classify
        from pipeline.shared_scorer import SharedScorer

        shared = SharedScorer(self.links.context, scoring, self.links.abandon)
        return classify(self.config, shared)

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop(wait=not self._waiting)  # an inference in hand may hang
            self._worker = None
        self._waiting.clear()

    @property
    def _scorer(self) -> Scoring | None:
        return getattr(self.stage, "scorer", None)

    def _detail(self) -> str:
        return "" if self._scorer is None else "\n".join(self._scorer.about)

    def receive(self) -> Wire | None:
        """Scores that have come and events that are due, then the next item."""
        assert self.inbox is not None
        self.check()
        self._publish()
        patience = _TICK_MS if self._waiting else _IDLE_MS
        found = self.inbox.poll(patience)
        self.reporter.idle = not found and not self._waiting
        return self.take(self.inbox) if found else None

    def outputs(self, item: Wire) -> list[Wire]:
        """What goes on at once."""
        if isinstance(item, Restarted):
            # an expression that the publisher takes for open would be retracted
            return [*self._release(list(self._waiting)), *super().outputs(item)]
        if self._scorer is None or not isinstance(item, Interval) or item.phase != "final":
            return super().outputs(item)
        event = cast("ClassifyStage", self.stage).read(item)
        if not self._paced:
            return [self._complete(event, scored(self._scorer, [(0, item.evidence)])[0])]
        return self._submit(self._scorer, event, item)

    def finish(self, end: End) -> None:
        """Wait for the scores while they come, then pass the end on."""
        patience = max(_PATIENCE_S, 10 * self.config.classify.deadline_s)
        last = max((waiting.due for waiting in self._waiting.values()), default=0.0)
        while self._waiting:
            self.check()
            if self._publish():
                last = max(last, time.monotonic())
            if self.links.begun.hurry:
                self._give_up("no scores before the run had to end")
                break
            if time.monotonic() > last + patience:
                self._give_up(f"no scores for {patience:g} s after the end")
                break
            time.sleep(_TICK_MS / 1000)
        super().finish(end)

    def _give_up(self, why: str) -> None:
        self.deliver(self._release(list(self._waiting)))
        missing = len(self._waiting)
        self.reporter.dropped[_NOT_SCORED] += missing
        self.reporter.once(f"{why}: updates of {missing} events are lost")

    def _submit(self, scorer: Scoring, event: Event, item: Interval) -> list[Wire]:
        if self._worker is None:
            self._worker = ScoreWorker(scorer, _MOST_WAITING)
        self._count += 1
        if not self._worker.submit(self._count, item.evidence):
            return [self._complete(event, Scored(0, [], "too many events wait for their scores"))]
        due = time.monotonic() + self.config.classify.deadline_s
        self._waiting[self._count] = _Waiting(event, due)
        return []

    def _publish(self) -> int:
        """Send what is scored and what is due; how many scores came."""
        found = [] if self._worker is None else self._worker.results()
        for one in found:
            waiting = self._waiting[one.number]
            event = self._complete(waiting.event, one)
            self.send(_updated(event) if waiting.out else event)
            del self._waiting[one.number]
        now = time.monotonic()
        self.deliver(self._release([n for n, w in self._waiting.items() if w.due <= now]))
        return len(found)

    def _release(self, numbers: list[int]) -> list[Event]:
        """Those of the waiting events that are not out yet, without their scores."""
        kept = [w for n, w in self._waiting.items() if n in numbers and not w.out]
        for waiting in kept:
            waiting.out = True
        return [waiting.event for waiting in kept]

    def _complete(self, event: Event, found: Scored) -> Event:
        readings = found.readings
        causes = [f"{r.source}: an event is {r.rule}" for r in readings if not r.label]
        if found.error and self._scorer is not None:
            causes = [f"an event is not scored: {found.error}"]
            readings = self._scorer.unscored(found.error)
        if causes:
            self.reporter.dropped[_NOT_SCORED] += 1
        for cause in causes:
            self.reporter.once(cause)
        return cast("ClassifyStage", self.stage).complete(event, readings)


def _updated(event: Event) -> Event:
    return msgspec.structs.replace(
        event, interval=msgspec.structs.replace(event.interval, phase="update")
    )
