"""Metrics of a model on the holdout, each with an interval, from one score a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from components.report.facts import Interval

CONFIDENCE = 0.95
RESAMPLES = 2000
_CHUNK = 4_000_000

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric as a function of the means of some per-row scores.

    `rows` makes [n, k] scores of actual and predicted values; `value` turns [..., k] means of them into
    the metric, so that it holds for the whole and for each resample alike.
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


METRICS = {
    "classification": (Metric("accuracy", True, _correct, lambda means: means[..., 0]),),
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
    metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> Interval:
    """Return by how much the challenger is better (positive) on the very same rows, paired.

    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: rows are resampled, and
    both models are scored on each resample.
    """
    theirs, ours = metric.rows(actual, champion), metric.rows(actual, challenger)
    width, sign = ours.shape[1], 1 if metric.higher_is_better else -1

    def difference(means: np.ndarray) -> np.ndarray:
        return sign * (metric.value(means[..., :width]) - metric.value(means[..., width:]))

    return _interval(np.hstack([ours, theirs]), difference, seed)


def mcnemar(actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> float:
    """Return the two-sided p-value of McNemar's test (1947) that both models are right equally often.

    Exact over the rows on which just one of them is right; 1.0 when there are none.
    """
    ours, theirs = challenger == actual, champion == actual
    wins, losses = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    n, k = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    # Logarithms keep the binomial's terms from overflowing for thousands of rows.
    steps = np.log(np.arange(n, 0, -1)[:k]) - np.log(np.arange(1, k + 1))
    terms = np.concatenate([[0.0], np.cumsum(steps)]) - n * np.log(2)
    return float(min(1.0, 2 * np.exp(terms).sum()))


def _interval(rows: np.ndarray, value: Statistic, seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    n = len(rows)
    per_chunk = max(1, _CHUNK // (n * rows.shape[1]))
    values = []
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(value(rows.mean(axis=0)))
        for begin in range(0, RESAMPLES, per_chunk):
            chosen = rng.integers(0, n, (min(per_chunk, RESAMPLES - begin), n))
            values.append(value(rows[chosen].mean(axis=1)))
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
    return Interval(whole, float(low), float(high))
