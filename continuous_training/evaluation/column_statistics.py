"""Statistics of columns, taken in one pass: the basis of the report's drift figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.evaluation.unicode_profile import Characters
from workloads.contract import Column, Workload

BINS = 100
"""Of a column with a range: fine enough for two distributions to be told apart where values crowd."""

_DECADES = [float(f"{10 ** (step / 5):.6g}") for step in range(-30, 61)]
GRID = np.array([-edge for edge in reversed(_DECADES)] + [0.0] + _DECADES)
"""Five bins a decade from 1e-6 to 1e12 on both sides of zero: the same for every column without a range, so
that two data sets can be compared bin by bin without knowing each other."""


class Statistics:
    """Counts, moments and a histogram for each column of the rows taken in.

    Numbers with a range are counted in equal bins over it, others on a logarithmic grid; texts and bytes are
    described by their lengths. A text column NAME has an entry `NAME characters` besides: their kinds.
    """

    def __init__(self, workload: Workload) -> None:
        self.columns = {
            column.name: _Column(column) for column in workload.columns if column.name != workload.key
        }
        self.characters = {
            name: Characters()
            for name, one in self.columns.items()
            if one.column.kind == "text" and not one.counts
        }

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in every row of the batch."""
        for name, column in self.columns.items():
            column.add(batch.column(name))
        for name, characters in self.characters.items():
            characters.add(batch.column(name))

    def to_json(self) -> dict[str, Any]:
        """Return the statistics of each column, by name."""
        columns = {name: column.to_json() for name, column in self.columns.items()}
        kinds = {
            f"{name} characters": {"kind": "characters", "rows": one.texts, "counts": one.counts()}
            for name, one in self.characters.items()
        }
        return columns | kinds


class _Column:
    def __init__(self, column: Column) -> None:
        self.column = column
        self.rows = 0
        self.numbers = 0
        self.total = self.squares = 0.0
        self.low, self.high = np.inf, -np.inf
        self.counts: dict[str, int] = {str(value): 0 for value in column.values}
        ranged = column.minimum is not None and column.maximum is not None and not column.values
        self.grid = not ranged or column.kind in ("text", "bytes")
        self.edges = GRID if self.grid else np.linspace(column.minimum or 0, column.maximum or 0, BINS + 1)
        self.histogram = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def add(self, values: pa.Array) -> None:
        self.rows += len(values)
        if self.column.values:
            for entry in pc.value_counts(values).to_pylist():
                self.counts[str(entry["values"])] += entry["counts"]
        numbers = self._numbers(values)
        if numbers is None or not len(numbers):
            return
        self.numbers += len(numbers)
        self.total += float(numbers.sum())
        self.squares += float((numbers**2).sum())
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.histogram += np.histogram(np.clip(numbers, self.edges[0], self.edges[-1]), self.edges)[0]

    def _numbers(self, values: pa.Array) -> np.ndarray | None:
        kind = self.column.kind
        if self.column.values:
            return None
        if kind == "vector":
            return values.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        if kind == "text":
            return pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.float64)
        if kind == "bytes":
            return pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.float64)
        return values.to_numpy(zero_copy_only=False).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": self.column.kind, "rows": self.rows}
        if self.numbers:
            mean = self.total / self.numbers
            variance = max(self.squares / self.numbers - mean**2, 0.0)
            found |= {"mean": mean, "std": variance**0.5, "minimum": self.low, "maximum": self.high}
        if self.column.values:
            found["counts"] = self.counts
        if self.numbers:
            used = np.flatnonzero(self.histogram)
            first, last = (used[0], used[-1] + 1) if self.grid else (0, BINS)
            found |= {
                "edges": self.edges[first : last + 1].tolist(),
                "histogram": self.histogram[first:last].tolist(),
            }
            # Only the bins in use are written: those of another data set are others of the same grid.
            found |= {"grid": "log"} if self.grid else {}
        return found
