"""Sheets and CSV files as rows of cells, and cells as frames, names and AUs."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.archives import check_zip
from models.datasets.aus import Spot, parse
from models.datasets.records import Annotation, Kind
from models.errors import UserError
from models.files import read_text

Cell = Any  # what openpyxl gives: text, int, float, datetime, bool or None
Row = tuple[int, tuple[Cell, ...]]  # number from 1, cells
MOST_BYTES = 50_000_000
_MOST_UNPACKED, _MOST_MEMBERS = 200_000_000, 1000  # of a workbook, which is a zip file
_MOST_ROWS, _MOST_COLUMNS = 20_000, 100
_MISSING = frozenset({"", "/", "\\", "-", "–", "0", "-1", "none", "nan", "n/a", "na"})
_INTEGER = re.compile(r"-?[0-9]{1,9}(?:\.0*)?")
_SEARCHED = 40  # rows in which a header must stand
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")


@dataclass(frozen=True)
class Raw:
    """One annotation as its cells have it; a correction may still change it."""

    row: int  # from 1, as a spreadsheet shows it
    subject: str
    name: str  # the clip's or expression's name
    onset: Cell
    apex: Cell
    offset: Cell
    aus: str
    emotion: str = ""
    kind: str = ""
    objective: str = ""


def at(path: Path, row: int) -> Spot:
    """Makes the errors of one row."""
    return lambda words: UserError(f"{path} row {row}: {words}")


def find_workbook(root: Path, pattern: str, wanted: str, given: Path | None = None) -> Path:
    """The workbook whose name matches ``pattern``, in ``root`` or one folder below.

    Args:
        root: the data set's folder.
        pattern: regular expression of the whole name, in any case.
        wanted: the name as it is released, for the message.
        given: the user's own choice.

    Raises:
        UserError: none, or several.
    """
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given}: no such workbook")
        return given
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    names = re.compile(pattern, re.IGNORECASE)
    found = sorted(p for p in (*root.glob("*.xlsx"), *root.glob("*/*.xlsx")) if _is(p, names))
    if not found:
        raise UserError(f"{root}: no workbook {wanted} here or one folder below")
    if len(found) > 1:
        listed = ", ".join(str(path.relative_to(root)) for path in found)
        raise UserError(f"{root}: several workbooks fit: {listed}; keep one or name it")
    return found[0]


def _is(path: Path, names: re.Pattern[str]) -> bool:
    return path.is_file() and names.fullmatch(path.name) is not None


class Workbook:
    """The sheets of an ``.xlsx`` file, values only.

    Raises:
        UserError: openpyxl is not installed, or the file is not a workbook.
    """

    def __init__(self, path: Path) -> None:
        try:
            import openpyxl
        except ImportError:
            raise UserError("workbooks need openpyxl: pip install 'mespot[datasets]'") from None
        self.path = path
        try:
            check_zip(path, MOST_BYTES, _MOST_UNPACKED, _MOST_MEMBERS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and validations, which are not read
                # read only: a merged range or a far cell makes no grid of empty cells
                self._book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        except Exception as error:  # noqa: BLE001  openpyxl lets zip, XML and key errors out
            raise self._unreadable(error) from None

    @property
    def sheets(self) -> list[str]:
        """Names of the sheets."""
        return list(self._book.sheetnames)

    def rows(self, pattern: str, wanted: str, alone: bool = False) -> list[Row]:
        """The rows of the one sheet whose name matches, blank ones left out.

        Args:
            pattern: regular expression of the whole name, in any case.
            wanted: the name as it is released, for the message.
            alone: take the only sheet of a workbook under any name.

        Raises:
            UserError: no such sheet, or several.
        """
        names = re.compile(pattern, re.IGNORECASE)
        found = [name for name in self.sheets if names.fullmatch(name.strip())]
        if not found and alone and len(self.sheets) == 1:
            found = self.sheets
        if len(found) != 1:
            what = "no sheet" if not found else "several sheets"
            raise UserError(f"{self.path}: {what} {wanted}; it has {', '.join(self.sheets)}")
        try:
            return list(self._grid(found[0]))
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  as on opening
            raise self._unreadable(error) from None

    def _grid(self, name: str) -> Iterator[Row]:
        sheet = self._book[name]
        sheet.reset_dimensions()  # what the file says of its own size is not relied on
        filled = sheet.iter_rows(max_col=_MOST_COLUMNS, max_row=_MOST_ROWS + 1, values_only=True)
        for number, cells in enumerate(filled, 1):
            if number > _MOST_ROWS:
                raise UserError(f"{self.path}: {name} has more than {_MOST_ROWS} rows")
            if any(map(text, cells)):
                yield number, tuple(cells)

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self.path}: not a workbook that can be read: {_line(error)}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def read_csv(path: Path) -> list[Row]:
    """The rows of a UTF-8 CSV file, blank ones left out; the number is the line's.

    Raises:
        UserError: it cannot be read or is not CSV.
    """
    content = read_text(path, "a table of labels", MOST_BYTES)
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        return [(reader.line_num, tuple(row)) for row in reader if any(map(text, row))]
    except csv.Error as error:
        raise UserError(f"{path} row {reader.line_num}: not CSV: {error}") from None


def records(
    path: Path, rows: Sequence[Row], wanted: Mapping[str, Sequence[str]], must: Sequence[str]
) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Rows under the header, which is searched for (titles may stand above it).

    Args:
        path: for messages.
        rows: of the sheet.
        wanted: for each field the names that its column may have, without blanks and case.
        must: the fields without which there is no table.

    Raises:
        UserError: no header, or a column twice.
    """
    below, columns = _header(path, rows, wanted, must)
    for number, cells in rows[below:]:
        yield number, {n: cells[c] if c < len(cells) else None for n, c in columns.items()}


