"""Rows in a Parquet file, read whole or batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from continuous_training.core.errors import UserError


@dataclass(frozen=True)
class StoredRows:
    """Rows on disk, in their order: `batches` may be called as often as needed, and never holds them all.

    All of them raise UserError for a file that is damaged or missing.
    """

    path: Path

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        with _opened(self.path) as file:
            return int(file.metadata.num_rows)

    def batches(self, columns: Sequence[str] | None = None, size: int = 10_000) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most `size` at a time; only the columns named, where some are."""
        with _opened(self.path) as file:
            yield from file.iter_batches(size, columns=columns)

    def table(self) -> pa.Table:
        """Return all rows at once."""
        with _opened(self.path) as file:
            return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[pa.parquet.ParquetFile]:
    import pyarrow.parquet

    try:
        # read_table imports pandas where there is one: a second or two. pre_buffer keeps all that was read.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged or missing ({error}); prepare the data again") from None
