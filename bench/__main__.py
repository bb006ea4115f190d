"""``python -m bench COMMAND``: see ``bench/README.md``."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.compare import TOLERANCE
from bench.ending import Form, finish
from bench.report import STDOUT, Result


class Commands(TyperGroup):
    """``--json`` may stand alone (standard output) or before a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a lone ``--json`` its value."""
        given: list[str] = []
        for i, word in enumerate(args):
            given.append(word)
            last = i + 1 == len(args) or args[i + 1].startswith("--")
            if word == "--json" and last:
                given.append(STDOUT)
        return list(super().parse_args(ctx, given))


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Every claim of the README, as a command. Data is synthetic unless --source names a file.",
)

Source = Annotated[Path | None, typer.Option(help="A video; default: a synthetic clip.")]
Live = Annotated[float, typer.Option("--seconds", help="Length of each run in real time.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="[FILE]", help="JSON to FILE, else printed.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]
Compare = Annotated[
    Path | None, typer.Option(help="An earlier run's JSON: ratios; exit code 1 on a regression.")
]
Tolerance = Annotated[float, typer.Option(help="Share by which a figure may be worse.")]
Into = Annotated[Path | None, typer.Option(help="Rewrite the marked tables of this document.")]

_WIDE = 150  # columns; the table of ``spotting`` is not to be read in fewer
_GROWTH = Path(__file__).parents[1] / "docs" / "growth.png"


def _end(command: str, form: Form, results: list[Result]) -> None:
    code = finish(command, results, form)
    if code:
        raise typer.Exit(code)


@app.command()
def flow(
    frames: Annotated[int, typer.Option(help="Synthetic frames.")] = 60,
    repeat: Annotated[int, typer.Option(help="Runs of each, in turn.")] = 7,
    windows: Annotated[
        int, typer.Option(help="Windows for the agreement of curves, besides the demo's; 0: none.")
    ] = 48,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Our Farnebäck, exact and fast, against OpenCV's, one thread each; do the curves agree?"""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.flow import measure

    _end("flow", form, measure(frames, repeat, windows))


