"""Reads tables of numbers in files, block by block, with errors that name file, row and column."""

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
CSV = "CSV, a file, a folder or a glob, with or without a first line of names"
"""What `read_numbers` takes, for the help of a parameter `source`; docs/workloads.md tells all of it."""


class Block(NamedTuple):
    """Rows of a file that follow each other: row i is number `first + i` in it, `number + i` of all."""

    origin: str
    first: int
    number: int
    values: np.ndarray

    def part(self, start: int, end: int) -> Block:
        """Return rows `start` to `end` (that one not) as a block that knows where they stand."""
        return Block(self.origin, self.first + start, self.number + start, self.values[start:end])


def scikit_learn_file(name: str) -> str:
    """Return the path of a data file inside scikit-learn, without the second that importing it takes."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("scikit-learn is not installed, whose copy of the data was asked for: make install")
    return str(Path(spec.origin).parent / "datasets" / "data" / name)


def matching_files(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that `source` (a file, a folder or a glob) names, sorted; UserError when none."""
    path = Path(source).expanduser()
    wanted = ", ".join(suffixes)
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if file.name.endswith(suffixes)]
    elif any(mark in source for mark in "*?["):
        found = _matches(source, path, suffixes[0])
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise UserError(f"source {source!r} matches nothing: give a file, or a folder that holds {wanted}")
    return found


def _matches(source: str, path: Path, suffix: str) -> list[Path]:
    try:
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    except ValueError as error:
        raise UserError(f"source {source!r}: {error}") from None
    files = [match for match in found if match.is_file()]
    if found and not files:
        raise UserError(
            f"source {source!r} matches folders only ({found[0]}, ...): give what matches the files in them, "
            f"for instance {source.rstrip('/')}/*{suffix}"
        )
    return files


def read_numbers(source: str, columns: Sequence[str], delimiter: str = ",") -> Iterator[Block]:
    """Yield blocks of rows of numbers (float64, one of `columns` each) from CSV files.

    A file's first line may name the columns, in any order; without one they stand in the order of
    `columns`. Raises UserError for names that are others, a row of another width, a text that is no number,
    or a file without rows, naming the place.
    """
    number = 1
    for path in matching_files(source, (".csv", ".csv.gz")):
        rows: list[list[float]] = []
        first = 0
        standing, order = list(columns), list(range(len(columns)))
        for count, (line, cells) in enumerate(_lines(path, delimiter)):
            if count == 0 and _is_header(cells):
                standing, order = _header(path, line, cells, columns, delimiter)
                continue
            if len(cells) != len(columns):
                raise UserError(
                    f"{path.name}, row {line}: {len(cells)} columns where {len(columns)} are expected"
                    f"{_delimiter_hint(cells, delimiter)}"
                )
            # A block ends at an empty line too, so that its rows can be counted from its first.
            if rows and (len(rows) == BLOCK or line != first + len(rows)):
                yield Block(path.name, first, number, np.array(rows)[:, order])
                number, rows = number + len(rows), []
            first = first if rows else line
            rows.append(_numbers(path, line, cells, standing))
        if not rows:
            raise UserError(f"{path.name}: the file is empty; a table of {len(columns)} columns is expected")
        yield Block(path.name, first, number, np.array(rows)[:, order])
        number += len(rows)


Keyed = tuple[Block, list[str]]
"""Rows, and the key of each."""


def numbered_rows(blocks: Iterable[Block]) -> Iterator[Keyed]:
    """Yield each row with its number as the key: for a copy that ships with a library and never changes."""
    for block in blocks:
        yield block, [f"{n:07d}" for n in range(block.number, block.number + len(block.values))]


def distinct_rows(blocks: Iterable[Block]) -> Iterator[Keyed]:
    """Yield each row once; its key is the first 128 bits of the sha256 of its numbers.

    A key that follows from the content stays when files are added, renamed or put in another order. A row
    that stands there again is the same row; were both kept, one could be learned from and one held out.
    """
    seen: set[str] = set()
    for block in blocks:
        # Adding zero makes -0.0 the 0.0 that it equals.
        keys = [hashlib.sha256(row.tobytes()).hexdigest()[:32] for row in block.values.astype("<f8") + 0.0]
        start = 0
        for i, key in enumerate(keys):
            if key in seen:
                if start < i:
                    yield block.part(start, i), keys[start:i]
                start = i + 1
            seen.add(key)
        if start < len(keys):
            yield block.part(start, len(keys)), keys[start:]


def to_arrow(column: Column, values: np.ndarray, origin: str, first: int) -> pa.Array:
    """Return float64 `values` in the column's type; UserError for a whole number that is none."""
    if column.kind == "integer":
        # NaN is unequal to itself, and a float of 2^53 or more may stand for its neighbour.
        wrong = np.flatnonzero((values != np.floor(values)) | (np.abs(values) >= 2**53))
        if len(wrong):
            row = int(wrong[0])
            raise UserError(
                f"{origin}, row {first + row}, column {column.name}: {values[row]:g} is not a whole number"
            )
    return pa.array(values).cast(column.arrow)


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # Spreadsheets begin their UTF-8 with a byte order mark.
    how: dict[str, Any] = {"mode": "rt", "newline": "", "encoding": "utf-8-sig"}
    try:
        with gzip.open(path, **how) if path.suffix == ".gz" else path.open(**how) as lines:
            for line, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
                if cells:
                    yield line, cells
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is it whole, and text in UTF-8?") from None


def _is_header(cells: list[str]) -> bool:
    # nan and inf begin with letters and are numbers.
    return not any(_is_number(cell) or not cell.strip()[:1].isalpha() for cell in cells)


def _header(
    path: Path, line: int, cells: list[str], columns: Sequence[str], delimiter: str
) -> tuple[list[str], list[int]]:
    """Return the names in the file's order, and where each of `columns` stands."""
    names = [cell.strip().lower() for cell in cells]
    known = [column.lower() for column in columns]
    if sorted(names) != sorted(known):
        unknown = ", ".join(repr(name) for name in names if name not in known)
        missing = ", ".join(column for column in columns if column.lower() not in names)
        wrong = [f"{word} {which}" for word, which in (("unknown", unknown), ("missing", missing)) if which]
        raise UserError(
            f"{path.name}, row {line}: the names of the columns are others than expected "
            f"({'; '.join(wrong) or 'one stands there twice'}){_delimiter_hint(cells, delimiter)}; expected "
            f"are {', '.join(columns)}, in any order, or numbers without a line of names"
        )
    return [columns[known.index(name)] for name in names], [names.index(name) for name in known]


def _delimiter_hint(cells: list[str], delimiter: str) -> str:
    for other, name in ((";", "semicolons"), ("\t", "tabs")):
        if other != delimiter and any(other in cell for cell in cells):
            return f" (columns are separated by commas, not by {name})"
    return ""


def _numbers(path: Path, line: int, cells: list[str], columns: Sequence[str]) -> list[float]:
    try:
        # Python lets digits be grouped, as in 5_9; in data that is a slip of the hand.
        if not any("_" in cell for cell in cells):
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    wrong = next(i for i, cell in enumerate(cells) if not _is_number(cell))
    raise UserError(f"{path.name}, row {line}, column {columns[wrong]}: {cells[wrong]!r} is not a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
