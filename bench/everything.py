"""``python -m bench all``: every command, with settings that end within the hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ending import aims
from bench.report import Result, say
from models.errors import UserError

_SHORT_S = 20.0  # of a run in real time


@dataclass(frozen=True)
class Part:
    """One command of ``all``: its name, and the measurement with ``all``'s settings."""

    name: str
    run: Callable[[], list[Result]]


def parts(live_s: float = _SHORT_S, minutes: float = 3.0, plot: Path | None = None) -> list[Part]:
    """The commands in order; imports wait until each is run.

    Args:
        live_s: length of each run in real time, s.
        minutes: synthetic video that spotting is scored on.
        plot: where the curves of growth go.
    """

    def flow() -> list[Result]:
        from bench.flow import measure

        return measure(windows=24)

    def throughput() -> list[Result]:
        from bench.throughput import measure

        return measure(None, live_s, 3)

    def latency() -> list[Result]:
        from bench.latency import measure

        return measure(None, max(3 * live_s, 5.0))

    def replay() -> list[Result]:
        from bench.replay import measure

        return measure(live_s)

    def cameras() -> list[Result]:
        from bench.cameras import measure

        return measure(6, live_s)

    def startup() -> list[Result]:
        from bench.startup import measure

        return measure(5)

    def memory() -> list[Result]:
        from bench.memory import measure

        return measure(max(2 * live_s, 10.0))

    def growth() -> list[Result]:
        from bench.growth import measure

        return measure(max(live_s / 3, 5.0), plot, short=True)

    def faces() -> list[Result]:
        from bench.faces import measure

        return measure(6, 201)

    def floors() -> list[Result]:
        from bench.floors import measure

        return measure()

    def recognition() -> list[Result]:
        from bench.recognition import measure

        return measure(None, 20, [1, 2], [1, 4, 16])

    def directions() -> list[Result]:
        from bench.directions import measure

        return measure("astronaut", 4.0)

    def spotting() -> list[Result]:
        from bench.spotting import measure

        return measure(None, minutes, variants="paper,ours,exact")

    made = (flow, throughput, latency, replay, cameras, startup, memory, growth, faces, floors)
    return [Part(one.__name__, one) for one in (*made, recognition, directions, spotting)]


def chosen(known: list[Part], only: str | None, without: str | None) -> list[Part]:
    """The parts that ``--only`` names, less those that ``--without`` names.

    Raises:
        UserError: one of the names is unknown, or nothing is left.
    """
    wanted = _names("only", only, known) if only is not None else {part.name for part in known}
    wanted -= _names("without", without, known) if without is not None else set()
    if not wanted:
        raise UserError("all: nothing is left to measure")
    return [part for part in known if part.name in wanted]


def _names(option: str, text: str, known: list[Part]) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names <= {part.name for part in known}:
        raise UserError(f"--{option} {text}: of {', '.join(part.name for part in known)}")
    return names


def measured(wanted: list[Part]) -> tuple[list[Result], list[str]]:
    """Results, each told its part, with the sheet of aims first; and what failed."""
    results, failed = [], []
    for part, made in _run(wanted):
        if isinstance(made, UserError):
            failed.append(f"{part.name}: {made}")
            say(f"bench: {failed[-1]}")
            continue
        for result in made:
            result.part = result.part or part.name
            results.append(result)
    return [aims(results), *results], failed


def _run(wanted: list[Part]) -> Iterator[tuple[Part, list[Result] | UserError]]:
    for number, part in enumerate(wanted, 1):
        say(f"[{number}/{len(wanted)}] {part.name}")
        try:
            yield part, part.run()
        except UserError as error:  # what was measured before is not thrown away
            yield part, error