@app.command()
def latency(
    source: Source = None,
    seconds: Live = 100.0,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Per-stage and end-to-end latency at the clip's own rate, from inside and outside."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.latency import measure

    _end("latency", form, measure(source, seconds))


@app.command()
def throughput(
    source: Source = None,
    seconds: Annotated[float, typer.Option(help="Of the 30 fps clip.")] = 20.0,
    repeat: Annotated[int, typer.Option(help="Paired runs.")] = 5,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Frames a second, ours against the plain pipeline, in paired runs."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.throughput import measure

    _end("throughput", form, measure(source, seconds, repeat))


@app.command()
def replay(
    seconds: Live = 60.0,
    fps: Annotated[float, typer.Option(help="Rate of the replay.")] = 200.0,
    no_models: Annotated[bool, typer.Option("--no-models", help="No recognisers.")] = False,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """A 200 fps recording and a 30 fps one replayed at 200 fps: drops, lag, kept up or not."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.replay import measure

    _end("replay", form, measure(seconds, fps, not no_models))


@app.command()
def cameras(
    count: Annotated[int, typer.Option(help="Synthetic 30 fps cameras.")] = 6,
    seconds: Live = 60.0,
    one_process: Annotated[
        bool, typer.Option(help="Also run all of them as graphs of one process.")
    ] = True,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Many cameras at once: drops and lag by camera, processor and memory of all."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.cameras import measure

    _end("cameras", form, measure(count, seconds, one_process))


@app.command()
def startup(
    repeat: Annotated[int, typer.Option(help="Fresh processes of each kind.")] = 5,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Import, help and first frame of fresh processes; what the import spends its time on."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.startup import measure

    _end("startup", form, measure(repeat))


@app.command()
def memory(
    seconds: Annotated[float, typer.Option(help="Of each run; 3600 for an hour.")] = 120.0,
    fps: Annotated[str, typer.Option(help="Rates of the camera, with commas.")] = "30,200",
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Memory of one camera over time: peak, slope."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.memory import measure
    from bench.recognition import numbers

    _end("memory", form, measure(seconds, numbers("fps", fps)))


@app.command()
def growth(
    seconds: Live = 8.0,
    plot: Annotated[
        Path, typer.Option(help="PNG of the curves.", show_default="docs/growth.png")
    ] = _GROWTH,
    short: Annotated[bool, typer.Option("--short", help="Ends and middles alone.")] = False,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """How cost grows with frame rate, image size, faces, AUs and cameras; a curve each."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.growth import measure

    _end("growth", form, measure(seconds, plot, short))


@app.command()
def faces(
    meetings: Annotated[int, typer.Option(help="Random meetings of 10 s.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the first.")] = 201,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; default: one per processor core.")
    ] = None,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Several people who cross, hide each other, leave and return: whose events are whose?"""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.faces import measure

    _end("faces", form, measure(meetings, seed, jobs))


@app.command()
def floors(
    source: Source = None,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """What each stage must at least spend on a frame, and what it spends."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.floors import measure

    _end("floors", form, measure(source))


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
    variants: Annotated[
        str, typer.Option(help="Of paper, ours, fast, exact (ours with that flow), with commas.")
    ] = "paper,ours",
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="[FILE]", help="Write everything, clip by clip."),
    ] = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """What is spotted, missed and raised falsely, the paper's method against ours."""
    narrow = get_terminal_size().columns < _WIDE
    form = _form(json, markdown or narrow, compare, tolerance, into)
    from bench.spotting import everything, scored

    what = scored(folder, minutes, portraits, seed, fps, jobs, protocol, variants)
    code = finish("spotting", what.tables, form, everything(what))
    if code:
        raise typer.Exit(code)


@app.command()
def directions(
    portrait: Annotated[str, typer.Option(help="Shipped portrait.")] = "astronaut",
    degrees: Annotated[float, typer.Option(help="How far the head turns.")] = 4.0,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """The paper's Figure 9, measured: a head shake in eight directions against every prototype."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.directions import measure

    _end("directions", form, measure(portrait, degrees))


@app.command()
def recognition(
    model: Annotated[
        list[Path] | None, typer.Option(help="A recogniser; may be repeated; default: the shipped.")
    ] = None,
    events: Annotated[int, typer.Option(help="Events scored for each latency.")] = 50,
    threads: Annotated[str, typer.Option(help="CPU threads to measure, with commas.")] = "1,2",
    batches: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1,2,4,8,16",
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """What reading an event costs: preparation and network, by model; events a second by batch."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.recognition import measure, numbers

    results = measure(model, events, numbers("threads", threads), numbers("batches", batches))
    _end("recognition", form, results)


@app.command()
def soak(
    hours: Annotated[float, typer.Option(help="How long, in real time.")] = 1.0,
    faults: Annotated[float, typer.Option(help="Faults a minute, over all cameras.")] = 9.0,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 1,
    transports: Annotated[
        str, typer.Option(help="A camera each, with commas: inproc, ipc, tcp.")
    ] = "inproc,ipc",
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Cameras over RTSP under random faults of all kinds: every event is accounted for."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.soak.run import measure

    names = [name.strip() for name in transports.split(",") if name.strip()]
    _end("soak", form, measure(hours, faults, seed, names))


@app.command()
def scale(
    seconds: Live = 30.0,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """What a camera, an hour of video and Ray cost: processor time, memory, bytes."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.scale import measure

    _end("scale", form, measure(seconds))


@app.command("all")
def all_of_them(
    seconds: Live = 20.0,
    minutes: Annotated[float, typer.Option(help="Synthetic video to spot in.")] = 3.0,
    only: Annotated[str | None, typer.Option(help="Commands, with commas.")] = None,
    without: Annotated[str | None, typer.Option(help="Commands left out, with commas.")] = None,
    plot: Annotated[
        Path, typer.Option(help="PNG of the curves of growth.", show_default="docs/growth.png")
    ] = _GROWTH,
    json: Json = None,
    markdown: Markdown = False,
    compare: Compare = None,
    tolerance: Tolerance = TOLERANCE,
    into: Into = None,
) -> None:
    """Every command with shorter settings, and all aims on one sheet."""
    form = _form(json, markdown, compare, tolerance, into)
    from bench.everything import chosen, measured, parts

    results, failed = measured(chosen(parts(seconds, minutes, plot), only, without))
    code = finish("all", results, form)
    if code or failed:
        raise typer.Exit(1)


def _form(
    json: str | None, markdown: bool, compare: Path | None, tolerance: float, into: Path | None
) -> Form:
    """Checked before anything is measured."""
    form = Form(json, markdown, compare, tolerance, into)
    form.check()
    return form


def main() -> int:
    """Run; a user's mistake is one line."""
    from pipeline.cli import run

    return run(sys.argv[1:], app, "bench")


if __name__ == "__main__":
    sys.exit(main())
