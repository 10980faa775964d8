"""Merge small batches of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from workloads.contract import Rows

_BYTES = 1 << 22
"""Bytes of a merged batch at the most, which bounds the memory for tables of many columns."""


def merge_batches(batches: Iterable[Rows], size: int = 10_000) -> Iterator[Rows]:
    """Yield the same rows in batches of up to `size` rows of one file, and up to 4 MiB.

    A reader ends a batch at each row that it sets aside. Small batches would make the checks slow, and each
    would become a row group of the Parquet file.
    """
    pending: list[Rows] = []
    count = size_in_bytes = 0
    for rows in batches:
        new_count, new_bytes = count + rows.batch.num_rows, size_in_bytes + rows.batch.nbytes
        if pending and not (new_count <= size and new_bytes <= _BYTES and _same_file(pending[0], rows)):
            yield _merge(pending)
            pending, count, size_in_bytes = [], 0, 0
        pending.append(rows)
        count += rows.batch.num_rows
        size_in_bytes += rows.batch.nbytes
    if pending:
        yield _merge(pending)


def _same_file(first: Rows, rows: Rows) -> bool:
    return rows.origin == first.origin and rows.batch.schema.equals(first.batch.schema)


def _merge(pending: list[Rows]) -> Rows:
    first = pending[0]
    if len(pending) == 1:
        return first
    numbers = np.concatenate([rows.row_numbers() for rows in pending])
    return Rows(pa.concat_batches([rows.batch for rows in pending]), first.origin, first.first, numbers)
