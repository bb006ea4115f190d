"""What a camera, a video-hour and Ray itself cost: processor time, memory, bytes."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from bench import camera, process
from bench.camera import Camera
from bench.cameras import films
from bench.clip import film
from bench.figures import Figure
from bench.process import Usage, usage
from bench.replay import check
from bench.report import Result, rounded, say
from models.errors import UserError
from pipeline.build import prototypes
from pipeline.cluster import Cluster, Room, for_actor, statuses
from pipeline.config import load
from pipeline.inline import open_unpaced, run
from pipeline.library import Pipeline
from pipeline.publish import Messages
from pipeline.ray_start import joined
from pipeline.schema import CurvesMessage, EventMessage, topic

_FPS = 30.0
_RATES = (30.0, 200.0)
_CLIP_S = 20.0
_TASKS = 200
_START_S = 120.0
_NOT_WALL = (
    "processor time is user + system, memory PSS: no wall time, "
    "though a busy machine makes processor time dearer"
)


def measure(seconds: float = 30.0) -> list[Result]:
    """Everything that docs/scale.md is counted from.

    Raises:
        UserError: ``seconds`` is out of range, Ray is missing, or there is no ``/proc``.
    """
    check(seconds, 10.0)
    process.check()
    return [live(seconds), sent(min(seconds, _CLIP_S)), archive(min(seconds, _CLIP_S)),
            on_ray(seconds)]  # fmt: skip


def live(seconds: float) -> Result:
    """Cores and memory of cameras: alone, a process each, and in one process."""
    result = Result(
        "a live camera, 640×480 at 30 fps", ["how", "cores a camera", "PSS a camera, MB"]
    )
    ways: list[tuple[str, str, int, bool, bool]] = [
        ("one", "one process, one camera", 1, True, False),
        ("no_models", "the same, --no-models", 1, False, False),
        ("apart", "two cameras, a process each", 2, True, False),
        ("together", "two cameras in one process", 2, True, True),
    ]
    for key, words, count, models, shared in ways:
        say(f"scale: {words}: {seconds:g} s in real time")
        given = [Camera(one.source, one.fps, models, one.more) for one in films(count, seconds)]
        _, watched = (camera.together if shared else camera.apart)(given)
        cores, pss = watched.cores / count, watched.most("pss") / count
        result.add(
            [words, rounded(cores), rounded(pss)],
            Figure(f"scale.live.{key}.cores", cores, "cores"),
            Figure(f"scale.live.{key}.pss_mb", pss, "MB"),
        )
    result.notes.append(f"a core: seconds of processor a second; {_NOT_WALL}")
    return result


def sent(seconds: float) -> Result:
    """Bytes of what a camera publishes, topics included."""
    say("scale: bytes of messages")
    config = load(source=str(film(seconds, _FPS)), model=[], publish={"curves": True})
    source = open_unpaced(config)
    messages = Messages(source.stream, prototypes(config).aus)
    sizes: dict[str, list[int]] = {"event": [], "curves": []}
    for item in run(source.frames(), config):
        for message in messages.of(item):
            size = len(topic(message)) + len(msgspec.msgpack.encode(message))
            if isinstance(message, EventMessage):
                sizes["event"].append(size)
            elif isinstance(message, CurvesMessage):
                sizes["curves"].append(size)
    result = Result("what a camera publishes", ["what", "messages", "bytes each", "bytes a second"])
    for name, found in sizes.items():
        each = statistics.fmean(found) if found else 0.0
        rate = sum(found) / seconds
        result.add(
            [name, len(found), round(each), round(rate)],
            Figure(f"scale.sent.{name}.bytes", each, "B", portable=True),
            Figure(f"scale.sent.{name}.bytes_s", rate, "B/s", portable=True),
        )
    result.notes.append(
        f"{seconds:g} s of the synthetic script, an expression every 3.3 s, which is far more than "
        "life holds; curves of both windows where two are open"
    )
    return result


def archive(seconds: float) -> Result:
    """Processor time and wall time of a video-hour, as a task of the archive spends it."""
    result = Result(
        "an hour of video", ["what", "processor hours", "wall hours", "frames a processor second"]
    )
    for fps in _RATES:
        for models in (True, False):
            name = f"{fps:g} fps{'' if models else ', --no-models'}"
            say(f"scale: archive, {name}")
            length = seconds if fps < 100 else seconds / 2
            pipeline = Pipeline() if models else Pipeline(model=[])
            path = film(length, fps, 10.0 if fps > 100 else _CLIP_S)
            pipeline.run(path, curves=False)  # what is loaded and compiled once
            cpu, wall = time.process_time(), time.perf_counter()
            found = pipeline.run(path, curves=False)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            span = found.frames / fps
            key = f"scale.archive.at{fps:g}{'' if models else '.no_models'}"
            result.add(
                [name, rounded(cpu / span), rounded(wall / span), rounded(found.frames / cpu)],
                Figure(f"{key}.cpu_h", cpu / span, "h/h"),
                Figure(f"{key}.wall_h", wall / span, "h/h"),
            )
    result.notes.append(
        "one task, 640×480, decoding included; wall time only on a machine with nothing else to do"
    )
    return result


def on_ray(seconds: float) -> Result:
    """What Ray adds: to the machine, to a task, to a camera."""
    result = Result("Ray itself", ["what", "measured"])
    say("scale: Ray")
    with joined(None, 2) as ray:
        _add(result, "head", "Ray's own processes on a node, PSS, MB", _ray_processes().pss)
        _add(result, "idle_cores", "the same, cores while nothing happens", _cores(5.0))
        _tasks(ray, result)
        _actor(ray, result, seconds)
    result.notes.append(_NOT_WALL)
    return result


def _add(result: Result, key: str, words: str, value: float) -> None:
    result.add([words, rounded(value)], Figure(f"scale.ray.{key}", value))


def _ray_processes() -> Usage:
    """All processes that Ray has started from here."""
    found = [usage(pid) for pid in _own_children()]
    known = [one for one in found if one is not None]
    return Usage(*(sum(getattr(u, n) for u in known) for n in ("rss", "pss", "peak", "cpu_s")))


def _own_children() -> list[int]:
    """Children of this process, without theirs (``usage`` counts those)."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(w) for task in tasks for w in (task / "children").read_text().split()]


