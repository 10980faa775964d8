"""Test whether a challenger is worse than the champion by a margin, for every metric except accuracy.

A score test, as Tango's test is for accuracy: the variance of the mean difference is computed under the
hypothesis that the challenger is worse by the margin. This distribution is the mixture of the observed row
differences with rows of one large loss, in the share that makes its mean the negative margin. Rows on which
the models do not differ therefore do not count as certainty, and a rare large loss that the rows may have
missed is taken into account.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from continuous_training.evaluation.metrics import Metric
from continuous_training.evaluation.moments import Moments
from continuous_training.evaluation.row_scores import RowScores

FEW_ROWS = 50
"""Below this number of rows, the test accepts too many models whose errors have heavy tails. For metrics
without a bound, the p-value is multiplied by the ratio of this number to the number of rows."""

_STEP = 1e-6
"""The relative step of the numerical derivative."""


def margin_test(
    metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray, margin: float
) -> float:
    """Return twice the one-sided p-value that the metric is worse by `margin` or more.

    NaN if the metric is not finite. 1.0 if the measured difference is worse than the margin.
    """
    differences = row_differences(metric, actual, challenger, champion)
    if differences is None:
        return float("nan")
    scores = RowScores.of(metric, actual, challenger)
    largest_loss = min(metric.largest_loss(part, differences.direction) for part in scores.parts())
    moments = differences.moments()
    # Errors that are small against the margin must not make a worse model impossible on few rows.
    losses, correction = [min(largest_loss, -2 * margin)], 1.0
    if not metric.bounded:
        losses.append(moments.low)
        correction = max(1.0, FEW_ROWS / len(actual))
    return min(1.0, 2 * correction * min(mixture_p_value(moments, loss, margin) for loss in losses))


@dataclass(frozen=True)
class RowDifferences:
    """The part of each row in the improvement, whose mean is the improvement; positive is better.

    `scores` are the scores of challenger and champion. `direction` is the derivative of the improvement with
    respect to the challenger's mean scores: the metric is linear in the scores of a row, to the first order.
    `shift` is added to each row, so that the mean is the improvement itself.
    """

    scores: RowScores
    direction: np.ndarray
    shift: float

    def of(self, scores: np.ndarray) -> np.ndarray:
        """Return the differences of rows with these scores."""
        challenger, champion = np.split(scores, 2, axis=1)
        return np.asarray((challenger - champion) @ self.direction + self.shift)

    def moments(self) -> Moments:
        """Return number, mean, variance and minimum of the differences of all rows."""
        moments = Moments()
        for part in self.scores.parts():
            moments.merge(Moments.of(self.of(part)))
        return moments


def row_differences(
    metric: Metric, actual: np.ndarray, challenger: np.ndarray, champion: np.ndarray
) -> RowDifferences | None:
    """Return the differences of the rows. None if the metric is not finite."""
    sign = 1 if metric.higher_is_better else -1
    scores = RowScores.of(metric, actual, challenger, champion)
    first, second = np.split(scores.means(), 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = sign * float(metric.from_means(first) - metric.from_means(second))
    if not np.isfinite(difference):
        return None
    direction = sign * _gradient(metric, (first + second) / 2)
    return RowDifferences(scores, direction, difference - float((first - second) @ direction))


def _gradient(metric: Metric, means: np.ndarray) -> np.ndarray:
    """Return the derivative of the metric with respect to the means of the row scores."""
    steps = _STEP * np.where(means == 0, 1.0, np.abs(means))
    shifts = np.diag(steps)
    with np.errstate(invalid="ignore", divide="ignore"):
        gradient = (metric.from_means(means + shifts) - metric.from_means(means - shifts)) / (2 * steps)
    return np.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def mixture_p_value(values: Moments, loss: float, margin: float) -> float:
    """Return the one-sided p-value if the hypothesis is a mixture of values and a difference of `loss`."""
    rows, difference = values.count, values.mean
    distance = difference + margin
    if distance <= 0 or loss >= -margin:
        return 1.0
    share = distance / (difference - loss)
    variance = (1 - share) * (values.squares / rows + distance**2) + share * (loss + margin) ** 2
    return t_tail(distance / (variance / rows) ** 0.5, rows - 1)


def t_tail(t: float, degrees: int) -> float:
    """Return the upper tail of Student's t distribution (Abramowitz and Stegun, 1964, 26.7.8)."""
    z = t * (1 - 1 / (4 * max(degrees, 1))) / (1 + t * t / (2 * max(degrees, 1))) ** 0.5
    return NormalDist().cdf(-z)
