"""The synthetic clip that benchmarks run on, as H.264 in a file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av

from models.synthesis import SyntheticFace, demo_scene


def render(path: Path, seconds: float, seed: int = 7) -> None:
    """Write ``seconds`` of the synthetic camera to ``path``, 640x480 H.264."""
    face = SyntheticFace(demo_scene(duration_s=seconds, seed=seed))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(face.fps))
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.options = {"crf": "18"}
        for i in range(round(seconds * face.fps)):
            frame = av.VideoFrame.from_ndarray(face.frame(i), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@contextlib.contextmanager
def clip(source: Path | None, seconds: float) -> Iterator[Path]:
    """``source`` itself, or a synthetic clip that lives as long as the context."""
    if source is not None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="mespot-bench-") as folder:
        path = Path(folder) / "synthetic.mp4"
        render(path, seconds)
        yield path
