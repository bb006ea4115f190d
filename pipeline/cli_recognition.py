"""``mespot train``, ``evaluate-recognition`` and ``export`` (docs/recognition.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models.errors import UserError
from pipeline.known import known

if TYPE_CHECKING:
    from models.recognition.classes import Scheme
    from models.recognition.evaluation import FoldResult, Settings
    from models.recognition.recipe import Recipe
    from models.recognition.report import Told
    from pipeline.recognition import Asked, Found, Prepared, Tell

Network = Literal["map", "augcn"]

_Datasets = Annotated[
    list[str], typer.Option("--dataset", help="casme2 or samm; repeat with --root for several.")
]
_Roots = Annotated[
    list[Path], typer.Option("--root", help="Folder of workbook and frames (docs/datasets.md).")
]
_Networks = Annotated[Network, typer.Option(help="map (dual-branch ResNet18) or augcn (AU graph).")]
_Scheme = Annotated[
    Literal["five", "three", "objective"] | None,
    typer.Option(
        "--classes", help="Emotions or AU classes I-V.", show_default="map: five; augcn: objective"
    ),
]
_Out = Annotated[Path, typer.Option(help="Folder of the run; the same command goes on there.")]
_Variant = Annotated[str, typer.Option(help="A row of the paper's ablation tables.")]
_Style = Annotated[
    Literal["paper", "code"],
    typer.Option(help="map: where paper and published code differ, follow this."),
]
_Epochs = Annotated[int | None, typer.Option(min=1, show_default="the paper's")]
_Batch = Annotated[int | None, typer.Option(min=2, show_default="the paper's")]
_Rate = Annotated[float | None, typer.Option(min=1e-9, show_default="the paper's")]
_Flow = Annotated[
    Literal["farneback", "tvl1"] | None,
    typer.Option(help="Optical flow.", show_default="network's"),
]
_Steady = Annotated[
    bool | None,
    typer.Option(
        "--steady/--unsteady",
        help="Take the motion of the whole face out of the flow.",
        show_default="steady",
    ),
]
_Width = Annotated[
    float | None, typer.Option(help="map: factor on all channels.", min=0.03, show_default="1")
]
_Size = Annotated[
    int | None, typer.Option(help="map: side of the face, px.", min=64, max=224, show_default="224")
]
_Target = Annotated[
    Literal["apex", "magnified"] | None,
    typer.Option(
        help="map: what On-A and Off-A lead to.", show_default="samm: magnified; else apex"
    ),
]
_Features = Annotated[
    int | None, typer.Option(help="augcn: d of eq. 1.", min=1, show_default="1024")
]
_At = Annotated[
    int | None,
    typer.Option(help="augcn: side of the face for the flow.", min=28, max=224, show_default="112"),
]
_Balance = Annotated[
    Literal["printed", "inverse"] | None,
    typer.Option(
        help="augcn: eq. 2's share of positives weighs the positives (printed) or the negatives.",
        show_default="printed",
    ),
]
_Magnifier = Annotated[
    Path | None, typer.Option(help="ONNX magnification network.", show_default="flow warp")
]
_Seed = Annotated[int, typer.Option(help="Of every draw.", min=0)]
_Device = Annotated[str, typer.Option(help="cpu or cuda.")]
_Threads = Annotated[int, typer.Option(help="CPU threads of PyTorch; 0: its own choice.", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("train")(train)
    app.command("evaluate-recognition")(evaluate_recognition)
    app.command("export")(export)


def train(
    ctx: typer.Context,
    network: _Networks,
    dataset: _Datasets,
    root: _Roots,
    out: _Out,
    classes: _Scheme = None,
    variant: _Variant = "full",
    style: _Style = "paper",
    epochs: _Epochs = None,
    batch_size: _Batch = None,
    learning_rate: _Rate = None,
    flow: _Flow = None,
    steady: _Steady = None,
    width: _Width = None,
    size: _Size = None,
    target: _Target = None,
    features: _Features = None,
    at: _At = None,
    balance: _Balance = None,
    magnifier: _Magnifier = None,
    seed: _Seed = 0,
    device: _Device = "cpu",
    threads: _Threads = 0,
) -> None:
    """Train a recogniser to be exported; a few subjects choose the epoch."""
    asked = _asked(ctx)
    from models.recognition import final
    from models.recognition.evaluation import claim, identity
    from pipeline.recognition import prepare, tensorboard

    with _going_on(out), _samples_bar() as tell:
        prepared = prepare(asked, out, tell, lambda _, made: claim(out, identity(made, seed)))
    typer.echo("\n".join(prepared.remarks))

    with _going_on(out), _epochs_bar() as bar:
        total = prepared.recipe.epochs
        writes = tensorboard(out)("training")

        def log(epoch: int, values: Any) -> None:
            writes(epoch, values)
            bar(network, epoch, total, f"validation UF1 {values['validation/uf1']:.3f}")

        run = final.train(
            prepared.plan,
            prepared.samples,
            prepared.training,
            out,
            seed,
            device,
            log,
            prepared.files,
        )
    typer.echo(
        f"{out}: epoch {run.epoch} of {total}, UF1 {run.validation_uf1:.3f} on the "
        f"{len(run.validation_subjects)} subjects that chose it (no test figure; that is what "
        "mespot evaluate-recognition gives)"
    )


def evaluate_recognition(
    ctx: typer.Context,
    network: _Networks,
    dataset: _Datasets,
    root: _Roots,
    out: _Out,
    evaluation: Annotated[
        Literal["loso", "hde", "cde"], typer.Option(help="Who is left out for the test.")
    ] = "loso",
    protocol: Annotated[
        Literal["leak-free", "as-published"],
        typer.Option(help="as-published also shows what choosing by the test subjects is worth."),
    ] = "leak-free",
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Every row of the paper's ablation tables.")
    ] = False,
    rows: Annotated[
        str | None, typer.Option(help="Ablation: these rows only, separated by commas.")
    ] = None,
    classes: _Scheme = None,
    variant: _Variant = "full",
    style: _Style = "paper",
    epochs: _Epochs = None,
    batch_size: _Batch = None,
    learning_rate: _Rate = None,
    flow: _Flow = None,
    steady: _Steady = None,
    width: _Width = None,
    size: _Size = None,
    target: _Target = None,
    features: _Features = None,
    at: _At = None,
    balance: _Balance = None,
    magnifier: _Magnifier = None,
    seed: _Seed = 0,
    device: _Device = "cpu",
    threads: _Threads = 0,
) -> None:
    """Train and test over all folds (LOSO, HDE, CDE), leak-free; a Markdown report."""
    asked = _asked(ctx)
    from models.recognition.evaluation import Settings
    from models.recognition.report import ablation as table
    from models.recognition.report import markdown

    settings = Settings(evaluation, protocol, seed, device)
    if not ablation:
        if rows is not None:
            raise UserError("--rows goes with --ablation")
        prepared, results = _evaluated(asked, settings, out, variant, out)
        text = markdown(results, settings, _told(asked, prepared))
    else:
        found = []
        for name in _rows(network, rows):
            prepared, results = _evaluated(asked, settings, out, name, out / _safe(name))
            found.append((name, results))
        text = table(found, settings, _told(asked, prepared))
    report = out / "report.md"
    report.write_text(text, encoding="utf-8")
    typer.echo(text)
    typer.echo(f"written to {report}")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished mespot train.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name in events.", show_default="map or augcn")
    ] = None,
    version: Annotated[str, typer.Option(help="Events name the model name@version.")] = "1",
    evaluated: Annotated[
        Path | None, typer.Option(help="Folder of its mespot evaluate-recognition: its figures.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Who may use it.", show_default="by the training data")
    ] = None,
) -> None:
    """Write a trained network as an ONNX recogniser that describes itself."""
    from models.recognition import final
    from models.recognition.export import About
    from models.recognition.export import export as write
    from pipeline.recognition import use_torch

    use_torch("cpu", 0)
    done, recipe, network, examples = final.load(run)
    synthetic = "synthetic" in done.training
    about = About(
        name or done.plan.network,
        version,
        done.training,
        f"epoch {done.epoch}, chosen on {len(done.validation_subjects)} of {done.subjects} "
        "subjects who were not trained on",
        _figures(evaluated, done),
        licence
        or (
            "Apache-2.0; trained on synthetic data"
            if synthetic
            else "made from licensed data: ask its makers before passing this file on"
        ),
    )
    difference = write(recipe, network, about, out, examples)
    typer.echo(
        f"{out}: {about.name}@{about.version}, {out.stat().st_size / 1e6:.1f} MB, "
        f"{sum(p.numel() for p in network.parameters()):,} parameters; largest difference from "
        f"PyTorch {difference:.1e}"
    )


# ---------------------------------------------------------------- parts


_NOT_PLAN = frozenset(
    (
        *("dataset", "root", "classes", "magnifier", "seed", "device", "threads", "out"),
        *("evaluation", "protocol", "ablation", "rows"),
    )
)


def _asked(ctx: typer.Context) -> Asked:
    """The options that both commands share; those of the plan bear its fields' names."""
    from pipeline.recognition import use_torch

    given = ctx.params
    use_torch(given["device"], given["threads"])
    from models.recognition.build import Plan
    from pipeline.recognition import Asked

    plan = {name: value for name, value in given.items() if name not in _NOT_PLAN}
    is_map = given["network"] == "map"
    if is_map and plan["target"] is None:  # paper 002, section 4.3
        plan["target"] = "magnified" if given["dataset"] == ["samm"] else "apex"
    scheme: Scheme = given["classes"] or ("five" if is_map else "objective")
    return Asked(
        tuple(given["dataset"]),
        tuple(Path(root) for root in given["root"]),
        scheme,
        Plan(classes=(), aus=(), **plan),
        None if given["magnifier"] is None else Path(given["magnifier"]),
        given["device"],
        given["threads"],
    )


