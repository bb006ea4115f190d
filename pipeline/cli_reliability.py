"""``mespot reliability``: agreement of coders (docs/coding-guide.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import UserError
from models.labels import Labels
from models.reliability import (
    FORMULAS,
    CodeSet,
    Expression,
    Formula,
    Kappas,
    au_counts,
    au_kappas,
    au_sets,
    emotion_kappas,
    emotion_sets,
    expressions,
    pooled_au_kappas,
    reliability,
)
from pipeline.cli_code import columns
from pipeline.coders_files import FPS_HELP, read_together


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("reliability")(agreement)


def agreement(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="One file a coder: a CSV with video,onset,offset and, where coded, aus and "
            "emotion; an ELAN file (docs/lab.md); or the tool's own events."
        ),
    ],
    formula: Annotated[
        str, typer.Option(help="Of R: bounded; or guide or face, as the two papers print it.")
    ] = "bounded",
    iou: Annotated[float, typer.Option(help="Least IoU of one expression's intervals.")] = 0.5,
    shared_videos: Annotated[
        bool, typer.Option("--shared-videos", help="Leave out videos that a file does not name.")
    ] = False,
    fps: Annotated[float | None, typer.Option(help=FPS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Agreement of two or more coders: reliability R and kappa, for AUs and emotions."""
    if len(files) < 2:
        raise UserError("reliability: give two files or more, one a coder")
    chosen = [name for name in FORMULAS if name == formula]
    if not chosen:
        raise UserError(f"--formula {formula}: one of {', '.join(FORMULAS)}")
    coders = [_coder(labels) for labels in read_together(files, fps)]
    in_all = frozenset.intersection(*(coder.videos for coder in coders))
    if not in_all:
        raise UserError(f"no video is in all of {', '.join(map(str, files))}")
    videos = in_all if shared_videos else frozenset.union(*(coder.videos for coder in coders))
    kept = [[item for item in coder.truth if item.video in videos] for coder in coders]
    found = expressions(kept, iou)
    report = {
        "coders": [
            {
                "path": str(coder.path),
                "layout": coder.layout,
                "notes": list(coder.notes),
                "expressions": len(items),
            }
            for coder, items in zip(coders, kept, strict=True)
        ],
        "videos": len(videos),
        "videos_in_all": len(in_all),
        "iou": iou,
        "formula": formula,
        "meaning": FORMULAS[chosen[0]],
        "without_emotions": [
            str(coder.path)
            for coder, items in zip(coders, kept, strict=True)
            if not any(item.emotion for item in items)
        ],
        **_report(found, len(coders), chosen[0]),
    }
    if report["without_emotions"]:
        report["emotions"] = None
    typer.echo(json.dumps(report, indent=2) if as_json else "\n".join(_text(report)))


def _coder(labels: Labels) -> Labels:
    """A coder's file: one list of intervals with both borders."""
    path = labels.path
    if labels.layout == "predictions":
        raise UserError(f"{path}: a predictions file holds two sides; give one file a coder")
    for item in labels.truth:
        if not item.known:
            frame = item.onset if item.onset_known else item.offset
            raise UserError(
                f"{path}: {item.video} has an expression without onset or offset (at frame "
                f"{frame}); coders are matched by both"
            )
    return labels


def _report(found: Sequence[Expression], coders: int, formula: Formula) -> dict[str, Any]:
    by_all = [expression for expression in found if None not in expression]
    marks = [sum(item is not None for item in expression) for expression in found]
    aus, emotions = au_sets(found), emotion_sets(found)
    return {
        "expressions": len(found),
        "marked_by": {str(n): marks.count(n) for n in range(coders, 0, -1)},
        "aus": {
            **_r(aus, coders, formula),
            "kappa": _kappa(pooled_au_kappas(found)),
            "kappa_marked_by_all": _kappa(pooled_au_kappas(by_all)),
        },
        "each_au": _each_au(found, aus),
        "emotions": {
            **_r(emotions, coders, formula),
            "kappa": _kappa(emotion_kappas(found)),
            "kappa_marked_by_all": _kappa(emotion_kappas(by_all)),
        },
    }


