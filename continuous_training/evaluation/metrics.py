"""Metrics on the holdout with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np

from continuous_training.artifacts.measurements import METRIC_CONFIDENCE, Interval

__all__ = [
    "METRICS",
    "Interval",
    "Metric",
    "find_metric",
    "metric_interval",
    "metrics_over",
    "paired_improvement",
    "resample_batches",
    "score",
]

RESAMPLES = 2000
GROUPS = 2000
"""The number of groups of rows that are resampled instead of single rows, so that the time is constant."""
MAX_UNGROUPED_ROWS = 2 * GROUPS
"""Up to this number, rows are resampled one by one."""
_MAX_RESAMPLED_VALUES = 4_000_000

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric as a function of the means of per-row scores.

    `row_scores` returns [n, k] scores of actual and predicted values, where k depends on the actual values
    only. `from_means` turns [..., k] means of these scores into the metric, so that it applies to all rows
    and to each resample.

    `largest_loss` returns the difference between challenger and champion on the worst row that the margin
    test has to expect, from the challenger's scores and the derivative of the metric (positive is better)
    with respect to the means. With `bounded`, no row can be worse.
    """

    name: str
    higher_is_better: bool
    row_scores: Callable[[np.ndarray, np.ndarray], np.ndarray]
    from_means: Statistic
    largest_loss: Callable[[np.ndarray, np.ndarray], float]
    bounded: bool