def _evaluated(
    asked: Asked, settings: Settings, out: Path, variant: str, folder: Path
) -> tuple[Prepared, list[FoldResult]]:
    from models.recognition.evaluation import Progress, claim, evaluate, identity
    from models.recognition.splits import check
    from pipeline.recognition import prepare, tensorboard

    def first(found: Found, made: Recipe) -> None:
        check(settings.evaluation, asked.datasets, found.subjects)
        claim(folder, identity(made, settings))

    with _going_on(out), _samples_bar() as tell:
        prepared = prepare(asked, out, tell, first, variant)
    with _going_on(out), _epochs_bar() as bar:

        def heard(progress: Progress) -> None:
            total = progress.folds * progress.epochs
            done = (progress.number - 1) * progress.epochs + progress.epoch
            uf1 = progress.values.get("validation/uf1")
            words = "" if uf1 is None else f", validation UF1 {uf1:.3f}"
            where = f"fold {progress.number}/{progress.folds} {progress.fold}"
            bar(variant, done, total, f"{where}, epoch {progress.epoch}{words}")

        results = evaluate(
            prepared.recipe, prepared.samples, settings, folder, heard, tensorboard(folder)
        )
    return prepared, results


def _told(asked: Asked, prepared: Prepared) -> Told:
    from models.recognition.report import Told

    recipe = prepared.recipe
    shape = _shape(prepared)
    return Told(
        recipe.name,
        recipe.variant,
        asked.scheme,
        asked.datasets,
        recipe.classes,
        recipe.aus,
        len(set(prepared.samples.subjects)),
        (*prepared.remarks, *([shape] if shape else [])),
    )


