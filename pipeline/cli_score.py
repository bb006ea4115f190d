"""``mespot score``: spotted against annotated intervals, with the protocol named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import UserError
from models.evaluate import (
    DEFAULT,
    GROUPS,
    MICRO_RULES,
    PROTOCOLS,
    THRESHOLDS,
    Figures,
    Labelled,
    MicroRule,
    Protocol,
    Score,
    aus_f1,
    border_errors,
    disagreement,
    matched,
    table,
)
from models.labels import Labels
from pipeline.coders_files import FPS_HELP, read_together

_RULE = re.compile(r"(<?)([0-9]{1,6}(?:\.[0-9]+)?)")
_COLUMNS = ("truth", "spotted", "TP", "FP", "FN", "precision", "recall", "F1")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(score)


def score(
    truth: Annotated[Path, typer.Argument(help="Annotated intervals (docs/scoring.md).")],
    predictions: Annotated[
        Path,
        typer.Argument(
            help="Spotted intervals: a file that --out wrote, a folder of those, or a table. "
            "Either may be a coder's ELAN file (docs/lab.md). "
            "A predictions file that holds both may stand in both places."
        ),
    ],
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = DEFAULT.name,
    iou: Annotated[
        list[float] | None,
        typer.Option(help="Least IoU; may be repeated.", show_default="0.5, 0.4, 0.3"),
    ] = None,
    micro: Annotated[
        str | None,
        typer.Option(
            help="Longest offset - onset of a micro-expression, for rows that name no kind: "
            f"{', '.join(MICRO_RULES)}, or frames (15; '<15' for shorter than 15)."
        ),
    ] = None,
    by_duration: Annotated[
        bool, typer.Option("--by-duration", help="Apply --micro to labelled rows, too.")
    ] = False,
    fps: Annotated[float | None, typer.Option(help=FPS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score PREDICTIONS against TRUTH: totals, precision, recall, F1, and who would disagree."""
    chosen = _protocol(protocol, micro, by_duration)
    thresholds = _thresholds(iou or THRESHOLDS)
    true, spotted = read_together([truth, predictions], fps)
    _share_videos(true, spotted)
    _kinds_known(chosen, true.path, true.truth)
    _kinds_known(chosen, spotted.path, spotted.predictions)
    scores = table(true.truth, spotted.predictions, chosen, thresholds)
    others = disagreement(true.truth, spotted.predictions, thresholds[0], chosen)
    report = _report(true, spotted, scores, others)
    typer.echo(json.dumps(report, indent=2) if as_json else _text(report, scores, others))


def _protocol(name: str, micro: str | None, by_duration: bool) -> Protocol:
    if name not in PROTOCOLS:
        raise UserError(f"--protocol {name}: unknown; one of {', '.join(PROTOCOLS)}")
    if by_duration and micro is None:
        raise UserError("--by-duration needs --micro, the longest micro-expression")
    kinds = "duration" if by_duration else "label"
    return replace(
        PROTOCOLS[name],
        kinds=kinds,  # type: ignore[arg-type]  # one of the two literals
        micro=None if micro is None else micro_rule(micro),
    )


def micro_rule(text: str) -> MicroRule:
    """What ``--micro`` says.

    Raises:
        UserError: neither a rule's name nor a number of frames.
    """
    if text in MICRO_RULES:
        return MICRO_RULES[text]
    found = _RULE.fullmatch(text.strip())
    if not found:
        raise UserError(f"--micro {text}: neither {', '.join(MICRO_RULES)} nor a number of frames")
    return MicroRule(float(found[2]), strict=bool(found[1]))


def _thresholds(values: Iterable[float]) -> list[float]:
    thresholds = list(dict.fromkeys(values))
    for value in thresholds:
        if not 0 < value <= 1:
            raise UserError(f"--iou {value:g}: must be above 0 and at most 1")
    return thresholds


def _share_videos(truth: Labels, predictions: Labels) -> None:
    """Names that never meet are a mistake, and would score 0 in silence."""
    if truth.videos and predictions.predictions and not truth.videos & predictions.videos:
        raise UserError(
            f"no video is in both files: {truth.path} names {_few(truth.videos)}, "
            f"{predictions.path} names {_few(predictions.videos)}"
        )


def _kinds_known(protocol: Protocol, path: Path, items: Sequence[Labelled]) -> None:
    missing = sum(item.kind is None for item in items)
    if missing and protocol.micro is None:
        raise UserError(
            f"{path}: {missing} of {len(items)} intervals are labelled neither micro nor macro; "
            f"say how long micro may last with --micro ({', '.join(MICRO_RULES)}, or frames)"
        )


