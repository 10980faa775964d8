"""Validate the values of the column that rows are split by."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.validate import reject
from components.split_sides import parse_times
from continuous_training.core.errors import UserError
from workloads.contract import GroupSplit, KeySplit, Rows, Split, TimeSplit, Workload


def check_split_column(workload: Workload, split: Split, rows: Rows) -> None:
    """Raise UserError for an empty group, a time that cannot be read, and a split that the source defines.

    Missing values are rejected with those of the other columns.
    """
    if isinstance(split, KeySplit):
        return
    if "split" in rows.batch.schema.names:
        raise UserError(
            f"{rows.origin}: the source has its own split into training rows and holdout, so its rows cannot "
            f"be split by the column {split.column}; omit split_group and split_time, or use another source"
        )
    column = workload.column(split.column)
    values = rows.batch.column(split.column)
    if isinstance(split, TimeSplit):
        expected = "seconds since 1970" if column.kind != "text" else "a time such as 2024-01-31T06:00:00Z"
        reject(rows, column, parse_times(values).is_null(), f"is not {expected}")
    elif isinstance(split, GroupSplit) and pa.types.is_string(values.type):
        reject(rows, column, pc.equal(pc.utf8_trim_whitespace(values), ""), "is an empty group")
