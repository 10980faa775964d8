"""Validate rows: the schema of each batch, the values of each row, and the labels of each split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from components.prep_data.check_split_column import invalid_split_values
from components.prep_data.row_checks import SPLITS, invalid_values, missing_values
from continuous_training.artifacts.bad_rows import BadRow
from continuous_training.core.errors import UserError
from workloads.contract import Rows, Split, Workload

__all__ = ["SPLITS", "check_labels", "select_valid"]


def select_valid(
    workload: Workload, split: Split, rows: Rows, set_aside: Callable[[Sequence[BadRow]], None]
) -> Rows:
    """Return the rows whose values the workload's columns allow. Pass the other rows to `set_aside`.

    Checks nulls, NaN and infinite values, ranges, label sets and the column that rows are split by, in this
    order; a bad row is reported with the first check that it fails. Raises UserError if the schema is not the
    workload's.
    """
    _check_schema(workload, rows)
    bad: list[BadRow] = []
    # The checks of a function need rows that passed those before.
    for checks in (missing_values, invalid_values, invalid_split_values):
        valid, numbers = np.ones(rows.batch.num_rows, dtype=bool), rows.row_numbers()
        for check in checks(workload, split, rows):
            for index in np.flatnonzero(check.failed & valid).tolist():
                column, message = check.describe(index)
                bad.append(BadRow(rows.origin, int(numbers[index]), check.type, message, column))
            valid &= ~check.failed
        rows = rows if valid.all() else rows.select(valid)
    if bad:
        set_aside(sorted(bad, key=lambda row: row.row))
    return rows


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
    expected, schema = workload.schema(), rows.batch.schema
    actual = dict(zip(schema.names, schema.types, strict=True))
    for field in expected:
        if field.name not in actual:
            raise UserError(
                f"{rows.origin}: column {field.name} is missing; the columns are {', '.join(actual)}"
            )
        if actual[field.name] != field.type:
            raise UserError(f"{rows.origin}, column {field.name}: is {actual[field.name]}, not {field.type}")
    extra = set(actual) - set(expected.names) - {"split"}
    if extra:
        raise UserError(f"{rows.origin}: unknown columns: {', '.join(sorted(extra))}")
