"""Check the values of the column that rows are split by."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from components.prep_data.row_checks import RowCheck, scalar_check
from components.split_sides import parse_times
from continuous_training.artifacts.bad_rows import BadRowType
from continuous_training.core.errors import UserError
from workloads.contract import GroupSplit, KeySplit, Rows, Split, TimeSplit, Workload


def invalid_split_values(workload: Workload, split: Split, rows: Rows) -> Iterator[RowCheck]:
    """Yield the check for empty groups, or for times that cannot be read. The rows have no nulls.

    Raises UserError if the source defines the split.
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
        failed = parse_times(values).is_null()
        yield scalar_check(BadRowType.NOT_A_TIME, column.name, values, failed, f"is not {expected}")
    elif isinstance(split, GroupSplit) and pa.types.is_string(values.type):
        failed = pc.equal(pc.utf8_trim_whitespace(values), "")
        yield scalar_check(BadRowType.MISSING, column.name, values, failed, "is an empty group")
