"""Read the rows of one CSV table of numbers."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.core.errors import UserError

from .load_context import SetAside

_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")
"""The byte order marks of UTF-16, as undecodable bytes of UTF-8."""


@dataclass(frozen=True)
class Table:
    """A CSV file with the columns `columns`, of which `integers` have only integers.

    The first line may contain the column names, in any order. `name` is the file's name in messages.
    """

    path: Path
    name: str
    columns: tuple[str, ...]
    integers: tuple[str, ...] = ()
    delimiter: str = ","

    def rows(self, set_aside: SetAside) -> Iterator[tuple[int, list[float]]]:
        """Yield the line number of each row, and its numbers in the order of `columns`.

        Bad rows are passed to `set_aside`. Raises UserError for unknown or missing names, a file that cannot
        be read, and a file without rows or with several rows that are all bad.
        """
        parser = _RowParser(self, self.columns)
        valid, bad = 0, 0
        for index, (line, cells) in enumerate(self._lines()):
            if index == 0 and _is_header(cells):
                parser = _RowParser(self, self._names_of(line, cells))
                continue
            numbers = parser.parse(cells)
            if numbers is None:
                set_aside(parser.bad_row(line, cells))
                bad += 1
            else:
                yield line, numbers
                valid += 1
        if not valid and not bad:
            raise UserError(
                f"{self.name}: the file is empty; a table of {len(self.columns)} columns is expected"
            )
        if not valid and bad > 1:
            raise UserError(
                f"{self.name}: all {bad:,} rows are bad; a table of {len(self.columns)} numbers per row, "
                "separated by commas, is expected"
            )

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of each line that is not empty."""
        # Spreadsheets start UTF-8 files with a byte order mark. An undecodable byte makes only its row bad.
        mode: dict[str, Any] = {
            "mode": "rt", "newline": "", "encoding": "utf-8-sig", "errors": "surrogateescape",
        }  # fmt: skip
        path = self.path
        try:
            with gzip.open(path, **mode) if path.suffix.lower() == ".gz" else path.open(**mode) as lines:
                for number, line in enumerate(lines, 1):
                    if number == 1 and line.startswith(_UTF16):
                        raise UserError(f"{self.name}: the file is encoded in UTF-16; encode it in UTF-8")
                    cells = _cells(line.rstrip("\r\n"), self.delimiter)
                    if len(cells) > 1 or cells[0].strip():
                        yield number, cells
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(
                f"{self.name}: cannot be read ({error}). The file must be complete and encoded in UTF-8"
            ) from None

    def _names_of(self, line: int, cells: list[str]) -> tuple[str, ...]:
        """Return the column names in the order of the file."""
        names = [cell.strip().lower() for cell in cells]
        expected = [column.lower() for column in self.columns]
        if sorted(names) != sorted(expected):
            unknown = ", ".join(repr(name) for name in names if name not in expected)
            missing = ", ".join(column for column in self.columns if column.lower() not in names)
            problems = [
                f"{kind} {columns_text}"
                for kind, columns_text in (("unknown", unknown), ("missing", missing))
                if columns_text
            ]
            raise UserError(
                f"{self.name}, row {line}: unexpected column names "
                f"({'; '.join(problems) or 'a name occurs twice'}){_delimiter_hint(cells, self.delimiter)}. "
                f"Expected: {', '.join(self.columns)}, in any order, or numbers without a header line"
            )
        return tuple(self.columns[expected.index(name)] for name in names)


class _RowParser:
    """Parses the cells of a row. `names` are the columns in the order of the file."""

    def __init__(self, table: Table, names: tuple[str, ...]) -> None:
        self._table, self._names = table, names
        self._order = [names.index(column) for column in table.columns]
        self._reorders = names != table.columns
        self._integers = [names.index(column) for column in table.integers]

    def parse(self, cells: list[str]) -> list[float] | None:
        """Return the numbers in the order of the table's columns, or None for a bad row."""
        # Python accepts underscores in numbers (5_9). In data they are a mistake.
        if len(cells) != len(self._names) or any("_" in cell for cell in cells):
            return None
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            return None
        for index in self._integers:
            if not is_integer(numbers[index]):
                return None
        return [numbers[index] for index in self._order] if self._reorders else numbers

    def bad_row(self, line: int, cells: list[str]) -> BadRow:
        """Return the first problem of a row that `parse` rejects."""
        if len(cells) != len(self._names):
            type, column = BadRowType.FIELDS, ""
            hint = _delimiter_hint(cells, self._table.delimiter)
            message = f"{len(cells)} columns where {len(self._names)} are expected{hint}"
        else:
            index = next(i for i, cell in enumerate(cells) if self._cell_type(i, cell))
            type, column = BadRowType(self._cell_type(index, cells[index])), self._names[index]
            is_number = type == BadRowType.NOT_AN_INTEGER
            message = (
                f"{float(cells[index]):g} is not an integer"
                if is_number
                else f"{cells[index]!r:.80} is not a number"
            )
        if not _is_utf8(cells):
            type, message = BadRowType.ENCODING, f"{message}; the row is not encoded in UTF-8"
        return BadRow(self._table.name, line, type, message, column)

    def _cell_type(self, index: int, cell: str) -> str:
        """Return the type of a bad cell, or an empty text."""
        if not cell.strip():
            return BadRowType.MISSING
        if not _is_number(cell):
            return BadRowType.NOT_A_NUMBER
        is_bad_integer = index in self._integers and not is_integer(float(cell))
        return BadRowType.NOT_AN_INTEGER if is_bad_integer else ""


def is_integer(value: float) -> bool:
    """Return whether the number is an integer that a float represents exactly."""
    # Floats from 2^53 on cannot represent every integer.
    return value.is_integer() and abs(value) < 2**53


def _cells(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    reader = csv.reader([line, ""], delimiter=delimiter)
    try:
        cells = next(reader)
    except csv.Error:
        return [line]
    # A quote without an end would continue in the next line, and this row would swallow other rows.
    return cells if reader.line_num == 1 else [line]


def _is_header(cells: list[str]) -> bool:
    # nan and inf are numbers that start with a letter.
    return not any(_is_number(cell) or not cell.strip()[:1].isalpha() for cell in cells)


def _delimiter_hint(cells: list[str], delimiter: str) -> str:
    for other, name in ((";", "semicolons"), ("\t", "tabs")):
        if other != delimiter and any(other in cell for cell in cells):
            return f" (use commas as separators, not {name})"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _is_utf8(cells: list[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True
