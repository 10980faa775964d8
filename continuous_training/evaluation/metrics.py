"""Metrics on the holdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from continuous_training.artifacts.measurements import Interval

__all__ = ["METRICS", "Interval", "Metric", "Statistic", "find_metric", "metrics_over", "score"]

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
    labels: Sequence[str | int] = ()

    def for_rows(self, parts: Iterable[np.ndarray]) -> Metric:
        """Return the metric with scores that do not depend on which rows are scored at a time.

        `parts` are the labels of all rows.
        """
        if not self.by_class:
            return self
        present = set[Any]().union(*(_distinct(part) for part in parts))
        labels = np.unique(np.array(self.labels or list(present))).tolist()
        absent = np.array([label not in present for label in labels])
        return replace(self, row_scores=partial(_by_class, labels=labels, absent=absent))

    @property
    def by_class(self) -> bool:
        """Whether the scores are indicators of classes."""
        return self.row_scores is _by_class or getattr(self.row_scores, "func", None) is _by_class


def _distinct(labels: np.ndarray) -> list[Any]:
    # Objects may have types without an order.
    return list(set(labels.tolist()) if labels.dtype.kind == "O" else np.unique(labels).tolist())


def _correct(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.asarray(actual == predicted, dtype=np.float64)[:, None]


def _errors(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    error = actual.astype(np.float64) - predicted
    return np.stack([error**2, np.abs(error), actual, actual.astype(np.float64) ** 2], axis=1)


def _r2(means: np.ndarray) -> np.ndarray:
    r2: np.ndarray = 1 - means[..., 0] / (means[..., 3] - means[..., 2] ** 2)
    return r2


def _by_class(
    actual: np.ndarray,
    predicted: np.ndarray,
    labels: Sequence[str | int] = (),
    absent: np.ndarray | None = None,
) -> np.ndarray:
    """Return true positive, actual and predicted indicators of each class: [n, 3 * classes].

    The classes are `labels`; by default, those that occur in `actual`. `absent` is the mask of the classes
    without a row; by default, of those that do not occur in `actual`.
    """
    classes = np.unique(np.array(labels) if labels else actual)
    is_actual, is_predicted = actual[:, None] == classes, predicted[:, None] == classes
    true_positive = is_actual & is_predicted
    # With a denominator above 0, a label without rows counts as 0 and not as undefined.
    is_actual[:, ~is_actual.any(axis=0) if absent is None else absent] = True
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
    # One object, because metrics with the same row scores share the resamples of the bootstrap.
    by_class = partial(_by_class, labels=labels)
    return tuple(
        replace(metric, row_scores=by_class, labels=labels) if metric.row_scores is _by_class else metric
        for metric in METRICS[task]
    )


def score(metric: Metric, actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return the metric on these rows; NaN or infinity where it is undefined, as r2 on one row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(metric.from_means(metric.row_scores(actual, predicted).mean(axis=0)))
