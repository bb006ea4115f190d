"""What a run uses while it is under faults: memory, file descriptors, threads."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from bench.process import Usage, handles, usage
from bench.soak.rig import Rig

_EVERY_S = 2.0


@dataclass(frozen=True)
class Sample:
    """One look at a run and its nodes' processes."""

    at_s: float  # since the soak's begin
    used: Usage
    files: int
    threads: int


class Watch(threading.Thread):
    """Looks at a rig's run every two seconds; starts it again when it is gone, as a service is."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self._rig = rig
        self._over = threading.Event()
        self._begin = time.monotonic()
        self.samples: list[Sample] = []
        self.revived = 0

    def run(self) -> None:
        """Look until closed."""
        while not self._over.wait(_EVERY_S):
            if self._rig.revive():
                self.revived += 1
                continue
            used, held = usage(self._rig.pid), handles(self._rig.pid)
            if used is not None and held is not None:
                at = time.monotonic() - self._begin
                self.samples.append(Sample(at, used, *held))

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join(timeout=10)
