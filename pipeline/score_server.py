"""Recognisers that several cameras share: loaded once, events of all of them in one batch."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import zmq

from models.errors import UserError
from pipeline import shapes, sockets
from pipeline.scoring import scored
from pipeline.sockets import Endpoint, Socket
from pipeline.wire import WireError, decode_as, encode
from stages.items import Evidence, Reading

if TYPE_CHECKING:
    from stages.score import Scoring

_POLL_MS = 100
_QUEUE = 1000
_MOST_EVENTS = 256

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Asked(msgspec.Struct, frozen=True):
    """Crops to be read; none: what are you?"""

    number: Number
    events: Annotated[list[Evidence | None], msgspec.Meta(max_length=_MOST_EVENTS)] = []


class Told(msgspec.Struct, frozen=True):
    """Per event one reading of each recogniser, or the ``error`` that all of them met."""

    number: Number
    readings: list[list[Reading]] = []
    error: str = ""


class About(msgspec.Struct, frozen=True):
    """What the recognisers are; ``failure``: why there are none."""

    models: list[str] = []
    about: list[str] = []
    at_once: int = 1
    unscored: list[Reading] = []
    failure: str = ""
    exit_code: int = 2


@dataclass
class _Job:
    asker: bytes
    number: int
    left: deque[Evidence | None]
    readings: list[list[Reading]] = field(default_factory=list)
    error: str = ""


class ScoreServer:
    """Scores what cameras ask, in a thread of its own, oldest first.

    Whatever waits when an inference ends is the next batch, whichever camera it is of.

    Args:
        endpoint: where to listen.
        make: makes the scorer, in the thread.

    Attributes:
        batches: how many batches there were of each size.
        malformed: questions that were none.
    """

    def __init__(self, endpoint: Endpoint, make: Callable[[], Scoring]) -> None:
        self._endpoint = endpoint
        self._make = make
        self._over = threading.Event()
        self._jobs: deque[_Job] = deque()
        self._about = About()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self.batches: Counter[int] = Counter()
        self.malformed = 0

    def __enter__(self) -> ScoreServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(timeout=10)  # an inference may hang

    def _run(self) -> None:
        scorer = self._made()
        with zmq.Context() as context, sockets.answers(context, self._endpoint, _QUEUE) as link:
            while not self._over.is_set():
                if link.poll(0 if self._jobs else _POLL_MS):
                    self._take(link)
                elif self._jobs and scorer is not None:
                    self._score(link, scorer)

    def _made(self) -> Scoring | None:
        try:
            scorer = self._make()
        except UserError as error:
            self._about = About(failure=str(error), exit_code=error.exit_code)
            return None
        except Exception as error:  # noqa: BLE001  a runtime may raise anything; the cameras are told
            self._about = About(failure=f"{type(error).__name__}: {error}")
            return None
        self._about = About(scorer.models, scorer.about, scorer.at_once, scorer.unscored(""))
        return scorer

    def _take(self, link: Socket) -> None:
        try:
            asker, *parts = link.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:  # a stranger who is turned away is announced like a question
            return
        try:
            asked = _asked(parts)
        except WireError:
            self.malformed += 1
            return
        if asked.events and not self._about.failure:
            self._jobs.append(_Job(asker, asked.number, deque(asked.events)))
        else:
            _send(link, asker, self._about)

    def _score(self, link: Socket, scorer: Scoring) -> None:
        """One batch, of the jobs that wait longest."""
        chosen: list[tuple[_Job, Evidence | None]] = []
        for job in self._jobs:
            while job.left and len(chosen) < scorer.at_once:
                chosen.append((job, job.left.popleft()))
        self.batches[len(chosen)] += 1
        found = scored(scorer, [(n, evidence) for n, (_, evidence) in enumerate(chosen)])
        for (job, _), one in zip(chosen, found, strict=True):
            job.readings.append(one.readings)
            job.error = job.error or one.error
        while self._jobs and not self._jobs[0].left:
            job = self._jobs.popleft()
            readings = [] if job.error else job.readings
            _send(link, job.asker, Told(job.number, readings, job.error))


def _asked(parts: list[bytes]) -> Asked:
    asked: Asked = decode_as(parts, Asked)
    try:
        for evidence in asked.events:
            if evidence is not None:
                shapes.check_evidence(evidence)
    except ValueError as error:
        raise WireError(str(error)) from None
    return asked


def _send(link: Socket, asker: bytes, answer: Any) -> None:
    link.send_multipart([asker, *encode(answer)], zmq.NOBLOCK)  # one that is gone is passed over
