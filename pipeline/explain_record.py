"""What ``mespot explain`` keeps of a run: every announcement, and what it was made from.

The recording goes through the same stages as ever; a recorder sits between ``SpotStage`` and
its rules and overhears what each window was given and what it said.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from pipeline.build import build, prototypes, rules
from pipeline.config import Config
from pipeline.explain_account import Account, Key, Run, Window
from pipeline.explain_profile import announced_profile, lowest_before
from pipeline.inline import InlineGraph, open_unpaced
from pipeline.node import is_live
from pipeline.redaction import redacted
from stages.items import Curves, FaceState, Interval, Item, WindowEnd
from stages.joint import Memory
from stages.peaks import Announcement, Retraction, Update, Veto
from stages.rules import JointWindowSpotter, Rules, WindowSpotter
from stages.spot import SpotStage

if TYPE_CHECKING:
    from models.prototypes import PrototypeSet
    from stages.items import Column

Array = npt.NDArray[np.float64]


class _Watched:
    """A window's spotter, overheard."""

    def __init__(self, recorder: Recorder, memory: Memory | None, inner: WindowSpotter) -> None:
        self._recorder = recorder
        self._memory = memory
        self._inner = inner
        self._window: Window | None = None

    @property
    def rises(self) -> tuple[float, Array] | None:
        return self._inner.rises

    def push(self, time: float, column: Column, shut: bool) -> list[Update]:
        if self._window is None:
            self._window = Window(self._recorder.face, column.reference)
        window = self._window
        filters = None if self._memory is None else self._memory.noise.filters
        if filters is not None and (not window.noise or window.noise[-1][1] is not filters):
            window.noise.append((len(window.times), filters))
        updates = self._inner.push(time, column, shut)
        window.times.append(time)
        window.values.append(column.values)
        self._heard(updates)
        return updates

    def close(self, complete: bool) -> list[Update]:
        updates = self._inner.close(complete)
        self._heard(updates, last=True)
        return updates

    def abandon(self) -> list[Update]:
        updates = self._inner.abandon()
        self._heard(updates, last=True)
        return updates

    def _heard(self, updates: Iterable[Update], last: bool = False) -> None:
        window, inner = self._window, self._inner
        if window is None:
            return
        for update in updates:
            if isinstance(update, Announcement):
                window.announced[update.number] = update
                noise = None if self._memory is None else self._memory.noise
                window.filters[update.number] = None if noise is None else noise.filters
                self._recorder.announced[window.face].append((window, update.number))
            elif isinstance(update, Retraction):
                if isinstance(inner, JointWindowSpotter):
                    window.projections = inner.judged
                window.withdrawn[update.number] = self._recorder.keys(window, update.number)
        if last:
            if isinstance(inner, JointWindowSpotter):
                window.projections = inner.judged
            self._recorder.ended.append(window)


class Recorder:
    """``Rules`` that overhear every window; what they say is not touched.

    Args:
        rules: the rules that spot.
        known: their prototypes.
        config: of the run.
    """

    def __init__(self, rules: Rules, known: PrototypeSet, config: Config) -> None:
        self.aus = rules.aus
        # by face, in order, until they are asked for
        self.announced: dict[int, deque[tuple[Window, int]]] = defaultdict(deque)
        self.ended: list[Window] = []  # windows, whole; whoever reads them empties it
        self.face = 0  # whose item is being taken
        self._rules = rules
        self._known = known
        self._config = config
        self._seen: dict[tuple[int, float], Key] = {}  # by face and source time

    def memory(self) -> Memory | None:
        """As the rules have it."""
        return self._rules.memory()

    def spotter(self, memory: Memory | None) -> WindowSpotter:
        """The rules' spotter, overheard."""
        return _Watched(self, memory, self._rules.spotter(memory))

    def check(self, column: Column) -> str:
        """As the rules have it."""
        return self._rules.check(column)

    def see(self, item: Item) -> None:
        """Know whose item comes now, and keep its crops for as long as windows may need them."""
        if isinstance(item, Curves | WindowEnd | FaceState):
            self.face = item.face
        if isinstance(item, Curves) and item.eye is not None:
            oldest = item.stamp.pts - 2 * self._config.motion.window_s
            self._seen[item.face, item.stamp.pts] = Key("", item.stamp, item.eye, item.mouth)
            while (first := next(iter(self._seen)))[1] < oldest:
                del self._seen[first]

    def keys(self, window: Window, number: int) -> tuple[Key, ...]:
        """The frames from which a withdrawn announcement rose, its apex, and the newest."""
        announcement = window.announced[number]
        apex = window.times[announcement.apex]
        times, curve = announced_profile(window, number, self._known, self._config)
        base = float(times[lowest_before(times, curve, apex, self._config.spot.search_s)])
        found = [
            (name, self._seen.get((window.face, time)))
            for name, time in (
                ("before", base),
                ("apex", apex),
                ("when withdrawn", window.times[-1]),
            )
        ]
        return tuple(replace(key, name=name) for name, key in found if key is not None)


