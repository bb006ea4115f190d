"""The checks of ``mespot doctor``; each one is run as ``python -m pipeline.doctor_checks NAME``."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models.errors import UserError
from pipeline.doctor import Finding, Level

if TYPE_CHECKING:
    from pipeline.config import Config

Found = tuple[Level, str, str]  # level, what there is, what to do
Check = Callable[["Config"], Found]

CHECKS: dict[str, Check] = {}

_FREE = 1e9  # bytes that an event log wants
_KERNELS = 20  # fewer compiled ones: the first start compiles
_CAMERAS = 8  # tried at most
_OPEN_S = 8.0  # for a network camera, within a check's time
# three frames, 64x48: an edge at column 16, 32, 48
_H264 = base64.b64decode(
    "AAAAAWdkAAqsTCIj0IAAAAMAgAAAHkeJEwjAAAAAAWjoQwOSyLAAAAABZYiCAl/+3iPAph5BWuDCrcr0HrLvAqKA"
    "/cgsipRjAAAAAUGaHYgv/9rfXpx4OWlbAAAAAUGaK/BBkymEF//uNl2cmdz0rw=="
)


def _check(name: str) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return add


def green(found: str) -> Found:
    """In order."""
    return "green", found, ""


# ---------------------------------------------------------------- installation


@_check("configuration")
def configuration(config: Config) -> Found:
    """The file and MESPOT_… variables are understood, the prototypes load."""
    from pipeline.build import prototypes

    known = prototypes(config)
    return green(f"in order; prototypes {known.name}@{known.version}, {len(known.aus)} AUs")


@_check("packages")
def packages(config: Config) -> Found:
    """What mespot needs is installed, in versions that fit."""
    from pipeline import doctor_packages as held

    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info < (3, 13):
        return "red", f"Python {version}", "make PYTHON=/path/to/python3.12 setup"
    mine = held.installed(held.NAME)
    if not mine:
        return "yellow", "mespot is not installed as a package", "make setup"
    if missing := held.unmet():
        words = ", ".join(f"{n.wanted} ({n.found or 'not installed'})" for n in missing)
        return "red", f"does not fit: {words}", "make setup"
    if held.installed("onnxruntime") and held.installed("onnxruntime-gpu"):
        return (
            "yellow",
            "onnxruntime and onnxruntime-gpu own the same module",
            "uninstall both, then install one: mespot[cpu] or mespot[gpu]",
        )
    if extra := [n for n in ("opencv-python", "opencv-python-headless") if held.installed(n)]:
        return "yellow", f"{extra[0]} beside opencv-contrib-python", f"uninstall {extra[0]}"
    if other := held.untested(held.direct()):
        return "yellow", f"not as tested: {', '.join(other)}", "make setup installs those tested"
    return green(f"mespot {mine}, Python {version}, {len(held.direct())} packages")


@_check("extras")
def extras(config: Config) -> Found:
    """Which optional parts are there."""
    from pipeline import doctor_packages as held

    if not held.installed(held.NAME):
        return green("not known: mespot is not installed as a package")
    there = {name: not held.unmet(name) for name in held.EXTRAS}
    present = ", ".join(n for n, whole in there.items() if whole) or "none"
    absent = [f"mespot[{n}]" for n, whole in there.items() if not whole]
    return green(f"present: {present}" + (f"; to be had: {', '.join(absent)}" if absent else ""))


@_check("cpu")
def cpu(config: Config) -> Found:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = f"{count} of {os.cpu_count()} cores; recognisers take {config.classify.threads} threads"
    if (count or 1) < 2:
        return "yellow", words, "one core is enough for about 30 frames a second; give it two"
    return green(words)


@_check("numba cache")
def numba_cache(config: Config) -> Found:
    """Compiled kernels are kept, so that later starts are quick."""
    import stages

    given = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(stages.__file__).parent
    folder = Path(given) if given else home / "__pycache__"
    kept = list(folder.rglob("*.nbi")) if folder.is_dir() else []
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if not os.access(place, os.W_OK):
        todo = "set NUMBA_CACHE_DIR to a folder that can be written"
        if len(kept) >= _KERNELS:
            return green(f"warm, {len(kept)} kernels; {folder} is read-only")
        return "yellow", f"{folder} cannot be written: every start compiles for minutes", todo
    newest = max((path.stat().st_mtime for path in home.glob("*.py")), default=0.0)
    fresh = sum(path.stat().st_mtime >= newest for path in kept)
    if fresh < _KERNELS:
        return (
            "yellow",
            f"cold ({fresh} kernels in {folder}): the next start compiles, for a minute or so",
            "mespot live synthetic: --duration 10",
        )
    return green(f"warm, {len(kept)} kernels in {folder}")


# ---------------------------------------------------------------- what sees


@_check("decoder")
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


@_check("landmarks")
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


@_check("recognisers")
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


@_check("cameras")
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

    try:
        source = open_source(str(number), read_timeout_s=2.0)
        frame = next(iter(source.frames()), None)
        source.close()
    except SourceError:
        return ""
    if frame is None:
        return ""
    height, width = frame.image.shape[:2]
    return f"{number}: {width}×{height}" + (f" at {source.fps:g} fps" if source.fps else "")


@_check("source")
def source(config: Config) -> Found:
    """The configured source opens and gives a picture."""
    from pipeline.sources import open_source, redacted

    rate = config.fps if Path(config.source).is_dir() else "max"
    opened = open_source(config.source, fps=rate, open_timeout_s=_OPEN_S, read_timeout_s=_OPEN_S)
    frame = next(iter(opened.frames()), None)
    opened.close()
    name = redacted(config.source)
    if frame is None:
        return "red", f"{name} gives no frame", opened.warning or "try another source"
    height, width = frame.image.shape[:2]
    rated = f" at {opened.fps:g} fps" if opened.fps else ""
    return green(f"{name}: {width}×{height}{rated}")


# ---------------------------------------------------------------- where it goes


@_check("event address")
def event_address(config: Config) -> Found:
    """The event socket can be opened."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        try:
            socket.bind(config.events)
        except zmq.ZMQError as error:
            todo = "end what holds it (another mespot?), or set another: --events tcp://127.0.0.1:*"
            return "red", f"{config.events}: {error.strerror}", todo
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return green(f"{bound} is free")