def _header(
    path: Path, rows: Sequence[Row], wanted: Mapping[str, Sequence[str]], must: Sequence[str]
) -> tuple[int, dict[str, int]]:
    """Index of the first row below the header, and the column of each field."""
    for below, (number, cells) in enumerate(rows[:_SEARCHED], 1):
        columns = _columns(path, number, cells, wanted)
        if all(name in columns for name in must):
            return below, columns
    named = ", ".join(wanted[name][0] for name in must)
    raise UserError(f"{path}: no header with {named} in the first {_SEARCHED} rows")


def _columns(
    path: Path, row: int, cells: Sequence[Cell], wanted: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    heads = [re.sub(r"[^a-z]", "", text(cell).lower()) for cell in cells]
    columns: dict[str, int] = {}
    for name, heading in wanted.items():
        found = [i for i, head in enumerate(heads) if head in heading]
        if len(found) > 1:
            raise at(path, row)(f"the header has {heading[0]} twice")
        if found:
            columns[name] = found[0]
    return columns


def text(cell: Cell) -> str:
    """A cell in words: 12.0 is ``12``, None nothing."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def frame(cell: Cell, what: str, spot: Spot) -> int | None:
    """A frame number; None for ``/``, blank, 0 and -1, which all say: not annotated.

    Raises:
        UserError: anything else that is not a whole positive number.
    """
    words = text(cell)
    if words.lower() in _MISSING:
        return None
    if not _INTEGER.fullmatch(words) or int(float(words)) < 0:
        raise spot(f"{what} {words!r} is not a frame number")
    return int(float(words)) or None


def padded(cell: Cell, digits: int, what: str, spot: Spot) -> str:
    """A subject's number with leading zeros, which spreadsheets lose.

    Raises:
        UserError: it is not a number.
    """
    words = text(cell)
    if not words.isascii() or not words.isdigit():
        raise spot(f"{what} {words!r} is not a number")
    return words.zfill(digits)


def kind_of(words: str, spot: Spot) -> Kind | None:
    """``Micro - 1/2``, ``micro-expression`` and ``2`` are micro; ``Macro``, ``1`` macro.

    Raises:
        UserError: anything else but a blank.
    """
    lower = words.lower()
    if lower.startswith("micro") or lower == "2":
        return "micro"
    if lower.startswith("macro") or lower == "1":
        return "macro"
    if lower:
        raise spot(f"type {words!r} is neither micro nor macro")
    return None


def annotation(
    path: Path, raw: Raw, subject: str, video: str, kind: Kind | None = None
) -> Annotation:
    """The annotation of ``raw``; ``kind`` where the table's every row has the same.

    Raises:
        UserError: a cell cannot be read; the message names the row.
    """
    spot = at(path, raw.row)
    onset, apex, offset = (frame(getattr(raw, n), n, spot) for n in ("onset", "apex", "offset"))
    known = kind or kind_of(raw.kind, spot)
    codes = parse(raw.aus, spot)
    return Annotation(
        subject,
        video,
        onset,
        apex,
        offset,
        codes,
        known,
        raw.emotion,
        raw.row,
        raw.aus,
        raw.name,
        objective_of(raw.objective, spot),
    )


def objective_of(words: str, spot: Spot) -> int | None:
    """The objective class, I to VII as 1 to 7; None for a blank.

    Raises:
        UserError: anything else.
    """
    if not words:
        return None
    if words in _ROMAN:
        return _ROMAN.index(words) + 1
    if words not in {"1", "2", "3", "4", "5", "6", "7"}:
        raise spot(f"objective class {words!r} is none of 1 to 7")
    return int(words)


def beside(path: Path, row: int, cells: Iterable[Cell]) -> str:
    """The report of a row with text, but without an annotation."""
    words = " | ".join(filter(None, map(text, cells)))
    return f"{path.name} row {row}: text beside the table, not an annotation: {words[:80]!r}"


def split_rows(
    path: Path,
    rows: Iterable[tuple[int, dict[str, Cell]]],
    make: Callable[[int, dict[str, Cell]], Raw],
) -> tuple[list[Raw], list[str]]:
    """Annotations, and reports of rows that name neither subject nor clip nor frame."""
    made: list[Raw] = []
    reports: list[str] = []
    for number, cells in rows:
        named = [name for name in ("subject", "name", "onset") if text(cells.get(name))]
        if len(named) >= 2:
            made.append(make(number, cells))
        elif any(map(text, cells.values())):
            reports.append(beside(path, number, cells.values()))
    return made, reports
