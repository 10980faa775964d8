"""The scores of rows, computed in parts, so that memory does not hold them for millions of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from continuous_training.core.stored_array import PART_ROWS, parts_of
from continuous_training.evaluation.metrics import Metric

_DRAWN_ROWS = 1 << 16
"""Rows whose groups are drawn at a time. Another number leads to other groups from the same seed."""


@dataclass(frozen=True)
class RowScores:
    """The scores of one or several models by a metric: [rows, models * k], the models one after the other.

    With `mask`, only the rows that it selects are scored.
    """

    metric: Metric
    actual: np.ndarray
    predictions: tuple[np.ndarray, ...]
    mask: np.ndarray | None = None

    @classmethod
    def of(
        cls, metric: Metric, actual: np.ndarray, *predictions: np.ndarray, mask: np.ndarray | None = None
    ) -> RowScores:
        """Return the scores of these predictions."""
        scores = cls(metric, actual, predictions, mask)
        return cls(metric.for_rows(labels for labels, *_ in scores._rows()), actual, predictions, mask)

    def __len__(self) -> int:
        return len(self.actual) if self.mask is None else int(np.count_nonzero(self.mask))

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the scores of all rows in their order."""
        for actual, *predictions in self._rows():
            yield self._scores(actual, predictions)

    def with_groups(self, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the scores after the numbers of the rows' groups, of which `groups` has one per row."""
        start = 0
        for part in self.parts():
            yield groups[start : start + len(part)], part
            start += len(part)

    def all(self) -> np.ndarray:
        """Return the scores of all rows at once. For few rows."""
        return np.concatenate(list(self.parts()))

    def means(self) -> np.ndarray:
        """Return the mean of each score over all rows."""
        total, rows = np.zeros(1), len(self)
        for part in self.parts():
            if len(part) == rows:
                return np.asarray(part.mean(axis=0))
            total = total + part.sum(axis=0)
        return total / rows

    def value(self) -> float:
        """Return the metric of one model; NaN or infinity where it is undefined, as r2 on one row."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.metric.from_means(self.means()))

    def group_sums(self, groups: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the scores and the numbers of rows in random groups: [groups, k], [groups].

        The mean of a random group of m rows has 1/m of the variance of a row, so resamples of all groups
        vary as resamples of all rows do. Each partition of the rows into groups of these sizes has the same
        probability. The groups are drawn part by part, so that memory does not hold a number for each row.
        """
        sizes = np.diff(np.arange(groups + 1) * len(self) // groups)
        numbers = _GroupNumbers(sizes, rng)
        sums = sums_by_group(((numbers.take(len(part)), part) for part in self.parts()), groups)
        return sums, sizes.astype(np.float64)

    def _rows(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the labels and the predictions of consecutive rows."""
        arrays = (self.actual, *self.predictions)
        if self.mask is None:
            yield from parts_of(*arrays, rows=PART_ROWS)
            return
        for selected, *parts in parts_of(self.mask, *arrays, rows=PART_ROWS):
            if selected.any():
                yield tuple(part[selected] for part in parts)

    def _scores(self, actual: np.ndarray, predictions: list[np.ndarray]) -> np.ndarray:
        parts = [self.metric.row_scores(actual, predicted) for predicted in predictions]
        return parts[0] if len(parts) == 1 else np.hstack(parts)


def sums_by_group(parts: Iterable[tuple[np.ndarray, np.ndarray]], groups: int) -> np.ndarray:
    """Return the sums in each group: [groups, k].

    `parts` are the numbers of the rows' groups from 0, and the numbers of the rows: [rows, k].
    """
    columns: list[np.ndarray] = []
    for numbers, values in parts:
        columns = columns or [np.zeros(groups) for _ in range(values.shape[1])]
        for sums, column in zip(columns, values.T, strict=True):
            np.add.at(sums, numbers, column)
    return np.stack(columns, axis=1)


class _GroupNumbers:
    """The numbers of the groups of consecutive rows, drawn at random for groups of the given sizes."""

    def __init__(self, sizes: np.ndarray, rng: np.random.Generator) -> None:
        self._remaining, self._rng = sizes.copy(), rng
        self._drawn = np.empty(0, dtype=np.intp)

    def take(self, count: int) -> np.ndarray:
        """Return the numbers of the next `count` rows."""
        while len(self._drawn) < count:
            rows = min(_DRAWN_ROWS, int(self._remaining.sum()))
            # As many rows of each group as the same rows of a random permutation have.
            counts = self._rng.multivariate_hypergeometric(self._remaining, rows, method="marginals")
            self._remaining -= counts
            numbers = np.repeat(np.arange(len(counts)), counts)
            self._rng.shuffle(numbers)
            self._drawn = np.concatenate([self._drawn, numbers])
        numbers, self._drawn = self._drawn[:count], self._drawn[count:]
        return numbers
