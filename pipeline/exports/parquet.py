"""Parquet: typed columns, with unit and meaning of each in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.event_table import EventTable
from pipeline.export_rows import Column, Ruler
from pipeline.exports.files import whole
from pipeline.exports.version import version


def write_parquet(table: EventTable, path: Path) -> None:
    """One file, compressed; UTC as time stamps of us, lists and records nested.

    Raises:
        UserError: pyarrow is missing, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:  # missing, or of another NumPy
        raise UserError(f"Parquet needs pyarrow ({error}): pip install 'mespot[lab]'") from None
    schema = schema_of(pa, table.columns, table.ruler)
    arrays = [
        pa.array(_arrow(column, table.values(column)), type=entry.type)
        for column, entry in zip(table.columns, schema, strict=True)
    ]
    with whole(path) as (part,):
        parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), part)


def schema_of(pa: Any, columns: Sequence[Column], ruler: Ruler) -> Any:
    """The Arrow schema of a table with ``columns``."""
    about = {"mespot": version(), "schema": "1", "times": ruler.meaning}
    return pa.schema([_field(pa, column) for column in columns], metadata=about)


def _field(pa: Any, column: Column) -> Any:
    about = {"description": column.meaning} | ({"unit": column.unit} if column.unit else {})
    return pa.field(column.name, _type(pa, column), metadata=about)


def _type(pa: Any, column: Column) -> Any:
    if column.type == "records":
        return pa.list_(_RECORDS[column.name](pa))
    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "utc": pa.timestamp("us", tz="UTC"),  # ns are not read everywhere
        "list": pa.list_(pa.string()),
    }[column.type]


def _moment(pa: Any) -> Any:
    return pa.struct([("frame", pa.int64()), ("pts", pa.float64()), ("utc_ns", pa.int64())])


def _au(pa: Any) -> Any:
    keys = [("au", pa.int64()), ("side", pa.string()), ("index", pa.float64())]
    return pa.struct([*keys, *((name, _moment(pa)) for name in ("onset", "apex", "offset"))])


def _reading(pa: Any) -> Any:
    texts = ("source", "label", "category", "rule", "device", "training")
    maps = ("scores", "aus")
    return pa.struct(
        [*((name, pa.string()) for name in texts)]
        + [(name, pa.map_(pa.string(), pa.float64())) for name in maps]
    )


def _veto(pa: Any) -> Any:
    return pa.struct([("name", pa.string()), ("value", pa.float64()), ("limit", pa.float64())])


_RECORDS = {"au_intervals": _au, "emotions": _reading, "vetoes": _veto}


def _arrow(column: Column, values: list[Any]) -> list[Any]:
    if column.type == "utc":
        return [None if ns is None else ns // 1000 for ns in values]
    return [_pairs(value) for value in values]


def _pairs(value: Any) -> Any:
    """Maps of a reading as pairs, which is how Arrow takes them."""
    if isinstance(value, list):
        return [_pairs(item) for item in value]
    if isinstance(value, dict):
        return {
            key: list(inner.items()) if key in ("scores", "aus") else inner
            for key, inner in value.items()
        }
    return value
