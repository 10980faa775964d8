"""Read CSV tables of numbers in blocks. Errors name the file, the row and the column."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from continuous_training.core.errors import UserError

from .contract import Column

BLOCK = 10_000
CSV = "CSV: a file, a folder or a glob, with or without a header line"
"""The sources that `read_numbers` accepts, for the help text of a parameter `source`."""


class Block(NamedTuple):
    """Consecutive rows of a file: row i is row `first + i` of the file and row `number + i` of all files."""

    origin: str
    first: int
    number: int
    values: np.ndarray

    def part(self, start: int, end: int) -> Block:
        """Return the rows from `start` up to, not including, `end`."""
        return Block(self.origin, self.first + start, self.number + start, self.values[start:end])


def scikit_learn_file(name: str) -> str:
    """Return the path of a data file of scikit-learn, without importing it (this takes a second)."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("scikit-learn is not installed, but its copy of the data is the source: make install")
    return str(Path(spec.origin).parent / "datasets" / "data" / name)


def matching_files(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of `source` (a file, folder or glob), sorted. Raises UserError if there are none."""
    path = Path(source).expanduser()
    extensions = ", ".join(suffixes)
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.name.endswith(suffixes)]
    elif any(mark in source for mark in "*?["):
        files = _matches(source, path, suffixes[0])
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise UserError(
            f"source {source!r} matches nothing: give a file, or a folder with {extensions} files"
        )
    return files


def _matches(source: str, path: Path, suffix: str) -> list[Path]:
    try:
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    except ValueError as error:
        raise UserError(f"source {source!r}: {error}") from None
    files = [match for match in matches if match.is_file()]
    if matches and not files:
        raise UserError(
            f"source {source!r} matches only folders ({matches[0]}, ...): use a pattern that matches files, "
            f"for instance {source.rstrip('/')}/*{suffix}"
        )
    return files


def read_numbers(source: str, columns: Sequence[str], delimiter: str = ",") -> Iterator[Block]:
    """Yield blocks of rows from CSV files, float64 with shape [rows, columns].

    The first line of a file may contain the column names, in any order. Without it, the columns are in the
    order of `columns`. Raises UserError, with the position, for unknown or missing names, a row with another
    number of cells, a cell that is not a number, and a file without rows.
    """
    number = 1
    for path in matching_files(source, (".csv", ".csv.gz")):
        rows: list[list[float]] = []
        first = 0
        names, order = list(columns), list(range(len(columns)))
        for count, (line, cells) in enumerate(_lines(path, delimiter)):
            if count == 0 and _is_header(cells):
                names, order = _header(path, line, cells, columns, delimiter)
                continue
            if len(cells) != len(columns):
                raise UserError(
                    f"{path.name}, row {line}: {len(cells)} columns where {len(columns)} are expected"
                    f"{_delimiter_hint(cells, delimiter)}"
                )
            # An empty line ends the block too, because the row numbers of a block are consecutive.
            if rows and (len(rows) == BLOCK or line != first + len(rows)):
                yield Block(path.name, first, number, np.array(rows)[:, order])
                number, rows = number + len(rows), []
            first = first if rows else line
            rows.append(_numbers(path, line, cells, names))
        if not rows:
            raise UserError(f"{path.name}: the file is empty; a table of {len(columns)} columns is expected")
        yield Block(path.name, first, number, np.array(rows)[:, order])
        number += len(rows)


Keyed = tuple[Block, list[str]]
"""A block, and the key of each row."""


def numbered_rows(blocks: Iterable[Block]) -> Iterator[Keyed]:
    """Yield each row with its number as the key. For data that never changes, such as a library's copy."""
    for block in blocks:
        yield block, [f"{n:07d}" for n in range(block.number, block.number + len(block.values))]


def distinct_rows(blocks: Iterable[Block]) -> Iterator[Keyed]:
    """Yield each distinct row once. Its key is the first 128 bits of the sha256 of its numbers.

    Such a key does not change when files are added, renamed or reordered. Duplicates are dropped because
    otherwise one copy could be a training row and the other a holdout row.
    """
    earlier_keys: set[str] = set()
    for block in blocks:
        # Adding zero turns -0.0 into 0.0.
        keys = [hashlib.sha256(row.tobytes()).hexdigest()[:32] for row in block.values.astype("<f8") + 0.0]
        start = 0
        for i, key in enumerate(keys):
            if key in earlier_keys:
                if start < i:
                    yield block.part(start, i), keys[start:i]
                start = i + 1
            earlier_keys.add(key)
        if start < len(keys):
            yield block.part(start, len(keys)), keys[start:]


def to_arrow(column: Column, values: np.ndarray, origin: str, first: int) -> pa.Array:
    """Convert float64 `values` to the column's type. Raises UserError for a value that is not an integer."""
    if column.kind == "integer":
        # NaN is not equal to itself, and floats from 2^53 on cannot represent every integer.
        invalid = np.flatnonzero((values != np.floor(values)) | (np.abs(values) >= 2**53))
        if len(invalid):
            row = int(invalid[0])
            raise UserError(
                f"{origin}, row {first + row}, column {column.name}: {values[row]:g} is not an integer"
            )
    return pa.array(values).cast(column.arrow)


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # Spreadsheets start UTF-8 files with a byte order mark.
    mode: dict[str, Any] = {"mode": "rt", "newline": "", "encoding": "utf-8-sig"}
    try:
        with gzip.open(path, **mode) if path.suffix == ".gz" else path.open(**mode) as lines:
            for line, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
                if cells:
                    yield line, cells
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise UserError(
            f"{path.name}: cannot be read ({error}). The file must be complete and encoded in UTF-8"
        ) from None


def _is_header(cells: list[str]) -> bool:
    # nan and inf are numbers that start with a letter.
    return not any(_is_number(cell) or not cell.strip()[:1].isalpha() for cell in cells)


def _header(
    path: Path, line: int, cells: list[str], columns: Sequence[str], delimiter: str
) -> tuple[list[str], list[int]]:
    """Return the column names in the order of the file, and the index of each of `columns`."""
    names = [cell.strip().lower() for cell in cells]
    expected = [column.lower() for column in columns]
    if sorted(names) != sorted(expected):
        unknown = ", ".join(repr(name) for name in names if name not in expected)
        missing = ", ".join(column for column in columns if column.lower() not in names)
        problems = [
            f"{kind} {columns_text}"
            for kind, columns_text in (("unknown", unknown), ("missing", missing))
            if columns_text
        ]
        raise UserError(
            f"{path.name}, row {line}: unexpected column names "
            f"({'; '.join(problems) or 'a name occurs twice'}){_delimiter_hint(cells, delimiter)}. Expected: "
            f"{', '.join(columns)}, in any order, or numbers without a header line"
        )
    return [columns[expected.index(name)] for name in names], [names.index(name) for name in expected]


def _delimiter_hint(cells: list[str], delimiter: str) -> str:
    for other, name in ((";", "semicolons"), ("\t", "tabs")):
        if other != delimiter and any(other in cell for cell in cells):
            return f" (use commas as separators, not {name})"
    return ""


def _numbers(path: Path, line: int, cells: list[str], columns: Sequence[str]) -> list[float]:
    try:
        # Python accepts underscores in numbers (5_9). In data they are a mistake.
        if not any("_" in cell for cell in cells):
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    index = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    raise UserError(f"{path.name}, row {line}, column {columns[index]}: {cells[index]!r} is not a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
