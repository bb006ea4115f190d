"""``mespot cluster``: many cameras on many machines, an actor each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import UserError

if TYPE_CHECKING:
    from pipeline.cluster import Camera, Cluster
    from pipeline.cluster_file import ClusterFile

_LAST_WORDS_S = 30.0  # of cameras that are told to end

cluster = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Many cameras on many machines: an actor each, restarted wherever there is room.",
)
_Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="A Ray cluster: host:port, ray://host:port, or auto.",
        show_default="a Ray on this machine alone",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.add_typer(cluster, name="cluster")


@cluster.callback()
def run(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML with a [[camera]] table for each.")
    ] = None,
    ray: _Ray = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the event logs, on storage that every node sees.",
            show_default="each node's own state folder",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Append every event, once, to this JSON Lines file.")
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, help="Processor cores for each camera.")] = 1.0,
    memory_mb: Annotated[float, typer.Option(min=100, help="Memory for each.")] = 700.0,
    gpus: Annotated[float, typer.Option(min=0, help="Share of a GPU for each.")] = 0.0,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start the cameras and leave them to the cluster.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Keep a restartable actor for each camera, and print their events.

    Ctrl-C drains and ends the cameras; those that were detached go on.
    """
    if ctx.invoked_subcommand is not None:
        return
    if config is None:
        raise UserError("give --config FILE with a [[camera]] table for each camera")
    if detach and ray is None:
        raise UserError("--detach needs --ray: a Ray of this process's own ends with it")
    from pipeline.cameras import load_cameras
    from pipeline.cluster import Cluster, Room, for_actor
    from pipeline.ray_start import joined

    configs = [for_actor(one, state) for one in load_cameras(config)]
    file = _file(out)
    with joined(ray) as module:
        room = Room(cpus, memory_mb, gpus)
        made = Cluster(module, configs, room, detach, None if file is None else file.had)
        if detach:
            typer.echo(f"{len(configs)} cameras are with the cluster; mespot cluster status --ray")
            return
        try:
            made.follow(*_watchers(file, quiet), _until_signal())
        finally:
            _end(made, file, quiet)
            if file is not None:
                file.close()


def _end(made: Cluster, file: ClusterFile | None, quiet: bool) -> None:
    """Stop the cameras, and hear what they say last."""
    asked = made.ask_to_stop()
    if asked:
        typer.echo("mespot: ending the cameras", err=True)
        until = time.monotonic() + _LAST_WORDS_S
        ours = {camera.name for camera in made.ours}
        made.cameras = [camera for camera in made.cameras if camera.name in ours]
        made.follow(*_watchers(file, quiet), lambda: time.monotonic() < until)
    made.stop(asked)


def _file(out: Path | None) -> ClusterFile | None:
    if out is None:
        return None
    from pipeline.cluster_file import ClusterFile

    return ClusterFile(out)


def _watchers(
    file: ClusterFile | None, quiet: bool
) -> tuple[Callable[[Camera, dict[str, Any]], None], Callable[[Camera, str], None]]:
    from rich.console import Console
    from rich.markup import escape

    from pipeline.console import event_line

    screen = Console(soft_wrap=True, highlight=False)
    words = Console(stderr=True, soft_wrap=True, highlight=False)

    def hear(camera: Camera, message: dict[str, Any]) -> None:
        if message["type"] == "event":
            if file is not None:
                file.write(message)
            if not quiet:
                screen.print(f"{escape(camera.name)} {event_line(message)}")
        elif message["type"] == "state" and not quiet:
            detail = escape(message["detail"])
            screen.print(f"{escape(camera.name)} [blue]{message['state']}[/] {detail}")

    def say(camera: Camera, text: str) -> None:
        words.print(f"[yellow]{escape(camera.name)}: {escape(text)}[/]")

    return hear, say


def _until_signal() -> Callable[[], bool]:
    """True until Ctrl-C or SIGTERM; a second one acts as ever."""
    left: list[int] = []
    before: dict[int, Any] = {}

    def leave(number: int, frame: FrameType | None) -> None:
        left.append(number)
        for one, action in before.items():
            signal.signal(one, action)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, leave)
    return lambda: not left


@cluster.command()
def status(ray: _Ray = None) -> None:
    """Every camera on the cluster: node, state, counters."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.cluster import detached, statuses
    from pipeline.ray_start import joined

    with joined(_asked(ray)) as module:
        found = statuses(module, list(detached(module)))
    columns = ("stream", "node", "state", "frames", "dropped", "events", "restarts", "cpu_s")
    table = Table(*columns, "detail")
    for one in found:
        finals = one.get("events", {}).get("final", 0)
        shown = one | {"events": finals}
        table.add_row(*(str(shown.get(name, "")) for name in (*columns, "detail")))
    Console().print(table if found else "no cameras")


@cluster.command()
def stop(ray: _Ray = None) -> None:
    """End every camera on the cluster; what is open is closed first."""
    from pipeline.cluster import detached, end
    from pipeline.ray_start import joined

    with joined(_asked(ray)) as module:
        actors = [actor for _, actor in detached(module)]
        end(module, actors)
    typer.echo(f"{len(actors)} cameras ended")


def _asked(ray: str | None) -> str:
    if ray is None:
        raise UserError("give --ray ADDRESS: cameras outlive their start only on a cluster")
    return ray
