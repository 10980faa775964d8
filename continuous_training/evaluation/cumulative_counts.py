"""The cumulative distribution of a column, stored at selected values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from continuous_training.artifacts.column_statistics import Quantiles

_TAIL = 0.01 * 0.5 ** np.arange(1, 5)
SHARES = np.unique(np.concatenate([np.linspace(0, 1, 101), _TAIL, 1 - _TAIL]))
"""The stored quantiles: each per cent, and in both tails 0.5 %, 0.25 %, 0.125 % and 0.0625 %."""


@dataclass(frozen=True)
class CumulativeCounts:
    """For each of some ascending values: how many numbers are less, and how many are less or equal.

    The two counts differ at a value that occurs often. All values are stored if there are at most as many
    distinct values as `SHARES`; the counts are then exact. Between two stored values the counts are
    interpolated, with an error of at most one per cent of the numbers.
    """

    values: np.ndarray
    less: np.ndarray
    less_or_equal: np.ndarray

    @classmethod
    def at_quantiles(cls, values: np.ndarray, weights: np.ndarray) -> CumulativeCounts:
        """Select values from ascending `values`, each of which represents `weights` numbers."""
        first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        distinct, total = values[first], np.cumsum(weights)
        less_or_equal = total[np.append(first[1:], len(values)) - 1]
        less = np.concatenate([[0], less_or_equal[:-1]])
        if len(distinct) > len(SHARES):
            selected = np.unique(np.searchsorted(less_or_equal, SHARES * total[-1]))
            selected = np.union1d(selected, [0, len(distinct) - 1])
            distinct, less, less_or_equal = distinct[selected], less[selected], less_or_equal[selected]
        return cls(distinct, less, less_or_equal)

    @classmethod
    def of(cls, quantiles: Quantiles) -> CumulativeCounts:
        """Return the counts that the statistics of a column store."""
        numbers = (quantiles.values, quantiles.less, quantiles.less_or_equal)
        return cls(*(np.asarray(column, np.float64) for column in numbers))

    def to_quantiles(self) -> Quantiles:
        """Return the counts in the form that the statistics of a column store."""
        return Quantiles(*(tuple(array.tolist()) for array in (self.values, self.less, self.less_or_equal)))

    @property
    def total(self) -> float:
        """How many numbers there are."""
        return float(self.less_or_equal[-1])

    def up_to(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for each point how many numbers are less, and how many are less or equal."""
        right = np.searchsorted(self.values, points)
        values = np.concatenate([[-np.inf], self.values, [np.inf]])
        lower = np.concatenate([[0], self.less_or_equal])[right]
        upper = np.append(self.less, self.total)[right]
        # Half of each value, because the difference of two large numbers of opposite sign overflows.
        start, end = values[right] / 2, values[right + 1] / 2
        inside = np.isfinite(start) & np.isfinite(end)
        share = np.divide(points / 2 - start, end - start, out=np.zeros(len(points)), where=inside)
        stored = values[right + 1] == points
        less = np.where(stored, upper, lower + (upper - lower) * share)
        return less, np.where(stored, np.append(self.less_or_equal, self.total)[right], less)
