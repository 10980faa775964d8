"""Rows of a Parquet file, read at once or in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from continuous_training.core.errors import UserError


@dataclass(frozen=True)
class StoredRows:
    """The rows of one Parquet file, in their order.

    `batches` can be called repeatedly and never loads all rows. All methods raise UserError for a damaged or
    missing file.
    """

    path: Path

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        with _open_file(self.path) as file:
            return int(file.metadata.num_rows)

    def batches(self, columns: Sequence[str] | None = None, size: int = 10_000) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `size` rows, with all columns or only `columns`."""
        with _open_file(self.path) as file:
            yield from file.iter_batches(size, columns=columns)

    def table(self) -> pa.Table:
        """Read all rows."""
        with _open_file(self.path) as file:
            return file.read()


@contextmanager
def _open_file(path: Path) -> Iterator[pa.parquet.ParquetFile]:
    import pyarrow.parquet

    try:
        # read_table would import pandas, which takes a second. pre_buffer would keep all data in memory.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged or missing ({error}); prepare the data again") from None
