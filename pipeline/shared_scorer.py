"""A camera's end of the recognisers that it shares with others."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import zmq

from models.errors import ModelError, UserError
from pipeline import sockets
from pipeline.score_server import About, Asked, Told
from pipeline.sockets import Endpoint
from pipeline.wire import decode_as, encode
from stages.items import Evidence, Reading

_START_S = 120.0  # loading recognisers takes seconds, on a GPU a minute
_ANSWER_S = 30.0
_POLL_MS = 100

_T = TypeVar("_T")


class SharedScorer:
    """As ``stages.score.Scorer``, by asking a ``ScoreServer``.

    Args:
        context: of the run.
        endpoint: the server's.
        abandon: set when the run wants its nodes gone.

    Raises:
        UserError: the recognisers cannot be loaded.
    """

    def __init__(
        self, context: zmq.Context[Any], endpoint: Endpoint, abandon: threading.Event
    ) -> None:
        self._context, self._endpoint, self._abandon = context, endpoint, abandon
        self._numbers = itertools.count()
        self._about = self._ask(Asked(0), About, _START_S)
        if self._about.failure:
            error: UserError = ModelError(self._about.failure)
            error.exit_code = self._about.exit_code
            raise error
        self.models, self.about = self._about.models, self._about.about

    @property
    def at_once(self) -> int:
        """How many events to ask for at once."""
        return self._about.at_once

    def score(self, events: Sequence[Evidence | None]) -> list[list[Reading]]:
        """Per event one reading of each recogniser.

        Raises:
            TimeoutError: no answer.
            RuntimeError: none of the events could be scored.
        """
        number = next(self._numbers)
        told = self._ask(Asked(number, list(events)), Told, _ANSWER_S)
        if told.error or told.number != number:
            raise RuntimeError(told.error or "an answer to another question")
        return told.readings

    def unscored(self, cause: str) -> list[Reading]:
        """The readings of an event that could not be scored."""
        return [
            msgspec.structs.replace(reading, rule=f"{reading.rule}{cause}")
            for reading in self._about.unscored
        ]

    def _ask(self, question: Asked, kind: type[_T], patience_s: float) -> _T:
        """A connection for each question: none is left behind by a thread that hangs."""
        end = time.monotonic() + patience_s
        with sockets.questions(self._context, self._endpoint) as link:
            self._wait(link, zmq.POLLOUT, end)
            link.send_multipart(encode(question))
            self._wait(link, zmq.POLLIN, end)
            answer: _T = decode_as(link.recv_multipart(), kind)
        return answer

    def _wait(self, link: sockets.Socket, what: int, end: float) -> None:
        while not link.poll(_POLL_MS, what):
            if self._abandon.is_set() or time.monotonic() > end:
                raise TimeoutError("the recognisers do not answer")