def state_folder() -> Path:
    """Where event logs go by default."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mespot"


@_check("disk")
def disk(config: Config) -> Found:
    """Room where events are written, and leave to write there."""
    folders = [state_folder()] if config.out is None else [config.out.parent, state_folder()]
    places = [next(p for p in (folder, *folder.parents) if p.exists()) for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            level: Level = "yellow" if folder == state_folder() else "red"
            return level, f"{folder}: {error.strerror}", f"make {folder} writable"
    free = [shutil.disk_usage(place).free for place in places]
    words = "; ".join(f"{f}: {n / 1e9:.1f} GB free" for f, n in zip(folders, free, strict=True))
    if min(free) < _FREE:
        return "yellow", words, "make room: logs grow"
    return green(words)


def keys_folder() -> Path:
    """Where keys lie by default, once there are some."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "mespot" / "keys"


@_check("keys")
def keys(config: Config) -> Found:
    """Secret keys are their owner's alone."""
    return guarded(keys_folder())


def guarded(folder: Path) -> Found:
    """No one but the owner may look into ``folder``."""
    if not folder.exists():
        return green("none: events stay on this machine")
    wide = [
        path
        for path in (folder, *sorted(folder.rglob("*secret*")))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if wide:
        return "red", f"others may read {wide[0]}", f"chmod -R go= {folder}"
    return green(f"{folder} is yours alone")


# ---------------------------------------------------------------- one check


def names(with_source: bool) -> tuple[str, ...]:
    """The checks in order; ``source`` where one is to be tried."""
    return tuple(name for name in CHECKS if with_source or name != "source")


def perform(name: str, asked: str) -> Finding:
    """Run a check; whatever goes wrong in it is what it found."""
    from pipeline.config import Config, load

    given = json.loads(asked)
    file = None if given["config"] is None else Path(given["config"])
    try:
        config = load(file, source=given["source"])
    except UserError as error:
        if name == "configuration":
            return Finding(name, "red", str(error), "mespot check FILE.toml says where")
        config = Config.model_construct()  # the others go on with the defaults
    try:
        return Finding(name, *CHECKS[name](config))
    except UserError as error:
        return Finding(name, "red", str(error), "see docs/operations.md")
    except Exception as error:  # noqa: BLE001  a broken library may raise anything
        said = " ".join(str(error).split())[:200]
        return Finding(name, "red", f"{type(error).__name__}: {said}", "make setup")


if __name__ == "__main__":
    answer = sys.stdout.buffer
    finding = perform(*sys.argv[1:3])
    answer.write(b"\n" + msgspec.json.encode(finding) + b"\n")
    answer.flush()
    os._exit(0)  # libraries' threads may not end by themselves