class OverheardSpot:
    """``SpotStage`` whose rules are overheard.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config) -> None:
        self.recorder = Recorder(rules(config), prototypes(config), config)
        self._stage = SpotStage(self.recorder, window_s=config.motion.window_s)

    def process(self, item: Item) -> Iterable[Any]:
        """As ``SpotStage``."""
        self.recorder.see(item)
        return self._stage.process(item)

    def flush(self) -> Iterable[Any]:
        """As ``SpotStage``."""
        return self._stage.flush()

    def reset(self) -> None:
        """As ``SpotStage``."""
        self._stage.reset()


def record(config: Config) -> Run:
    """Run a recording through the stages and keep what explains its events.

    Raises:
        UserError: the source is a camera, or cannot be read.
    """
    if is_live(config.source):
        raise UserError(f"{redacted(config.source)}: explain needs a recording, not a camera")
    graph, spot = overheard(config)
    intervals: list[Interval] = []
    for frame in open_unpaced(config).frames():
        intervals += [item for item in graph.feed(frame) if isinstance(item, Interval)]
    intervals += [item for item in graph.flush() if isinstance(item, Interval)]
    return accounts(intervals, spot.recorder, config)


def overheard(config: Config) -> tuple[InlineGraph, OverheardSpot]:
    """The stages up to spotting in a loop, and the overheard one among them."""
    face, motion, spot = build("face", config), build("motion", config), OverheardSpot(config)
    return InlineGraph({"face": face, "motion": motion, "spot": spot}), spot


class Ledger:
    """Joins each announcement with what became of it.

    Args:
        recorder: of the stage whose intervals are taken.
        config: of the run.
    """

    def __init__(self, recorder: Recorder, config: Config) -> None:
        self._recorder = recorder
        self._classify = build("classify", config)
        self._open: dict[str, tuple[Window, int]] = {}

    @property
    def models(self) -> list[str]:
        """The recognisers that read events, ``name@version``."""
        scorer = getattr(self._classify, "scorer", None)
        return [] if scorer is None else list(scorer.models)

    def take(self, interval: Interval) -> Account | None:
        """The account of an interval that stands or is withdrawn; its window may go on."""
        if interval.phase == "apex":
            self._open[interval.id] = self._recorder.announced[interval.face].popleft()
            return None
        if interval.phase not in ("final", "retracted"):
            return None
        window, number = self._open.pop(interval.id)
        vetoes = tuple(Veto(v.name, v.value, v.limit) for v in interval.vetoes)
        if interval.phase == "retracted":
            return Account(interval, [], window, number, window.withdrawn[number], vetoes)
        event: Any = next(iter(self._classify.process(interval)))
        return Account(interval, event.readings, window, number, _key_frames(interval), vetoes)


def accounts(intervals: list[Interval], recorder: Recorder, config: Config) -> Run:
    """What became of each announcement.

    Args:
        intervals: everything that the overheard stage said, in order.
        recorder: its recorder.
        config: of the run.
    """
    ledger, run = Ledger(recorder, config), Run([], [])
    for account in filter(None, map(ledger.take, intervals)):
        (run.events if account.final else run.retracted).append(account)
    return run


def _key_frames(interval: Interval) -> tuple[Key, ...]:
    evidence = interval.evidence
    made = []
    for name in ("onset", "apex", "offset"):
        eye = None if evidence is None else getattr(evidence, f"{name}_eye")
        mouth = None if evidence is None else getattr(evidence, f"{name}_mouth")
        made.append(Key(name, getattr(interval, name), eye, mouth))
    return tuple(made)
