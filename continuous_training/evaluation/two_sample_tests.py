"""Tests whether two samples come from the same population, computed from counts per bin."""

from __future__ import annotations

import math

import numpy as np


def chi_square(new: np.ndarray, old: np.ndarray) -> tuple[float, float]:
    """Return Pearson's chi-squared statistic (1900) and its p-value for two counts over the same categories.

    Categories that are empty in both samples are ignored.
    """
    used = (new + old) > 0
    observed = np.stack([new[used], old[used]]).astype(np.float64)
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / observed.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return statistic, chi_square_tail(statistic, int(used.sum()) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Return the probability that chi-squared with `degrees` degrees of freedom exceeds `statistic`.

    Abramowitz and Stegun, 26.4.4 and 26.4.5, term by term.
    """
    if degrees < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    tail, order = (math.erfc(math.sqrt(half)), 0.5) if degrees % 2 else (math.exp(-half), 1.0)
    while order < degrees / 2:
        tail += math.exp(order * math.log(half) - half - math.lgamma(order + 1))
        order += 1
    return min(tail, 1.0)


def kolmogorov_smirnov(
    new: np.ndarray, old: np.ndarray, rows: tuple[float, float], error: float = 0.0
) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of two counts over the same ordered bins, and its p-value.

    `rows` are the numbers of independent observations. `error` is the possible error of the distance; the
    p-value is that of a distance smaller by it. The order within a bin is unknown, so the distance is
    at most, and the p-value at least, that of the values themselves. The p-value is Stephens' approximation
    (1970, "Use of the Kolmogorov-Smirnov ... Statistics").
    """
    new_cumulative, old_cumulative = (np.cumsum(counts) / counts.sum() for counts in (new, old))
    distance = float(np.abs(new_cumulative - old_cumulative).max())
    root = math.sqrt(rows[0] * rows[1] / (rows[0] + rows[1]))
    scaled = (root + 0.12 + 0.11 / root) * max(distance - error, 0.0)
    # The series does not converge below this value, where its limit is 1.
    if scaled < 0.3:
        return distance, 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return distance, min(max(sum(terms), 0.0), 1.0)
