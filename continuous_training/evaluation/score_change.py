"""How far the champion's score fell between its promotion and today's holdout, on different rows."""

from __future__ import annotations

import math
from statistics import NormalDist

from continuous_training.artifacts.measurements import METRIC_CONFIDENCE, Interval
from continuous_training.artifacts.population import ScoreChange
from continuous_training.evaluation.promotion_rule import METRIC_NAMES

STANDARD_ERRORS = 4.0
"""A fall by fewer standard errors is explained by the number of rows; by chance, 1 of 30,000 is larger."""

_Z = NormalDist().inv_cdf((1 + METRIC_CONFIDENCE) / 2)


def score_change(
    metric: str,
    promoted: Interval,
    today: Interval,
    rows: tuple[int, int],
    label_std: float | None,
) -> ScoreChange | None:
    """Return the change of the champion's metric; None if a number is not finite.

    `rows` are the numbers of holdout rows at the promotion and today, and `label_std` is the standard
    deviation of the champion's labels. The standard error combines the halves of both intervals that face
    each other (Zou and Donner, "Construction of confidence limits about effect measures", 2008). For a
    regression it is that of the logarithm of the error, whose distribution is skewed.
    """
    if not (promoted.finite and today.finite):
        return None
    if metric in METRIC_NAMES["classification"]:
        gap = promoted.value - today.value
        errors = (
            _proportion_error(promoted.value, promoted.value - promoted.low, rows[0]),
            _proportion_error(today.value, today.high - today.value, rows[1]),
        )
        return _change(metric, promoted, today, gap, gap, errors)
    before, after = (_error(metric, value) for value in (promoted.value, today.value))
    # The worse end of the score then, and the better end of the score today.
    before_end = max(_error(metric, promoted.low), _error(metric, promoted.high))
    after_end = min(_error(metric, today.low), _error(metric, today.high))
    errors = (math.log(before_end / before) / _Z, math.log(after / after_end) / _Z)
    fall = after - before
    if metric != "r2":
        if not label_std:
            return None
        fall /= label_std**2 if metric == "mse" else label_std
    return _change(metric, promoted, today, fall, math.log(after / before), errors)


def _change(
    metric: str, promoted: Interval, today: Interval, fall: float, gap: float, errors: tuple[float, float]
) -> ScoreChange:
    standard_error = math.hypot(*errors)
    count = gap / standard_error if standard_error else math.copysign(math.inf, gap) if gap else 0.0
    return ScoreChange(metric, promoted, today, fall, count)


def _error(metric: str, value: float) -> float:
    """Return the error that the metric measures; above 0, because its logarithm is used."""
    return max(1 - value if metric == "r2" else value, 1e-12)


def _proportion_error(value: float, half_interval: float, rows: int) -> float:
    """Return the standard error of a share of correct rows.

    The bootstrap interval of a model without errors has no width. Agresti and Coull's estimate ("Approximate
    is Better than Exact", 1998), which adds two correct and two wrong rows, has one.
    """
    adjusted = (value * rows + 2) / (rows + 4)
    return max(half_interval / _Z, math.sqrt(adjusted * (1 - adjusted) / (rows + 4)))
