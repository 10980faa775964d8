"""The Parquet files of a dataset have few row groups, so that their metadata needs little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.prep_data.row_group_writer import RowGroupWriter
from continuous_training.artifacts.parquet_rows import StoredRows

MIB = 1 << 20


@pytest.mark.parametrize(("columns", "rows"), [(2, 600_000), (400, 10_000), (3, 1)])
def test_rows_are_in_row_groups_of_some_mebibytes(columns: int, rows: int, tmp_path: Path) -> None:
    values = np.arange(rows * columns, dtype=np.float64).reshape(columns, rows)
    table = pa.table({f"x{number}": column for number, column in enumerate(values)})
    path = tmp_path / "rows.parquet"
    with RowGroupWriter(path, table.schema, []) as writer:
        for batch in table.to_batches(1000):
            writer.write(batch)
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
    assert sum(sizes) >= table.nbytes
    assert all(4 * MIB <= size < 18 * MIB for size in sizes[:-1])
    assert 0 < sizes[-1] < 18 * MIB
    assert StoredRows(path).table().equals(table)


def test_a_file_without_rows_has_the_columns(tmp_path: Path) -> None:
    path, schema = tmp_path / "rows.parquet", pa.schema([("x", pa.float64())])
    with RowGroupWriter(path, schema, ["x"]):
        pass
    assert StoredRows(path).table().equals(schema.empty_table())
