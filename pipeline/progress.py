"""A progress bar with the time left, that ends early when it is told to."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any, Self


class Progress:
    """A bar on a terminal; and the ear for Ctrl-C and SIGTERM.

    The first signal lets the run end early; the second one acts as ever.

    Args:
        quiet: show nothing.
        doing: said until something is done.
        total: of what there is to do; None: not known yet.
    """

    def __init__(self, quiet: bool, doing: str, total: float | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._left = False
        self._before: dict[int, Any] = {}
        console = Console(file=sys.stderr)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(doing, total=total)

    def show(self, done: float, description: str, total: float | None = None) -> bool:
        """Show how far it is; False once a signal has come."""
        self._bar.update(self._task, completed=done, description=description, total=total)
        return not self._left

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self._left = True
        signal.signal(number, self._before[number])

    def __enter__(self) -> Self:
        """Begin to show and to listen."""
        self._before = {
            number: signal.signal(number, self._leave) for number in (signal.SIGINT, signal.SIGTERM)
        }
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave terminal and signals as they were."""
        self._bar.stop()
        for number, action in self._before.items():
            signal.signal(number, action)
