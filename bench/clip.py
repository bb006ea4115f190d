"""Synthetic clips that benchmarks run on, as H.264 in files that live as long as the run."""

from __future__ import annotations

import functools
import math
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from bench.machine import cores
from bench.report import say
from models.synthesis import Expression, Scene, SyntheticFace, demo_scene

Image = npt.NDArray[np.uint8]

_CHUNK = 50  # frames that one process renders at a time
_FEWEST = 200  # of fewer frames the processes' start costs more than they save
_DENSE_S = 1.6  # from expression to expression of the dense scene
_DENSE: tuple[tuple[tuple[int, ...], float], ...] = (
    *(((1, 2), 2.6), ((4,), 2.6), ((12,), 2.6), ((1, 2), 3.0), ((15, 17), 3.0), ((4,), 3.0)),
)


def scene(
    seconds: float, fps: float = 30.0, seed: int = 7, size: tuple[int, int] = (640, 480)
) -> Scene:
    """The demonstration's script at another rate and size."""
    return replace(demo_scene(seconds, seed), fps=fps, width=size[0], height=size[1])


def dense_scene(seconds: float, seed: int = 7) -> Scene:
    """A micro-expression every 1.6 s, brows and mouth in turn: many events in little time."""
    starts = np.arange(1.5, seconds - 1.0, _DENSE_S)
    expressions = [
        Expression(float(t), float(t) + 0.17, float(t) + 0.37, *_DENSE[k % len(_DENSE)])
        for k, t in enumerate(starts)
    ]
    return replace(demo_scene(seconds, seed), expressions=tuple(expressions), blinks_s=())


@functools.lru_cache(maxsize=4)
def _face(what: Scene) -> SyntheticFace:
    return SyntheticFace(what)


def _rendered(what: Scene, first: int, last: int) -> list[Image]:
    return [_face(what).frame(i) for i in range(first, last)]


def images(what: Scene) -> Iterator[Image]:
    """The scene's frames, over the machine's cores where that pays."""
    count = what.n_frames
    if count < _FEWEST:
        yield from _rendered(what, 0, count)
        return
    say(f"rendering {count} synthetic frames")
    starts = range(0, count, _CHUNK)
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        ends = (min(i + _CHUNK, count) for i in starts)
        chunks = deque(
            pool.submit(_rendered, what, i, end) for i, end in zip(starts, ends, strict=True)
        )
        while chunks:
            yield from chunks.popleft().result()


def encode(path: Path, frames: Iterator[Image], fps: float) -> None:
    """Write ``frames`` as H.264."""
    with av.open(str(path), "w") as container:
        stream = None
        for image in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=round(fps))
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "18"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        if stream is not None:
            container.mux(stream.encode())


@functools.lru_cache(maxsize=1)
def folder() -> Path:
    """Where this run's clips lie; it goes with the process."""
    return Path(_holder().name)


@functools.lru_cache(maxsize=1)
def _holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mespot-bench-")


@functools.lru_cache(maxsize=64)
def rendered(what: Scene) -> Path:
    """The scene as a file, rendered once in a run."""
    path = folder() / f"clip{len(list(folder().glob('*.mp4')))}.mp4"
    encode(path, images(what), what.fps)
    return path


def clip(source: Path | None, seconds: float, fps: float = 30.0) -> Path:
    """``source`` itself, or the synthetic clip of so many seconds."""
    return source if source is not None else rendered(scene(seconds, fps))


def looped(path: Path, seconds: float, length_s: float) -> Path:
    """``path`` (of ``length_s`` seconds) again and again for ``seconds``.

    At each seam the head jumps by about a pixel, as at a cut.
    """
    times = math.ceil(seconds / length_s)
    if times <= 1:
        return path
    return repeated(path, times)


def repeated(video: Path, times: int) -> Path:
    """``video`` joined to itself ``times`` times, without encoding it again."""
    target = video.with_name(f"{video.stem}_x{times}.mp4")
    with av.open(str(target), "w") as out:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(video)) as source:
                track = source.streams.video[0]
                stream = stream or out.add_stream_from_template(track)
                end = 0
                for packet in source.demux(track):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
                shift += end
    return target


def film(seconds: float, fps: float = 30.0, longest_s: float = 20.0) -> Path:
    """A synthetic recording of any length: at most ``longest_s`` of it rendered, then repeated."""
    length = min(seconds, longest_s)
    return looped(rendered(scene(length, fps)), seconds, length)
