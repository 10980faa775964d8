"""Write rows to a Parquet file in row groups of a limited number of bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_BYTES = 1 << 22
_ROWS = 4096
"""The least size of a row group: this number of bytes, and of rows up to `_MAX_BYTES`."""

_MAX_BYTES = 1 << 24


class RowGroupWriter:
    """Collects batches of rows, and writes each row group from several of them.

    A Parquet file has metadata for each column of each row group, which the writer and each reader hold in
    memory: about 1 kB. With small row groups, memory would grow with the rows; with a row group for each
    batch, they were 100 MB for 1,000 columns of 100,000 rows.
    """

    def __init__(self, path: Path, schema: pa.Schema, repeated_columns: list[str]) -> None:
        self._writer = pq.ParquetWriter(path, schema, use_dictionary=repeated_columns)
        self._pending: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def __enter__(self) -> RowGroupWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pending and not any(error):
            self._flush()
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        self._pending.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._bytes >= (_BYTES if self._rows >= _ROWS else _MAX_BYTES):
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._pending))
        self._pending, self._rows, self._bytes = [], 0, 0