def _few(names: frozenset[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _report(
    truth: Labels, predictions: Labels, scores: Sequence[Score], others: dict[str, Score]
) -> dict[str, Any]:
    protocol = scores[0].protocol
    return {
        "protocol": protocol.name,
        "meaning": protocol.meaning,
        "truth": _source(truth, len(truth.truth)),
        "predictions": _source(predictions, len(predictions.predictions)),
        "videos_in_both": len(truth.videos & predictions.videos),
        "left_out": scores[0].left_out,
        "scores": [
            {"iou": s.least_iou, **{group: _figures(s.of(group)) for group in GROUPS}}
            for s in scores
        ],
        "matched": _pairs(truth, predictions, scores[0]),
        "disagreement": {
            "iou": scores[0].least_iou,
            "protocols": [
                {
                    "protocol": name,
                    "meaning": s.protocol.meaning,
                    **{group: _figures(s.of(group)) for group in GROUPS},
                }
                for name, s in others.items()
            ],
        },
    }


def _source(labels: Labels, intervals: int) -> dict[str, Any]:
    return {
        "path": str(labels.path),
        "layout": labels.layout,
        "notes": list(labels.notes),
        "intervals": intervals,
        "videos": len(labels.videos),
    }


def _figures(figures: Figures) -> dict[str, float]:
    return {
        "truth": figures.truth,
        "spotted": figures.predictions,
        "TP": figures.tp,
        "FP": figures.fp,
        "FN": figures.fn,
        "precision": figures.precision,
        "recall": figures.recall,
        "F1": figures.f1,
    }


def _pairs(truth: Labels, predictions: Labels, at: Score) -> dict[str, Any]:
    """AU sets and borders of the pairs at the first threshold."""
    pairs = matched(truth.truth, predictions.predictions, at.protocol, at.least_iou)
    aus, borders = aus_f1(pairs), border_errors(pairs)
    named = aus.truth > 0 and aus.predictions > 0
    return {
        "pairs": borders.pairs,
        "median_error_frames": {
            "onset": borders.onset,
            "apex": borders.apex,
            "offset": borders.offset,
        },
        "aus": _figures(aus) if named else None,
    }


def _text(report: dict[str, Any], scores: Sequence[Score], others: dict[str, Score]) -> str:
    lines = [f"protocol    {report['protocol']}: {report['meaning']}"]
    for side in ("truth", "predictions"):
        source = report[side]
        lines.append(
            f"{side:<12}{source['path']} ({'; '.join([source['layout'], *source['notes']])}): "
            f"{source['intervals']} intervals in {source['videos']} videos"
        )
    lines.append(
        f"{'':<12}{report['videos_in_both']} videos in both; {report['left_out']} truth rows "
        "left out by the protocol"
    )
    lines += ["", *_score_lines(scores), "", *_pair_lines(report["matched"], scores[0])]
    return "\n".join([*lines, "", *_other_lines(others, scores[0])])


def _score_lines(scores: Sequence[Score]) -> list[str]:
    rows = [[f"{s.least_iou:g}", group, *_cells(s.of(group))] for s in scores for group in GROUPS]
    return _aligned([["IoU", "kind", *_COLUMNS], *rows], left=2)


def _cells(figures: Figures) -> list[str]:
    values = _figures(figures)
    return [
        f"{values[name]:.4f}" if name in ("precision", "recall", "F1") else f"{values[name]:d}"
        for name in _COLUMNS
    ]


def _pair_lines(pairs: dict[str, Any], at: Score) -> list[str]:
    errors = [
        f"{name} {value:g}"
        for name, value in pairs["median_error_frames"].items()
        if value is not None
    ]
    lines = [
        f"{pairs['pairs']} pairs at IoU {at.least_iou:g}"
        + (f", median border error in frames: {', '.join(errors)}" if errors else "")
    ]
    if pairs["aus"]:
        aus = pairs["aus"]
        lines.append(
            f"AUs of these pairs: {aus['truth']} true, {aus['spotted']} spotted, "
            f"{aus['TP']} in both; precision {aus['precision']:.4f}, "
            f"recall {aus['recall']:.4f}, F1 {aus['F1']:.4f}"
        )
    return lines


def _other_lines(others: dict[str, Score], at: Score) -> list[str]:
    header = ["protocol", "truth", "TP", *(f"F1 {group}" for group in GROUPS)]
    rows = [
        [name, f"{s.all.truth}", f"{s.all.tp}", *(f"{s.of(g).f1:.4f}" for g in GROUPS)]
        for name, s in others.items()
    ]
    first = next(iter(others.values())).protocol
    same = first.parts == at.protocol.parts
    words = ["unlike the first", "(see above)" if same else f"({first.meaning})"]
    words += [_unlike(s.protocol, first) for s in list(others.values())[1:]]
    spreads = []
    for group in GROUPS:
        values = [s.of(group).f1 for s in others.values()]
        spreads.append(f"{group} {min(values):.4f} to {max(values):.4f}")
    return [
        f"the same predictions under every protocol, at IoU {at.least_iou:g}:",
        *map("  ".join, zip(_aligned([header, *rows], left=1), words, strict=True)),
        f"F1 from lowest to highest: {'; '.join(spreads)}",
    ]


def _unlike(protocol: Protocol, first: Protocol) -> str:
    """The words that ``first`` does not share."""
    pairs = zip(protocol.parts, first.parts, strict=True)
    return "; ".join(part for part, other in pairs if part != other)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows as columns; the first ``left`` columns flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
