"""Rows of a Parquet file, read at once or in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError


@dataclass(frozen=True)
class StoredRows:
    """The rows of one Parquet file, in their order.

    `batches` can be called repeatedly and never loads all rows. All methods raise UserError for a damaged or
    missing file. If `sha256` is given, the file's content is verified before the first read.
    """

    path: Path
    sha256: str = ""

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """The names and types of the columns."""
        with self._open() as file:
            return file.schema_arrow

    def batches(self, columns: Sequence[str] | None = None, size: int = 10_000) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `size` rows, with all columns or only `columns`."""
        with self._open() as file:
            yield from file.iter_batches(size, columns=columns)

    def table(self) -> pa.Table:
        """Read all rows."""
        with self._open() as file:
            return file.read()

    def take(self, indices: Sequence[int]) -> pa.Table:
        """Return the rows with these indices, in this order. Other row groups are not read."""
        row_numbers = np.asarray(indices, dtype=np.int64)
        with self._open() as file:
            parts, positions, first = [file.schema_arrow.empty_table()], [np.empty(0, np.int64)], 0
            for number in range(file.num_row_groups):
                end = first + file.metadata.row_group(number).num_rows
                inside = np.flatnonzero((row_numbers >= first) & (row_numbers < end))
                if len(inside):
                    parts.append(file.read_row_group(number).take(pa.array(row_numbers[inside] - first)))
                    positions.append(inside)
                first = end
            return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(positions))))

    @contextmanager
    def _open(self) -> Iterator[pa.parquet.ParquetFile]:
        import pyarrow.parquet

        try:
            # read_table would import pandas, which takes a second. pre_buffer would keep all data in memory.
            with pyarrow.parquet.ParquetFile(self._verified_path, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path} is damaged or missing ({error}); prepare the data again") from None

    @cached_property
    def _verified_path(self) -> Path:
        """The path, after a verification of the file's content on the first access."""
        # Parquet has no checksums by default: a flipped bit in a number is read as another number.
        if self.sha256 and digest_file(self.path) != self.sha256:
            raise UserError(
                f"{self.path} is damaged: its sha256 differs from the manifest; prepare the data again"
            )
        return self.path
