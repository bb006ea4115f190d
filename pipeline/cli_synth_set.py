"""``mespot synth --as``: synthetic recognition sets in the official formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from models.errors import UserError
from pipeline.workers import begin_worker

if TYPE_CHECKING:
    from models.synthesis.recognition_set import Sample

Frames = Literal["key", "all"]
As = Literal["casme2", "samm"]


def write(
    out: Path,
    kind: As,
    subjects: int,
    samples: int,
    seed: int,
    portraits: str,
    frames: Frames,
    workers: int,
) -> None:
    """Plan a set, render it with a progress bar, write its workbook last.

    Raises:
        UserError: a number is out of range, a portrait unknown, the folder not empty or not
            to be written, or a process died.
    """
    _check(out, workers)
    from rich.console import Console
    from rich.progress import track

    from models.synthesis.recognition_set import plan_set
    from models.synthesis.recognition_set_files import write_labels

    names = tuple(filter(None, (name.strip() for name in portraits.split(","))))
    plan = plan_set(kind, subjects, samples, seed, names)
    _make(out)
    console = Console(stderr=True)
    done = track(
        _rendered(plan.samples, out, frames, workers),
        "rendering",
        total=len(plan.samples),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    images = sum(done)
    write_labels(plan, out)
    typer.echo(
        f"{out}: synthetic {kind}, {len(plan.subjects)} subjects, {len(plan.samples)} "
        f"expressions, {images} images"
    )


def _check(out: Path, workers: int) -> None:
    if not 1 <= workers <= 64:
        raise UserError(f"--workers {workers}: 1 to 64")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: not a folder")
    try:
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"--out {out}: not empty; name another folder")
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}") from None
    if find_spec("openpyxl") is None:  # said before the work, not after it
        raise UserError("workbooks need openpyxl: pip install 'mespot[datasets]'")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}") from None


def _rendered(samples: Sequence[Sample], out: Path, frames: Frames, workers: int) -> Iterator[int]:
    """Images written, sample by sample."""
    from models.synthesis.recognition_set_files import write_sample

    if workers == 1:
        for sample in samples:
            yield write_sample(sample, out, frames)
        return
    # children begin afresh: a fork of a process that runs threads may hang
    pool = ProcessPoolExecutor(
        min(workers, len(samples)), mp_context=get_context("spawn"), initializer=_begin
    )
    try:
        asked = [pool.submit(write_sample, sample, out, frames) for sample in samples]
        for future in as_completed(asked):
            yield future.result()
    except BrokenProcessPool:
        raise UserError(f"--out {out}: a process died (out of memory?)") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Make a worker use one core, and leave and end as every worker does."""
    import cv2

    cv2.setNumThreads(1)
    begin_worker()
