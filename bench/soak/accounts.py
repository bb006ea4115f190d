"""Event accounting: the log against what must hold, each subscriber's file against the log."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Message = dict[str, Any]


@dataclass
class Account:
    """What is wrong with a sequence of events; all counts are 0 where every promise was kept.

    Attributes:
        events: by phase.
        gaps: sequence numbers that are missing.
        repeated: sequence numbers that came again, or out of order.
        never_closed: expressions announced and neither final nor retracted.
        closed_twice: closings of what is closed, retractions of what never was, announcements
            of what is open.
        unannounced: finals whose announcement a killed node took along; allowed.
        stray_updates: updates of what was never final.
    """

    events: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    repeated: int = 0
    never_closed: int = 0
    closed_twice: int = 0
    unannounced: int = 0
    stray_updates: int = 0

    @property
    def faults(self) -> int:
        """Everything that is wrong."""
        return sum(
            (self.gaps, self.repeated, self.never_closed, self.closed_twice, self.stray_updates)
        )


def audit(messages: Iterable[Message]) -> Account:
    """Promises 4 and 5 (``docs/reliability.md``) on events in the order in which they came."""
    account = Account()
    states: dict[str, tuple[str, int]] = {}  # by id: the last phase, and its run
    last: int | None = None
    for message in messages:
        seq, phase, name = int(message["seq"]), str(message["phase"]), str(message["id"])
        account.events[phase] += 1
        if last is not None:
            account.gaps += max(seq - last - 1, 0)
            account.repeated += seq <= last
        last = seq if last is None else max(last, seq)
        run = int(message.get("run", 0))
        before, of = states.get(name, ("", run))
        if run > of and before != "apex":
            before = ""  # ids begin anew with each run
        _enter(account, phase, before)
        if phase != "update":
            states[name] = phase, run
    account.never_closed = sum(phase == "apex" for phase, _ in states.values())
    return account


def _enter(account: Account, phase: str, before: str) -> None:
    """Judge ``phase`` by the one before it of the same expression."""
    if phase == "update":
        account.stray_updates += before != "final"
    elif phase == "apex":
        account.closed_twice += before != ""
    elif phase == "final" and before == "":
        account.unannounced += 1
    else:
        account.closed_twice += before != "apex"


@dataclass(frozen=True)
class Delivery:
    """What a subscriber has of the events from its first on."""

    received: int
    lost: int
    duplicates: int
    out_of_order: int
    changed: int

    @property
    def faults(self) -> int:
        """Everything that is wrong."""
        return self.lost + self.duplicates + self.out_of_order + self.changed


def delivered(log: Sequence[Message], received: Sequence[Message], since: int = -1) -> Delivery:
    """``received`` against the log's events after ``since``."""
    wanted = {int(m["seq"]): m for m in log if int(m["seq"]) > since}
    numbers = [int(m["seq"]) for m in received]
    counted = Counter(numbers)
    return Delivery(
        received=len(numbers),
        lost=len(wanted.keys() - counted.keys()),
        duplicates=sum(n - 1 for n in counted.values()),
        out_of_order=sum(b < a for a, b in itertools.pairwise(numbers)),
        changed=sum(m != wanted.get(int(m["seq"])) for m in received),
    )


def lines(path: Path) -> list[Message]:
    """The whole lines of a subscriber's file."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]
