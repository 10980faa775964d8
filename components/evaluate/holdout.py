"""The holdout on disk: its rows are read in batches, single columns, or single rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.core.stored_array import stored_array

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Holdout:
    """The rows of the holdout. At most a batch of complete rows is in memory."""

    stored: StoredRows

    @cached_property
    def num_rows(self) -> int:
        """The number of rows."""
        return self.stored.num_rows

    @cached_property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self.stored.schema.names)

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in their order."""
        for batch in self.stored.batches(size=BATCH_ROWS):
            yield pa.Table.from_batches([batch])

    def columns(self, *names: str) -> pa.Table:
        """Return these columns of all rows."""
        return pa.Table.from_batches(self.stored.batches(names, BATCH_ROWS))

    def column_batches(self, name: str) -> Iterator[pa.RecordBatch]:
        """Yield this column in the order of the rows."""
        return self.stored.batches((name,), BATCH_ROWS)

    def values(self, name: str) -> np.ndarray:
        """Return a column of numbers or texts as an array. Equal texts share one object."""
        columns = (batch.column(0) for batch in self.column_batches(name))
        if not pa.types.is_string(self.stored.schema.field(name).type):
            return stored_array(column.to_numpy(zero_copy_only=False) for column in columns)
        distinct: dict[str, str] = {}
        return stored_array(_shared_texts(column, distinct) for column in columns)

    def rows(self, indices: Sequence[int]) -> pa.Table:
        """Return the rows with these indices, in this order."""
        return self.stored.take(indices)

    def spread_rows(self, count: int) -> Iterator[pa.Table]:
        """Yield tables of one row, at most `count`, spread evenly over the holdout."""
        indices = range(0, self.num_rows, max(1, self.num_rows // count))[:count]
        rows = self.rows(indices)
        for index in range(rows.num_rows):
            yield rows.slice(index, 1)


def _shared_texts(column: pa.Array, distinct: dict[str, str]) -> np.ndarray:
    """Return the texts of a column as objects, each of which is the one in `distinct` with its content."""
    encoded = column.dictionary_encode()
    texts = np.empty(len(encoded.dictionary), dtype=object)
    texts[:] = [distinct.setdefault(text, text) for text in encoded.dictionary.to_pylist()]
    return np.asarray(texts[encoded.indices.to_numpy()])
