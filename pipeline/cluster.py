"""Cameras on a cluster: an actor each, kept alive by Ray, followed from here (docs/scale.md)."""

from __future__ import annotations

import contextlib
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.cluster_actor import Batch, CameraActor
from pipeline.config import Config
from pipeline.event_order import Position
from pipeline.hosts import Maker
from pipeline.nodes import make
from pipeline.ray_start import NAMESPACE, check_room
from pipeline.sources.lasting import Backoff

_PREFIX = "mespot:"
_TURN_S = 0.5
_FETCH_S = 10.0  # a fetch without news takes so long
_ANSWER_S = 30.0
_STOP_S = 60.0
_THREADS = 16  # followers and questions that one actor answers at once
_LOOPBACK = "tcp://127.0.0.1:*"


@dataclass(frozen=True)
class Room:
    """What an actor takes of a node."""

    cpus: float = 1.0
    memory_mb: float = 700.0
    gpus: float = 0.0

    def by_name(self) -> dict[str, float]:
        """By Ray's names; memory in bytes."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_mb * 1e6}


def for_actor(config: Config, state: Path | None) -> Config:
    """``config`` as an actor runs it: sockets on loopback, the log below ``state`` if given.

    Raises:
        UserError: it asks for what no actor does.
    """
    name = config.capture.name
    for key, wanted in (
        ("clips.folder", config.clips.folder is not None),
        ("lsl.enabled", config.lsl.enabled),
        ("dashboard.enabled", config.dashboard.enabled),
        ("metrics.enabled", config.metrics.enabled),
        ("security.curve", config.security.curve == "always"),
        ("transport", config.transport != "inproc"),
    ):
        if wanted:
            raise UserError(f"{name}: {key}: not for mespot cluster; use mespot live there")
    updates: dict[str, Any] = {"events": _LOOPBACK, "replay": None, "out": None}
    if state is not None:
        path = state.absolute() / f"{name[:200]}.db"
        updates["log"] = config.log.model_copy(update={"path": path})
    return config.model_copy(update=updates)


@dataclass
class Camera:
    """One camera as it is followed.

    Attributes:
        name: of its stream.
        actor: Ray's handle.
        position: up to where its events are had.
        logs: the same for every log that has numbered them.
        life, state, node: as last told.
        lost: why it does not answer; "" while it does.
        over: it ended.
        ours: it is to end with this process.
    """

    name: str
    actor: Any
    ours: bool = False
    position: str = ""
    logs: dict[str, str] = field(default_factory=dict)
    life: str = ""
    state: str = ""
    node: str = ""
    lost: str = ""
    over: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 10.0))
    again_at: float = 0.0


Say = Callable[[Camera, str], None]
Hear = Callable[[Camera, dict[str, Any]], None]


class Cluster:
    """The cameras' actors.

    Args:
        ray: the module, joined.
        configs: of the cameras, as ``for_actor`` makes them; names differ.
        room: what each takes.
        detach: they outlive this process.
        had: positions by log and camera, from an earlier start.
        maker: makes their nodes.

    Raises:
        UserError: no node has room for a camera, or one runs already with other settings.
    """

    def __init__(
        self,
        ray: Any,
        configs: Sequence[Config],
        room: Room,
        detach: bool = False,
        had: dict[str, dict[str, str]] | None = None,
        maker: Maker = make,
    ) -> None:
        check_room(ray, room.by_name())
        self._ray = ray
        self._follower = f"{platform.node()}:{uuid.uuid4().hex}"
        self._pending: dict[Any, Camera] = {}
        self.cameras = [self._camera(one, room, detach, maker) for one in configs]
        for camera in self.cameras:
            camera.logs = dict((had or {}).get(camera.name, {}))
            if camera.logs:
                camera.position = list(camera.logs.values())[-1]

    def _camera(self, config: Config, room: Room, detach: bool, maker: Maker) -> Camera:
        name = config.capture.name
        with contextlib.suppress(ValueError):  # there is none of this name
            actor = self._ray.get_actor(_PREFIX + name, namespace=NAMESPACE)
            self._same(name, actor, config)
            return Camera(name, actor)
        actor = (
            self._ray.remote(CameraActor)
            .options(
                name=_PREFIX + name,
                namespace=NAMESPACE,
                lifetime="detached" if detach else None,
                num_cpus=room.cpus,
                num_gpus=room.gpus,
                memory=int(room.memory_mb * 1e6),
                max_restarts=-1,
                # a call that failed is made again from here, by its position: nothing is lost,
                # and it is seen that the actor was away
                max_task_retries=0,
                max_concurrency=_THREADS,
                scheduling_strategy="SPREAD",
            )
            .remote(config, maker)
        )
        return Camera(name, actor, ours=not detach)

    def _same(self, name: str, actor: Any, config: Config) -> None:
        try:
            runs = self._ray.get(actor.settings.remote(), timeout=_ANSWER_S)
        except self._ray.exceptions.RayError:
            return  # it is being restarted, with what it had
        if runs != config:
            raise UserError(
                f"{name}: runs already with other settings; mespot cluster stop ends it"
            )

    def follow(self, hear: Hear, say: Say, wanted: Callable[[], bool]) -> None:
        """Hear of every camera until all have ended, or ``wanted`` says no.

        Args:
            hear: called with events, each once and in order, and with states and curves.
            say: called with what happens to an actor.
            wanted: asked twice a second.
        """
        while wanted() and not all(camera.over for camera in self.cameras):
            now = time.monotonic()
            busy = {id(camera) for camera in self._pending.values()}
            for camera in self.cameras:
                if id(camera) not in busy and not camera.over and now >= camera.again_at:
                    self._pending[self._ask(camera)] = camera
            if not self._pending:
                time.sleep(_TURN_S)
                continue
            ready, _ = self._ray.wait(list(self._pending), timeout=_TURN_S)
            for ref in ready:
                self._answered(self._pending.pop(ref), ref, hear, say)

    def _ask(self, camera: Camera) -> Any:
        if not camera.position:
            return camera.actor.begin.remote()
        return camera.actor.fetch.remote(self._follower, camera.position, _FETCH_S)

    def _answered(self, camera: Camera, ref: Any, hear: Hear, say: Say) -> None:
        try:
            made = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            if not camera.lost:
                camera.lost = type(error).__name__
                say(camera, f"lost ({camera.lost}); Ray starts it again")
            camera.again_at = time.monotonic() + camera.backoff.next()
            return
        camera.backoff.attempts = 0
        if isinstance(made, Batch):
            self._take(camera, made, hear, say)
        else:
            camera.position = made

    def _take(self, camera: Camera, batch: Batch, hear: Hear, say: Say) -> None:
        if batch.life != camera.life:
            self._came(camera, batch, say)
        told = f"{batch.state}: {batch.detail}" if batch.detail else batch.state
        if told != camera.state:
            if batch.state != "starting" and (camera.state, told) != ("starting", "running"):
                say(camera, told)
            camera.state = told
        for message in batch.messages:
            hear(camera, message)
        for notice in batch.notices:
            say(camera, notice)
        camera.position = batch.position
        log = Position.parse(batch.position).log
        if log:
            camera.logs.pop(log, None)
            camera.logs[log] = batch.position
        # it moved to a node that numbered for it before
        camera.position = camera.logs.get(batch.new_log, camera.position)
        camera.over = batch.over

    def _came(self, camera: Camera, batch: Batch, say: Say) -> None:
        again = bool(camera.life)
        camera.life, camera.lost = batch.life, ""
        with contextlib.suppress(self._ray.exceptions.RayError):
            camera.node = self._ray.get(camera.actor.status.remote(), timeout=_ANSWER_S)["node"]
        say(camera, f"{'back' if again else 'runs'} on {camera.node or 'a node'}")

    @property
    def ours(self) -> list[Camera]:
        """Those that are to end with this process."""
        return [camera for camera in self.cameras if camera.ours]

    def ask_to_stop(self) -> list[Any]:
        """Let ours close what is open and end; go on to ``follow`` meanwhile."""
        return [camera.actor.stop.remote() for camera in self.ours if not camera.over]

    def stop(self, asked: Sequence[Any] = ()) -> None:
        """Take ours from the cluster, once the answers to ``asked`` are there."""
        if asked:
            self._ray.wait(list(asked), num_returns=len(asked), timeout=_STOP_S)
        for camera in self.ours:
            self._ray.kill(camera.actor, no_restart=True)


def detached(ray: Any) -> Iterator[tuple[str, Any]]:
    """Names and actors of all cameras on the cluster, by name."""
    known = ray.util.list_named_actors(all_namespaces=True)
    ours = (one["name"] for one in known if one["namespace"] == NAMESPACE)
    for name in sorted(name for name in ours if name.startswith(_PREFIX)):
        with contextlib.suppress(ValueError):  # it ended meanwhile
            yield name.removeprefix(_PREFIX), ray.get_actor(name, namespace=NAMESPACE)


def statuses(ray: Any, actors: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """What each says of itself; of one that does not answer, why."""
    asked = [(name, actor.status.remote()) for name, actor in actors]
    made: list[dict[str, Any]] = []
    until = time.monotonic() + _ANSWER_S
    for name, ref in asked:
        try:
            made.append(ray.get(ref, timeout=max(until - time.monotonic(), 0.1)))
        except ray.exceptions.RayError as error:
            made.append({"stream": name, "state": "away", "detail": type(error).__name__})
    return made


def end(ray: Any, actors: Sequence[Any]) -> None:
    """Stop ``actors`` and take them from the cluster, those that do not answer as well."""
    asked = [actor.stop.remote() for actor in actors]
    if asked:
        ray.wait(asked, num_returns=len(asked), timeout=_STOP_S)
    for actor in actors:
        ray.kill(actor, no_restart=True)
