"""Recognisers off the hot path: a thread that scores whatever waits as one batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.items import Evidence, Reading

if TYPE_CHECKING:
    from stages.score import Scoring

Job = tuple[int, Evidence | None]


@dataclass(frozen=True)
class Scored:
    """The outcome of one job."""

    number: int
    readings: list[Reading]
    error: str = ""  # why there are no readings


def scored(scorer: Scoring, jobs: Sequence[Job]) -> list[Scored]:
    """Score the evidence of ``jobs``; an exception becomes the ``error`` of every one of them."""
    try:
        found = scorer.score([evidence for _, evidence in jobs])
        return [Scored(job[0], readings) for job, readings in zip(jobs, found, strict=True)]
    except Exception as error:  # noqa: BLE001  an event must not be lost to whatever a model raises
        return [Scored(n, [], f"{type(error).__name__}: {error}") for n, _ in jobs]


class ScoreWorker:
    """Scores in a thread of its own; jobs are answered in order.

    Args:
        scorer: used by that thread alone; ``at_once`` jobs are one batch.
        most: jobs that may wait.
    """

    def __init__(self, scorer: Scoring, most: int) -> None:
        self._scorer = scorer
        self._most = most
        self._waiting: deque[Job] = deque()
        self._done: deque[Scored] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)
        self._thread.start()

    def submit(self, number: int, evidence: Evidence | None) -> bool:
        """Queue one job; False when too many wait already."""
        with self._changed:
            if len(self._waiting) >= self._most:
                return False
            self._waiting.append((number, evidence))
            self._changed.notify()
            return True

    def results(self) -> list[Scored]:
        """What was finished since the last call."""
        with self._changed:
            found = list(self._done)
            self._done.clear()
            return found

    def stop(self, wait: bool = True) -> None:
        """End the thread, after the batch in hand; what waits is dropped.

        Args:
            wait: for the thread, up to 10 s.
        """
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if wait:
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                size = min(self._scorer.at_once, len(self._waiting))
                jobs = [self._waiting.popleft() for _ in range(size)]
            found = scored(self._scorer, jobs)
            with self._changed:
                self._done.extend(found)
