"""Refuses bad rows, naming file, row and column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.core.errors import UserError
from workloads.contract import Column, Rows, Workload

SPLITS = ("train", "holdout")


def check_batch(workload: Workload, rows: Rows) -> None:
    """Return when every value of the batch is allowed by the workload's columns; UserError otherwise.

    Checked are the schema, nulls, NaN and infinities, ranges and label sets, in this order.
    """
    _check_schema(workload, rows)
    for column in workload.columns:
        values = rows.batch.column(column.name)
        if values.null_count:
            _refuse(rows, column, values.is_null(), "is missing")
        if column.kind == "vector":
            _check_vector(rows, column, values)
        else:
            _check_scalar(rows, column, values)
    if "split" in rows.batch.schema.names:
        wrong = pc.invert(pc.is_in(rows.batch.column("split"), pa.array(SPLITS)))
        if pc.any(wrong).as_py():
            row = rows.first + int(np.flatnonzero(wrong.to_numpy(zero_copy_only=False))[0])
            raise UserError(f"{rows.origin}, row {row}, column split: is neither train nor holdout")


def _check_schema(workload: Workload, rows: Rows) -> None:
    expected, found = workload.schema(), rows.batch.schema
    for field in expected:
        if field.name not in found.names:
            raise UserError(
                f"{rows.origin}: there is no column {field.name}; it has {', '.join(found.names)}"
            )
        if found.field(field.name).type != field.type:
            raise UserError(
                f"{rows.origin}, column {field.name}: is {found.field(field.name).type}, not {field.type}"
            )
    extra = set(found.names) - set(expected.names) - {"split"}
    if extra:
        raise UserError(f"{rows.origin}: columns nobody asked for: {', '.join(sorted(extra))}")


def _check_scalar(rows: Rows, column: Column, values: pa.Array) -> None:
    if column.kind == "number":
        _refuse(rows, column, pc.invert(pc.is_finite(values)), "is not a finite number")
    if column.minimum is not None:
        _refuse(rows, column, pc.less(values, column.minimum), f"is under {column.minimum:g}")
    if column.maximum is not None:
        _refuse(rows, column, pc.greater(values, column.maximum), f"is over {column.maximum:g}")
    if column.values:
        allowed = pa.array(column.values, type=column.arrow)
        words = ", ".join(map(str, column.values))
        _refuse(rows, column, pc.invert(pc.is_in(values, allowed)), f"is not one of {words}")


def _check_vector(rows: Rows, column: Column, values: pa.Array) -> None:
    flat = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), column.length)
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    wrong = ~(np.isfinite(flat) & (flat >= low) & (flat <= high))
    if wrong.any():
        row, place = (int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            f"{rows.origin}, row {rows.first + row}, column {column.name}[{place}]: {flat[row, place]:g} "
            f"is not a number from {low:g} to {high:g}"
        )


def _refuse(rows: Rows, column: Column, wrong: pa.Array, what: str) -> None:
    """Raise UserError for the first row that `wrong` marks; return when there is none."""
    places = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    if len(places):
        row = int(places[0])
        value = rows.batch.column(column.name)[row].as_py()
        more = f" (and {len(places) - 1} rows more in this batch)" if len(places) > 1 else ""
        raise UserError(
            f"{rows.origin}, row {rows.first + row}, column {column.name}: {value!r} {what}{more}"
        )
