"""Statistics of the columns of a dataset, computed in one pass: counts, moments, quantiles, histograms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.artifacts.column_statistics import LOG_GRID, ColumnStatistics, Histogram
from continuous_training.evaluation.cumulative_counts import CumulativeCounts
from continuous_training.evaluation.moments import Moments
from continuous_training.evaluation.quantile_sketch import QuantileSketch
from continuous_training.evaluation.unicode_profile import UnicodeProfile
from continuous_training.evaluation.vocabulary import Vocabulary

BINS = 100
"""Bins in the histogram of a column with a range."""

_DECADES = [float(f"{10 ** (step / 5):.6g}") for step in range(-30, 61)]
GRID = np.array([-edge for edge in reversed(_DECADES)] + [0.0] + _DECADES)
"""Five bins per decade from 1e-6 to 1e12 on both sides of zero: the histogram of a column without a range.
Drift is computed from the quantiles; earlier versions of the product compare these bins."""


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


class StatisticsAccumulator:
    """Accumulates counts, or moments and quantiles, for each column.

    Text and bytes are described by their lengths. A text column NAME has two more entries: `NAME characters`
    with the kinds of its characters, and `NAME words` with its vocabulary. The memory depends on
    the number of columns, not on that of the rows.
    """

    def __init__(self, columns: Iterable[ColumnSpec]) -> None:
        self.columns = {column.name: _ColumnAccumulator(column) for column in columns}
        texts = [
            name
            for name, statistics in self.columns.items()
            if statistics.column.kind == "text" and not statistics.counts
        ]
        self.profiles = {name: UnicodeProfile() for name in texts}
        self.vocabularies = {name: Vocabulary() for name in texts}

    def add(self, batch: pa.RecordBatch) -> None:
        """Add every row of the batch."""
        numbers: dict[str, np.ndarray] = {}
        for name, statistics in self.columns.items():
            values = batch.column(name)
            if statistics.is_number:
                numbers[name] = values.to_numpy(zero_copy_only=False)
            else:
                statistics.add(values)
        if numbers and batch.num_rows:
            self._add_numbers(numbers)
        for name, profile in self.profiles.items():
            profile.add(batch.column(name))
            self.vocabularies[name].add(batch.column(name))

    def _add_numbers(self, numbers: dict[str, np.ndarray]) -> None:
        """Add the columns of single numbers, with a few numpy operations for all columns."""
        columns = np.stack(list(numbers.values())).astype(np.float64, copy=False)
        for name, values, moments in zip(numbers, columns, Moments.of_columns(columns), strict=True):
            self.columns[name].add_numbers(len(values), values, moments)

    def merge(self, other: StatisticsAccumulator) -> None:
        """Add the rows of another object with the same columns."""
        for name, statistics in self.columns.items():
            statistics.merge(other.columns[name])
        for name, profile in self.profiles.items():
            profile.merge(other.profiles[name])
            self.vocabularies[name].merge(other.vocabularies[name])

    def result(self) -> dict[str, ColumnStatistics]:
        """Return the statistics of each column, by name."""
        columns = {name: accumulator.result() for name, accumulator in self.columns.items()}
        profiles = {
            f"{name} characters": ColumnStatistics("characters", profile.texts, profile.counts())
            for name, profile in self.profiles.items()
        }
        vocabularies = {
            f"{name} words": ColumnStatistics(
                "words", vocabulary.texts, word_counts=tuple(vocabulary.counts.tolist())
            )
            for name, vocabulary in self.vocabularies.items()
        }
        return columns | profiles | vocabularies


class _ColumnAccumulator:
    def __init__(self, column: ColumnSpec) -> None:
        self.column = column
        self.rows = 0
        self.moments = Moments()
        self.sketch = QuantileSketch()
        self.counts: dict[str, int] = {str(value): 0 for value in column.values}

    @property
    def is_number(self) -> bool:
        """Whether each value is one number."""
        return self.column.kind in ("number", "integer") and not self.column.values

    def add(self, values: pa.Array) -> None:
        if self.column.values:
            for entry in pc.value_counts(values).to_pylist():
                self.counts[str(entry["values"])] += entry["counts"]
        numbers = self._numbers(values)
        if numbers is not None and len(numbers):
            self.add_numbers(len(values), numbers, Moments.of(numbers))
        else:
            self.rows += len(values)

    def add_numbers(self, rows: int, numbers: np.ndarray, moments: Moments) -> None:
        self.rows += rows
        self.moments.merge(moments)
        self.sketch.add(numbers)

    def merge(self, other: _ColumnAccumulator) -> None:
        self.rows += other.rows
        for value, count in other.counts.items():
            self.counts[value] += count
        self.moments.merge(other.moments)
        self.sketch.merge(other.sketch)

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

    def result(self) -> ColumnStatistics:
        kind, moments = self.column.kind, self.moments
        counts = self.counts if self.column.values else None
        if not moments.count:
            return ColumnStatistics(kind, self.rows, counts)
        values, weights = self.sketch.weighted_values()
        # The extremes are stored exactly, although the sketch may have left them out.
        cumulative = CumulativeCounts.at_quantiles(
            np.concatenate([[moments.low], values, [moments.high]]), np.concatenate([[0], weights, [0]])
        )
        # Above 1e154, the squares of the numbers overflow. JSON has no infinity, so the moment is left out.
        mean, std = (value if np.isfinite(value) else None for value in (moments.mean, moments.std))
        return ColumnStatistics(
            kind,
            self.rows,
            counts,
            mean=mean,
            std=std,
            minimum=moments.low,
            maximum=moments.high,
            histogram=self._histogram(values, weights),
            quantiles=cumulative.to_quantiles(),
        )

    def _histogram(self, values: np.ndarray, weights: np.ndarray) -> Histogram:
        edges = self._edges()
        histogram, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=weights)
        used = np.flatnonzero(histogram)
        # A reader must know that these are only the used bins of the grid.
        first, end = (used[0], used[-1] + 1) if edges is GRID else (0, BINS)
        grid = LOG_GRID if edges is GRID else ""
        return Histogram(tuple(edges[first : end + 1].tolist()), tuple(histogram[first:end].tolist()), grid)

    def _edges(self) -> np.ndarray:
        """Return the edges of equal bins over the declared range, or the logarithmic grid."""
        low, high = self.column.minimum, self.column.maximum
        if low is None or high is None or self.column.kind in ("text", "bytes"):
            return GRID
        return np.linspace(low, high, BINS + 1)
