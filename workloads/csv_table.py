"""Read the rows of one CSV table of numbers."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from continuous_training.artifacts.bad_rows import BadRow, BadRowType
from continuous_training.core.errors import UserError

from .csv_numbers import NumberLines
from .load_context import SetAside

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHUNK_BYTES = 1 << 22


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

    def runs(self, set_aside: SetAside, read: Callable[[int], None]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the line number of the first row and the numbers of consecutive rows, [rows, columns].

        The numbers are in the order of `columns`. Bad rows are passed to `set_aside`, and the position in the
        file to `read`. Raises UserError for unknown or missing names, a file that cannot be read, and a file
        without rows or with several rows that are all bad.
        """
        parser: _RowParser | None = None
        number, valid, bad = 1, 0, 0
        for chunk in self._chunks(read):
            if parser and (numbers := parser.parse_usual(chunk)) is not None:
                yield number, numbers
                number, valid = number + len(numbers), valid + len(numbers)
                continue
            lines, first_row = _lines_of(chunk), 0
            if parser is None:
                parser, first_row = self._start(number, lines)
            if parser:
                values, is_row, bad_rows = parser.parse_lines(lines[first_row:])
                for index, cells in bad_rows:
                    set_aside(parser.bad_row(number + first_row + index, cells))
                rows = np.flatnonzero(is_row)
                for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
                    if len(run):
                        yield number + first_row + int(run[0]), values[run]
                valid, bad = valid + len(rows), bad + len(bad_rows)
            number += len(lines)
        if not valid and not bad:
            raise UserError(
                f"{self.name}: the file is empty; a table of {len(self.columns)} columns is expected"
            )
        if not valid and bad > 1:
            raise UserError(
                f"{self.name}: all {bad:,} rows are bad; a table of {len(self.columns)} numbers per row, "
                "separated by commas, is expected"
            )

    def _chunks(self, read: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the content of the file in parts of complete lines, without a byte order mark."""
        path, remainder, is_first = self.path, b"", True
        try:
            with path.open("rb") as stored, _decompressed(path, stored) as file:
                while data := file.read(_CHUNK_BYTES):
                    read(stored.tell())
                    if is_first and data.startswith(_UTF16):
                        raise UserError(f"{self.name}: the file is encoded in UTF-16; encode it in UTF-8")
                    # Spreadsheets start UTF-8 files with a byte order mark.
                    data = remainder + (data.removeprefix(codecs.BOM_UTF8) if is_first else data)
                    is_first = False
                    # The last byte may be the first half of a line end.
                    end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
                    if end:
                        yield data[:end]
                    remainder = data[end:]
            if remainder:
                yield remainder
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(
                f"{self.name}: cannot be read ({error}). The file must be complete and encoded in UTF-8"
            ) from None

    def _start(self, number: int, lines: list[bytes]) -> tuple[_RowParser | None, int]:
        """Return the parser for a file that starts with these lines, and the index of its first row.

        Returns no parser if all lines are empty. `number` is that of the first line.
        """
        for index, line in enumerate(lines):
            if cells := _cells_of(line, self.delimiter):
                if _is_header(cells):
                    return _RowParser(self, self._names_of(number + index, cells)), index + 1
                return _RowParser(self, self.columns), index
        return None, 0

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


def _decompressed(path: Path, stored: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=stored)) if path.suffix.lower() == ".gz" else stored


class _RowParser:
    """Parses rows. `names` are the columns in the order of the file."""

    def __init__(self, table: Table, names: tuple[str, ...]) -> None:
        self._table, self._names = table, names
        self._order = [names.index(column) for column in table.columns]
        self._reorders = names != table.columns
        self._integers = [names.index(column) for column in table.integers]
        self._usual = NumberLines(len(names), table.delimiter)

    def parse_usual(self, text: bytes) -> np.ndarray | None:
        """Return the numbers of the lines in `text`, or None if not all lines are usual ones."""
        numbers = self._usual.parse(text)
        if numbers is None or not self._has_integers(numbers).all():
            return None
        return numbers[:, self._order] if self._reorders else numbers

    def parse_lines(
        self, lines: Sequence[bytes]
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[int, list[str]]]]:
        """Return the numbers of the lines, a mask of the rows, and the index and the cells of each bad row.

        A line that is not a row is either bad or empty, and its numbers are undefined.
        """
        values = np.empty((len(lines), len(self._names)))
        is_row = self._usual.usual(lines)
        usual = self._usual.parse(b"\n".join(compress(lines, is_row.tolist())))
        if usual is None:
            is_row[:] = False
        else:
            values[is_row] = usual[:, self._order]
            is_row[is_row] = self._has_integers(usual)
        bad_rows = []
        for index in np.flatnonzero(~is_row).tolist():
            if cells := _cells_of(lines[index], self._table.delimiter):
                numbers = self._parse(cells)
                if numbers is None:
                    bad_rows.append((index, cells))
                else:
                    values[index], is_row[index] = numbers, True
        return values, is_row, bad_rows

    def _has_integers(self, numbers: np.ndarray) -> np.ndarray:
        """Return a mask of the rows of which the integer columns have only integers."""
        integers = numbers[:, self._integers]
        mask: np.ndarray = np.all(are_integers(integers), axis=1)
        return mask

    def _parse(self, cells: list[str]) -> list[float] | None:
        """Return the numbers in the order of the table's columns, or None for a bad row."""
        # Python accepts underscores in numbers (5_9). In data they are a mistake.
        if len(cells) != len(self._names) or any("_" in cell for cell in cells):
            return None
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            return None
        if not all(is_integer(numbers[index]) for index in self._integers):
            return None
        return [numbers[index] for index in self._order]

    def bad_row(self, line: int, cells: list[str]) -> BadRow:
        """Return the first problem of a row that `parse_lines` rejects."""
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
    return value.is_integer() and abs(value) < 2**53


def are_integers(values: np.ndarray) -> np.ndarray:
    """Return the mask of the numbers for which `is_integer` is true."""
    # NaN is not equal to itself, and floats from 2^53 on cannot represent every integer.
    mask: np.ndarray = (values == np.floor(values)) & (np.abs(values) < 2**53)
    return mask


def _lines_of(text: bytes) -> list[bytes]:
    """Return the lines, which end with a line feed, a carriage return, or both."""
    lines = re.sub(rb"\r(?!\n)", b"\n", text).split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _cells_of(line: bytes, delimiter: str) -> list[str]:
    """Return the cells of a line, or an empty list for an empty line.

    An undecodable byte makes only its row bad.
    """
    cells = _split(line.decode("utf-8", "surrogateescape").rstrip("\r\n"), delimiter)
    return cells if len(cells) > 1 or cells[0].strip() else []


def _split(line: str, delimiter: str) -> list[str]:
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
