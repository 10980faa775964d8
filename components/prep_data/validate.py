"""Validate rows. Errors name the file, the row and the column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.core.errors import UserError
from workloads.contract import Column, Rows, Workload

SPLITS = ("train", "holdout")


def check_batch(workload: Workload, rows: Rows) -> None:
    """Raise UserError if a value of the batch is not allowed by the workload's columns.

    Checks the schema, nulls, NaN and infinite values, ranges and label sets, in this order.
    """
    _check_schema(workload, rows)
    for column in workload.columns:
        values = rows.batch.column(column.name)
        if values.null_count:
            reject(rows, column, values.is_null(), "is missing")
        if column.kind == "vector":
            _check_vector(rows, column, values)
        else:
            _check_scalar(rows, column, values)
    if "split" in rows.batch.schema.names:
        invalid = pc.invert(pc.is_in(rows.batch.column("split"), pa.array(SPLITS)))
        if pc.any(invalid).as_py():
            row = rows.first + int(np.flatnonzero(invalid.to_numpy(zero_copy_only=False))[0])
            raise UserError(f"{rows.origin}, row {row}, column split: is neither train nor holdout")


def check_labels(workload: Workload, counts: Mapping[Any, int], location: str) -> None:
    """Raise UserError if a declared label value occurs in fewer rows than the workload's minimum."""
    minimum = workload.minimum_class_rows
    declared = workload.column(workload.target).values if workload.task == "classification" else ()
    rare = {value: counts.get(value, 0) for value in declared if counts.get(value, 0) < minimum}
    if rare:
        texts = (f"{workload.target} {value} " + _occurrences(count) for value, count in rare.items())
        raise UserError(
            f"{location}: {', '.join(texts)}; {workload.name} needs at least {minimum} rows of each declared "
            "value in each split. Complete the data: the model would not learn the class, and its metrics "
            "would not show that"
        )


def _occurrences(count: int) -> str:
    return f"occurs in {count} rows" if count else "does not occur"


def _check_schema(workload: Workload, rows: Rows) -> None:
    expected, actual = workload.schema(), rows.batch.schema
    for field in expected:
        if field.name not in actual.names:
            raise UserError(
                f"{rows.origin}: column {field.name} is missing; the columns are {', '.join(actual.names)}"
            )
        if actual.field(field.name).type != field.type:
            raise UserError(
                f"{rows.origin}, column {field.name}: is {actual.field(field.name).type}, not {field.type}"
            )
    extra = set(actual.names) - set(expected.names) - {"split"}
    if extra:
        raise UserError(f"{rows.origin}: unknown columns: {', '.join(sorted(extra))}")


def _check_scalar(rows: Rows, column: Column, values: pa.Array) -> None:
    if column.kind == "number":
        reject(rows, column, pc.invert(pc.is_finite(values)), "is not a finite number")
    if column.minimum is not None:
        reject(rows, column, pc.less(values, column.minimum), f"is under {column.minimum:g}")
    if column.maximum is not None:
        reject(rows, column, pc.greater(values, column.maximum), f"is over {column.maximum:g}")
    if column.values:
        allowed = pa.array(column.values, type=column.arrow)
        allowed_values = ", ".join(map(str, column.values))
        reject(rows, column, pc.invert(pc.is_in(values, allowed)), f"is not one of {allowed_values}")


def _check_vector(rows: Rows, column: Column, values: pa.Array) -> None:
    flat = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), column.length)
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    invalid = ~(np.isfinite(flat) & (flat >= low) & (flat <= high))
    if invalid.any():
        row, index = (int(i) for i in np.argwhere(invalid)[0])
        raise UserError(
            f"{rows.origin}, row {rows.first + row}, column {column.name}[{index}]: {flat[row, index]:g} "
            f"is not a number from {low:g} to {high:g}"
        )


def reject(rows: Rows, column: Column, invalid: pa.Array, problem: str) -> None:
    """Raise UserError for the first row that `invalid` marks, if any."""
    indices = np.flatnonzero(invalid.to_numpy(zero_copy_only=False))
    if len(indices):
        row = int(indices[0])
        value = rows.batch.column(column.name)[row].as_py()
        suffix = f" (and {len(indices) - 1} more rows in this batch)" if len(indices) > 1 else ""
        raise UserError(
            f"{rows.origin}, row {rows.first + row}, column {column.name}: {value!r} {problem}{suffix}"
        )
