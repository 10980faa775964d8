"""The scores of all rows, computed in parts, so that memory does not hold them for millions of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from continuous_training.evaluation.metrics import Metric

PART_ROWS = 1 << 18
"""Rows whose scores are computed at a time."""


@dataclass(frozen=True)
class RowScores:
    """The scores of one or several models by a metric: [rows, models * k], the models one after the other."""

    metric: Metric
    actual: np.ndarray
    predictions: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, metric: Metric, actual: np.ndarray, *predictions: np.ndarray) -> RowScores:
        """Return the scores of these predictions."""
        return cls(metric.for_rows(actual), actual, predictions)

    def __len__(self) -> int:
        return len(self.actual)

    def at(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the scores of some rows."""
        actual = self.actual[rows]
        parts = [self.metric.row_scores(actual, predicted[rows]) for predicted in self.predictions]
        return parts[0] if len(parts) == 1 else np.hstack(parts)

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the scores of all rows in their order."""
        for start in range(0, len(self), PART_ROWS):
            yield self.at(slice(start, start + PART_ROWS))

    def means(self) -> np.ndarray:
        """Return the mean of each score over all rows."""
        if len(self) <= PART_ROWS:
            return np.asarray(self.at(slice(None)).mean(axis=0))
        return np.asarray(sum(part.sum(axis=0) for part in self.parts()) / len(self))

    def group_sums(self, groups: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the scores and the numbers of rows in random groups: [groups, k], [groups].

        The mean of a random group of m rows has 1/m of the variance of a row, so resamples of all groups
        vary as resamples of all rows do.
        """
        starts = np.arange(groups + 1) * len(self) // groups
        order = rng.permutation(len(self))
        step = max(1, groups * PART_ROWS // len(self))
        sums = []
        for first in range(0, groups, step):
            begins = starts[first : first + step + 1]
            rows = order[begins[0] : begins[-1]]
            sums.append(np.add.reduceat(self.at(rows), begins[:-1] - begins[0], axis=0))
        return np.concatenate(sums), np.diff(starts).astype(np.float64)