def _correct(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(actual == predicted, dtype=np.float64)[:, None]


def _errors(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    error = actual.astype(np.float64) - predicted
    return np.stack([error**2, np.abs(error), actual, actual.astype(np.float64) ** 2], axis=1)


def _r2(means: np.ndarray) -> np.ndarray:
    r2: np.ndarray = 1 - means[..., 0] / (means[..., 3] - means[..., 2] ** 2)
    return r2


def _by_class(actual: np.ndarray, predicted: np.ndarray, labels: Sequence[str | int] = ()) -> np.ndarray:
    """Return true positive, actual and predicted indicators of each class: [n, 3 * classes].

    The classes are `labels`; by default, those that occur in `actual`.
    """
    classes = np.unique(np.array(labels) if labels else actual)
    is_actual, is_predicted = actual[:, None] == classes, predicted[:, None] == classes
    true_positive = is_actual & is_predicted
    # With a denominator above 0, a label without rows counts as 0 and not as undefined.
    is_actual[:, ~is_actual.any(axis=0)] = True
    indicators = np.concatenate([true_positive, is_actual, is_predicted], axis=1)
    return np.asarray(indicators, dtype=np.float64)


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean over the classes, without the classes that a resample has no row of."""
    defined = np.isfinite(values)
    mean: np.ndarray = np.where(defined, values, 0).sum(axis=-1) / defined.sum(axis=-1)
    return mean


def _balanced_accuracy(means: np.ndarray) -> np.ndarray:
    true_positive, actual, _ = np.split(means, 3, axis=-1)
    return _mean_over_classes(true_positive / actual)


def _macro_f1(means: np.ndarray) -> np.ndarray:
    true_positive, actual, predicted = np.split(means, 3, axis=-1)
    return _mean_over_classes(2 * true_positive / (actual + predicted))


def _misclassification(_: np.ndarray, gradient: np.ndarray) -> float:
    """Return the loss of a row that only the champion classifies correctly, in the class that costs most."""
    if len(gradient) == 1:
        return -float(gradient[0])
    true_positive, _, predicted = np.split(gradient, 3)
    return float(min(-true_positive - predicted) + min(predicted))


def _largest_error(scores: np.ndarray, gradient: np.ndarray) -> float:
    """Return the loss of a row with the challenger's largest error, where the champion makes none."""
    return float((scores[:, :2] @ gradient[:2]).min())


METRICS = {
    "classification": (
        Metric("accuracy", True, _correct, lambda means: means[..., 0], _misclassification, True),
        Metric("balanced_accuracy", True, _by_class, _balanced_accuracy, _misclassification, True),
        Metric("macro_f1", True, _by_class, _macro_f1, _misclassification, True),
    ),
    "regression": (
        Metric("r2", True, _errors, _r2, _largest_error, False),
        Metric("mse", False, _errors, lambda means: means[..., 0], _largest_error, False),
        Metric("mae", False, _errors, lambda means: means[..., 1], _largest_error, False),
    ),
}
"""The metrics of each task. Add a new metric here and in `promotion_rule.METRIC_NAMES`."""


def find_metric(task: str, name: str) -> Metric:
    """Return the metric of a task by its name; KeyError for an unknown name."""
    return {metric.name: metric for metric in METRICS[task]}[name]


def metrics_over(task: str, labels: Sequence[str | int]) -> tuple[Metric, ...]:
    """Return the metrics of a task, where means over classes include each of `labels`.

    A label without rows counts as 0, as in scikit-learn's `recall_score` and `f1_score` with `labels`,
    `average="macro"` and `zero_division=0`.
    """
    return tuple(
        replace(metric, row_scores=partial(_by_class, labels=labels))
        if metric.row_scores is _by_class
        else metric
        for metric in METRICS[task]
    )


def score(metric: Metric, actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return the metric on these rows; NaN or infinity where it is undefined, as r2 on one row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(metric.from_means(metric.row_scores(actual, predicted).mean(axis=0)))


def metric_interval(
    metric: Metric, actual: np.ndarray, predicted: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> Interval:
    """Return the metric on these rows with its percentile bootstrap interval of METRIC_CONFIDENCE.

    With `groups`, the number of each row's group from 0, whole groups are resampled.
    """
    return _bootstrap(metric.row_scores(actual, predicted), metric.from_means, seed, groups=groups)


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
    challenger_scores = metric.row_scores(actual, challenger)
    champion_scores = metric.row_scores(actual, champion)
    width, sign = challenger_scores.shape[1], 1 if metric.higher_is_better else -1

    def difference(means: np.ndarray) -> np.ndarray:
        return sign * (metric.from_means(means[..., :width]) - metric.from_means(means[..., width:]))

    return _bootstrap(np.hstack([challenger_scores, champion_scores]), difference, seed, confidence, groups)


def _bootstrap(
    scores: np.ndarray,
    statistic: Statistic,
    seed: int,
    confidence: float = METRIC_CONFIDENCE,
    groups: np.ndarray | None = None,
) -> Interval:
    tail = _tail(len(scores) if groups is None else int(groups.max()) + 1, confidence)
    rng = np.random.default_rng(seed)
    means = _resampled_means(scores, rng) if groups is None else _resampled_group_means(scores, rng, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(scores.mean(axis=0)))
        resampled = [statistic(batch) for batch in means]
        low, high = np.quantile(np.concatenate(resampled), [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _resampled_means(scores: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the column means of `RESAMPLES` resamples, in batches: [batch, k]."""
    n = len(scores)
    if n > MAX_UNGROUPED_ROWS:
        sums, sizes = group_sums(scores, rng)
        counts = _resample_counts(GROUPS, RESAMPLES, rng)
        yield (counts @ sums) / (counts @ sizes)[:, None]
        return
    distinct, frequencies = np.unique(scores, axis=0, return_counts=True)
    if len(distinct) <= n // 8:
        # With few distinct rows, one multinomial draw of their counts is faster than drawing row by row.
        yield rng.multinomial(n, frequencies / n, RESAMPLES) @ distinct / n
        return
    for size in resample_batches(n):
        yield _resample_counts(n, size, rng) @ scores / n


def _resampled_group_means(
    scores: np.ndarray, rng: np.random.Generator, groups: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the column means of `RESAMPLES` resamples of whole groups, in batches: [batch, k]."""
    sizes = np.bincount(groups).astype(np.float64)
    sums = np.stack([np.bincount(groups, column) for column in scores.T], axis=1)
    for size in resample_batches(len(sizes)):
        counts = _resample_counts(len(sizes), size, rng)
        yield (counts @ sums) / (counts @ sizes)[:, None]


def _resample_counts(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n items is drawn in each resample: [resamples, n]."""
    indices = rng.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(indices.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def group_sums(scores: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the rows' scores and the numbers of rows in random groups: [GROUPS, k], [GROUPS].

    The mean of a random group of m rows has 1/m of the variance of a row, so resamples of all groups
    vary as resamples of all rows do.
    """
    starts = np.arange(GROUPS) * len(scores) // GROUPS
    sums = np.add.reduceat(scores[rng.permutation(len(scores))], starts, axis=0)
    return sums, np.diff(starts, append=len(scores)).astype(np.float64)


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
