"""Statistics of the columns of a dataset, computed in one pass: counts, moments and histograms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.evaluation.unicode_profile import UnicodeProfile

BINS = 100
"""Bins of a column with a range: fine enough to distinguish distributions whose values are concentrated."""

_DECADES = [float(f"{10 ** (step / 5):.6g}") for step in range(-30, 61)]
GRID = np.array([-edge for edge in reversed(_DECADES)] + [0.0] + _DECADES)
"""Five bins per decade from 1e-6 to 1e12 on both sides of zero. All columns without a range use this grid, so
that any two datasets can be compared bin by bin."""


class ColumnSpec(Protocol):
    """The properties of a column that its statistics depend on, as in `workloads.contract.Column`."""

    @property
    def name(self) -> str:
        """The name of the column."""

    @property
    def kind(self) -> str:
        """One of text, integer, number, bytes, vector."""

    @property
    def minimum(self) -> float | None:
        """The lowest allowed value, if any."""

    @property
    def maximum(self) -> float | None:
        """The highest allowed value, if any."""

    @property
    def values(self) -> tuple[str | int, ...]:
        """The allowed values of a column of categories; empty for other columns."""


class Statistics:
    """Accumulates counts, moments and a histogram for each column.

    Numbers with a range are counted in equal bins over it, other numbers on a logarithmic grid. Text and
    bytes are described by their lengths. A text column NAME has a second entry, `NAME characters`, with the
    kinds of its characters.
    """

    def __init__(self, columns: Iterable[ColumnSpec]) -> None:
        self.columns = {column.name: _ColumnStatistics(column) for column in columns}
        self.profiles = {
            name: UnicodeProfile()
            for name, statistics in self.columns.items()
            if statistics.column.kind == "text" and not statistics.counts
        }

    def add(self, batch: pa.RecordBatch) -> None:
        """Add every row of the batch."""
        for name, statistics in self.columns.items():
            statistics.add(batch.column(name))
        for name, profile in self.profiles.items():
            profile.add(batch.column(name))

    def to_json(self) -> dict[str, Any]:
        """Return the statistics of each column, by name."""
        columns = {name: statistics.to_json() for name, statistics in self.columns.items()}
        profiles = {
            f"{name} characters": {"kind": "characters", "rows": profile.texts, "counts": profile.counts()}
            for name, profile in self.profiles.items()
        }
        return columns | profiles


class _ColumnStatistics:
    def __init__(self, column: ColumnSpec) -> None:
        self.column = column
        self.rows = 0
        self.numbers = 0
        self.total = self.squares = 0.0
        self.low, self.high = np.inf, -np.inf
        self.counts: dict[str, int] = {str(value): 0 for value in column.values}
        has_range = column.minimum is not None and column.maximum is not None and not column.values
        self.uses_grid = not has_range or column.kind in ("text", "bytes")
        self.edges = (
            GRID if self.uses_grid else np.linspace(column.minimum or 0, column.maximum or 0, BINS + 1)
        )
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
        """Return the numbers or the lengths of the values; None for a column of categories."""
        kind = self.column.kind
        if self.column.values:
            return None
        if kind == "vector":
            values = values.flatten()
        elif kind == "text":
            values = pc.utf8_length(values)
        elif kind == "bytes":
            values = pc.binary_length(values)
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"kind": self.column.kind, "rows": self.rows}
        if self.numbers:
            mean = self.total / self.numbers
            variance = max(self.squares / self.numbers - mean**2, 0.0)
            record |= {"mean": mean, "std": variance**0.5, "minimum": self.low, "maximum": self.high}
        if self.column.values:
            record["counts"] = self.counts
        if self.numbers:
            used = np.flatnonzero(self.histogram)
            first, end = (used[0], used[-1] + 1) if self.uses_grid else (0, BINS)
            record |= {
                "edges": self.edges[first : end + 1].tolist(),
                "histogram": self.histogram[first:end].tolist(),
            }
            # Only the used bins of the grid are stored, so a reader must know that the edges are the grid's.
            record |= {"grid": "log"} if self.uses_grid else {}
        return record
