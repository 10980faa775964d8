"""Data drift: how far the values of a column have moved between two datasets, from their statistics alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.evaluation.common_bins import numeric_counts
from continuous_training.evaluation.quantile_sketch import CAPACITY
from continuous_training.evaluation.two_sample_tests import (
    chi_square,
    kolmogorov_smirnov,
    sparse_chi_square,
)

MODERATE, LARGE = 0.1, 0.25
"""The index from which drift is moderate, and large (Siddiqi, "Credit Risk Scorecards", 2006)."""

ALPHA = 0.05
"""The significance level. A change with a greater p-value is explained by chance."""

RANK_ERROR = 0.005
"""The allowance for the error of interpolated quantiles, in columns with more than 8,192 numbers."""

GROUPS = 10
"""The number of groups for the index of an ordered column: by convention tenths of the old rows."""


def column_drift(
    new: Mapping[str, ColumnStatistics], old: Mapping[str, ColumnStatistics]
) -> list[ColumnDrift]:
    """Return the drift of each column with comparable statistics in both datasets, the largest index first.

    `new` and `old` have statistics by column: counts per value, quantiles, counts of words, or (in the data
    of earlier versions) only a histogram with its edges. Columns that one dataset lacks, or that have
    histograms with different edges, are left out.
    """
    drifts = []
    for name in new.keys() & old.keys():
        new_words, old_words = new[name].word_counts, old[name].word_counts
        if new_words is not None and old_words is not None:
            drifts.append(_vocabulary_drift(name, np.array(new_words), np.array(old_words)))
            continue
        counts = _comparable_counts(new[name], old[name])
        if counts is not None:
            drifts.append(_drift(name, new[name], old[name], *counts))
    return sorted(drifts, key=lambda drift: (-drift.psi, drift.column))


def _drift(
    name: str, new: ColumnStatistics, old: ColumnStatistics, new_counts: np.ndarray, old_counts: np.ndarray
) -> ColumnDrift:
    # The elements of a vector depend on each other; the independent observations are the rows.
    new_rows = float(new.rows or new_counts.sum())
    old_rows = float(old.rows or old_counts.sum())
    if new.counts is not None:
        test, (statistic, p) = "χ²", chi_square(new_counts, old_counts)
        new_groups, old_groups = new_counts, old_counts
    else:
        error = RANK_ERROR if max(new_counts.sum(), old_counts.sum()) > CAPACITY else 0.0
        test, (statistic, p) = "KS", kolmogorov_smirnov(new_counts, old_counts, (new_rows, old_rows), error)
        new_groups, old_groups = _in_groups(new_counts, old_counts)
    index = psi(new_groups, old_groups)
    used = int(((new_groups > 0) | (old_groups > 0)).sum())
    return ColumnDrift(
        column=name,
        psi=index,
        # Without drift, the expected index is (1/n + 1/m) times that of chi-squared with (bins - 1) degrees
        # of freedom (Yurdakul, "Statistical Properties of Population Stability Index", 2018).
        chance=(used - 1) * (1 / new_rows + 1 / old_rows),
        test=test,
        statistic=statistic,
        p=p,
        level=drift_level(index, p),
        old_mean=old.mean,
        new_mean=new.mean,
    )


def _vocabulary_drift(name: str, new: np.ndarray, old: np.ndarray) -> ColumnDrift:
    """Return the drift of two vocabularies, which are the counts of their words.

    With many rare words the index of chance alone is large. Its approximation by the chi-squared statistic
    allows to subtract the part that chance explains.
    """
    statistic, expected, p = sparse_chi_square(new, old)
    rows = [max(float(counts.sum()), 1.0) for counts in (new, old)]
    index = max(statistic - expected, 0.0) * sum(rows) / (rows[0] * rows[1])
    return ColumnDrift(name, index, 0.0, "χ²", statistic, p, drift_level(index, p))


def drift_level(index: float, p: float) -> str:
    """Return stable, moderate or large; a change that chance explains is stable."""
    if index < MODERATE or p >= ALPHA:
        return "stable"
    return "moderate" if index < LARGE else "large"


def _in_groups(new: np.ndarray, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts in groups that each hold about a tenth of the old rows."""
    middle = (np.cumsum(old) - old / 2) / old.sum()
    groups = np.minimum((middle * GROUPS).astype(int), GROUPS - 1)
    return np.bincount(groups, new, GROUPS), np.bincount(groups, old, GROUPS)


def psi(new: np.ndarray, old: np.ndarray) -> float:
    """Return the population stability index of two counts over the same bins; never negative.

    The sum over the bins of (p - q) * ln(p / q), where p and q are the shares of the new and the old rows in
    the bin. This is Kullback and Leibler's symmetric divergence J ("On Information and Sufficiency", 1951),
    known by this name since Lewis, "An Introduction to Credit Scoring" (1994). A bin with less than half a
    row in one dataset is counted as half a row there, because the logarithm is undefined at 0. A bin that is
    empty in both adds nothing.
    """
    used = (new > 0) | (old > 0)
    p, q = (np.maximum(counts[used], 0.5) for counts in (new, old))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def _comparable_counts(new: ColumnStatistics, old: ColumnStatistics) -> tuple[np.ndarray, np.ndarray] | None:
    """Return both columns' counts over the same bins; None if they cannot be compared."""
    if new.counts is not None and old.counts is not None:
        values = sorted(new.counts.keys() | old.counts.keys())
        pair = [np.array([counts.get(value, 0) for value in values]) for counts in (new.counts, old.counts)]
    else:
        pair = numeric_counts(new, old)
    if not pair or min(counts.sum() for counts in pair) <= 0:
        return None
    new_counts, old_counts = (np.asarray(counts, dtype=np.float64) for counts in pair)
    return new_counts, old_counts
