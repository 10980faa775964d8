"""Predictions of a model on the holdout, and the validation of the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.core.errors import UserError
from continuous_training.core.stored_array import PART_ROWS, parts_of, stored_array

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Predictions:
    """The label column and both models' predictions: one entry per holdout row, in the same order.

    `groups` has the number of each row's group from 0, if whole groups are held out.
    """

    actual: np.ndarray
    challenger: np.ndarray
    champion: np.ndarray | None = None
    groups: np.ndarray | None = None

    def wrong_rows(self) -> np.ndarray:
        """Return the indices of the rows that the challenger predicts incorrectly."""
        parts = parts_of(self.challenger, self.actual)
        indices = [number * PART_ROWS + np.flatnonzero(a != b) for number, (a, b) in enumerate(parts)]
        return np.concatenate([np.empty(0, np.intp), *indices])


@dataclass(frozen=True)
class OutputSpec:
    """An output as declared by the handler: `shape` includes the rows, and -1 is any size."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def mismatch(self, array: object, rows: int) -> str:
        """Return the difference of an output for `rows` rows from the declaration; empty if none."""
        if array is None:
            return "does not return it"
        if not isinstance(array, np.ndarray):
            return f"returns a {type(array).__name__}, not a numpy array"
        # Text has dtype object or one of numpy's fixed-width text types.
        is_text = self.dtype.kind == "O" and array.dtype.kind in "US"
        if array.dtype != self.dtype and not is_text:
            return f"returns {array.dtype}"
        shape = (rows, *self.shape[1:])
        if array.ndim != len(shape) or any(
            size not in (-1, actual) for size, actual in zip(shape, array.shape, strict=True)
        ):
            return f"returns shape {list(array.shape)}"
        return ""

    def __str__(self) -> str:
        return f"{self.datatype} [{', '.join(map(str, ('n', *self.shape[1:])))}]"


class OutputValidator:
    """Compares outputs with their declaration, and counts the rows that contain NaN or infinity."""

    def __init__(self, workload: str, specs: Sequence[OutputSpec]) -> None:
        self.workload = workload
        self.specs = specs
        self.rows = 0
        self._non_finite_rows: dict[str, int] = {}

    def validate(self, outputs: Outputs, rows: int) -> None:
        """Check the outputs for `rows` rows; UserError for an output that differs from its declaration."""
        self.rows += rows
        for spec in self.specs:
            array = outputs.get(spec.name)
            if mismatch := spec.mismatch(array, rows):
                raise UserError(
                    f"workload {self.workload}: the handler declares the output {spec.name} as {spec}, but "
                    f"for {rows} rows it {mismatch}. Change the handler's inference or its "
                    "`outputs`, so that they agree"
                )
            if array is not None and array.dtype.kind == "f":
                finite = np.isfinite(array).reshape(rows, -1).all(axis=1)
                count = int((~finite).sum())
                self._non_finite_rows[spec.name] = self._non_finite_rows.get(spec.name, 0) + count

    def non_finite(self) -> list[str]:
        """Return a description of each output that contained NaN or infinity."""
        return [
            f"output {name} in {count:,} of {self.rows:,} rows"
            for name, count in self._non_finite_rows.items()
            if count
        ]


def predict(
    workload: str,
    output: str,
    batches: Iterable[tuple[Outputs, int]],
    validator: OutputValidator | None = None,
) -> np.ndarray:
    """Return the values of one output over all batches.

    `batches` yields the outputs of the model for a batch of rows, and the number of rows. Raises UserError if
    the output does not have one value per row, or if `validator` rejects an output.
    """

    def values() -> Iterator[np.ndarray]:
        for outputs, rows in batches:
            if validator:
                validator.validate(outputs, rows)
            array = outputs.get(output)
            if array is None or array.shape != (rows,):
                raise UserError(
                    f"workload {workload}: for {rows} rows the handler returns {output} with shape "
                    f"{getattr(array, 'shape', None)}; it must return one value per row"
                )
            yield array

    return stored_array(values())


def non_finite_responses(responses: Sequence[object]) -> list[str]:
    """Return a description of the golden responses with NaN or infinity; empty if there are none."""
    count = sum(not all(map(math.isfinite, _floats(response))) for response in responses)
    return [f"{count} of {len(responses)} golden responses"] if count else []


def _floats(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)
    elif isinstance(value, float):
        yield value
