"""mespot from Python: events of a video, curves as arrays, frames one by one (docs/library.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from models.errors import UserError
from pipeline.build import STAGES, build, prototypes
from pipeline.config import Config, load
from pipeline.inline import InlineGraph, open_unpaced
from pipeline.publish import Messages
from pipeline.schema import BlinkMessage, CurvesMessage, EventMessage, Message, StateMessage
from pipeline.sources.base import stamped
from pipeline.wire import Wire

if TYPE_CHECKING:
    from stages.base import Stage

Phase = Literal["apex", "final", "retracted"]
_CHANNELS = 3


class FrameError(UserError):
    """A frame that cannot be taken: no image, or not after the one before."""


class Options(TypedDict, total=False):
    """What ``Pipeline`` takes besides ``config``: keys of docs/operations.md."""

    method: Literal["mespot", "paper"]
    faces: int
    fps: float | str  # rate of a folder of images
    duration: float  # seconds of the source
    model: Sequence[str | Path]  # recognisers; []: the coding guide alone
    require_gpu: bool
    capture: dict[str, Any]
    face: dict[str, Any]
    motion: dict[str, Any]
    spot: dict[str, Any]
    classify: dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class WindowCurves:
    """The matching curves of one window of one face: rows of W (eq. 23), before smoothing.

    Attributes:
        face: id of the face within the stream.
        reference: frame index of the window's reference. Windows overlap.
        aus: the V action units, in the order of the columns of ``values``.
        frames: (n,) frame indices.
        times: (n,) source time, s.
        values: (n, V) matching indices (eq. 22), px² × prototype px.
    """

    face: int
    reference: int
    aus: tuple[int, ...]
    frames: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]

    def __repr__(self) -> str:
        return f"<curves of face {self.face} against frame {self.reference}: {self.values.shape}>"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What became of a source.

    Attributes:
        stream: its name.
        events: in the order in which they were decided (``docs/protocol.md``).
        blinks: of every face.
        states: faces found and lost.
        curves: of every window, in order of face and reference.
        frames: how many were seen.
        duration: source time of the last frame, s.
        fps: the source's nominal rate, where it has one.
        warning: why the source ended early or what was left out, else "".
    """

    stream: str
    events: list[EventMessage]
    blinks: list[BlinkMessage]
    states: list[StateMessage]
    curves: list[WindowCurves]
    frames: int
    duration: float
    fps: float | None
    warning: str

    def __repr__(self) -> str:
        counts = f"{len(self.events)} events, {len(self.blinks)} blinks, {self.frames} frames"
        return f"<Result of {self.stream}: {counts}, {self.duration:.1f} s>"

    def table(self) -> list[dict[str, Any]]:
        """A row for each event, times in s: ``pandas.DataFrame(result.table())``."""
        return [_row(event) for event in self.events]


def _row(event: EventMessage) -> dict[str, Any]:
    onset, offset = event.onset, event.offset
    known = onset is not None and offset is not None
    return {
        "id": event.id,
        "face": event.face,
        "phase": event.phase,
        "kind": event.kind,
        "onset": None if onset is None else onset.pts,
        "apex": event.apex.pts,
        "offset": None if offset is None else offset.pts,
        "duration": offset.pts - onset.pts if known and offset and onset else None,
        "aus": "+".join(str(a.au) for a in event.aus),
        "reading": event.emotions[0].label if event.emotions else "",
        "height": event.height,
        "explained": event.explained,
    }


@dataclass
class _Kept:
    """What a run has said so far."""

    events: list[EventMessage] = field(default_factory=list)
    blinks: list[BlinkMessage] = field(default_factory=list)
    states: list[StateMessage] = field(default_factory=list)
    columns: dict[tuple[int, int], list[CurvesMessage]] = field(default_factory=dict)

    def take(self, message: Message) -> None:
        if isinstance(message, EventMessage):
            self.events.append(message)
        elif isinstance(message, BlinkMessage):
            self.blinks.append(message)
        elif isinstance(message, StateMessage):
            self.states.append(message)
        elif isinstance(message, CurvesMessage):
            self.columns.setdefault((message.face, message.reference), []).append(message)

    def curves(self) -> list[WindowCurves]:
        return [
            WindowCurves(
                face,
                reference,
                tuple(columns[0].aus),
                np.array([c.at.frame for c in columns], np.int64),
                np.array([c.at.pts for c in columns], np.float64),
                np.array([c.values for c in columns], np.float32),
            )
            for (face, reference), columns in sorted(self.columns.items())
        ]


class _Stream:
    """One stream on its way through the stages."""

    def __init__(self, graph: InlineGraph, name: str, aus: Sequence[int]) -> None:
        self.graph = graph
        self.name = name
        self.count = 0
        self.newest = -inf
        self._messages = Messages(name, aus)

    def of(self, items: Sequence[Wire]) -> list[Message]:
        return [message for item in items for message in self._messages.of(item)]


