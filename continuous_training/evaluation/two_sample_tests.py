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


def sparse_chi_square(new: np.ndarray, old: np.ndarray) -> tuple[float, float, float]:
    """Return Pearson's statistic, its expected value without a difference, and its p-value.

    For categories of which most occur rarely. Mean and variance are those of all tables with the same sums
    (Dawson, "A Simplified Expression for the Variance of the Chi-Squared Function", 1954). The p-value
    is that of a gamma distribution with this mean and variance (Wilson and Hilferty, 1931).
    """
    used = (new + old) > 0
    statistic, _ = chi_square(new, old)
    rows, columns = np.array([new.sum(), old.sum()], np.float64), (new + old)[used].astype(np.float64)
    n = float(columns.sum())
    if n <= 3 or len(columns) < 2:
        return statistic, statistic, 1.0
    mean = n / (n - 1) * (len(columns) - 1)
    (v1, w1), (v2, w2) = (
        ((len(sums) - 1) * (n - len(sums)) / (n - 1), ((n / sums).sum() - len(sums) ** 2) / (n - 2))
        for sums in (rows, columns)
    )
    variance = 2 * n / (n - 3) * (v1 - w1) * (v2 - w2) + n**2 / (n - 1) * w1 * w2
    if variance <= 0:
        return statistic, mean, 1.0
    spread = variance / mean**2 / 9
    z = ((statistic / mean) ** (1 / 3) - 1 + spread) / math.sqrt(spread)
    return statistic, mean, 0.5 * math.erfc(z / math.sqrt(2))


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
