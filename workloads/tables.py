"""Reads tables of numbers in files, block by block, with errors that name file, row and column."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from adapters.errors import UserError

from .contract import Column

BLOCK = 10_000


class Block(NamedTuple):
    """Rows of a file that follow each other: row i is number `first + i` in it, `number + i` of all."""

    origin: str
    first: int
    number: int
    values: np.ndarray


def scikit_learn_file(name: str) -> str:
    """Return the path of a data file inside scikit-learn, without the second that importing it takes."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("scikit-learn is not installed, whose copy of the data was asked for: make install")
    return str(Path(spec.origin).parent / "datasets" / "data" / name)


def matching_files(source: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that `source` (a file, a folder or a glob) names, sorted; UserError when none."""
    path = Path(source).expanduser()
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if file.name.endswith(suffixes)]
    elif any(mark in source for mark in "*?["):
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    else:
        found = [path] if path.is_file() else []
    if not found:
        wanted = ", ".join(suffixes)
        raise UserError(f"source {source!r} matches nothing: give a file, or a folder that holds {wanted}")
    return found


def read_numbers(source: str, width: int, delimiter: str = ",") -> Iterator[Block]:
    """Yield blocks of rows of `width` numbers (float64) from CSV files without a header.

    Raises UserError for a row of another width, a text that is no number, or a file without rows, naming
    the place.
    """
    number = 1
    for path in matching_files(source, (".csv", ".csv.gz")):
        rows: list[list[float]] = []
        first = 0
        for line, cells in _lines(path, delimiter):
            if len(cells) != width:
                raise UserError(f"{path.name}, row {line}: {len(cells)} columns where {width} are expected")
            # A block ends at an empty line too, so that its rows can be counted from its first.
            if rows and (len(rows) == BLOCK or line != first + len(rows)):
                yield Block(path.name, first, number, np.array(rows))
                number, rows = number + len(rows), []
            first = first if rows else line
            rows.append(_numbers(path, line, cells))
        if not rows:
            raise UserError(f"{path.name}: the file is empty; a table of {width} columns is expected")
        yield Block(path.name, first, number, np.array(rows))
        number += len(rows)


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
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
            for line, cells in enumerate(csv.reader(lines, delimiter=delimiter), 1):
                if cells:
                    yield line, cells
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}); is it whole, and text?") from None


def _numbers(path: Path, line: int, cells: list[str]) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        pass
    for column, cell in enumerate(cells, 1):
        try:
            float(cell)
        except ValueError:
            raise UserError(f"{path.name}, row {line}, column {column}: {cell!r} is not a number") from None
    raise AssertionError("unreachable: some cell was not a number")
