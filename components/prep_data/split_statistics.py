"""The statistics of the columns of one side of the split."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from workloads.contract import Column

COLUMNS = 100
"""Columns whose statistics are in memory at a time: up to 0.3 MB for each."""


class SplitStatistics:
    """Accumulates the statistics of the first `COLUMNS` columns while rows are added.

    The statistics of further columns are computed from the stored rows, `COLUMNS` columns at a time.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._first = StatisticsAccumulator(columns[:COLUMNS])
        self._others = columns[COLUMNS:]

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        self._first.add(batch)

    def result(self, rows: StoredRows) -> dict[str, ColumnStatistics]:
        """Return the statistics of each column, by name. `rows` are all rows that were added."""
        results = self._first.result()
        for start in range(0, len(self._others), COLUMNS):
            columns = self._others[start : start + COLUMNS]
            accumulator = StatisticsAccumulator(columns)
            for batch in rows.batches([column.name for column in columns]):
                accumulator.add(batch)
            results |= accumulator.result()
        return results
