"""Mean, standard deviation and extremes of a stream of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Moments:
    """Number, mean, sum of squared deviations from the mean, minimum and maximum.

    Two streams are merged by the formula of Chan, Golub and LeVeque ("Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", 1979). Unlike the difference of two large sums of squares, it
    is accurate when the mean is large against the standard deviation.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Return the moments of an array with at least one number."""
        return cls.of_columns(values[None])[0]

    @classmethod
    def of_columns(cls, columns: np.ndarray) -> list[Moments]:
        """Return the moments of each column of an array [columns, rows] with at least one row."""
        means = columns.mean(axis=1)
        deviations = columns - means[:, None]
        # Not np.dot, whose threads take more time than the sum itself.
        squares = np.einsum("ij,ij->i", deviations, deviations)
        numbers = (means, squares, columns.min(axis=1), columns.max(axis=1))
        count = columns.shape[1]
        return [cls(count, *row) for row in zip(*(array.tolist() for array in numbers), strict=True)]

    def merge(self, other: Moments) -> None:
        """Add the numbers of another stream."""
        count = self.count + other.count
        if not count:
            return
        difference = other.mean - self.mean
        self.squares += other.squares + difference * difference * self.count * other.count / count
        self.mean += difference * other.count / count
        self.count = count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def std(self) -> float:
        """The standard deviation of the population; 0 without numbers."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0
