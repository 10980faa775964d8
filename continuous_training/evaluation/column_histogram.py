"""Histograms of one column in two datasets over the same bars, for people."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from continuous_training.artifacts.column_statistics import ColumnStatistics, Histogram, Quantiles
from continuous_training.core.json_object import Json
from continuous_training.evaluation.common_bins import counts_between
from continuous_training.evaluation.cumulative_counts import CumulativeCounts

MAX_BARS = 24
MAX_VALUES = 60
"""Bars of a column of categories."""
_OUTER = 0.005
"""The share of the numbers on each side that the outer bars collect, so that an outlier hides nothing."""


@dataclass(frozen=True)
class ColumnHistogram:
    """The shares of the rows per bar. `old` is None without an earlier dataset; `bars` are the labels."""

    bars: tuple[str, ...]
    new: tuple[float, ...]
    old: tuple[float, ...] | None = None

    def to_json(self) -> Json:
        """Return labels and shares."""
        return {"bars": list(self.bars), "now": list(self.new), "then": list(self.old or ())}


def column_histogram(new: ColumnStatistics, old: ColumnStatistics | None = None) -> ColumnHistogram | None:
    """Return the histogram of a column with the statistics `new`, and `old` over the same bars.

    None if the statistics have no counts, or not in the same form.
    """
    columns = [new] if old is None else [new, old]
    if all(column.counts is not None for column in columns):
        bars, counts = _values([column.counts or {} for column in columns])
    elif all(column.word_counts is not None for column in columns):
        bars, counts = _words([np.array(column.word_counts, np.float64) for column in columns])
    elif all(column.quantiles or column.histogram for column in columns):
        bars, counts = _numbers(columns)
    else:
        return None
    totals = [float(np.sum(column)) for column in counts]
    if not bars or min(totals) <= 0:
        return None
    fractions = [
        tuple(np.round(column / total, 5).tolist()) for column, total in zip(counts, totals, strict=True)
    ]
    return ColumnHistogram(tuple(bars), *fractions)


def _values(counts: list[Mapping[str, float]]) -> tuple[list[str], list[np.ndarray]]:
    bars = list(dict.fromkeys(value for column in counts for value in column))[:MAX_VALUES]
    return bars, [np.array([column.get(bar, 0) for bar in bars], np.float64) for column in counts]


def _words(counts: list[np.ndarray]) -> tuple[list[str], list[np.ndarray]]:
    """Return the most frequent bins of the older dataset, and all other bins together."""
    top = np.argsort(-counts[-1], kind="stable")[: MAX_BARS - 1]
    remainders = [column.sum() - column[top].sum() for column in counts]
    bars = [f"bin {index}" for index in top.tolist()] + ["others"]
    return bars, [np.append(column[top], rest) for column, rest in zip(counts, remainders, strict=True)]


def _numbers(columns: list[ColumnStatistics]) -> tuple[list[str], list[np.ndarray]]:
    values = _distinct_values(columns)
    if values is not None:
        counts = [CumulativeCounts.of(column).up_to(values) for column in _quantiles(columns)]
        return [f"{value:g}" for value in values.tolist()], [upper - lower for lower, upper in counts]
    ends = np.array([_ends(column) for column in columns])
    edges = _edges(float(ends[:, 0].min()), float(ends[:, 1].max()), columns[0].kind)
    bars = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return bars, [counts_between(column, edges[1:-1]) for column in columns]


def _distinct_values(columns: list[ColumnStatistics]) -> np.ndarray | None:
    """Return the values of columns with few of them, whose counts are exact; otherwise None."""
    quantiles = _quantiles(columns)
    if len(quantiles) < len(columns):
        return None
    values = np.unique(np.concatenate([column.values for column in quantiles]))
    return values if len(values) <= MAX_BARS else None


def _edges(low: float, high: float, kind: object) -> np.ndarray:
    if kind in ("integer", "text", "bytes"):
        # Each bar has the same number of whole numbers.
        width = max(np.ceil((high - low + 1) / MAX_BARS), 1.0)
        return np.asarray(low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1))
    if high <= low:
        return np.array([low, high])
    return np.linspace(low, high, MAX_BARS + 1)


def _quantiles(columns: list[ColumnStatistics]) -> list[Quantiles]:
    return [column.quantiles for column in columns if column.quantiles]


def _ends(column: ColumnStatistics) -> tuple[float, float]:
    if not column.quantiles:
        histogram = column.histogram or Histogram((0.0,), ())
        used, edges = np.flatnonzero(histogram.counts), histogram.edges
        return (edges[used[0]], edges[used[-1] + 1]) if len(used) else (edges[0], edges[-1])
    counts = CumulativeCounts.of(column.quantiles)
    first = np.searchsorted(counts.less_or_equal, _OUTER * counts.total)
    last = np.searchsorted(counts.less_or_equal, (1 - _OUTER) * counts.total)
    return float(counts.values[first]), float(counts.values[last])
