"""``mespot fit-prototypes`` and ``mespot evaluate``: licensed data sets (docs/datasets.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.errors import UserError
from models.evaluate import DEFAULT, PROTOCOLS
from pipeline.cli_score import micro_rule, score

if TYPE_CHECKING:
    from models.datasets import Dataset
    from pipeline.evaluate_dataset import Done
    from stages.fit_dataset import Fitted

_FITTED = ("casme2", "samm")
_EVALUATED = ("casme_sq", "samm_lv", "plain")
_MICRO = {"casme_sq": "casme-sq", "samm_lv": "samm-lv"}
_PAPER_AUS = "1,2,4,7,12,14,15,17"
_FEWEST = 5  # samples below which a mean is hardly one


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command("fit-prototypes")(fit_prototypes)
    app.command("evaluate")(evaluate)


_Root = Annotated[Path, typer.Option(help="Folder of workbook and frames (docs/datasets.md).")]
_Images = Annotated[
    Path | None, typer.Option(help="Folder of the frames, where there are several below --root.")
]


def fit_prototypes(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(_FITTED)}.")],
    root: _Root,
    aus: Annotated[str, typer.Option(help="AUs, in the order of the curves.")] = _PAPER_AUS,
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="<dataset>-prototypes.npz")
    ] = None,
    corrections: Annotated[
        bool, typer.Option(help="Correct the labels' known mistakes; each is reported.")
    ] = True,
    labels: Annotated[
        Path | None, typer.Option(help="The workbook, where several fit below --root.")
    ] = None,
    images: _Images = None,
) -> None:
    """Fit AU prototypes and a joint model to onset and apex images (eqs 14-18)."""
    _known(dataset, _FITTED, "fitted")
    chosen = _numbers(aus)
    file = out or Path(f"{dataset}-prototypes.npz")
    _writable(file)
    from models.datasets import facts, load
    from models.prototypes import load_default
    from stages.fit_dataset import check_aus, fit_dataset
    from stages.landmarks import FaceMeshLandmarker

    check_aus(chosen)
    data = load(dataset, root, corrections=corrections, workbook=labels, images=images)
    typer.echo("\n".join([*facts(data).lines(), *data.reports, ""]))
    landmarker = FaceMeshLandmarker()
    try:
        fitted = fit_dataset(data, chosen, load_default(), landmarker, _pairs_done)
    except KeyboardInterrupt:
        typer.echo("mespot: interrupted; nothing was written", err=True)
        raise typer.Exit(130) from None
    finally:
        landmarker.close()
    _save(fitted, file)
    typer.echo("\n".join(_fit_lines(data, fitted)))
    typer.echo(f"\n{file}: {data.name}@{fitted.prototypes.version}, {len(chosen)} AUs")


def _writable(file: Path) -> None:
    """Refuse what could not be written after minutes of work."""
    there = file.exists()
    try:
        with file.open("ab"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise UserError(f"--out {file}: {error.strerror or error}") from None


def _save(fitted: Fitted, file: Path) -> None:
    """Write the set; an earlier file stays whole until it is."""
    part = file.with_name(f"{file.name}.part")
    try:
        fitted.prototypes.save(part)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"--out {file}: {error.strerror or error}") from None


def _known(name: str, names: Iterable[str], what: str) -> None:
    if name not in names:
        raise UserError(f"--dataset {name}: not one that can be {what}: {', '.join(names)}")


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and len(word) < 4):
            raise UserError(f"--aus {text}: {word!r} is not the number of an action unit")
    return [int(word) for word in words]


def _pairs_done(done: int, total: int) -> None:
    if done % 25 == 0 or done == total:
        typer.echo(f"{done} of {total} image pairs", err=True)


def _fit_lines(data: Dataset, fitted: Fitted) -> list[str]:
    lines = [
        f"{fitted.used} of {len(data.annotations)} annotations used; {fitted.others} carry none "
        f"of these AUs with certainty; {len(fitted.left_out)} left out"
        + (":" if fitted.left_out else "")
    ]
    lines += [f"  {words}" for words in fitted.left_out]
    lines += [
        "",
        "AU  samples  like the shipped  theta     joint model: left, right halves of faces",
    ]
    for row in fitted.aus:
        like = "-" if row.cosine is None else f"{row.cosine:.3f}"
        few = f"samples: {row.samples}" if row.samples < _FEWEST else ""
        notes = [words for words in (few, row.note) if words]
        said = f"  ({'; '.join(notes)})" if notes else ""
        lines.append(
            f"{row.au:<4}{row.samples:<9}{like:<18}{row.theta:<10.4g}{row.left}, {row.right}{said}"
        )
    lines.append(
        "theta: as in the shipped set, the same movement along the prototype raises it; these "
        "images hold no neutral video to set it by"
    )
    if fitted.prototypes.joint is None:
        lines.append("no joint model: nothing moves enough; use --method paper")
    return lines


def evaluate(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(_EVALUATED)}.")],
    root: _Root,
    prototypes: Annotated[
        Path | None, typer.Option(help="Prototype file.", show_default="the shipped set")
    ] = None,
    method: Annotated[
        Literal["mespot", "paper"], typer.Option(help="Joint explanation, or the paper's rules.")
    ] = "mespot",
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = DEFAULT.name,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="<dataset>-<method>")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes, one video each.", min=1)] = 1,
    labels: Annotated[
        Path | None,
        typer.Option(help="Workbook, or plain's CSV table, where several fit below --root."),
    ] = None,
    images: _Images = None,
    micro: Annotated[
        str | None,
        typer.Option(help="Longest micro, for unlabelled rows, as in score.", show_default="set's"),
    ] = None,
    every: Annotated[int, typer.Option(help="See every so many-th frame only.", min=1)] = 1,
    again: Annotated[bool, typer.Option("--again", help="Redo finished videos.")] = False,
) -> None:
    """Spot in every video of a data set and score against its labels."""
    _known(dataset, _EVALUATED, "evaluated")
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol {protocol}: unknown; one of {', '.join(PROTOCOLS)}")
    limit = micro or _MICRO.get(dataset)
    if limit is not None:
        micro_rule(limit)  # a wrong one, before hours of spotting
    data = _long(dataset, root, labels, images)
    unlabelled = sum(a.kind is None for a in data.annotations)
    if unlabelled and limit is None:
        raise UserError(
            f"{unlabelled} of {len(data.annotations)} annotations are neither micro nor macro; "
            "say how long micro may last with --micro"
        )
    from pipeline.evaluate_dataset import PREDICTIONS, TRUTH, Settings
    from pipeline.evaluate_dataset import evaluate as spot_all

    folder = out or Path(f"{dataset}-{method}")
    clips = list(data.clips())
    try:
        done = spot_all(
            clips,
            Settings(method, prototypes, every),
            folder,
            identity=f"{dataset} {(images or root).resolve()}",
            jobs=jobs,
            again=again,
            tell=_video_done,
        )
    except KeyboardInterrupt:
        words = f"interrupted; {folder} keeps the finished videos, the same command goes on"
        typer.echo(f"mespot: {words}", err=True)
        raise typer.Exit(130) from None
    typer.echo("\n".join([*data.reports, *_done_lines(data, done)]))
    typer.echo("")
    _score(folder / TRUTH, folder / PREDICTIONS, data, protocol, limit)
    if any(found.failure for found in done):
        raise typer.Exit(1)


def _long(dataset: str, root: Path, labels: Path | None, images: Path | None) -> Dataset:
    from models.datasets import load, plain

    if dataset != "plain":
        return load(dataset, root, workbook=labels, images=images)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    if labels is None:
        tables = sorted(root.glob("*.csv"))
        if len(tables) != 1:
            what = "no CSV table" if not tables else "several CSV tables"
            raise UserError(f"{root}: {what} here; name one with --labels")
        labels = tables[0]
    return plain.read(labels, images or root)


def _video_done(number: int, total: int, done: Done) -> None:
    if done.failure:
        said = f"failed: {done.failure}"
    elif done.again:
        said = f"{done.spotted} spotted, from an earlier run"
    else:
        rate = done.frames / max(done.seconds, 1e-9)
        said = f"{done.spotted} spotted in {done.frames} frames, {rate:.0f} a second"
        said += f" ({done.note})" if done.note else ""
    typer.echo(f"{number} of {total} {done.video}: {said}", err=True)
    sys.stderr.flush()


def _done_lines(data: Dataset, done: Iterable[Done]) -> list[str]:
    every = list(done)
    failed = [found for found in every if found.failure]
    known = set(data.videos)
    lines = [
        f"{len(every)} videos ({sum(found.video not in known for found in every)} without any "
        f"annotation), {len(failed)} failed"
    ]
    for found in failed:
        truths = len(data.truth(found.video))
        lines.append(
            f"  {found.video} failed: {found.failure}; its {truths} annotations count as missed"
        )
    lines += [f"  {found.video}: {found.note}" for found in every if found.note]
    return lines


def _score(truth: Path, predictions: Path, data: Dataset, protocol: str, micro: str | None) -> None:
    """What ``mespot score`` prints for the two files."""
    from models.labels import read

    command = f"mespot score {truth} {predictions} --protocol {protocol}"
    typer.echo(command + (f" --micro {micro}" if micro else ""))
    spotted = read(predictions).predictions
    if spotted and not {item.video for item in spotted} & read(truth).videos:
        typer.echo(
            f"all {len(spotted)} spotted intervals lie in videos without any annotation: none "
            f"of {len(data.annotations)} annotations is found"
        )
        return
    score(truth, predictions, protocol=protocol, micro=micro)
