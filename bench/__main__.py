"""``python -m bench COMMAND``: see ``bench/README.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Every claim of the README, as a command. Data is synthetic unless --source names a file.",
)

Source = Annotated[Path | None, typer.Option(help="A video; default: a synthetic clip.")]
Seconds = Annotated[float, typer.Option(help="Length of the synthetic clip.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]

_WIDE = 150  # columns; the table of ``spotting`` is not to be read in fewer


@app.command()
def latency(
    source: Source = None, seconds: Seconds = 20.0, json: Json = False, markdown: Markdown = False
) -> None:
    """Per-stage and end-to-end latency at the clip's own rate, from inside and outside."""
    from bench.latency import measure
    from bench.report import show

    show(measure(source, seconds), json, markdown)


@app.command()
def throughput(
    source: Source = None,
    seconds: Seconds = 20.0,
    repeat: Annotated[int, typer.Option(help="Paired runs.")] = 3,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Frames a second, ours against the plain pipeline, in paired runs."""
    from bench.report import show
    from bench.throughput import measure

    show(measure(source, seconds, repeat), json, markdown)


@app.command()
def flow(json: Json = False, markdown: Markdown = False) -> None:
    """Our Farnebäck, exact and fast, against OpenCV's, one thread each."""
    from bench.flow import measure
    from bench.report import show

    show(measure(), json, markdown)


@app.command()
def spotting(
    folder: Annotated[
        Path | None, typer.Argument(help="Videos beside a truth.json, to be measured as well.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="Synthetic video in all, a third of each level; 0: none.")
    ] = 15.0,
    portraits: Annotated[
        str, typer.Option(help="Faces, with commas; prototypes are fitted on biden.")
    ] = "astronaut,obama",
    seed: Annotated[
        int, typer.Option(help="Of the first clip; below 100000 are the seeds of fitting.")
    ] = 500_000,
    fps: Annotated[float, typer.Option(help="Frames a second of the synthetic clips.")] = 30.0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; default: one per processor core.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="Who may match whom: docs/scoring.md.")] = (
        "one-to-one"
    ),
    json: Annotated[
        Path | None, typer.Option("--json", help="Write everything to FILE, clip by clip.")
    ] = None,
    markdown: Markdown = False,
) -> None:
    """What is spotted, missed and raised falsely, the paper's method against ours."""
    from bench.report import show
    from bench.spotting import measure

    results = measure(folder, minutes, portraits, seed, fps, jobs, protocol, json)
    show(results, False, markdown or get_terminal_size().columns < _WIDE)


@app.command()
def directions(
    portrait: Annotated[str, typer.Option(help="Shipped portrait.")] = "astronaut",
    degrees: Annotated[float, typer.Option(help="How far the head turns.")] = 4.0,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """The paper's Figure 9, measured: a head shake in eight directions against every prototype."""
    from bench.directions import measure
    from bench.report import show

    show(measure(portrait, degrees), json, markdown)


@app.command()
def recognition(
    model: Annotated[
        list[Path] | None, typer.Option(help="A recogniser; may be repeated; default: the shipped.")
    ] = None,
    events: Annotated[int, typer.Option(help="Events scored for each latency.")] = 50,
    threads: Annotated[str, typer.Option(help="CPU threads to measure, with commas.")] = "1,2",
    batches: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1,2,4,8,16",
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """What reading an event costs: preparation and network, by model; events a second by batch."""
    from bench.recognition import measure, numbers
    from bench.report import show

    results = measure(model, events, numbers("threads", threads), numbers("batches", batches))
    show(results, json, markdown)


def main() -> int:
    """Run; a user's mistake is one line."""
    from pipeline.cli import run

    return run(sys.argv[1:], app, "bench")


if __name__ == "__main__":
    sys.exit(main())