def _shape(prepared: Prepared) -> str:
    """Every option that is not the paper's."""
    import msgspec

    given = msgspec.to_builtins(prepared.plan)
    fixed = ("network", "classes", "aus", "variant")
    words = [f"{k} {v}" for k, v in given.items() if k not in fixed and v not in (None, "paper")]
    return f"options: {', '.join(words)}" if words else ""


def _rows(network: Network, rows: str | None) -> list[str]:
    from models.recognition.build import rows as known

    if rows is None:
        return list(known(network))
    asked = [row.strip() for row in rows.split(",")]
    for row in asked:
        if row not in known(network):
            raise UserError(f"--rows: no row {row!r}; there are {', '.join(known(network))}")
    return asked


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _figures(folder: Path | None, done: Any) -> dict[str, Any]:
    """What a model card says of its worth; without an evaluation, that there is none."""
    if folder is None:
        return {
            "none": "not evaluated; UF1 of the subjects that chose the epoch follows",
            "validation": {"uf1": round(done.validation_uf1, 4)},
        }
    import msgspec

    from models.recognition.build import recipe
    from models.recognition.evaluation import DATA, RUN, FoldResult, pooled
    from models.recognition.metrics import figures

    try:
        asked = msgspec.json.decode((folder / RUN).read_bytes())
        data = msgspec.json.decode((folder / DATA).read_bytes())
        files = sorted((folder / "folds").glob("*.json"))
        results = [msgspec.json.decode(file.read_bytes(), type=known(FoldResult)) for file in files]
        same = asked["recipe"] == repr(recipe(done.plan))
        settings, expected, datasets = asked["settings"], data["folds"], data["datasets"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"--evaluated {folder}: not an evaluation of mespot's ({error})") from None
    if not same:
        raise UserError(f"--evaluated {folder}: of another network, its options differ")
    if len(results) != expected:
        raise UserError(f"--evaluated {folder}: {len(results)} of {expected} folds are finished")
    found = figures(*pooled(results), len(done.plan.classes))
    return {
        settings["evaluation"]: {
            "uf1": round(found.uf1, 4),
            "uar": round(found.uar, 4),
            "accuracy": round(found.war, 4),
            "wf1": round(found.wf1, 4),
            "samples": found.samples,
            "folds": len(results),
            "data sets": datasets,
            "epoch chosen": "on inner validation subjects",
        }
    }


@contextmanager
def _going_on(out: Path) -> Iterator[None]:
    """An interruption is no failure."""
    try:
        yield
    except KeyboardInterrupt:
        words = f"interrupted; {out} keeps what is done, the same command goes on"
        typer.echo(f"mespot: {words}", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _samples_bar() -> Iterator[Tell]:
    with _bar() as bar:

        def tell(name: str, done: int, total: int) -> None:
            bar(f"{name}: crops and flows", done, total, "")

        yield tell


@contextmanager
def _epochs_bar() -> Iterator[Any]:
    with _bar() as bar:
        yield bar


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress bar on stderr: (what, done, total, words)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int, words: str) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, words=words)
            progress.update(tasks[what], completed=done, total=total, words=words)

        yield show
