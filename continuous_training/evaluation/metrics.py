"""Metrics of a model on the holdout, each with an interval, from one score a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from continuous_training.report.report_data import Interval

CONFIDENCE = 0.95
RESAMPLES = 2000
_CHUNK = 4_000_000

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric as a function of the means of some per-row scores.

    `rows` makes [n, k] scores of actual and predicted values, where k depends on the actual ones alone;
    `value` turns [..., k] means of them into the metric, so that it holds for the whole and for each
    resample alike.
    """

    name: str
    higher_is_better: bool
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    value: Statistic


def _correct(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (actual == predicted).astype(np.float64)[:, None]


def _squares(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    error = actual.astype(np.float64) - predicted
    return np.stack([error**2, np.abs(error), actual, actual.astype(np.float64) ** 2], axis=1)


def _r2(means: np.ndarray) -> np.ndarray:
    return 1 - means[..., 0] / (means[..., 3] - means[..., 2] ** 2)


def _by_class(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return, for each class that occurs, whether a row was found to be it, is it, and was said to be it."""
    classes = np.unique(actual)
    is_it, said = actual[:, None] == classes, predicted[:, None] == classes
    return np.concatenate([is_it & said, is_it, said], axis=1).astype(np.float64)


def _mean_over_classes(shares: np.ndarray) -> np.ndarray:
    """Return the mean; a class that a resample has no row of says nothing there."""
    known = np.isfinite(shares)
    return np.where(known, shares, 0).sum(axis=-1) / known.sum(axis=-1)


def _balanced_accuracy(means: np.ndarray) -> np.ndarray:
    found, present, _ = np.split(means, 3, axis=-1)
    return _mean_over_classes(found / present)


def _macro_f1(means: np.ndarray) -> np.ndarray:
    found, present, said = np.split(means, 3, axis=-1)
    return _mean_over_classes(2 * found / (present + said))


METRICS = {
    "classification": (
        Metric("accuracy", True, _correct, lambda means: means[..., 0]),
        Metric("balanced_accuracy", True, _by_class, _balanced_accuracy),
        Metric("macro_f1", True, _by_class, _macro_f1),
    ),
    "regression": (
        Metric("r2", True, _squares, _r2),
        Metric("mse", False, _squares, lambda means: means[..., 0]),
        Metric("mae", False, _squares, lambda means: means[..., 1]),
    ),
}
"""The metrics of each task; the first is the default primary one."""


def score(metric: Metric, actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return the metric on these rows; NaN or infinite where it has no value, as r2 on one row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(metric.value(metric.rows(actual, predicted).mean(axis=0)))


def measure(metric: Metric, actual: np.ndarray, predicted: np.ndarray, seed: int) -> Interval:
    """Return the metric on these rows, with its percentile bootstrap interval."""
    rows = metric.rows(actual, predicted)
    return _interval(rows, metric.value, seed)


def improvement(
    metric: Metric,
    actual: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    seed: int,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return by how much the challenger is better (positive) on the very same rows, paired.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: rows are resampled, and
    both models are scored on each resample.
    """
    theirs, ours = metric.rows(actual, champion), metric.rows(actual, challenger)
    width, sign = ours.shape[1], 1 if metric.higher_is_better else -1

    def difference(means: np.ndarray) -> np.ndarray:
        return sign * (metric.value(means[..., :width]) - metric.value(means[..., width:]))

    return _interval(np.hstack([ours, theirs]), difference, seed, confidence)


def _interval(rows: np.ndarray, value: Statistic, seed: int, confidence: float = CONFIDENCE) -> Interval:
    tail = _tail(len(rows), confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(value(rows.mean(axis=0)))
        values = [value(means) for means in _resampled(rows, np.random.default_rng(seed))]
        low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
    return Interval(whole, float(low), float(high))


def _resampled(rows: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the column means of `RESAMPLES` resamples, some at a time."""
    n = len(rows)
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    if len(distinct) <= n // 8:
        # Equal rows need no drawing one by one: how often each kind is drawn is multinomial.
        yield rng.multinomial(n, counts / n, RESAMPLES) @ distinct / n
        return
    for many in chunks(n):
        chosen = rng.integers(0, n, (many, n)) + n * np.arange(many)[:, None]
        times = np.bincount(chosen.ravel(), minlength=many * n).reshape(many, n)
        yield times.astype(np.float64) @ rows / n


def chunks(n: int) -> Iterator[int]:
    """Yield how many resamples of n rows to make at a time, so that they fit into memory."""
    at_a_time = max(1, _CHUNK // n)
    for begin in range(0, RESAMPLES, at_a_time):
        yield min(at_a_time, RESAMPLES - begin)


def _tail(n: int, confidence: float) -> float:
    """Return the quantile at which the interval ends: for few rows a little farther out.

    Plain percentile intervals are too short for few rows, as the normal distribution is beside Student's t;
    this is the expanded percentile interval of Hesterberg, "What Teachers Should Know About the
    Bootstrap" (2015), section 5.3. Student's quantile: Abramowitz and Stegun (1964), 26.7.5.
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
