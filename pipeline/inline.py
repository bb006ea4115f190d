"""The graph without sockets: a plain loop over the same stages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.build import STAGES, build
from pipeline.config import Config
from pipeline.messages import Camera
from pipeline.routing import step
from pipeline.sources import Source, open_source
from pipeline.wire import Wire
from stages.base import Stage
from stages.items import Frame, Stride


class InlineGraph:
    """The four stages in a row, strides fed back at once.

    Args:
        stages: by node name, in order; default: built from ``config``.
        curves: let matching curves through to the output.
    """

    def __init__(self, stages: dict[str, Stage], curves: bool = False) -> None:
        self._names = list(stages)
        self._stages = stages
        self._curves = curves

    @classmethod
    def from_config(cls, config: Config) -> InlineGraph:
        """The stages that ``config`` asks for."""
        stages = {name: build(name, config) for name in STAGES}
        return cls(stages, curves=config.publish.curves)

    def feed(self, item: Frame | Camera) -> list[Wire]:
        """Everything that a frame, or a camera's loss, causes to come out at the end."""
        return self._run(deque([(0, item)]))

    def flush(self) -> list[Wire]:
        """Everything still held, stage by stage."""
        out: list[Wire] = []
        for index, name in enumerate(self._names):
            items = self._stages[name].flush()
            out += self._run(deque(self._addressed(index + 1, items)))
        return out

    def _addressed(self, index: int, items: Iterable[Wire]) -> Iterator[tuple[int, Wire]]:
        for item in items:
            yield (self._names.index("motion") if isinstance(item, Stride) else index), item

    def _run(self, work: deque[tuple[int, Wire]]) -> list[Wire]:
        out: list[Wire] = []
        while work:
            index, item = work.popleft()
            if index == len(self._names):
                out.append(item)
                continue
            name = self._names[index]
            made = step(name, self._stages[name], item, self._curves)
            work.extendleft(reversed(list(self._addressed(index + 1, made))))
        return out


def open_unpaced(config: Config) -> Source:
    """The source of ``config``; a recording as fast as it goes.

    Raises:
        SourceError, UserError: one line that says what is wrong.
    """
    # only a folder of images has no rate of its own; a number would slow everything else down
    return open_source(
        config.source,
        fps=config.fps if Path(config.source).is_dir() else "max",
        stream=config.capture.name or None,
        duration_s=config.duration,
        open_timeout_s=config.capture.open_timeout_s,
    )


def run(frames: Iterable[Frame], config: Config) -> Iterator[Wire]:
    """Events (and states) of ``frames``, in order."""
    graph = InlineGraph.from_config(config)
    for frame in frames:
        yield from graph.feed(frame)
    yield from graph.flush()
