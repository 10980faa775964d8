"""Bootstrap intervals of metrics, and of the improvement of one model over another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from continuous_training.artifacts.measurements import METRIC_CONFIDENCE, Interval
from continuous_training.evaluation.metrics import Metric, Statistic
from continuous_training.evaluation.row_scores import RowScores, sums_by_group

RESAMPLES = 2000
GROUPS = 2000
"""The number of groups of rows that are resampled instead of single rows, so that the time is constant."""
MAX_UNGROUPED_ROWS = 2 * GROUPS
"""Up to this number, rows are resampled one by one."""
_MAX_RESAMPLED_VALUES = 400_000
"""Values of the resamples that are in memory at a time."""


def metric_interval(
    metric: Metric,
    actual: np.ndarray,
    predicted: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Interval:
    """Return the metric on these rows with its percentile bootstrap interval of METRIC_CONFIDENCE.

    With `groups`, the number of each row's group from 0, whole groups are resampled. Without groups, `mask`
    selects the rows.
    """
    return metric_intervals([metric], actual, predicted, seed, groups, mask)[metric.name]


def metric_intervals(
    metrics: Sequence[Metric],
    actual: np.ndarray,
    predicted: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Return the interval of `metric_interval` for each metric, by name.

    Metrics with the same row scores share the resamples.
    """
    intervals: dict[str, Interval] = {}
    for metric in metrics:
        if metric.name not in intervals:
            same = [other for other in metrics if other.row_scores is metric.row_scores]
            statistics = [other.from_means for other in same]
            scores = RowScores.of(metric, actual, predicted, mask=mask)
            shared = _bootstrap(scores, statistics, seed, groups=groups)
            intervals |= dict(zip((other.name for other in same), shared, strict=True))
    return {metric.name: intervals[metric.name] for metric in metrics}


def paired_improvement(
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
    confidence: float = METRIC_CONFIDENCE,
    groups: np.ndarray | None = None,
) -> Interval:
    """Return the challenger's improvement over the champion on the same rows; positive is better.

    Paired bootstrap: rows are resampled, and both models are scored on each resample (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, chapter 13). With `groups`, the number of each row's group from
    0, whole groups are resampled (Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    section 3.8).
    """
    sign = 1 if metric.higher_is_better else -1

    def difference(means: np.ndarray) -> np.ndarray:
        first, second = np.split(means, 2, axis=-1)
        return sign * (metric.from_means(first) - metric.from_means(second))

    scores = RowScores.of(metric, actual, challenger, champion)
    return _bootstrap(scores, [difference], seed, confidence, groups)[0]


def _bootstrap(
    scores: RowScores,
    statistics: Sequence[Statistic],
    seed: int,
    confidence: float = METRIC_CONFIDENCE,
    groups: np.ndarray | None = None,
) -> list[Interval]:
    """Return the interval of each statistic of the means."""
    tail = _tail(len(scores) if groups is None else int(groups.max()) + 1, confidence)
    rng = np.random.default_rng(seed)
    means = _resampled_means(scores, rng) if groups is None else _resampled_group_means(scores, rng, groups)
    measured, batches = scores.means(), list(means)
    intervals = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for statistic in statistics:
            resampled = np.concatenate([statistic(batch) for batch in batches])
            low, high = np.quantile(resampled, [tail, 1 - tail])
            intervals.append(Interval(float(statistic(measured)), float(low), float(high)))
    return intervals


def _resampled_means(row_scores: RowScores, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the column means of `RESAMPLES` resamples, in batches: [batch, k]."""
    n = len(row_scores)
    if n > MAX_UNGROUPED_ROWS:
        sums, sizes = row_scores.group_sums(GROUPS, rng)
        for size in resample_batches(GROUPS):
            counts = _resample_counts(GROUPS, size, rng)
            yield (counts @ sums) / (counts @ sizes)[:, None]
        return
    scores = row_scores.all()
    distinct, frequencies = np.unique(scores, axis=0, return_counts=True)
    if len(distinct) <= n // 8:
        # With few distinct rows, one multinomial draw of their counts is faster than drawing row by row.
        yield rng.multinomial(n, frequencies / n, RESAMPLES) @ distinct / n
        return
    for size in resample_batches(n):
        yield _resample_counts(n, size, rng) @ scores / n


def _resampled_group_means(
    scores: RowScores, rng: np.random.Generator, groups: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the column means of `RESAMPLES` resamples of whole groups, in batches: [batch, k]."""
    sizes = np.bincount(groups).astype(np.float64)
    sums = sums_by_group(scores.with_groups(groups), len(sizes))
    for size in resample_batches(len(sizes)):
        counts = _resample_counts(len(sizes), size, rng)
        yield (counts @ sums) / (counts @ sizes)[:, None]


def _resample_counts(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return the number of times that each of n items is drawn in each resample: [resamples, n]."""
    indices = rng.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(indices.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def resample_batches(n: int) -> Iterator[int]:
    """Yield batch sizes that add up to `RESAMPLES`; each batch of resamples of n rows fits into memory."""
    largest = max(1, _MAX_RESAMPLED_VALUES // n)
    for begin in range(0, RESAMPLES, largest):
        yield min(largest, RESAMPLES - begin)


def _tail(n: int, confidence: float) -> float:
    """Return the lower quantile of the expanded percentile interval for n rows.

    Plain percentile intervals are too short for few rows, as the normal distribution is in comparison with
    Student's t (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.3). The quantile
    of Student's t is approximated by Abramowitz and Stegun (1964), 26.7.5.
    """
    if n < 2:
        return (1 - confidence) / 2
    z, v = NormalDist().inv_cdf((1 + confidence) / 2), max(n - 1, 3)
    t = (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
    return NormalDist().cdf(-t * (n / (n - 1)) ** 0.5)
