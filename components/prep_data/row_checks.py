"""Check the values of a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.artifacts.bad_rows import BadRowType
from workloads.contract import Column, Rows, Split, Workload

SPLITS = ("train", "holdout")


@dataclass(frozen=True)
class RowCheck:
    """A check that some rows fail. `describe` returns the column and the message of a row by its index."""

    type: BadRowType
    failed: np.ndarray
    describe: Callable[[int], tuple[str, str]]


def missing_values(workload: Workload, _: Split, rows: Rows) -> Iterator[RowCheck]:
    """Yield the checks for nulls."""
    for column in workload.columns:
        values = rows.batch.column(column.name)
        if values.null_count:
            yield scalar_check(BadRowType.MISSING, column.name, values, values.is_null(), "is missing")


def invalid_values(workload: Workload, _: Split, rows: Rows) -> Iterator[RowCheck]:
    """Yield the checks for NaN and infinite values, ranges, label sets and the column `split`.

    The rows have no nulls in the workload's columns.
    """
    for column in workload.columns:
        values = rows.batch.column(column.name)
        if column.kind == "number" and not column.values and _is_in_range(column, values):
            continue
        yield from (
            _vector_checks(column, values) if column.kind == "vector" else _scalar_checks(column, values)
        )
    if "split" in rows.batch.schema.names:
        splits = rows.batch.column("split")
        invalid = pc.invert(pc.is_in(splits, pa.array(SPLITS)))
        yield scalar_check(BadRowType.NOT_ALLOWED, "split", splits, invalid, "is neither train nor holdout")


def _is_in_range(column: Column, values: pa.Array) -> bool:
    """Return whether all numbers are finite and in the range of the column."""
    numbers = values.to_numpy()
    if not len(numbers):
        return True
    # A NaN is the minimum and the maximum, and is not finite.
    low, high = numbers.min(), numbers.max()
    return bool(
        np.isfinite(low)
        and np.isfinite(high)
        and (column.minimum is None or low >= column.minimum)
        and (column.maximum is None or high <= column.maximum)
    )


def _scalar_checks(column: Column, values: pa.Array) -> Iterator[RowCheck]:
    if column.kind == "number":
        invalid = pc.invert(pc.is_finite(values))
        yield scalar_check(BadRowType.NOT_FINITE, column.name, values, invalid, "is not a finite number")
    if column.minimum is not None:
        invalid = pc.less(values, column.minimum)
        yield scalar_check(
            BadRowType.OUT_OF_RANGE, column.name, values, invalid, f"is under {column.minimum:g}"
        )
    if column.maximum is not None:
        invalid = pc.greater(values, column.maximum)
        yield scalar_check(
            BadRowType.OUT_OF_RANGE, column.name, values, invalid, f"is over {column.maximum:g}"
        )
    if column.values:
        invalid = pc.invert(pc.is_in(values, pa.array(column.values, type=column.arrow)))
        text = f"is not one of {', '.join(map(str, column.values))}"
        yield scalar_check(BadRowType.NOT_ALLOWED, column.name, values, invalid, text)


def scalar_check(type: BadRowType, column: str, values: pa.Array, failed: pa.Array, text: str) -> RowCheck:
    """Return the check of a column whose invalid values the mask `failed` marks."""

    def describe(index: int) -> tuple[str, str]:
        return column, f"{values[index].as_py()!r:.80} {text}"

    return RowCheck(type, failed.to_numpy(zero_copy_only=False), describe)


def _vector_checks(column: Column, values: pa.Array) -> Iterator[RowCheck]:
    flat = values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), column.length)
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    invalid = ~(np.isfinite(flat) & (flat >= low) & (flat <= high))

    def describe(index: int) -> tuple[str, str]:
        element = int(np.flatnonzero(invalid[index])[0])
        message = f"{flat[index, element]:g} is not a number from {low:g} to {high:g}"
        return f"{column.name}[{element}]", message

    yield RowCheck(BadRowType.OUT_OF_RANGE, invalid.any(axis=1), describe)
