"""Video of final events, kept only where ``clips.folder`` is set.

Frames are compressed and held in memory beside the graph; when an event is final and its
last frame is in, another thread writes the clip. Neither ever holds up the graph: what they
cannot take in time is dropped and counted.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.clip_file import Job, Kept, Writer
from pipeline.clip_pictures import packed, regions, stacked
from pipeline.config import ClipsConfig
from pipeline.schema import EventMessage
from stages.items import Face, Frame, Stamp

_WAITING = 8  # frames that wait to be compressed
_JOBS = 4  # clips that wait to be written
_SWEEP_S = 3600.0
_END_S = 1.5  # for what is open when the run ends


@dataclass(frozen=True)
class _Seen:
    frame: Frame
    faces: list[Face]


class Clips:
    """Takes frames, faces and final events from the nodes, and keeps clips of the events.

    Args:
        settings: with a folder.
        live: a recording may wait a moment for a slow disk, a camera may not.
        write: writes a job, for tests.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self, settings: ClipsConfig, live: bool, write: Callable[[Job], None] | None = None
    ) -> None:
        self._settings = settings
        self._live = live
        self._writer = Writer(settings)
        self._write = self._writer.write if write is None else write
        self._inbox: queue.Queue[_Seen | EventMessage | None] = queue.Queue(_WAITING)
        self._jobs: queue.Queue[Job | None] = queue.Queue(_JOBS)
        self._ring: deque[Kept] = deque()
        self._bytes = 0
        self._closed = False
        self._open: list[EventMessage] = []
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("clips", self._collect), ("clip writer", self._work))
        ]
        for thread in self._threads:
            thread.start()

    def reload(self, settings: ClipsConfig) -> None:
        """Other times and limits from now on; what clips show stays as it is."""
        self._settings = settings
        self._writer.settings = settings

    def see(self, frame: Frame, outputs: Sequence[Any]) -> None:
        """A frame, and what the face stage made of it."""
        self._put(_Seen(frame, [item for item in outputs if isinstance(item, Face)]), "frame")

    def event(self, message: EventMessage) -> None:
        """A published event; all but final ones are passed over."""
        if message.phase == "final" and message.onset is not None and message.offset is not None:
            self._put(message, "event")

    def dropped(self) -> Counter[str]:
        """What was lost since the last call, by reason."""
        with self._lock:
            taken, self._dropped = self._dropped, Counter()
        return taken

    def close(self) -> None:
        """Write what is open, for a short while."""
        if self._closed:
            return
        self._closed = True
        end = time.monotonic() + _END_S
        try:
            self._inbox.put(None, timeout=_END_S)
        except queue.Full:
            self._count("at the end")
            return
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if self._threads[-1].is_alive():
            self._count("at the end")

    def _put(self, item: _Seen | EventMessage, what: str) -> None:
        try:
            self._inbox.put(item, block=not self._live, timeout=1.0)
        except queue.Full:
            self._count(f"{what} too late")

    def _count(self, why: str) -> None:
        with self._lock:
            self._dropped[f"clips: {why}"] += 1

    def _collect(self) -> None:
        while (item := self._inbox.get()) is not None:
            if isinstance(item, EventMessage):
                self._open.append(item)
            else:
                self._keep(item)
        self._begin_jobs(None)
        self._jobs.put(None)  # waits for the writer

    def _keep(self, seen: _Seen) -> None:
        only = self._settings.crops
        kept = Kept(
            seen.frame.stamp,
            seen.frame.image.shape,
            None if only else packed(seen.frame.image),
            {face.face: regions(face) for face in seen.faces},
            {face.face: packed(stacked(face.eye, face.mouth)) for face in seen.faces}
            if only
            else {},
        )
        self._ring.append(kept)
        self._bytes += kept.size
        while self._bytes > self._settings.memory_mb * 1e6 and len(self._ring) > 1:
            self._bytes -= self._ring.popleft().size
        self._begin_jobs(seen.frame.stamp)

    def _begin_jobs(self, now: Stamp | None) -> None:
        """Hand over the clips whose last frame is in; all of them when the run ends."""
        after = self._settings.after_s
        waiting, self._open = self._open, []
        for message in waiting:
            assert message.onset is not None and message.offset is not None
            if now is not None and now.pts < message.offset.pts + after:
                self._open.append(message)
                continue
            begin = message.onset.pts - self._settings.before_s
            frames = [k for k in self._ring if begin <= k.stamp.pts <= message.offset.pts + after]
            if not frames:
                self._count("no frames left")
                continue
            try:
                self._jobs.put_nowait(Job(message, frames))
            except queue.Full:
                self._count("clip too late")

    def _work(self) -> None:
        self._writer.sweep()
        while True:
            try:
                job = self._jobs.get(timeout=_SWEEP_S)
                if job is None:
                    return
                self._write(job)
            except queue.Empty:
                pass
            except Exception as error:  # noqa: BLE001  codec or disk; the graph goes on without
                self._count(f"not written: {type(error).__name__}")
            self._writer.sweep()