def _r(sets: Sequence[Sequence[CodeSet]], coders: int, formula: Formula) -> dict[str, Any]:
    r = reliability(sets, coders, formula)
    return {
        "R": r.pooled,
        "R_mean": r.mean,
        "samples": r.counted,
        "by_all": r.shared,
        "divided_by": r.whole,
    }


def _kappa(kappas: Kappas) -> dict[str, Any]:
    return {"items": kappas.items, "cohen": kappas.cohen, "fleiss": kappas.fleiss}


def _each_au(
    found: Sequence[Expression], sets: Sequence[Sequence[CodeSet]]
) -> list[dict[str, Any]]:
    kappas = au_kappas(found)
    return [
        {
            "au": au,
            "given": list(given),
            "by_all": sum(all(au in one for one in each) for each in sets),
            "cohen": kappas[au].cohen,
            "fleiss": kappas[au].fleiss,
        }
        for au, given in au_counts(found).items()
    ]


def _text(report: dict[str, Any]) -> list[str]:
    lines = []
    for number, coder in enumerate(report["coders"], start=1):
        counted = f"{coder['expressions']} expressions"
        about = "; ".join([coder["layout"], *coder["notes"]])
        lines.append(f"coder {number}      {coder['path']} ({about}): {counted}")
    marked = ", ".join(f"{count} by {n}" for n, count in report["marked_by"].items())
    lines.append(
        f"videos       {report['videos']}, of which {report['videos_in_all']} are in every file"
    )
    lines.append(
        f"expressions  {report['expressions']} at IoU >= {report['iou']:g}, one to one; marked "
        f"{marked}"
    )
    lines.append(f"formula      {report['formula']}: R = {report['meaning']}")
    lines += ["", *_part("AUs", report["aus"], len(report["coders"]))]
    if report["emotions"]:
        lines += ["", *_part("emotions", report["emotions"], len(report["coders"]))]
    else:
        lines += ["", f"emotions: none in {', '.join(report['without_emotions'])}"]
    return [*lines, *_au_lines(report)]


def _part(name: str, part: dict[str, Any], coders: int) -> list[str]:
    seen = part["kappa_marked_by_all"]
    return [
        f"{name}: R {_figure(part['R'])} pooled ({part['by_all']} codes of all coders; divided by "
        f"{part['divided_by']}), mean {_figure(part['R_mean'])} over {part['samples']} expressions",
        f"  {_kappa_words(part['kappa'], coders)}, every expression counted",
        f"  {_kappa_words(seen, coders)}, those that all coders marked",
    ]


def _kappa_words(kappa: dict[str, Any], coders: int) -> str:
    name = "Cohen's kappa" if coders == 2 else "mean pairwise Cohen's kappa"
    fleiss = "" if coders == 2 else f", Fleiss' kappa {_figure(kappa['fleiss'])}"
    return f"{name} {_figure(kappa['cohen'])}{fleiss} over {kappa['items']} items"


def _au_lines(report: dict[str, Any]) -> list[str]:
    if not report["each_au"]:
        return []
    count = len(report["coders"])
    fleiss = ["Fleiss"] if count > 2 else []
    rows = [["AU", *(f"coder {n}" for n in range(1, count + 1)), "all", "kappa", *fleiss]]
    for au in report["each_au"]:
        figures = [_figure(au["cohen"]), *([_figure(au["fleiss"])] if fleiss else [])]
        rows.append([str(au["au"]), *map(str, au["given"]), str(au["by_all"]), *figures])
    return ["", "expressions with each AU, and kappa of its presence:", *columns(rows)]


def _figure(value: float | None) -> str:
    """Four decimals; a dash where the figure is 0 / 0."""
    return "-" if value is None else f"{value:.4f}"
