"""What ``mespot report`` keeps of a recording: what is drawn, and no more."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

import msgspec

from models.errors import UserError
from pipeline.build import prototypes
from pipeline.config import Config
from pipeline.explain_account import Account, Window
from pipeline.explain_record import Ledger, OverheardSpot, overheard
from pipeline.explain_words import names, why_retracted
from pipeline.inline import open_unpaced
from pipeline.node import is_live
from pipeline.report_lanes import Lanes, lane_aus, rises
from stages.items import Blink, FaceState, Interval, Reading

if TYPE_CHECKING:
    from pipeline.sources import Source
    from pipeline.wire import Wire

_FINEST_S = 0.02  # of the drawn curves; faster cameras' frames share a bin
_RATE = 30.0  # where a recording names none

Card = Callable[[Account], str]  # the HTML of an event


@dataclass(frozen=True)
class Told:
    """An event, without its pictures."""

    number: int
    interval: Interval
    readings: list[Reading]
    place: tuple[int, int]  # of its card in the spool: first byte, bytes


@dataclass(frozen=True)
class Withdrawn:
    """An announcement that was taken back."""

    face: int
    apex_s: float
    aus: str
    reason: str  # as in the protocol
    why: str  # in plain words


@dataclass(frozen=True)
class Closed:
    """Lids that closed and opened again, source time in s."""

    face: int
    onset_s: float
    offset_s: float
    au: int


@dataclass
class Seen:
    """What became of a recording.

    Attributes:
        name: of the stream.
        fps: nominal, where the recording names one.
        size: width and height, px.
        planned: frames that the recording holds, as far as is known.
        frames: frames that were looked at.
        missing: frame numbers that the recording skips.
        until_s: source time up to which it was looked at.
        faces: by face, spans in which it was seen, s.
        lanes: of every AU, in theta.
        partial: why the recording was not looked at to its end; "" when it was.
        warning: what the source had to say.
        models: recognisers, ``name@version``.
    """

    name: str
    fps: float | None
    size: tuple[int | None, int | None]
    planned: int | None
    lanes: Lanes
    frames: int = 0
    missing: int = 0
    until_s: float = 0.0
    faces: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    events: list[Told] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    blinks: list[Closed] = field(default_factory=list)
    partial: str = ""
    warning: str = ""
    models: list[str] = field(default_factory=list)

    def seen_s(self, face: int | None = None) -> float:
        """Seconds in which a face was seen; all faces' together for None."""
        wanted = self.faces if face is None else [face]
        return sum(end - begin for one in wanted for begin, end in self.faces[one])


class Collector:
    """Takes what the stages say, has each event drawn once its window is whole, and forgets it.

    Args:
        config: of the run.
        spot: the overheard stage.
        seen: what is filled.
        spool: where the cards go.
        card: draws one.
    """

    def __init__(
        self, config: Config, spot: OverheardSpot, seen: Seen, spool: IO[bytes], card: Card
    ) -> None:
        self._config = config
        self._known = prototypes(config)
        self._recorder = spot.recorder
        self._ledger = Ledger(spot.recorder, config)
        self._seen = seen
        self._spool = spool
        self._card = card
        self._waiting: list[Account] = []  # their windows go on
        self._visible: dict[int, float] = {}  # since when, s
        seen.models = self._ledger.models

    def take(self, items: list[Wire]) -> None:
        """Take what one frame caused."""
        for item in items:
            if isinstance(item, Interval):
                self._interval(item)
            elif isinstance(item, FaceState):
                self._state(item.face, item.visible, item.stamp.pts)
            elif isinstance(item, Blink):
                self._seen.blinks.append(
                    Closed(item.face, item.onset.pts, item.offset.pts, item.au)
                )
        ended, self._recorder.ended[:] = list(self._recorder.ended), []
        for window in ended:
            self._whole(window)

    def finish(self) -> None:
        """The recording is over, or was left."""
        for face in list(self._visible):
            self._state(face, False, self._seen.until_s)
        self._seen.events.sort(key=lambda told: told.interval.apex.pts)
        self._seen.events[:] = [
            replace(told, number=number) for number, told in enumerate(self._seen.events)
        ]
        self._seen.withdrawn.sort(key=lambda one: one.apex_s)

    def _state(self, face: int, visible: bool, pts: float) -> None:
        since = self._visible.pop(face, None)
        if since is not None:
            self._seen.faces[face].append((since, pts))
        if visible:
            self._visible[face] = pts

    def _interval(self, interval: Interval) -> None:
        account = self._ledger.take(interval)
        if account is None:
            return
        if account.final:
            self._waiting.append(account)
            return
        self._seen.withdrawn.append(
            Withdrawn(
                interval.face,
                interval.apex.pts,
                names(account),
                interval.reason,
                why_retracted(interval),
            )
        )

    def _whole(self, window: Window) -> None:
        self._seen.lanes.add(window.face, *rises(window, self._known, self._config))
        for account in [one for one in self._waiting if one.window is window]:
            self._waiting.remove(account)
            self._draw(account)

    def _draw(self, account: Account) -> None:
        bare = msgspec.structs.replace(account.interval, evidence=None)
        card = self._card(account).encode()
        place = (self._spool.tell(), len(card))
        self._spool.write(card)
        self._seen.events.append(Told(len(self._seen.events), bare, account.readings, place))


@contextlib.contextmanager
def opened(config: Config) -> Iterator[Source]:
    """The recording.

    Raises:
        UserError: the source is a camera, or cannot be read.
    """
    if is_live(config.source):
        raise UserError(f"{config.source}: a report needs a recording, not a camera")
    with contextlib.closing(open_unpaced(config)) as source:
        yield source


def look(
    source: Source,
    config: Config,
    spool: IO[bytes],
    card: Card,
    tell: Callable[[Seen], bool],
) -> Seen:
    """Look at a recording.

    Args:
        source: the recording.
        config: of the run.
        spool: a file at its end, for the events' cards.
        card: draws one of them.
        tell: hears of the progress after every frame; False ends the run early.
    """
    graph, spot = overheard(config)
    step = max(1 / (source.fps or _RATE), _FINEST_S)
    lanes = Lanes(len(lane_aus(prototypes(config), config)), step)
    size = (source.width, source.height)
    seen = Seen(source.stream, source.fps, size, source.n_frames, lanes)
    collector = Collector(config, spot, seen, spool, card)
    last = -1
    for frame in source.frames():
        collector.take(graph.feed(frame))
        seen.frames += 1
        seen.missing += max(frame.stamp.frame - last - 1, 0)
        last = frame.stamp.frame
        seen.until_s = frame.stamp.pts
        if not tell(seen):
            seen.partial = _left(seen)
            break
    collector.take(graph.flush())
    collector.finish()
    seen.warning = source.warning
    return seen


def _left(seen: Seen) -> str:
    of = "" if seen.planned is None else f" of {seen.planned}"
    return f"stopped by its user after {seen.frames}{of} frames ({seen.until_s:.1f} s)"
