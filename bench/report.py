"""Tables of a measurement, with the machine they were made on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass
class Result:
    """One table: a title, column names, rows of text or numbers."""

    title: str
    columns: list[str]
    rows: list[list[str | float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def machine() -> str:
    """Processor, cores and Python, in words."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            name = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def percentile_cells(samples: Iterable[float]) -> list[str | float]:
    """p50, p95, p99 and count."""
    values = list(samples)
    if not values:
        return ["-", "-", "-", 0]
    return [*(round(float(v), 2) for v in np.percentile(values, [50, 95, 99])), len(values)]


def show(results: list[Result], as_json: bool, as_markdown: bool) -> None:
    """Print ``results`` in the form asked for."""
    if as_json:
        print(json.dumps({"machine": machine(), "tables": [asdict(r) for r in results]}))
        return
    console = Console(soft_wrap=as_markdown)
    console.print(f"machine: {machine()}")
    for result in results:
        if as_markdown:
            console.print(_markdown(result), markup=False)
            continue
        table = Table(*result.columns, title=result.title, title_justify="left")
        for row in result.rows:
            table.add_row(*map(str, row))
        console.print(table)
        for note in result.notes:
            console.print(note, markup=False)


def _markdown(result: Result) -> str:
    lines = [f"\n**{result.title}**\n", "| " + " | ".join(result.columns) + " |"]
    lines.append("|" + " --- |" * len(result.columns))
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in result.rows]
    return "\n".join([*lines, *(f"\n{note}" for note in result.notes)])
