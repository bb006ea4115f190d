"""``mespot doctor``: what is in order on this machine, and what to do about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UserError

if TYPE_CHECKING:
    from pipeline.doctor import Finding

_OF_A_CAMERA = ("source", "event address")  # checked for the second camera of a file, too


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(doctor)


def doctor(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A source to try as well: webcam, rtsp:// address, video, folder.",
            show_default="the configuration's",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML configuration file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check this machine: green is in order, yellow has limits, red does not run.

    The exit code is 0 unless something is red, then 1.
    """
    from pipeline import doctor as practice
    from pipeline.doctor_checks import names

    checks = names(source is not None or config is not None)
    findings = []
    cameras = _cameras(config)
    for n, camera in enumerate(cameras):
        asked = practice.Asked(config, source, n)
        for found in practice.examine(asked, checks if n == 0 else _OF_A_CAMERA):
            own = len(cameras) > 1 and found.name in _OF_A_CAMERA
            finding = found.of(camera) if own else found
            findings.append(finding)
            if not as_json:
                _say(finding)
    if as_json:
        typer.echo(practice.as_json(findings))
    if practice.worst(findings) == "red":
        raise typer.Exit(1)


def _cameras(config: Path | None) -> list[str]:
    """Their names in the file; the first check says what is wrong with it."""
    from pipeline.cameras import load_cameras

    try:
        return [""] if config is None else [c.capture.name for c in load_cameras(config)]
    except UserError:
        return [""]


def _say(finding: Finding) -> None:
    level = typer.style(f"{finding.level:<7}", fg=finding.level, bold=True)
    typer.echo(f"{level} {finding.name:<14} {finding.found}  ({finding.seconds:.1f} s)")
    if finding.todo:
        typer.echo(f"{'':<22} → {finding.todo}")
