"""Spotted against true events of clips with a truth file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.report import Result
from models.errors import UserError
from pipeline.config import load
from pipeline.inline import run
from pipeline.sources import open_source
from stages.items import Event

Span = tuple[int, int]


def iou(a: Span, b: Span) -> float:
    """Intersection over union of two closed frame intervals (eq. 27)."""
    shared = min(a[1], b[1]) - max(a[0], b[0]) + 1
    return max(shared, 0) / (max(a[1], b[1]) - min(a[0], b[0]) + 1)


def matches(truth: list[Span], found: list[Span], least: float) -> int:
    """Largest greedy one-to-one matching with IoU >= ``least``, best pairs first."""
    pairs = sorted(
        ((iou(t, f), i, j) for i, t in enumerate(truth) for j, f in enumerate(found)), reverse=True
    )
    used: set[tuple[str, int]] = set()
    hits = 0
    for value, i, j in pairs:
        if value >= least and not {("t", i), ("f", j)} & used:
            used |= {("t", i), ("f", j)}
            hits += 1
    return hits


def _spotted(path: Path) -> list[tuple[Span, str]]:
    config = load(source=str(path), fps="max")
    frames = open_source(str(path), fps="max").frames()
    finals = [
        item.interval
        for item in run(frames, config)
        if isinstance(item, Event) and item.interval.phase == "final"
    ]
    return [((i.onset.frame, i.offset.frame), i.kind) for i in finals if i.onset and i.offset]


def _row(name: str, truth: list[Any], found: list[Any]) -> tuple[list[str | float], list[int]]:
    counts = [len(truth), len(found)]
    counts += [matches([t[0] for t in truth], [f[0] for f in found], least) for least in (0.5, 0.3)]
    return [name, *counts], counts


def _f1(true: int, found: int, hits: int) -> float:
    return round(2 * hits / (true + found), 3) if true + found else 0.0


def measure(folder: Path) -> list[Result]:
    """One-to-one, any type, closed frame intervals; totals first, then F1."""
    file = folder / "truth.json"
    if not file.is_file():
        raise UserError(f"{folder}: no truth.json beside the clips")
    truth = json.loads(file.read_text(encoding="utf-8"))
    columns = ["clip", "true", "spotted", "hits at 0.5", "hits at 0.3", "F1 at 0.5", "F1 at 0.3"]
    table = Result("spotted against true events", columns)
    totals = {"all": [0, 0, 0, 0], "micro": [0, 0, 0, 0], "macro": [0, 0, 0, 0]}
    for name, clip in truth.items():
        true = [((e["onset"], e["offset"]), e["kind"]) for e in clip["events"]]
        found = _spotted(folder / name)
        row, counts = _row(name, true, found)
        table.rows.append([*row, _f1(*counts[:3]), _f1(counts[0], counts[1], counts[3])])
        for kind, total in totals.items():
            of_kind = [[x for x in xs if kind in ("all", x[1])] for xs in (true, found)]
            _, counts = _row(name, *of_kind)
            totals[kind] = [a + b for a, b in zip(total, counts, strict=True)]
    for kind, total in totals.items():
        f1 = [_f1(*total[:3]), _f1(total[0], total[1], total[3])]
        table.rows.append([f"total {kind}", *total, *f1])
    return [table]