class Pipeline:
    """Spots micro- and macro-expressions in recordings, cameras, or frames given one by one.

    The same stages as ``mespot live``, in a plain loop: the same events. Not safe for
    concurrent use; one object may be used for many sources, one after the other.

    Args:
        config: a TOML configuration file.
        phases: of events to be told of; ``final`` alone counts every expression once.
        **options: keys of the configuration (docs/operations.md), sections as dicts.

    Raises:
        UserError: a wrong option, file or model; the message is one line. ``SourceError``,
            ``ModelError`` and all others are kinds of it (``models.errors``).

    >>> from pipeline import Pipeline
    >>> pipeline = Pipeline(model=[], duration=3.0)  # no recogniser, the first 3 s
    >>> for event in pipeline.events("synthetic:"):
    ...     print(event.kind, [a.au for a in event.aus], round(event.apex.pts, 1))
    micro [1, 2] 1.8
    """

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        phases: Sequence[Phase] = ("final",),
        **options: Unpack[Options],
    ) -> None:
        given: dict[str, Any] = dict(options)
        if "model" in given:
            given["model"] = [Path(file) for file in given["model"]]
        self._take(load(None if config is None else Path(config), **given), phases)

    @classmethod
    def of(cls, config: Config, phases: Sequence[Phase] = ("final",)) -> Pipeline:
        """A pipeline for a configuration that is there already."""
        made = cls.__new__(cls)
        made._take(config, phases)
        return made

    def _take(self, config: Config, phases: Sequence[Phase]) -> None:
        self.config = config
        self._phases = frozenset(phases)
        self._classify: Stage | None = None  # recognisers are loaded once
        self._fed: _Stream | None = None

    @property
    def aus(self) -> tuple[int, ...]:
        """The action units of the matching curves, in order."""
        return tuple(prototypes(self.config).aus)

    @property
    def thetas(self) -> npt.NDArray[np.float64]:
        """(V,) thresholds of eq. 24 of these AUs, as ``method="paper"`` uses them."""
        scale = self.config.spot.threshold_scale
        return np.asarray(prototypes(self.config).thetas * scale, np.float64)

    def events(self, source: str | Path | int) -> Iterator[EventMessage]:
        """Events of ``source`` as they are decided; stop whenever you like.

        Args:
            source: video, folder of images (needs ``fps``), ``synthetic:``, rtsp:// address,
                or the number of a webcam.

        Raises:
            UserError: the source cannot be opened or read.
        """
        for message in self._messages(source, curves=False, about={}):
            if isinstance(message, EventMessage) and self._wanted(message):
                yield message

    def run(self, source: str | Path | int, *, curves: bool = True) -> Result:
        """All of ``source``: events, blinks, states and, where wanted, curves.

        Curves take about 0.5 kB of memory a frame.

        Raises:
            UserError: the source cannot be opened or read.
        """
        kept, about = _Kept(), dict[str, Any]()
        for message in self._messages(source, curves=curves, about=about):
            if not isinstance(message, EventMessage) or self._wanted(message):
                kept.take(message)
        return Result(
            events=kept.events,
            blinks=kept.blinks,
            states=kept.states,
            curves=kept.curves(),
            **about,
        )

    def feed(self, image: npt.ArrayLike, pts: float, *, rgb: bool = False) -> list[EventMessage]:
        """Events that this frame decides.

        Args:
            image: (h, w) grey or (h, w, 3) BGR uint8, as OpenCV reads them.
            pts: source time of the frame, s, increasing.
            rgb: the image is RGB, as most other libraries read them.

        Raises:
            FrameError: not such an image, or not after the frame before.

        >>> import numpy as np
        >>> pipeline = Pipeline(model=[])
        >>> pipeline.feed(np.zeros((480, 640), np.uint8), pts=0.0)
        []
        >>> pipeline.flush()
        []
        """
        stream = self._fed or _Stream(self._graph(curves=False), "frames", self.aus)
        frame = _image(image, rgb)
        if not isfinite(pts) or pts <= stream.newest:
            raise FrameError(f"pts {pts:g}: must be a number above that of the frame before")
        self._fed = stream
        stream.newest = pts
        stream.count += 1
        made = stream.graph.feed(stamped(stream.name, stream.count - 1, pts, frame))
        return self._told(stream.of(made))

    def flush(self) -> list[EventMessage]:
        """Events that were still open when the frames ended; the next frame begins anew."""
        stream, self._fed = self._fed, None
        return [] if stream is None else self._told(stream.of(stream.graph.flush()))

    def _told(self, messages: Sequence[Message]) -> list[EventMessage]:
        return [m for m in messages if isinstance(m, EventMessage) and self._wanted(m)]

    def _wanted(self, event: EventMessage) -> bool:
        return event.phase in self._phases

    def _graph(self, curves: bool) -> InlineGraph:
        stages = {name: build(name, self.config) for name in STAGES if name != "classify"}
        if self._classify is None:
            self._classify = build("classify", self.config)
        return InlineGraph({**stages, "classify": self._classify}, curves=curves)

    def _messages(
        self, source: str | Path | int, curves: bool, about: dict[str, Any]
    ) -> Iterator[Message]:
        """Messages of ``source``; ``about`` is filled once it has ended."""
        config = self.config.model_copy(update={"source": str(source)})
        opened = open_unpaced(config)
        with contextlib.closing(opened):
            stream = _Stream(self._graph(curves), opened.stream, self.aus)
            newest = 0.0
            for frame in opened.frames():
                stream.count += 1
                newest = frame.stamp.pts
                yield from stream.of(stream.graph.feed(frame))
            yield from stream.of(stream.graph.flush())
            about |= {"stream": opened.stream, "frames": stream.count, "duration": newest}
            about |= {"fps": opened.fps, "warning": opened.warning}


def _image(image: npt.ArrayLike, rgb: bool) -> npt.NDArray[np.uint8]:
    array = np.asarray(image)
    colour = array.ndim == 3 and array.shape[2] == _CHANNELS
    if array.dtype != np.uint8 or not (array.ndim == 2 or colour) or not array.size:
        raise FrameError(
            f"a frame of shape {array.shape}, {array.dtype}: (h, w) or (h, w, 3) uint8 is needed"
        )
    return np.ascontiguousarray(array[..., ::-1] if rgb and colour else array)
