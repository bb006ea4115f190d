"""What the soak came to, camera by camera."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.soak.accounts import Account, Delivery, Message
from bench.soak.faults import Kind
from bench.soak.watch import Sample


@dataclass
class Injected:
    """A fault, and when the first frame captured after its end was heard of."""

    kind: Kind
    at_s: float  # since the soak's begin
    recovery_s: float | None = None

    @property
    def survived(self) -> bool:
        """Whether frames came again; disturbed subscribers are judged by the account."""
        return not self.kind.picture or self.recovery_s is not None


@dataclass
class Outcome:
    """What became of one camera."""

    rig: str
    transport: str
    faults: list[Injected] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    deliveries: list[Delivery] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    stopped_s: float = 0.0
    starts: int = 0
    subscriber_kills: int = 0
