"""A life of the publish node begins: its numbers go on, what was left open is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pipeline.event_rows import Row
from pipeline.journal import Journal
from pipeline.known import known
from pipeline.publish import Account, Messages
from pipeline.schema import EventMessage


def row_of(event: EventMessage) -> Row:
    """The row of ``event``; its body is what is published."""
    body = msgspec.msgpack.encode(event)
    return Row(event.seq, event.run, event.id, event.phase, event.published_utc_ns, body)


def events_of(rows: Iterable[Row]) -> Iterator[EventMessage]:
    """The events in ``rows``."""
    return (msgspec.msgpack.decode(row.body, type=known(EventMessage)) for row in rows)


def messages_after(
    journal: Journal, stream: str, aus: Sequence[int], first_run: int | None
) -> Messages:
    """Messages that go on where ``journal`` ends; retract first what they find open.

    Args:
        journal: with the run begun.
        stream: name of the stream.
        aus: the AUs of the matching curves.
        first_run: of this graph, when it has had a publish node before: no expression that it
            closed is closed again. Names of expressions begin anew with each graph.

    Raises:
        LogError: the log cannot be read.
    """
    first = journal.run if first_run is None else first_run
    past = list(events_of(journal.of_runs(min(first, journal.logged_run))))
    closed = Account.after(event for event in past if event.run >= first).closed
    account = Account(Account.after(past).open, closed)
    return Messages(
        stream, aus, log=journal.log, run=journal.run, last=journal.last, account=account
    )
