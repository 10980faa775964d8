"""Counts of two columns of numbers over the same bins, from quantiles or from histograms."""

from __future__ import annotations

import math

import numpy as np

from continuous_training.artifacts.column_statistics import ColumnStatistics, Histogram
from continuous_training.evaluation.cumulative_counts import CumulativeCounts

_GRID_END = 1e12
"""The end of the bins that earlier versions used for columns without a range; it includes larger numbers."""


def numeric_counts(new: ColumnStatistics, old: ColumnStatistics) -> list[np.ndarray]:
    """Return the counts of both columns over the same bins; an empty list if they cannot be compared.

    The bins are the old column's quantiles: each stored value is a bin, and so is each interval between two
    stored values. If one column was stored by an earlier version, which has only a histogram, the bins of
    this histogram are used.
    """
    if new.quantiles and old.quantiles:
        counts = [CumulativeCounts.of(quantiles) for quantiles in (new.quantiles, old.quantiles)]
        points = counts[1].values
        both = (np.stack(count.up_to(points), axis=1).ravel() for count in counts)
        return [
            np.diff(up_to, prepend=0, append=count.total) for up_to, count in zip(both, counts, strict=True)
        ]
    stored = [column.histogram for column in (new, old) if not column.quantiles]
    histograms = [histogram for histogram in stored if histogram]
    if len(histograms) < len(stored) or not _comparable(histograms):
        return []
    points = np.unique(np.concatenate([_boundaries(histogram) for histogram in histograms]))
    return [counts_between(column, points) for column in (new, old)]


def _comparable(histograms: list[Histogram]) -> bool:
    """Return whether the histograms have the same edges, or are parts of the same grid."""
    first, last = histograms[0], histograms[-1]
    if first.grid or last.grid:
        return first.grid == last.grid
    same_bins = len(first.edges) == len(last.edges)
    edges = zip(first.edges, last.edges, strict=True) if same_bins else ()
    return same_bins and all(math.isclose(a, b, abs_tol=1e-12) for a, b in edges)


def _boundaries(histogram: Histogram) -> np.ndarray:
    """Return the edges between bins. The first and the last bin include all smaller and larger numbers."""
    edges = np.asarray(histogram.edges, dtype=np.float64)
    # Only the used bins of the grid are stored, so all other bins are empty.
    return edges[np.abs(edges) < _GRID_END] if histogram.grid else edges[1:-1]


def counts_between(column: ColumnStatistics, points: np.ndarray) -> np.ndarray:
    """Return the counts below the first point, between neighbouring points, and from the last point on.

    The column has quantiles or a histogram.
    """
    if column.quantiles:
        counts = CumulativeCounts.of(column.quantiles)
        less, total = counts.up_to(points)[0], counts.total
    else:
        histogram = column.histogram or Histogram((), ())
        edges, cumulative = histogram.edges, np.concatenate([[0.0], np.cumsum(histogram.counts)])
        total = cumulative[-1]
        less = np.interp(points, edges, cumulative)
    return np.diff(less, prepend=0, append=total)
