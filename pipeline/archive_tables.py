"""What was found in one video of an archive, as Parquet; and of all of them in one file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.event_columns import EVENT_COLUMNS
from pipeline.event_table import EventTable
from pipeline.export_rows import Column, Row, Ruler
from pipeline.exports.files import whole
from pipeline.exports.parquet import write_parquet
from pipeline.library import Result

_CLOCK = ("processing_ms",)  # and all UTC: when the video was decoded, not when it was filmed
_ROWS = 50_000  # of a row group


def load_parquet() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        UserError: they are missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:  # missing, or of another NumPy
        raise UserError(f"Parquet needs pyarrow ({error}): pip install 'mespot[ray]'") from None
    return pyarrow, parquet


def columns(video: str) -> Sequence[Column]:
    """Those of an export, with the video in front and without the clock of the run."""
    where = Column("video", "text", "", "path below the archive's folder", lambda row, _: video)
    kept = (c for c in EVENT_COLUMNS if c.type != "utc" and c.name not in _CLOCK)
    return [where, *(_timeless(c) if c.name == "au_intervals" else c for c in kept)]


def _timeless(column: Column) -> Column:
    def value(row: Row, ruler: Ruler) -> Any:
        aus = column.value(row, ruler)
        for au in aus:
            for name in ("onset", "apex", "offset"):
                if au[name] is not None:
                    au[name] = au[name] | {"utc_ns": None}
        return aus

    return replace(column, value=value)


def write_events(result: Result, video: str, path: Path) -> None:
    """A row an event: the columns of docs/lab.md."""
    rows = [Row(event) for event in result.events]
    write_parquet(EventTable(rows, columns(video), Ruler(), by_au=False), path)


def write_blinks(result: Result, video: str, path: Path) -> None:
    """A row a blink, times in s."""
    pa, _ = load_parquet()
    made: dict[str, Any] = {
        "video": pa.array([video] * len(result.blinks), pa.string()),
        "face": pa.array([b.face for b in result.blinks], pa.int64()),
        "au": pa.array([b.au for b in result.blinks], pa.int64()),
    }
    for name in ("onset", "apex", "offset"):
        moments = [getattr(blink, name) for blink in result.blinks]
        made[f"{name}_s"] = pa.array([m.pts for m in moments], pa.float64())
        made[f"{name}_frame"] = pa.array([m.frame for m in moments], pa.int64())
    made["depth"] = pa.array([b.depth for b in result.blinks], pa.float64())
    _write(pa.table(made), path)


def write_curves(result: Result, video: str, path: Path, aus: Sequence[int]) -> None:
    """A row a frame of each window of each face; a column an AU (eq. 22)."""
    pa, _ = load_parquet()
    import numpy as np

    windows = result.curves

    def joined(parts: list[Any], kind: str) -> Any:
        return np.concatenate(parts) if parts else np.empty(0, kind)

    made: dict[str, Any] = {
        "face": joined([np.full(len(w.times), w.face) for w in windows], "int64"),
        "reference": joined([np.full(len(w.times), w.reference) for w in windows], "int64"),
        "frame": joined([w.frames for w in windows], "int64"),
        "time_s": joined([w.times for w in windows], "float64"),
    }
    values = joined([w.values for w in windows], "float32").reshape(-1, len(aus))
    made |= {f"au{au}": np.ascontiguousarray(values[:, i]) for i, au in enumerate(aus)}
    names = pa.array([video] * len(made["face"])).cast(pa.string())
    _write(pa.table({"video": names, **made}), path)


def _write(table: Any, path: Path) -> None:
    _, parquet = load_parquet()
    with whole(path) as (part,):
        parquet.write_table(table, part)


def join(files: Iterable[Path], path: Path) -> int:
    """All of ``files`` after each other in one; how many rows it has.

    Raises:
        UserError: one cannot be read, or the whole not be written.
    """
    pa, parquet = load_parquet()
    empty = _empty(pa)
    count, held, waiting = 0, 0, [empty]
    try:
        with whole(path) as (part,), parquet.ParquetWriter(part, empty.schema) as writer:
            for file in files:
                waiting.append(parquet.read_table(file).cast(empty.schema))
                count += len(waiting[-1])
                held += len(waiting[-1])
                if held >= _ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    held, waiting = 0, [empty]
            writer.write_table(pa.concat_tables(waiting))
    except pa.ArrowException as error:
        raise UserError(f"{path}: cannot be put together: {error}") from None
    return count


def _empty(pa: Any) -> Any:
    """A table without rows, with the columns of ``write_events``."""
    from pipeline.exports.parquet import schema_of

    return schema_of(pa, columns(""), Ruler()).empty_table()
