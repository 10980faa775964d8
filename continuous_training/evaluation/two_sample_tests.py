"""Whether two samples may well be of one population: p-values of two classical tests, from counts alone."""

from __future__ import annotations

import math

import numpy as np


def chi_square(new: np.ndarray, old: np.ndarray) -> tuple[float, float]:
    """Return Pearson's statistic (1900) for two rows of counts over the same categories, and its p-value.

    Categories that are empty on both sides do not count.
    """
    used = (new + old) > 0
    observed = np.stack([new[used], old[used]]).astype(np.float64)
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / observed.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return statistic, chi_square_tail(statistic, int(used.sum()) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return the probability of a chi-squared variable of so many degrees of freedom above `statistic`.

    Abramowitz and Stegun, 26.4.4 and 26.4.5, term by term.
    """
    if degrees < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    tail, at = (math.erfc(math.sqrt(half)), 0.5) if degrees % 2 else (math.exp(-half), 1.0)
    while at < degrees / 2:
        tail += math.exp(at * math.log(half) - half - math.lgamma(at + 1))
        at += 1
    return min(tail, 1.0)


def kolmogorov_smirnov(new: np.ndarray, old: np.ndarray, rows: tuple[float, float]) -> tuple[float, float]:
    """Return the greatest distance between two distributions, counted in the same bins, and its p-value.

    `rows` are the independent observations on each side. Within a bin nothing can be told apart, so the
    distance is at most, and the p-value at least, what the values themselves would give. The p-value is
    Stephens' approximation (1970, "Use of the Kolmogorov-Smirnov ... Statistics").
    """
    one, other = (np.cumsum(side) / side.sum() for side in (new, old))
    distance = float(np.abs(one - other).max())
    root = math.sqrt(rows[0] * rows[1] / (rows[0] + rows[1]))
    scaled = (root + 0.12 + 0.11 / root) * distance
    # Below this the series has not begun to converge, and its limit is 1.
    if scaled < 0.3:
        return distance, 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return distance, min(max(sum(terms), 0.0), 1.0)
