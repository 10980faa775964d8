"""Read CSV and Parquet tables of numbers in blocks. Errors name the file, the row and the column."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from continuous_training.artifacts.bad_rows import raise_bad_row
from continuous_training.core.errors import UserError
from continuous_training.core.slice_digests import sha256_of_slices

from .contract import Column
from .csv_table import Table, are_integers
from .data_files import Files, local_files

# `workloads.tables`, the former name of this module, had it too.
from .data_files import matching_files as matching_files
from .distinct_digests import DistinctDigests
from .load_context import Advance, DropDuplicates, SetAside, ignore_duplicates, ignore_share
from .parquet_table import ParquetTable

BLOCK = 10_000
_BLOCK_BYTES = 1 << 22
"""Rows and bytes of a block at the most."""

_DIGITS = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2")
CSV = "CSV or Parquet: a file, a folder, a glob, s3://BUCKET/PREFIX or the https address of a file"
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


def read_numbers(
    source: str,
    columns: Sequence[str],
    delimiter: str = ",",
    *,
    integers: Sequence[str] = (),
    set_aside: SetAside = raise_bad_row,
    files: Files = local_files,
    advance: Advance = ignore_share,
) -> Iterator[Block]:
    """Yield blocks of rows from CSV or Parquet files, float64 with shape [rows, columns].

    The first line of a CSV file may contain the column names, in any order. Without it, the columns are in
    the order of `columns`. `integers` are the columns with only integers. A row with another number of cells
    or with an invalid cell is passed to `set_aside`, which by default raises UserError. `files` finds the
    files of the source; in a workload, it is `context.files`. `advance` gets the share of the bytes that have
    been read. Raises UserError, with the position, for unknown or missing names and a file without rows.
    """
    number, bytes_before = 1, 0
    matches = files(source, (".csv", ".csv.gz", ".parquet"))
    sizes = [file.path.stat().st_size for file in matches]
    for file, size in zip(matches, sizes, strict=True):
        table: Table | ParquetTable
        if file.name.lower().endswith(".parquet"):
            table = ParquetTable(file.path, file.name, tuple(columns), tuple(integers))
        else:
            table = Table(file.path, file.name, tuple(columns), tuple(integers), delimiter)

        def read(position: int, before: int = bytes_before) -> None:
            advance((before + position) / sum(sizes))

        for first, values in _blocks(table.runs(set_aside, read)):
            yield Block(file.name, first, number, values)
            number += len(values)
        bytes_before += size


def _blocks(runs: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Merge and split runs of rows, with the number of their first line, to blocks of limited size.

    An empty line or a bad row ends a block, because a block has consecutive row numbers.
    """
    first, count = 0, 0
    parts: list[np.ndarray] = []
    for line, values in runs:
        if parts and line != first + count:
            yield first, np.concatenate(parts)
            parts = []
        if not parts:
            first, count = line, 0
        parts.append(values)
        count += len(values)
        size = max(1, min(BLOCK, _BLOCK_BYTES // max(values[:1].nbytes, 1)))
        if count >= size:
            rows = np.concatenate(parts)
            whole = count - count % size
            for start in range(0, whole, size):
                yield first + start, rows[start : start + size]
            first, count, parts = first + whole, count - whole, [rows[whole:]] if count > whole else []
    if parts:
        yield first, np.concatenate(parts)


Keyed = tuple[Block, pa.Array]
"""A block, and the keys of its rows, an array of texts."""


def numbered_rows(blocks: Iterable[Block]) -> Iterator[Keyed]:
    """Yield each row with its number as the key. For data that never changes, such as a library's copy."""
    for block in blocks:
        numbers = range(block.number, block.number + len(block.values))
        yield block, pa.array([f"{number:07d}" for number in numbers])


def distinct_rows(
    blocks: Iterable[Block], drop_duplicates: DropDuplicates = ignore_duplicates
) -> Iterator[Keyed]:
    """Yield each distinct row once. Its key is the first 128 bits of the sha256 of its numbers.

    Such a key does not change when files are added, renamed or reordered. Duplicates are dropped because
    otherwise one copy could be a training row and the other a holdout row. Their number is passed to
    `drop_duplicates`; in a workload, it is `context.drop_duplicates`.
    """
    earlier = DistinctDigests()
    for block in blocks:
        digests = _content_digests(block.values)
        keys, rows = _hexadecimal(digests), np.flatnonzero(earlier.add(digests))
        drop_duplicates(len(keys) - len(rows))
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            if len(run):
                start, end = int(run[0]), int(run[-1]) + 1
                yield block.part(start, end), keys[start:end]


def _content_digests(values: np.ndarray) -> np.ndarray:
    """Return the first 128 bits of the sha256 of each row: uint8 of shape [rows, 16]."""
    # Adding zero turns -0.0 into 0.0.
    content = np.ascontiguousarray(values.astype("<f8") + 0.0)
    rows, size = content.shape
    digests: np.ndarray = sha256_of_slices(content.tobytes(), range(0, rows * size * 8 + 1, size * 8))[:, :16]
    return digests


def _hexadecimal(digests: np.ndarray) -> pa.Array:
    """Return each row of an uint8 array as a text of hexadecimal digits."""
    rows, size = digests.shape
    ends = np.arange(0, rows * size * 2 + 1, size * 2, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(_DIGITS[digests].tobytes()))


def to_arrow(column: Column, values: np.ndarray, origin: str, first: int) -> pa.Array:
    """Convert float64 `values` to the column's type. Raises UserError for a value that is not an integer."""
    if column.kind == "integer":
        invalid = np.flatnonzero(~are_integers(values))
        if len(invalid):
            row = int(invalid[0])
            raise UserError(
                f"{origin}, row {first + row}, column {column.name}: {values[row]:g} is not an integer"
            )
    return pa.array(values).cast(column.arrow)
