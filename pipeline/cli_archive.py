"""``mespot archive``: spots whole archives, on one machine or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UserError
from pipeline.progress import Progress

if TYPE_CHECKING:
    from pipeline.archive import Archive, State

_FAILED = 1
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(archive)


def archive(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of videos, and below.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is found.")],
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster: host:port, ray://host:port, or auto.",
            show_default="a Ray on this machine alone",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Only these, such as '*.avi'; may be repeated.")
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Folders of numbered images are videos too, at so many frames a second."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="mespot or paper.", show_default="mespot")
    ] = None,
    faces: Annotated[int | None, typer.Option(help="Faces to follow.", show_default="1")] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="No recogniser: the coding guide alone.")
    ] = False,
    blinks: Annotated[bool, typer.Option("--blinks", help="Keep blinks as well.")] = False,
    curves: Annotated[
        bool, typer.Option("--curves", help="Keep matching curves as well (0.1 kB a frame).")
    ] = False,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a video is begun again whose worker died.")
    ] = 2,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Videos at once, without --ray.", show_default="one a core"),
    ] = None,
    memory_mb: Annotated[
        float, typer.Option(min=100, help="Memory that a task is given by Ray's account.")
    ] = 1000.0,
    gpus: Annotated[float, typer.Option(min=0, help="Share of a GPU that a task is given.")] = 0.0,
    collect: Annotated[
        bool, typer.Option("--collect", help="Only put what is done together once more.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no words.")] = False,
) -> None:
    """Spot every video below DIR; a second start does what is not done.

    Results are Parquet files below --out (docs/scale.md). Ctrl-C keeps what is done.
    """
    if ray is not None and jobs is not None:
        raise UserError("--jobs is for a Ray of this machine's own; leave it out with --ray")
    from pipeline.archive import Archive, Needs
    from pipeline.config import load

    settings = load(config, fps=fps, method=method, faces=faces, model=[] if no_models else None)
    kinds = [name for name, wanted in (("blinks", blinks), ("curves", curves)) if wanted]
    made = Archive(folder, out, settings, pattern or (), kinds)
    if made.state.left and not collect:
        needs = Needs(memory_mb=memory_mb, gpus=gpus, retries=retries)
        with ArchiveProgress(made, quiet) as progress:
            from pipeline.ray_start import joined

            with joined(ray, jobs) as cluster:
                made.run(cluster, needs, progress)
    else:
        made.list()
        made.collect()
    _end(made, quiet)


def _end(made: Archive, quiet: bool) -> None:
    """Say what it came to; the exit code as well."""
    state = made.state
    if not quiet:
        typer.echo(f"{made.out}: {_words(state)}")
    if state.reasons:
        typer.echo(f"mespot: {len(state.reasons)} failed: {made.out / 'failed.csv'}", err=True)
    if state.stopped:
        typer.echo("mespot: stopped; the same command goes on", err=True)
        raise typer.Exit(_INTERRUPTED)
    if state.reasons:
        raise typer.Exit(_FAILED)


def _words(state: State) -> str:
    new = len(state.done) - state.skipped
    parts = [f"{state.events} events in {len(state.done)} of {len(state.archive)} videos"]
    parts.append(f"{new} done now, {state.skipped} before")
    return "; ".join(parts)


class ArchiveProgress(Progress):
    """How far an archive is, by bytes: videos differ in length."""

    def __init__(self, made: Archive, quiet: bool) -> None:
        # what was done before tells nothing of the speed
        self._sizes = {video.name: video.size for video in made.state.left}
        super().__init__(quiet, "starting", max(sum(self._sizes.values()), 1))

    def __call__(self, state: State) -> bool:
        """Show how far it is; False once a signal has come."""
        over = sum(s for n, s in self._sizes.items() if n in state.done or n in state.reasons)
        failed = f", {len(state.reasons)} failed" if state.reasons else ""
        count = f"{len(state.done)}/{len(state.archive)} videos{failed}"
        return self.show(over, f"{count}, {state.events} events")
