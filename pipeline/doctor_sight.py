"""Checks of what sees: decoder, landmarks, recognisers, cameras, the source."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.doctor import Found, green

if TYPE_CHECKING:
    from pipeline.config import Config

_CAMERAS = 8  # tried at most
_OPEN_S = 8.0  # for a network camera, within a check's time
# three frames, 64x48: an edge at column 16, 32, 48
_H264 = base64.b64decode(
    "AAAAAWdkAAqsTCIj0IAAAAMAgAAAHkeJEwjAAAAAAWjoQwOSyLAAAAABZYiCAl/+3iPAph5BWuDCrcr0HrLvAqKA"
    "/cgsipRjAAAAAUGaHYgv/9rfXpx4OWlbAAAAAUGaK/BBkymEF//uNl2cmdz0rw=="
)


def decoder(config: Config) -> Found:
    """H.264, the codec of most cameras and files, is decoded, and rightly."""
    import av

    try:
        with av.open(io.BytesIO(_H264), "r", format="h264") as container:
            pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    except (av.FFmpegError, ValueError) as error:
        return "red", f"PyAV {av.__version__} decodes no H.264: {error}", "reinstall av"
    edges = [int((picture[0] > 100).argmax()) for picture in pictures]
    if edges != [16, 32, 48]:
        return "red", f"PyAV {av.__version__} decodes H.264 wrongly", "reinstall av"
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return green(f"H.264, PyAV {av.__version__}, libavcodec {version}")


def landmarks(config: Config) -> Found:
    """MediaPipe loads, and finds the face of the demonstration."""
    import numpy as np

    from models.synthesis import load_portrait
    from stages.landmarks import IBUG_68, FaceMeshLandmarker, Landmarker, TaskLandmarker

    task = config.face.task
    made: Landmarker = FaceMeshLandmarker() if task is None else TaskLandmarker(task)
    portrait, points = load_portrait()
    faces = made.detect(portrait, 0.0)
    made.close()
    words = "MediaPipe" if task is None else f"MediaPipe with {task.name}"
    if not faces:
        return "red", f"{words} loads, but does not find the demonstration's face", "make setup"
    off = float(np.median(np.hypot(*(faces[0][list(IBUG_68)] - points).T)))
    size = float(np.hypot(*(points[45] - points[36])))
    if off > 0.15 * size:
        return "red", f"{words} finds the demonstration's face in a wrong place", "make setup"
    return green(f"{words} finds the demonstration's face")


def recognisers(config: Config) -> Found:
    """Where the recognisers really run: the session is made and asked."""
    from models.errors import GpuError
    from models.onnx_session import CPU, CUDA, Compute
    from models.recogniser import Recogniser
    from pipeline.build import recognisers as chosen

    paths = chosen(config)
    if not paths:
        if config.model is not None:
            return green("none asked for: the coding guide alone")
        return (
            "yellow",
            "no ONNX Runtime: events are read by the coding guide alone",
            "install mespot[cpu] or mespot[gpu]",
        )
    import onnxruntime

    wanted = config.classify
    try:
        compute = Compute(wanted.threads, config.require_gpu, wanted.tensorrt)
        loaded = [Recogniser(path, compute) for path in paths]
    except GpuError as error:
        return "red", str(error), "check the driver with nvidia-smi, or do not require the GPU"
    names = ", ".join(f"{one.name} on {one.device}" for one in loaded)
    words = f"ONNX Runtime {onnxruntime.__version__}: {names}"
    offered = CUDA in onnxruntime.get_available_providers()
    if any(one.device == CPU for one in loaded) and (offered or shutil.which("nvidia-smi")):
        todo = "check the driver" if offered else "install mespot[gpu] instead of mespot[cpu]"
        return "yellow", f"{words}, although this looks like a machine with a GPU", todo
    return green(words)


def cameras(config: Config) -> Found:
    """Webcams that open and give a picture."""
    return look_at(sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path)))


def look_at(devices: list[Path]) -> Found:
    """Open each of these video devices.

    Args:
        devices: ``/dev/video…``; on other systems than Linux webcam 0 is tried.
    """
    numbers = [int(p.name.removeprefix("video")) for p in devices if p.name[5:].isdecimal()]
    if sys.platform != "linux":
        numbers = [0]
    if not numbers:
        return "yellow", "no webcam", "connect one; recordings and RTSP cameras need none"
    closed = [path for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    if closed and len(closed) == len(devices):
        return (
            "yellow",
            f"{closed[0]} must not be opened",
            f"sudo usermod -aG video {os.environ.get('USER', '$USER')}, then log in again",
        )
    works = [words for number in numbers[:_CAMERAS] if (words := _webcam(number))]
    if not works:
        return (
            "yellow",
            f"{len(numbers)} video devices, none gives a picture",
            "close what uses the camera, or connect it anew",
        )
    return green("; ".join(works))


def _webcam(number: int) -> str:
    """What webcam ``number`` gives; "" for nothing."""
    from models.errors import SourceError
    from pipeline.sources import open_source
    from pipeline.sources.latest import Watch

    try:
        source = open_source(str(number), watch=Watch(read_timeout_s=2.0))
        frame = next(iter(source.frames()), None)
        source.close()
    except SourceError:
        return ""
    if frame is None:
        return ""
    height, width = frame.image.shape[:2]
    return f"{number}: {width}×{height}" + (f" at {source.fps:g} fps" if source.fps else "")


def source(config: Config) -> Found:
    """The configured source opens and gives a picture."""
    from pipeline.sources import open_source, redacted
    from pipeline.sources.latest import Watch

    rate = config.fps if Path(config.source).is_dir() else "max"
    watch = Watch(read_timeout_s=_OPEN_S)
    opened = open_source(config.source, fps=rate, open_timeout_s=_OPEN_S, watch=watch)
    frame = next(iter(opened.frames()), None)
    opened.close()
    name = redacted(config.source)
    if frame is None:
        return "red", f"{name} gives no frame", opened.warning or "try another source"
    height, width = frame.image.shape[:2]
    rated = f" at {opened.fps:g} fps" if opened.fps else ""
    return green(f"{name}: {width}×{height}{rated}")