def _cores(seconds: float) -> float:
    before = _ray_processes().cpu_s
    time.sleep(seconds)
    return (_ray_processes().cpu_s - before) / seconds


def _nothing(number: int) -> int:
    return number


def _tasks(ray: Any, result: Result) -> None:
    """Tasks that do nothing: what is left is Ray's."""
    task = ray.remote(_nothing).options(num_cpus=1)
    ray.get([task.remote(i) for i in range(20)])
    before = _ray_processes().cpu_s + time.process_time()
    begin = time.perf_counter()
    ray.get([task.remote(i) for i in range(_TASKS)])
    wall = time.perf_counter() - begin
    cpu = _ray_processes().cpu_s + time.process_time() - before
    _add(result, "task_cpu_ms", "a task that does nothing, processor ms", 1e3 * cpu / _TASKS)
    _add(result, "task_wall_ms", "the same, wall ms (of 200 at once)", 1e3 * wall / _TASKS)


def _actor(ray: Any, result: Result, seconds: float) -> None:
    """A camera in an actor, followed over Ray; and an actor of nothing."""
    empty = ray.remote(_Nothing).options(num_cpus=0).remote()
    pid = ray.get(empty.pid.remote())
    used = usage(pid)
    _add(result, "empty_actor", "an actor that holds nothing, PSS, MB", used.pss if used else 0)
    path = film(seconds + 5.0, _FPS)
    folder = path.parent / "actor-logs"
    config = load(source=str(path), capture={"name": "scale"}, publish={"curves": True})
    cluster = Cluster(ray, [for_actor(config, folder)], Room(1.0, 300.0))
    heard: list[tuple[float, str]] = []
    samples: list[tuple[float, float, float]] = []

    def take(_: Any, message: dict[str, Any]) -> None:
        heard.append((time.monotonic(), message["type"]))

    def wanted() -> bool:
        now = time.monotonic()
        if not heard:
            return _in_time(now, begun)
        if samples and now < samples[-1][0] + 1.0:
            return True
        actor = statuses(ray, [("scale", cluster.cameras[0].actor)])[0].get("pid")
        used = None if actor is None else usage(int(actor))
        if used is not None:
            samples.append((now, used.cpu_s, used.pss))
        return now < heard[0][0] + seconds

    begun = time.monotonic()
    own = time.process_time()
    cluster.follow(take, lambda *_: None, wanted)
    own = time.process_time() - own
    asked = cluster.ask_to_stop()
    cluster.stop(asked)
    (first, cpu, _), (last, end, _) = samples[0], samples[-1]
    span = last - first
    curves = sum(kind == "curves" for _, kind in heard)
    _add(result, "actor_cores", "a camera in an actor, curves followed: cores", (end - cpu) / span)
    _add(result, "actor_pss", "the same, PSS, MB", max(pss for *_, pss in samples))
    _add(result, "driver_cores", "its follower (one driver), cores", own / span)
    result.notes.append(f"{curves} columns of curves came over Ray's calls in {span:.0f} s")


def _in_time(now: float, begun: float) -> bool:
    if now > begun + _START_S:
        raise UserError(f"scale: the actor said nothing within {_START_S:g} s")
    return True


class _Nothing:
    """An actor without anything."""

    def pid(self) -> int:
        """Of its process."""
        return os.getpid()
